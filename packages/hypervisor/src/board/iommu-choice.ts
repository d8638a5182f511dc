import { FULL, withCapabilities as withAmd, ZEN, type AmdCapabilities } from "@iommu-lab/iommu-amd/hardware";
import { LEGACY, SCALABLE, withCapabilities as withVtd, type VtdCapabilities } from "@iommu-lab/iommu-intel/hardware";
import type { CachePolicy } from "@iommu-lab/pci-bus";

/** Which IOMMU a board has, and what of it is switched on. */
export interface IommuChoice {
  readonly vendor: "intel" | "amd";
  /** Default true: firmware's table says so, and the unit can. */
  readonly interruptRemapping?: boolean;
  /** Caches may hold what is not present: drivers must invalidate after mapping. VT-d CAP.CM; AMD's NpCache. Default false. */
  readonly cachingMode?: boolean;
  /** VT-d scalable mode; on AMD guest (v2) page tables. Default false. */
  readonly scalable?: boolean;
  /** Levels of the largest tables: 4 (default) or 5. */
  readonly levels?: 4 | 5;
  /** Large pages. Default true. AMD has no way to be without. */
  readonly superpages?: boolean;
  readonly caches?: CachePolicy;
}

/** A choice that no such hardware can make, in a sentence. */
export class ImpossibleIommu extends Error {
  override readonly name = "ImpossibleIommu";
}

/** Registers end within this: fault records at 220h, IOTLB registers at 100h. */
export const VTD_WINDOW = 0x1000;
const FAULT_RECORDS = 0x22;
const IOTLB_REGISTERS = 0x10;

/** VT-d capabilities of a choice. */
export const vtdCapabilities = ({ interruptRemapping = true, cachingMode = false, scalable = false, levels = 4, superpages = true }: IommuChoice): VtdCapabilities =>
  withVtd(scalable ? SCALABLE : LEGACY, {
    cap: {
      FRO: FAULT_RECORDS,
      CM: cachingMode ? 1 : 0,
      // Units with five levels have four too, so that they stand beside others.
      SAGAW: levels === 5 ? 0b1100 : 0b0100,
      MGAW: levels === 5 ? 56 : 47,
      SSLPS: superpages ? 0b11 : 0,
      ...(scalable ? { FS5LP: levels === 5 ? 1 : 0, FS1GP: superpages ? 1 : 0, ECMDS: 0 } : {}),
      ...(interruptRemapping ? {} : { PI: 0, ESIRTPS: 0 }),
    },
    // Performance counters and MTRRs lie past the window; operating systems do without.
    ecap: { IRO: IOTLB_REGISTERS, ...(scalable ? { MTS: 0, PMS: 0 } : {}), ...(interruptRemapping ? {} : { IR: 0, EIM: 0 }) },
    hostAddressWidth: 46,
  });

/** AMD capabilities of a choice; PASIDs have 16 bits, as Linux takes no more. @throws ImpossibleIommu */
export const amdCapabilities = ({ cachingMode = false, scalable = false, levels = 4, superpages = true }: IommuChoice): AmdCapabilities => {
  if (!superpages) throw new ImpossibleIommu("AMD's page tables have large pages always: superpages cannot be off.");
  const base = scalable || levels === 5 ? FULL : ZEN;
  return { ...withAmd(base, { efr: { GATS: levels === 5 ? 1 : 0, PCSup: 0, PASMax: 15 } }), npCache: cachingMode };
};

/** Bytes of AMD's register window without counters. */
export const AMD_WINDOW = 0x4000;
