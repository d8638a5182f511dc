import type { Interrupt } from "@iommu-lab/pci-bus";
import type { LocalApic } from "./local-apic.ts";

/** How APIC IDs are read: 8 or 32 bits, all processors alike. */
export type ApicMode = "xapic" | "x2apic";

const X2APIC_BROADCAST = 0xffff_ffff;
const XAPIC_BROADCAST = 0xff;

/** Logical ID in x2APIC mode, read-only: cluster in 31:16, one bit of 16 below. Intel SDM vol. 3 §11.12.10.2. */
export const x2ApicLogicalId = (apicId: number): number => (((apicId >>> 4) << 16) | (1 << (apicId & 15))) >>> 0;

const inLogicalSet = (apic: LocalApic, destination: number, mode: ApicMode): boolean => {
  if (mode === "x2apic") {
    const logical = x2ApicLogicalId(apic.id);
    return logical >>> 16 === destination >>> 16 && (logical & destination & 0xffff) !== 0;
  }
  if (apic.model === "flat") return (apic.logicalId & destination) !== 0;
  return apic.logicalId >>> 4 === destination >>> 4 && (apic.logicalId & destination & 0xf) !== 0;
};

/**
 * Whether a local APIC is in an interrupt's destination set. Intel SDM vol. 3 §11.6.2 "Determining IPI Destination".
 * Model: in x2APIC mode only FFFFFFFFh is a broadcast, also for messages that carry 8 bits.
 */
export const isDestination = (apic: LocalApic, { destination, destinationMode }: Readonly<Interrupt>, mode: ApicMode): boolean => {
  if (destination === (mode === "x2apic" ? X2APIC_BROADCAST : XAPIC_BROADCAST)) return true;
  if (mode === "xapic" && destination > XAPIC_BROADCAST) return false;
  return destinationMode === "physical" ? apic.id === destination : inLogicalSet(apic, destination, mode);
};
