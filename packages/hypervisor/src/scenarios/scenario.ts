import type { Stage } from "./stage.ts";

/** A plain value of a result: what JSON can hold, with whole numbers only. */
export type Plain = string | number | boolean | null | readonly Plain[] | { readonly [key: string]: Plain };

/** A story with a machine in it and statements that must hold. */
export interface Scenario {
  /** As on the command line. */
  readonly name: string;
  readonly title: string;
  /** What it shows, in a sentence or two. */
  readonly about: string;
  /** Requirements that it covers: "R6". */
  readonly covers: readonly string[];
  /** What protects here, and which assertions fail when it is taken away: each exactly these. */
  readonly protections: Readonly<Record<string, readonly string[]>>;
  /** Whether it takes long enough for a progress bar. */
  readonly long?: boolean;
  readonly run: (stage: Stage) => void;
}

/** A statement of a scenario and whether it held. */
export interface Assertion {
  readonly id: string;
  /** Whether the protection that the scenario is about was in place: both sides are shown. */
  readonly protected: boolean;
  /** From the scenario's inputs. */
  readonly expected: Plain;
  /** From the run. */
  readonly actual: Plain;
  readonly ok: boolean;
}

/** A fault that an IOMMU reported. */
export interface ScenarioFault {
  /** Which machine of the story. */
  readonly machine: string;
  /** dddd:bb:dd.f. */
  readonly requester: string;
  /** Hexadecimal. */
  readonly address: string;
  readonly access: "read" | "write" | "execute" | "interrupt" | "unknown";
  /** The vendor's code, hexadecimal. */
  readonly code: string;
  readonly text: string;
}

/** Times under a cost model: never measured, always computed. */
export interface ModelledTimes {
  /** Name of the model. */
  readonly model: string;
  /** Nanoseconds (unless the name says otherwise) that went into it. */
  readonly parameters: Readonly<Record<string, number>>;
  /** Whole nanoseconds. */
  readonly values: Readonly<Record<string, number>>;
}

/** What a run of a scenario gives. */
export interface ScenarioResult {
  readonly scenario: string;
  readonly iommu: "intel" | "amd";
  readonly seed: number;
  readonly assertions: readonly Assertion[];
  /** Exact: whole numbers. */
  readonly counts: Readonly<Record<string, number>>;
  readonly faults: readonly ScenarioFault[];
  readonly times?: ModelledTimes;
  /** Protections that were taken away; absent in an ordinary run. */
  readonly without?: readonly string[];
  /** SHA-256 over everything above, the same on every machine. */
  readonly hash: string;
}
