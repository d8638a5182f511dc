import { formatAddress, type FunctionAddress } from "../requester-id.ts";
import type { AcsVerdict } from "./acs-rules.ts";
import type { FunctionFacts } from "./facts.ts";
import type { MergeRule } from "./reason.ts";

const listed = (names: readonly string[]): string => (names.length < 2 ? names.join("") : `${names.slice(0, -1).join(", ")} and ${names.at(-1) ?? ""}`);

const because = (verdict: AcsVerdict | undefined): string => {
  if (verdict?.isolated !== false) return verdict ? verdict.rule : "";
  const { evidence, rule } = verdict;
  return evidence.offset === null || evidence.register === "Device ID" ? rule : `${rule}: ${listed(evidence.missing)} missing from ${evidence.register} (${evidence.value === null ? "not readable" : `0x${evidence.value.toString(16).padStart(2, "0")}`} at offset 0x${evidence.offset.toString(16)})`;
};

/** The sentence a person reads for one cause of a merge. */
export const joinText = (rule: MergeRule, from: FunctionAddress, to: FunctionAddress, at: FunctionFacts, verdict: AcsVerdict | undefined): string => {
  const a = formatAddress(from);
  const b = formatAddress(to);
  const where = formatAddress(at.address);
  switch (rule) {
    case "dma-alias":
      if (at.bridge) return `${a} is behind ${where}, which puts its own requester ID on what it forwards; the IOMMU cannot tell ${a} from ${b}.`;
      return `${a} and ${b} may use one requester ID (${at.dmaFunction ? "DMA goes through another function" : `aliases of ${where}`}); the IOMMU cannot tell them apart.`;
    case "multifunction":
      return `${a} and ${b} are functions of one slot and may talk to each other inside the device: ${because(verdict)}.`;
    case "acs-path":
      return `Requests of ${a} can turn round at ${where} without passing the IOMMU: ${because(verdict)}.`;
    case "quirk":
      return `${a} and ${b} are not isolated by a device-specific rule at ${where}: ${because(verdict)}.`;
  }
};
