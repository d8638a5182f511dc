/** VT-d units of many kinds with the driver on them, as the contract of `pci-bus/testing` wants them. */
import { POSTED_INTERRUPT_DESCRIPTOR } from "@iommu-lab/interrupt-remap/vtd";
import { FlatMemory, FrameAllocator, type MmioHandler } from "@iommu-lab/memory";
import { requesterId, type CachePolicy } from "@iommu-lab/pci-bus";
import type { DriverFeatures, DriverRig } from "@iommu-lab/pci-bus/testing";
import { VtdDriver, type VtdDriverOptions } from "../src/driver/index.ts";
import { LEGACY, SCALABLE, VtdUnit, withCapabilities, type VtdCapabilities } from "../src/hardware/index.ts";

/** A kind of hardware and how the driver is told to use it. */
export interface Profile {
  readonly name: string;
  readonly capabilities: VtdCapabilities;
  readonly options?: Partial<VtdDriverOptions>;
  readonly features?: Partial<DriverFeatures>;
  /** Much like another: only when there is time. */
  readonly rare?: boolean;
}

const NO_QUEUE = { QI: 0, IR: 0, EIM: 0, DT: 0 } as const;

const LEGACY_FEATURES: Partial<DriverFeatures> = { pasids: undefined, pageRequests: false, nesting: false };
const FIRST_STAGE: Pick<Profile, "options" | "features"> = { options: { stage: "first" }, features: { addressWidth: 47, writeOnly: false } };
const EVERYTHING_CACHED = { cap: { CM: 1, ESRTPS: 0, ESIRTPS: 0 } } as const;

export const PROFILES: readonly Profile[] = [
  { name: "legacy", capabilities: LEGACY, features: LEGACY_FEATURES },
  { name: "legacy, caching mode", capabilities: withCapabilities(LEGACY, { cap: { CM: 1 } }), features: LEGACY_FEATURES },
  { name: "legacy, registers", rare: true, capabilities: withCapabilities(LEGACY, { cap: { PI: 0 }, ecap: NO_QUEUE }), features: { ...LEGACY_FEATURES, interrupts: false, deviceTlb: false, posting: undefined } },
  { name: "legacy, registers, caching mode", capabilities: withCapabilities(LEGACY, { cap: { PI: 0, CM: 1 }, ecap: NO_QUEUE }), features: { ...LEGACY_FEATURES, interrupts: false, deviceTlb: false, posting: undefined } },
  {
    name: "legacy, old: 39 bits, small pages, no page-selective invalidation, write buffers, one fault record, xAPIC, no pass-through",
    capabilities: withCapabilities(LEGACY, { cap: { RWBF: 1, SAGAW: 2, MGAW: 38, SSLPS: 0, PSI: 0, NFR: 0, PI: 0, ND: 1 }, ecap: { EIM: 0, PT: 0, DT: 0 } }),
    options: { ram: [{ start: 0, size: 0x100_0000 }] },
    features: { ...LEGACY_FEATURES, addressWidth: 39, faults: 1, posting: undefined, deviceTlb: false },
  },
  { name: "legacy, 2 MiB pages, small masks", rare: true, capabilities: withCapabilities(LEGACY, { cap: { SSLPS: 1, MAMV: 3 } }), features: LEGACY_FEATURES },
  { name: "legacy mode of scalable hardware, large queue", rare: true, capabilities: SCALABLE, options: { mode: "legacy", queueOrder: 2 }, features: LEGACY_FEATURES },
  { name: "scalable, second stage", capabilities: SCALABLE },
  { name: "scalable, second stage, caching mode", capabilities: withCapabilities(SCALABLE, EVERYTHING_CACHED) },
  { name: "scalable, second stage of 5 levels alone", capabilities: withCapabilities(SCALABLE, { cap: { SAGAW: 8 } }), features: { addressWidth: 57 } },
  { name: "scalable, first stage", capabilities: SCALABLE, ...FIRST_STAGE },
  { name: "scalable, first stage, caching mode", capabilities: withCapabilities(SCALABLE, EVERYTHING_CACHED), ...FIRST_STAGE },
  {
    name: "scalable, first stage only, no RID_PASID, small PASIDs",
    capabilities: withCapabilities(SCALABLE, { cap: { FS1GP: 0, FS5LP: 0, MGAW: 47, ESRTPS: 0 }, ecap: { SSTS: 0, SSADS: 0, NEST: 0, RPS: 0, SMPWCS: 0, PSS: 7 } }),
    features: { addressWidth: 47, writeOnly: false, nesting: false, pasids: [1, 255] },
  },
];

/** How a rig differs from a profile. */
export interface RigChanges {
  readonly caches?: CachePolicy;
  /** What the driver sees instead of the registers. */
  readonly between?: (registers: MmioHandler, memory: FlatMemory) => MmioHandler;
  readonly options?: Partial<VtdDriverOptions>;
}

export interface VtdRig extends DriverRig {
  readonly unit: VtdUnit;
  readonly memory: FlatMemory;
  readonly driver: VtdDriver;
  readonly frames: FrameAllocator;
}

const SCRATCH = 0x10_0000;
const RAM = 0x100_0000;

/** An empty descriptor of x2APIC mode: notifications go to APIC 1 with vector 0xf2. */
const preparePosting = ({ memory, scratch }: DriverRig): number => {
  const words = POSTED_INTERRUPT_DESCRIPTOR.encode({ NV: 0xf2, NDST: 1 });
  for (const [i, word] of words.entries()) memory.write32(scratch + 4 * i, word);
  return scratch;
};

/** A fresh unit with the driver on it, not started. */
export const createVtdRig = ({ capabilities, options, features }: Profile, { caches = "adversarial", between = (registers) => registers, options: changes }: RigChanges = {}): VtdRig => {
  const memory = new FlatMemory(RAM);
  const frames = new FrameAllocator({ start: 0x200, count: 0xe00 });
  const unit = new VtdUnit({ memory, capabilities, caches });
  const requesters = [requesterId(0, 3, 0), requesterId(1, 0, 1), requesterId(0x80, 20, 7)] as const;
  const driver = new VtdDriver({
    memory,
    frames,
    hostAddressWidth: capabilities.hostAddressWidth,
    units: [{ registers: between(unit.registers, memory) }],
    deviceTlb: (requester) => requester === requesters[0],
    pageRequests: (requester) => requester === requesters[0],
    interruptEntries: 512,
    pasidBits: 17,
    ...options,
    ...changes,
  });
  return {
    unit,
    memory,
    frames,
    driver,
    iommu: unit,
    requesters,
    scratch: SCRATCH,
    features: { addressWidth: 48, writeOnly: true, pasids: [5, 0x1_0041], faults: capabilities.cap.NFR + 1, absentAccess: true, interrupts: true, posting: preparePosting, deviceTlb: true, pageRequests: true, nesting: true, ...features },
    framesInUse: () => frames.counts().used,
  };
};

export const profileNamed = (name: string): Profile => PROFILES.find((profile) => profile.name === name) ?? fail(name);

const fail = (name: string): never => {
  throw new RangeError(`There is no profile "${name}".`);
};
