import type { ExplanationSink } from "@iommu-lab/pci-bus";
import { IRTE_128, IRTE_128_GUEST, IRTE_32 } from "./layouts.ts";

/** A step about no structure in memory. */
export const explainAmdRule = (explain: ExplanationSink, structure: string, rule: string, section: string, outcome: string): void => {
  explain.step({ structure, rule, section, outcome });
};

/** The step that shows an interrupt remapping entry. */
export const explainAmdEntry = (explain: ExplanationSink, address: number, entry: Uint32Array, wide: boolean, guest: boolean, cached: boolean): void => {
  const layout = guest ? IRTE_128_GUEST : wide ? IRTE_128 : IRTE_32;
  explain.step({
    structure: "IRTE",
    address,
    raw: [...entry.subarray(0, wide ? 4 : 1)],
    fields: layout.decode(entry),
    rule: cached ? "A cached entry is used without reading memory" : "The entry is read at once",
    section: layout.spec,
    outcome: cached ? "hit" : "read",
  });
};
