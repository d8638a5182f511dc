import type { Field, Layout } from "@iommu-lab/memory/layout";
import type { ExplanationSink } from "@iommu-lab/pci-bus";

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
