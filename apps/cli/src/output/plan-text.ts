import { formatAddress } from "@iommu-lab/pci-bus";
import type { PlanFinding, PlanResult } from "@iommu-lab/host/plan";
import { printable } from "./printable.ts";
import { style } from "./style.ts";

/** "GRP-002 0000:01:00.0: its group …": a finding on one line. */
export const findingText = ({ rule, device, text }: PlanFinding): string => printable(`${rule}${device === undefined ? "" : ` ${device}`}: ${text}`);

/** What was written, and what to look at first. */
export const planText = (plan: PlanResult, folder: string): string => {
  const cautions = [...plan.host, ...plan.cautions].map((finding) => `  ${findingText(finding)}`);
  return [
    `${printable(folder)}: ${plan.files.length} files for ${plan.functions.map(formatAddress).join(", ")}. Nothing on this machine was changed.`,
    ...(cautions.length > 0 ? [style("yellow", "Look out:"), ...cautions] : []),
    `Read ${printable(folder)}/README.md, then: sudo ./apply.sh, restart, sudo ./verify.sh; sudo ./undo.sh takes it back.`,
  ].join("\n");
};
