import { diagnose } from "../doctor/diagnose.ts";
import type { RuleResult } from "../doctor/rule.ts";
import type { HostSnapshot } from "../snapshot.ts";
import type { PlanFinding } from "./plan.ts";
import { plainWords } from "./quote.ts";
import { boundFunctions, type Selection } from "./selection.ts";

/** What the doctor finds about a selection, as a plan takes it. */
export interface PlanDiagnosis {
  readonly blockers: readonly PlanFinding[];
  readonly host: readonly PlanFinding[];
  readonly cautions: readonly PlanFinding[];
}

/** Rules whose failure refuses a plan; the plan judges the others of that severity itself, for it knows what it will change. */
const REFUSING = new Set(["GRP-005", "IRQ-004", "RMRR-001", "RMRR-003", "SRV-002"]);

/** Limits of the captured machine. */
const LIMITS = /^(?:MEM|PERM)-/;

/** What the plan settles by its files, or tells in its own words. */
const SETTLED = /^(?:AUD|DRV|GST|IGD|MEM|PERM|ROM|VGA)-|^(?:HOST-002|HOST-014|HOST-015|IRQ-001|IRQ-002|GRP-001|GRP-002|GRP-004|GRP-005|GRP-008|RST-001|RST-002|RMRR-002|BAR-002|BAR-004)$/;

const toFinding = ({ id, advice, evidence, device }: RuleResult): PlanFinding => ({ rule: id, text: `${evidence[0] ? `${plainWords(evidence[0].source)}: ${plainWords(evidence[0].text)}. ` : ""}${advice}`, ...(device === undefined ? {} : { device }) });

/** Asks the doctor about everything that vfio-pci will hold. */
export const diagnoseSelection = (snapshot: HostSnapshot, selection: Selection): PlanDiagnosis => {
  const { host, devices } = diagnose(snapshot, { devices: boundFunctions(selection).map(({ address }) => address) });
  const failed = [...host, ...devices.flatMap(({ results }) => results)].filter(({ status }) => status === "fail");
  const graver = failed.filter(({ severity }) => severity !== "info");
  return {
    blockers: failed.filter(({ id, severity }) => severity === "block" && REFUSING.has(id)).map(toFinding),
    host: graver.filter(({ id }) => LIMITS.test(id)).map(toFinding),
    cautions: graver.filter(({ id, severity }) => !SETTLED.test(id) && !(severity === "block" && REFUSING.has(id))).map(toFinding),
  };
};
