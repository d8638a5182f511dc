import type { FunctionAddress } from "../requester-id.ts";

/** Access Control Services of a function. PCIe §7.7.11 "ACS Extended Capability". */
export interface AcsFacts {
  /** Offset of the capability, bytes. */
  readonly offset: number;
  /** ACS Capability register, 16 bits; undefined when the source names the capability but not its bits. */
  readonly capability: number | undefined;
  /** ACS Control register, 16 bits; undefined when not seen. */
  readonly control: number | undefined;
  /** Intel Sunrise Point root ports hold both registers as 32-bit words: capability at +4, control at +8. */
  readonly wide?: { readonly capability: number; readonly control: number };
}

/**
 * What the grouping rules look at, for one function. `undefined` and "unknown" mean that the source
 * does not say; the engine never takes them for an answer.
 */
export interface FunctionFacts {
  readonly address: FunctionAddress;
  /** The bridge whose secondary side it is on; undefined on a root bus. A virtual function: its physical function's. */
  readonly parent: FunctionAddress | undefined;
  /** Set for an SR-IOV virtual function. */
  readonly physicalFunction?: FunctionAddress | undefined;
  readonly vendor: number | undefined;
  readonly device: number | undefined;
  readonly subsystemVendor?: number | undefined;
  readonly subsystemDevice?: number | undefined;
  /** 24 bits: class, subclass, programming interface. */
  readonly classCode?: number | undefined;
  /** As the kernel has it: header type bit 7, or found as function > 0 by scanning; false for virtual functions. */
  readonly multifunction: boolean;
  /** A bridge of header type 1. */
  readonly bridge: boolean;
  /** PCI Express device/port type, "none" for conventional PCI. */
  readonly portType: number | "none" | "unknown";
  /** Offset of the PCI Express capability, where bytes were read. */
  readonly expressOffset?: number | undefined;
  readonly acs: AcsFacts | "none" | "unknown";
  /** An IOMMU translates this function: only then it gets a group. */
  readonly translated: boolean | "unknown";
  /** Functions of the same bus whose requester ID it may use (device and function, 8 bits), from AMD's IVRS. */
  readonly aliases?: readonly number[] | undefined;
  /** The function that does its DMA in its place (VMD). */
  readonly dmaFunction?: FunctionAddress | undefined;
  /** Whether the kernel's ACS quirk for Intel PCH root ports worked; undefined on other functions. */
  readonly pchQuirk?: "enabled" | "failed" | undefined;
  /** The device id is not in the source, but its printed name shows the family ("other": none that a rule knows). */
  readonly family?: "intel-pch-root-port" | "intel-spt-root-port" | "other" | undefined;
}
