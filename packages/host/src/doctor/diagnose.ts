import { compareAddresses, formatAddress, type FunctionAddress } from "@iommu-lab/pci-bus";
import type { HostFunction, HostSnapshot, MissingInput } from "../snapshot.ts";
import { explainLog, type LogEvent } from "../log/index.ts";
import { compareWithBaseline, type BaselineChange } from "./baseline.ts";
import { DeviceView } from "./device-view.ts";
import type { GuestDomain } from "./guest-domain.ts";
import { HostView } from "./host-view.ts";
import { fail, pass, type Outcome, type Rule, type RuleResult } from "./rule.ts";
import { DEVICE_RULES, HOST_RULES } from "./rules.ts";
import { best, verdictOf, worst, type Verdict } from "./verdict.ts";

/** What the diagnosis is to look at besides the host. */
export interface DiagnoseOptions {
  /** Functions that go to one VM; without them, each display with its card is looked at by itself. */
  readonly devices?: readonly FunctionAddress[] | undefined;
  /** The same host at another time. */
  readonly baseline?: HostSnapshot | undefined;
  /** The VM that they are for. */
  readonly guest?: GuestDomain | undefined;
  /** Dumps of option ROMs by address, dddd:bb:dd.f. */
  readonly roms?: ReadonlyMap<string, Uint8Array> | undefined;
}

/** The rules' answers for one function. */
export interface DeviceDiagnosis {
  readonly address: FunctionAddress;
  readonly fn: HostFunction;
  /** Addresses assigned together with it, itself included. */
  readonly selected: readonly string[];
  readonly results: readonly RuleResult[];
  /** Of this function, not of the machine. */
  readonly verdict: Verdict;
}

/** What stands between a host and assigning functions of it. */
export interface Diagnosis {
  readonly origin: string;
  readonly kernelRelease: string | undefined;
  /** Whether the functions were asked for, or are the displays that were found. */
  readonly asked: boolean;
  /** Rules about the machine. */
  readonly host: readonly RuleResult[];
  readonly hostVerdict: Verdict;
  readonly devices: readonly DeviceDiagnosis[];
  /** Machine and functions: of functions that were asked for the worst, of those found the best. */
  readonly verdict: Verdict;
  /** What the kernel log tells of faults and problems; the same thing once, with the last line that says it. */
  readonly log: readonly RepeatedEvent[];
  /** What changed since the baseline; undefined without one. */
  readonly changes?: readonly BaselineChange[];
  readonly missing: readonly MissingInput[];
  readonly warnings: readonly string[];
}

/** An event of the log, and how often it came. */
export interface RepeatedEvent extends LogEvent {
  readonly times: number;
}

/** A function that was asked for is not in the host. */
export class UnknownDeviceError extends Error {
  override readonly name = "UnknownDeviceError";
}

const resultOf = (rule: Rule, outcome: Outcome, device?: string): RuleResult => ({
  id: rule.id,
  title: rule.title,
  status: outcome.status,
  severity: outcome.severity ?? rule.severity,
  evidence: outcome.evidence,
  advice: outcome.advice,
  link: `docs/doctor/${rule.id}.md`,
  optional: rule.optional ?? false,
  ...(device === undefined ? {} : { device }),
});

const troubles = (dmesg: string | undefined): RepeatedEvent[] => {
  const found = new Map<string, RepeatedEvent>();
  for (const event of dmesg === undefined ? [] : explainLog(dmesg)) {
    if (event.level !== "fault" && event.level !== "problem") continue;
    const key = `${event.id} ${event.device ?? ""}`;
    found.set(key, { ...event, times: (found.get(key)?.times ?? 0) + 1 });
  }
  return [...found.values()].sort((a, b) => Number(b.level === "fault") - Number(a.level === "fault") || a.line - b.line);
};

const BASELINE = { id: "GRP-012", title: "Nothing changed since the baseline", severity: "warning" } as const;

const baselineResult = (changes: readonly BaselineChange[]): RuleResult => {
  const evidence = changes.map(({ what, before, after }) => ({ source: what, text: `${before} → ${after}` }));
  const outcome = changes.some(({ what }) => what.startsWith("group")) ? fail(evidence, "Kernel or firmware changed the groups: look at the functions named before VMs start; what was assigned may now take the host's disks along.") : changes.length > 0 ? fail(evidence, "Kernel, firmware or options changed; the groups did not.", "info") : pass();
  return resultOf({ about: "host", ...BASELINE, check: () => outcome }, outcome);
};

const siblingsOf = (f: HostFunction, functions: readonly HostFunction[]): HostFunction[] => functions.filter((g) => g.address.domain === f.address.domain && g.address.requester >> 3 === f.address.requester >> 3 && !g.physicalFunction);

const DISPLAY = 0x03;

/** What a person most likely wants to assign: the displays, each with its card. */
const candidates = (functions: readonly HostFunction[]): { readonly fn: HostFunction; readonly selected: ReadonlySet<string> }[] =>
  functions.filter((f) => (f.classCode ?? 0) >>> 16 === DISPLAY && !f.physicalFunction).map((fn) => ({ fn, selected: new Set(siblingsOf(fn, functions).map((f) => formatAddress(f.address))) }));

const chosen = (snapshot: HostSnapshot, devices: readonly FunctionAddress[] | undefined): ReturnType<typeof candidates> => {
  if (!devices) return candidates(snapshot.functions);
  const selected = new Set(devices.map(formatAddress));
  return [...devices].sort(compareAddresses).map((address) => {
    const fn = snapshot.functions.find((f) => compareAddresses(f.address, address) === 0);
    if (!fn) throw new UnknownDeviceError(`${formatAddress(address)} is not in ${snapshot.origin}.`);
    return { fn, selected };
  });
};

/**
 * Judges a host, and functions of it that are to be assigned, by every rule.
 * @throws UnknownDeviceError when a function asked for is not there
 */
export const diagnose = (snapshot: HostSnapshot, options: DiagnoseOptions = {}): Diagnosis => {
  const view = new HostView(snapshot, options.guest, options.roms);
  const changes = options.baseline && compareWithBaseline(options.baseline, snapshot);
  const host = [...HOST_RULES.map((rule) => resultOf(rule, rule.check(view))), ...(changes ? [baselineResult(changes)] : [])];
  const devices = chosen(snapshot, options.devices).map(({ fn, selected }): DeviceDiagnosis => {
    const device = new DeviceView(view, fn, selected);
    const results = DEVICE_RULES.map((rule) => resultOf(rule, rule.check(device, view), device.name));
    return { address: fn.address, fn, selected: [...selected], results, verdict: verdictOf(results) };
  });
  const hostVerdict = verdictOf(host);
  const verdicts = devices.map(({ verdict }) => verdict);
  return {
    origin: snapshot.origin,
    kernelRelease: snapshot.kernelRelease,
    asked: options.devices !== undefined,
    host,
    hostVerdict,
    devices,
    // A machine without a single function was not seen.
    verdict: worst([hostVerdict, ...(snapshot.functions.length === 0 ? ["not-enough-data" as const] : []), ...(options.devices ? verdicts : verdicts.length > 0 ? [best(verdicts)] : [])]),
    log: troubles(snapshot.dmesg),
    ...(changes ? { changes } : {}),
    missing: snapshot.missing,
    warnings: snapshot.warnings,
  };
};
