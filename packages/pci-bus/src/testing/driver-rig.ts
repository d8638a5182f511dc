import type { Hpa, PhysicalMemory } from "@iommu-lab/memory";
import type { IommuDriver } from "../driver.ts";
import type { Iommu } from "../iommu.ts";
import type { RequesterId } from "../requester-id.ts";

/** What the driver and the hardware of a rig can do; cases that need more are left out. */
export interface DriverFeatures {
  /** Bits of an IOVA in a paging domain made without `addressWidth`. */
  readonly addressWidth: number;
  /** Pages that may be written but not read can be mapped. */
  readonly writeOnly: boolean;
  /** Two PASIDs that functions may use; undefined without PASIDs. */
  readonly pasids: readonly [number, number] | undefined;
  /** Faults that are kept between two calls of `service`. */
  readonly faults: number;
  /** Faults of pages that are not there tell reads from writes, too. AMD's do not: AMD-Vi §2.5.3, RW. */
  readonly absentAccess: boolean;
  readonly interrupts: boolean;
  /** Writes an empty structure into scratch memory that interrupts can be posted to, and tells where. */
  readonly posting: ((rig: DriverRig) => Hpa) | undefined;
  /** The first requester has a device-TLB, and the driver was told so. */
  readonly deviceTlb: boolean;
  /** The first requester sends page requests, and the driver was told so. */
  readonly pageRequests: boolean;
  /** Nested domains on 4-level x86 tables of a guest. */
  readonly nesting: boolean;
}

/** A driver and its hardware, fresh: what a contract case is run on. */
export interface DriverRig {
  /** Not started yet. */
  readonly driver: IommuDriver;
  /** Where the functions' requests go. */
  readonly iommu: Iommu;
  readonly memory: PhysicalMemory;
  /** Three functions that the driver covers; the last has neither device-TLB nor page requests. */
  readonly requesters: readonly [RequesterId, RequesterId, RequesterId];
  readonly features: DriverFeatures;
  /** 64 KiB of RAM that nobody else uses, on a 64 KiB border. */
  readonly scratch: Hpa;
  /** Frames that the driver holds now. */
  framesInUse(): number;
}

/** One rule that every driver keeps. `run` throws when this one does not. */
export interface ContractCase {
  /** A sentence that states the rule. */
  readonly name: string;
  /** Whether a rig can show it. */
  readonly applies: (features: DriverFeatures) => boolean;
  /** @param rig fresh and not started */
  readonly run: (rig: DriverRig) => void;
}

/** The driver broke the contract. */
export class ContractViolation extends Error {
  override readonly name = "ContractViolation";
}
