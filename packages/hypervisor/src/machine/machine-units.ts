import { AmdDriver } from "@iommu-lab/iommu-amd/driver";
import { AmdIommu } from "@iommu-lab/iommu-amd/hardware";
import { VtdDriver } from "@iommu-lab/iommu-intel/driver";
import { VtdUnit } from "@iommu-lab/iommu-intel/hardware";
import type { FrameAllocator, Hpa, PhysicalMemory } from "@iommu-lab/memory";
import { parseAddress, type FunctionAddress, type Iommu, type IommuDriver, type PciFunction, type RequesterId } from "@iommu-lab/pci-bus";
import type { MachineDescription, MachineIommu } from "@iommu-lab/pci-bus/machine";
import type { TableMemory } from "../board/taps.ts";
import { AMD_WINDOW, amdCapabilities, VTD_WINDOW, vtdCapabilities } from "../board/iommu-choice.ts";
import { FIXED } from "./address-map.ts";
import type { UnitTaps } from "./unit-taps.ts";

/** What an IOMMU has counted since power-on, in words that fit both vendors. */
export interface UnitCounts {
  readonly requests: number;
  readonly hits: number;
  readonly misses: number;
  readonly faults: number;
}

/** One IOMMU of a machine. */
export interface MachineUnit {
  readonly description: MachineIommu;
  readonly vendor: "intel" | "amd";
  readonly iommu: Iommu;
  readonly registerBase: Hpa;
  /** Bytes of the register window. */
  readonly windowSize: number;
  readonly segment: number;
  /** AMD's own function, and where it is. */
  readonly own: { readonly fn: PciFunction; readonly address: FunctionAddress } | undefined;
  readonly counts: () => UnitCounts;
  /** Bits of a host-physical address. */
  readonly addressWidth: number;
}

/** AMD's IOMMU where nothing is said: 00:00.2. */
const AMD_FUNCTION: FunctionAddress = { domain: 0, requester: 0x0002 };

/** Where an IOMMU's messages of its own go; past remapping. */
export type OwnMessages = (address: number, data: number) => void;

const ownMessages = (send: OwnMessages, taps: UnitTaps) => (address: number, upper: number, data: number): void => {
  taps.ownMessage?.(address, upper, data);
  send(address, data);
};

const intelUnit = (description: MachineIommu, index: number, memory: TableMemory, send: OwnMessages, taps: UnitTaps): MachineUnit => {
  const capabilities = vtdCapabilities(description);
  const registerBase = description.registerBase ?? FIXED.iommus + index * VTD_WINDOW;
  const unit = new VtdUnit({ memory: taps.tableMemory?.(memory) ?? memory, capabilities, caches: description.caches ?? "realistic", ...(description.iotlb ? { iotlb: description.iotlb } : {}), sendMessage: ownMessages(send, taps) });
  return {
    description,
    vendor: "intel",
    iommu: taps.iommu?.(unit, { vendor: "intel", registerBase, windowSize: VTD_WINDOW, addressWidth: capabilities.hostAddressWidth }) ?? unit,
    registerBase,
    windowSize: VTD_WINDOW,
    segment: description.segment ?? 0,
    own: undefined,
    counts: () => {
      const { requests, iotlbLookups, iotlbMisses, faults } = unit.totals;
      return { requests, hits: iotlbLookups - iotlbMisses, misses: iotlbMisses, faults };
    },
    addressWidth: capabilities.hostAddressWidth,
  };
};

const amdUnit = (description: MachineIommu, index: number, memory: TableMemory, send: OwnMessages, taps: UnitTaps): MachineUnit => {
  const capabilities = amdCapabilities(description);
  const address = (description.function === undefined ? undefined : parseAddress(description.function)) ?? { ...AMD_FUNCTION, domain: description.segment ?? 0 };
  const registerBase = description.registerBase ?? FIXED.amdIommus + index * FIXED.iommuWindow;
  const iommu = new AmdIommu({ memory: taps.tableMemory?.(memory) ?? memory, capabilities, caches: description.caches ?? "realistic", ...(description.iotlb ? { iotlb: description.iotlb } : {}), deviceId: address.requester, segment: address.domain, registerBase, sendMessage: ownMessages(send, taps) });
  // Its function first: who taps both begins with what the function says.
  const fn = taps.ownFunction?.(iommu.function) ?? iommu.function;
  return {
    description,
    vendor: "amd",
    iommu: taps.iommu?.(iommu, { vendor: "amd", registerBase, windowSize: AMD_WINDOW, addressWidth: capabilities.physicalAddressWidth }) ?? iommu,
    registerBase,
    windowSize: AMD_WINDOW,
    segment: address.domain,
    own: { fn, address },
    counts: () => {
      const { requests, iotlbHits, iotlbMisses, events } = iommu.totals;
      return { requests, hits: iotlbHits, misses: iotlbMisses, faults: events };
    },
    addressWidth: capabilities.physicalAddressWidth,
  };
};

/**
 * Makes a machine's IOMMUs.
 * @param taps what stands before each, by its index
 * @throws ImpossibleIommu when one cannot be as described
 */
export const makeUnits = (machine: Pick<MachineDescription, "iommus">, memory: TableMemory, send: OwnMessages, taps: readonly UnitTaps[] = []): MachineUnit[] => machine.iommus.map((each, i) => (each.vendor === "intel" ? intelUnit : amdUnit)(each, i, memory, send, taps[i] ?? {}));

/** What a driver is given beside its units. */
export interface DriverParts {
  readonly memory: PhysicalMemory;
  readonly frames: FrameAllocator;
  readonly covers: (unit: MachineUnit, requester: RequesterId) => boolean;
  readonly deviceTlb: (requester: RequesterId) => boolean;
  readonly ram: readonly { readonly start: number; readonly size: number }[];
  readonly x2apic: boolean;
  readonly interruptRemapping: boolean;
  /** Lets time pass while the driver waits. */
  readonly relax: () => void;
}

/** The driver of all units of a segment, as the host's kernel has it. Undefined without any. */
export const makeDriver = (units: readonly MachineUnit[], { covers, ...parts }: DriverParts): IommuDriver | undefined => {
  const [first] = units;
  if (!first) return undefined;
  // What not every unit can, none is asked for.
  const scalable = units.every(({ description }) => description.scalable);
  const windows = units.map((unit) => ({ registers: unit.iommu.registers, covers: (requester: RequesterId) => covers(unit, requester) }));
  if (first.vendor === "intel") return new VtdDriver({ ...parts, hostAddressWidth: first.addressWidth, units: windows, ...(scalable ? { mode: "scalable" } : {}) });
  // AMD's driver has an identity without tables everywhere: it is told of no RAM.
  return new AmdDriver({ ...parts, physicalAddressWidth: first.addressWidth, units: windows.map((window) => ({ ...window, npCache: first.description.cachingMode ?? false })), ...(scalable ? { tables: "guest" } : {}) });
};
