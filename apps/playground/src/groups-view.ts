import { formatAddress } from "@iommu-lab/pci-bus";
import type { GroupsReport, ReportedGroup } from "@iommu-lab/host";
import type { BundledHost } from "@iommu-lab/host/bundled";
import { element } from "./element.ts";

const groupCard = (group: ReportedGroup, index: number): HTMLElement => {
  const card = element("section", [], "group");
  const heading = element("h2", group.id === null ? `Group ${index + 1} of the computation` : `Group ${group.id}`);
  heading.id = `group-${index}`;
  card.setAttribute("aria-labelledby", heading.id);
  card.append(heading, element("ul", group.devices.map((address) => element("li", [element("code", formatAddress(address))]))));
  const sentences = [...new Set(group.reasons.map(({ text }) => text))];
  if (sentences.length > 0) {
    const details = element("details", [element("summary", "Why together"), element("ul", sentences.map((sentence) => element("li", sentence)))]);
    details.open = true;
    card.append(details);
  }
  return card;
};

/** A host's IOMMU groups as a page: what it is, where it comes from, its groups with the reasons. */
export const groupsView = (host: Pick<BundledHost, "title" | "provenance">, report: GroupsReport): HTMLElement =>
  element("article", [
    element("h1", "IOMMU Lab"),
    element("p", host.title, "host"),
    element("p", host.provenance, "provenance"),
    element("p", `${report.groups.length} IOMMU groups, ${report.mode === "recorded" ? "as the kernel made them" : "computed as its kernel makes them with the IOMMU on"}.`, "count"),
    element("div", report.groups.map(groupCard), "groups"),
  ]);
