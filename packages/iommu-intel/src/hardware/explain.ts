import type { Field, Layout } from "@iommu-lab/memory/layout";
import { Completion, type ExplanationSink, type Translation } from "@iommu-lab/pci-bus";
import { FAULT_REASONS } from "../layouts/index.ts";

/** A step about a structure in memory: its words, its fields, the rule that decided and what followed. */
export const explainStructure = (
  explain: ExplanationSink,
  layout: Layout<Readonly<Record<string, Field>>>,
  structure: string,
  address: number,
  words: ArrayLike<number>,
  at: number,
  rule: string,
  section: string,
  outcome: string,
): void => {
  const raw = Uint32Array.from({ length: layout.width / 32 }, (_, i) => words[at + i] ?? 0);
  explain.step({ structure, address, raw: [...raw], fields: layout.decode(raw), rule, section, outcome });
};

/** A step about no structure in memory. */
export const explainRule = (explain: ExplanationSink, structure: string, rule: string, section: string, outcome: string): void => {
  explain.step({ structure, rule, section, outcome });
};

/** The last step of every explanation: what the requester gets, and what software is told. */
export const explainVerdict = (explain: ExplanationSink, { fault, recorded, completion, page, pageShift, permissions }: Readonly<Translation>): void => {
  if (fault !== 0) {
    explain.step({ structure: "verdict", rule: FAULT_REASONS[fault]?.text ?? "The request is refused", section: "VT-d §7.1.3", outcome: `${faultText(fault)}, ${recorded ? "recorded" : "not recorded"}` });
    return;
  }
  const allowed = completion === Completion.Successful;
  explain.step({ structure: "verdict", rule: allowed ? "Nothing stands against the request" : "The request is refused, and nobody is told", section: "VT-d §7.1.3", outcome: allowed ? "translated" : "unsupported request", ...(allowed ? { fields: { page, pageShift, permissions } } : {}) });
};

/** "fault 05h", as the specification writes reasons. */
export const faultText = (code: number): string => (code === 0 ? "continue" : `fault ${code.toString(16).padStart(2, "0")}h`);
