/** Both vendors' hardware, worked on through their drivers as an operating system would: the same calls on either. */
import { AmdDriver } from "@iommu-lab/iommu-amd/driver";
import { AmdIommu, ZEN } from "@iommu-lab/iommu-amd/hardware";
import { VtdDriver } from "@iommu-lab/iommu-intel/driver";
import { LEGACY, SCALABLE, VtdUnit } from "@iommu-lab/iommu-intel/hardware";
import { FlatMemory, FrameAllocator } from "@iommu-lab/memory";
import { Access, AddressType, newTranslation, NO_PASID, type Iommu, type IommuDomain, type IommuDriver, type Translation, type TranslationRequest } from "@iommu-lab/pci-bus";

/** Which tables paging domains have: second-stage or host ones, or those in the processor's format under a PASID. */
export type Tables = "own" | "processor";

/** A machine with one domain that one function is attached to. */
export interface BenchMachine {
  readonly iommu: Iommu;
  readonly domain: IommuDomain;
  readonly request: TranslationRequest;
  readonly out: Translation;
  /** Lookups in the IOTLB so far that found nothing. */
  readonly misses: () => number;
}

export type MakeMachine = (tables: Tables) => BenchMachine;

const REQUESTER = 0x0108;
const PASID = 3;
const RAM = 64 * 2 ** 20;
const frames = (): FrameAllocator => new FrameAllocator({ start: 16, count: RAM / 4096 - 16 });

const attached = (driver: IommuDriver, iommu: Iommu, tables: Tables, misses: () => number): BenchMachine => {
  driver.start();
  const domain = driver.createDomain({ kind: "paging" });
  const pasid = tables === "own" ? NO_PASID : PASID;
  driver.attach(REQUESTER, domain, tables === "own" ? undefined : PASID);
  return { iommu, domain, misses, request: { requester: REQUESTER, pasid, addressType: AddressType.Untranslated, page: 0, access: Access.Read }, out: newTranslation() };
};

export const intelMachine: MakeMachine = (tables) => {
  const memory = new FlatMemory(RAM);
  const capabilities = tables === "own" ? LEGACY : SCALABLE;
  const unit = new VtdUnit({ memory, capabilities });
  const driver = new VtdDriver({ memory, frames: frames(), hostAddressWidth: capabilities.hostAddressWidth, units: [{ registers: unit.registers }], stage: tables === "own" ? "second" : "first" });
  return attached(driver, unit, tables, () => unit.totals.iotlbMisses);
};

export const amdMachine: MakeMachine = (tables) => {
  const memory = new FlatMemory(RAM);
  const iommu = new AmdIommu({ memory, capabilities: ZEN });
  const driver = new AmdDriver({ memory, frames: frames(), physicalAddressWidth: ZEN.physicalAddressWidth, units: [{ registers: iommu.registers }], tables: tables === "own" ? "host" : "guest" });
  return attached(driver, iommu, tables, () => iommu.totals.iotlbMisses);
};
