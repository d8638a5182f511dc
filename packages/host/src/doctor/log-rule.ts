import type { HostView } from "./host-view.ts";
import { fail, pass, unknown, type DoctorEvidence, type HostRule, type Severity } from "./rule.ts";

/** A rule that a line of the kernel log breaks. */
interface LogRule {
  readonly id: string;
  readonly title: string;
  readonly severity: Severity;
  readonly pattern: RegExp;
  readonly advice: string;
  /** What else shows that all is well, where the log does not go back to the boot. */
  readonly settled?: (host: HostView) => DoctorEvidence | undefined;
}

/** Makes a rule about the machine from a log line that must not be there. */
export const logRule = ({ id, title, severity, pattern, advice, settled }: LogRule): HostRule => ({
  about: "host",
  id,
  title,
  severity,
  check: (host) => {
    const found = host.log?.find(pattern);
    if (found) return fail(found, advice);
    const other = settled?.(host);
    if (other) return pass(other);
    return host.log?.hasBoot ? pass({ source: "dmesg", text: "no such line since boot" }) : unknown("the whole kernel log since boot (dmesg, or journalctl -k -b)");
  },
});
