import { formatAddress, parseAddress } from "@iommu-lab/pci-bus";

/** What the kernel log says about isolation. */
export interface AcsLog {
  /** Intel PCH root ports by address text: whether the kernel's ACS quirk worked. */
  readonly pchQuirk: ReadonlyMap<string, "enabled" | "failed">;
  /** The patch behind `pcie_acs_override=` is in this kernel. */
  readonly overrideActive: boolean;
  /** The kernel says that it remaps DMA: "yes"; that it does not: "no"; says nothing: undefined. */
  readonly iommu: "yes" | "no" | undefined;
}

const PCH = /pci ([0-9a-f:.]+): (?:(Intel PCH root port ACS workaround enabled)|Failed to enable Intel PCH ACS quirk)/i;
const ON = /DMAR: Intel\(R\) Virtualization Technology for Directed I\/O|AMD-Vi: (?:Found IOMMU|Interrupt remapping enabled|Extended features|AMD IOMMUv2 loaded)|Adding to iommu group|iommu: Adding device/;
const OFF = /DMAR: IOMMU disabled|AMD-Vi: (?:disabled|AMD IOMMU disabled)|DMAR: No DMAR devices found/i;

/** Reads a kernel log line by line; lines it does not know are passed over. */
export const readAcsLog = (dmesg: string | undefined): AcsLog => {
  const pchQuirk = new Map<string, "enabled" | "failed">();
  let overrideActive = false;
  let on = false;
  let off = false;
  for (const line of (dmesg ?? "").split("\n")) {
    const pch = PCH.exec(line);
    const address = pch && parseAddress(pch[1] ?? "");
    if (pch && address) pchQuirk.set(formatAddress(address), pch[2] === undefined ? "failed" : "enabled");
    if (line.includes("PCIe ACS overrides enabled")) overrideActive = true;
    on ||= ON.test(line);
    off ||= OFF.test(line);
  }
  return { pchQuirk, overrideActive, iommu: on ? "yes" : off ? "no" : undefined };
};
