/** Both vendors' hardware with their drivers on it, made as alike as they can be. */
import { AmdDriver, type AmdDriverOptions } from "@iommu-lab/iommu-amd/driver";
import { AmdIommu, ZEN } from "@iommu-lab/iommu-amd/hardware";
import { VtdDriver, type VtdDriverOptions } from "@iommu-lab/iommu-intel/driver";
import { LEGACY, SCALABLE, VtdUnit, type VtdCapabilities } from "@iommu-lab/iommu-intel/hardware";
import { FlatMemory, FrameAllocator } from "@iommu-lab/memory";
import type { CachePolicy, Iommu, IommuDriver } from "@iommu-lab/pci-bus";

/** One vendor's machine: all that a test may know of it. */
export interface Side {
  readonly vendor: "Intel" | "AMD";
  readonly driver: IommuDriver;
  readonly iommu: Iommu;
}

export type Sides = readonly [Side, Side];

const RAM = 0x100_0000;
const frames = (): FrameAllocator => new FrameAllocator({ start: 1, count: RAM / 4096 - 1 });

const intel = (capabilities: VtdCapabilities, caches: CachePolicy, options: Partial<VtdDriverOptions>): Side => {
  const memory = new FlatMemory(RAM);
  const unit = new VtdUnit({ memory, capabilities, caches });
  return { vendor: "Intel", iommu: unit, driver: new VtdDriver({ memory, frames: frames(), hostAddressWidth: capabilities.hostAddressWidth, units: [{ registers: unit.registers }], ...options }) };
};

const amd = (caches: CachePolicy, options: Partial<AmdDriverOptions>): Side => {
  const memory = new FlatMemory(RAM);
  const unit = new AmdIommu({ memory, capabilities: ZEN, caches });
  return { vendor: "AMD", iommu: unit, driver: new AmdDriver({ memory, frames: frames(), physicalAddressWidth: ZEN.physicalAddressWidth, units: [{ registers: unit.registers }], ...options }) };
};

/** Two machines whose drivers offer the same. */
export interface Pairing {
  readonly name: string;
  /** Bits of an IOVA. */
  readonly addressWidth: number;
  /** PASIDs that functions may use. */
  readonly pasids: readonly number[];
  /** Pages can be mapped for writing alone. */
  readonly writeOnly: boolean;
  /** Fresh machines, started. */
  readonly start: (caches: CachePolicy) => Sides;
}

const started = (...sides: Sides): Sides => {
  for (const { driver } of sides) driver.start();
  return sides;
};

/** Second-stage against host tables, and the processor's own format on both. */
export const PAIRINGS: readonly Pairing[] = [
  { name: "second stage and host tables", addressWidth: 48, pasids: [], writeOnly: true, start: (caches) => started(intel(LEGACY, caches, {}), amd(caches, {})) },
  { name: "first stage and guest tables", addressWidth: 47, pasids: [5, 0x4041], writeOnly: false, start: (caches) => started(intel(SCALABLE, caches, { stage: "first" }), amd(caches, { tables: "guest" })) },
];

/** Machines for interrupts, with 32-bit or 8-bit APIC IDs. */
export const interruptSides = (caches: CachePolicy, x2apic: boolean): Sides => started(intel(LEGACY, caches, { x2apic }), amd(caches, { x2apic }));
