import type { DeviceView } from "./device-view.ts";
import type { HostView } from "./host-view.ts";

/** What a failed rule means: it will not work; it fails later or is unsafe; it may go wrong; it is good to know. */
export type Severity = "block" | "error" | "warning" | "info";

/** What a rule found; "unknown" never counts as "pass". */
export type RuleStatus = "pass" | "fail" | "unknown";

/** What an answer rests on: a line of a file or log, or exact bits. */
export interface DoctorEvidence {
  /** Path in the host's files, such as "proc/cmdline", or what was looked at. */
  readonly source: string;
  /** Line number in the source, from 1. */
  readonly line?: number;
  /** The line, or what was seen there. */
  readonly text: string;
}

/** A rule's answer. */
export interface Outcome {
  readonly status: RuleStatus;
  readonly evidence: readonly DoctorEvidence[];
  /** What to do; for "unknown": what would answer it. */
  readonly advice: string;
  /** Where this case is milder or graver than the rule. */
  readonly severity?: Severity;
}

interface RuleText {
  /** Stable name, such as "HOST-001". */
  readonly id: string;
  /** What is the case when the rule passes. */
  readonly title: string;
  readonly severity: Severity;
  /** The VM or the user's set-up decides it: unknown, it holds up no verdict on the host. */
  readonly optional?: boolean;
}

/** A rule about the machine. */
export interface HostRule extends RuleText {
  readonly about: "host";
  readonly check: (host: HostView) => Outcome;
}

/** A rule about one function to be assigned. */
export interface DeviceRule extends RuleText {
  readonly about: "device";
  readonly check: (device: DeviceView, host: HostView) => Outcome;
}

export type Rule = HostRule | DeviceRule;

/** A rule's answer for a host or a function. */
export interface RuleResult {
  readonly id: string;
  readonly title: string;
  readonly status: RuleStatus;
  readonly severity: Severity;
  readonly evidence: readonly DoctorEvidence[];
  readonly advice: string;
  /** Page of the documentation, from the repository's root. */
  readonly link: string;
  /** dddd:bb:dd.f; absent for rules about the machine. */
  readonly device?: string;
  /** Unknown, it holds up no verdict. */
  readonly optional: boolean;
}

const listed = (evidence: DoctorEvidence | readonly (DoctorEvidence | undefined)[] | undefined): DoctorEvidence[] => [evidence].flat().filter((each) => each !== undefined);

/** Something that was seen, with its place. */
export const seen = (source: string, text: string, line?: number): DoctorEvidence => ({ source, text, ...(line === undefined ? {} : { line }) });

export const pass = (evidence?: DoctorEvidence | readonly (DoctorEvidence | undefined)[]): Outcome => ({ status: "pass", evidence: listed(evidence), advice: "" });

/** The rule is about something that this host or function does not have. */
export const notConcerned = (why: string): Outcome => pass(seen("not concerned", why));

export const fail = (evidence: DoctorEvidence | readonly (DoctorEvidence | undefined)[] | undefined, advice: string, severity?: Severity): Outcome => ({ status: "fail", evidence: listed(evidence), advice, ...(severity ? { severity } : {}) });

/** @param needed what input would answer it, such as "the kernel log (dmesg)" */
export const unknown = (needed: string, evidence?: DoctorEvidence | readonly (DoctorEvidence | undefined)[]): Outcome => ({ status: "unknown", evidence: listed(evidence), advice: `Give ${needed}.` });
