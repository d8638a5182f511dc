/** AMD IOMMUs of many kinds with the driver on them, as the contract of `pci-bus/testing` wants them. */
import { FlatMemory, FrameAllocator, type MmioHandler } from "@iommu-lab/memory";
import { requesterId, type CachePolicy } from "@iommu-lab/pci-bus";
import type { DriverFeatures, DriverRig } from "@iommu-lab/pci-bus/testing";
import { AmdDriver, type AmdDriverOptions } from "../src/driver/index.ts";
import { AmdIommu, FULL, withCapabilities, ZEN, type AmdCapabilities } from "../src/hardware/index.ts";

/** A kind of hardware and how the driver is told to use it. */
export interface Profile {
  readonly name: string;
  readonly capabilities: AmdCapabilities;
  readonly options?: Partial<AmdDriverOptions>;
  readonly features?: Partial<DriverFeatures>;
  /** Much like another: only when there is time. */
  readonly rare?: boolean;
}

const HOST_TABLES: Partial<DriverFeatures> = { pasids: undefined };
const GUEST_TABLES: Pick<Profile, "options" | "features"> = { options: { tables: "guest" }, features: { addressWidth: 47, writeOnly: false } };

export const PROFILES: readonly Profile[] = [
  { name: "host tables", capabilities: ZEN, features: HOST_TABLES },
  { name: "host tables, all features, not-present entries cached", capabilities: withCapabilities(FULL, { npCache: true }), features: HOST_TABLES },
  { name: "host tables, 3 levels", capabilities: ZEN, options: { levels: 3 }, features: { ...HOST_TABLES, addressWidth: 39 } },
  { name: "host tables, 6 levels", rare: true, capabilities: ZEN, options: { levels: 6 }, features: { ...HOST_TABLES, addressWidth: 64 } },
  {
    name: "host tables, old: 32-bit interrupt entries, no guest tables, no page requests, no device-TLBs",
    capabilities: withCapabilities(ZEN, { iotlbSup: false, efr: { GTSup: 0, GIoSup: 0, GLXSup: 0, PASMax: 0, PPRSup: 0, GASup: 0, GAMSup: 0, XTSup: 0, EPHSup: 0 } }),
    options: { deviceTlb: () => false, pageRequests: () => false },
    features: { ...HOST_TABLES, posting: undefined, deviceTlb: false, pageRequests: false, nesting: false },
  },
  { name: "guest tables", capabilities: ZEN, ...GUEST_TABLES },
  { name: "guest tables, all features, not-present entries cached", capabilities: withCapabilities(FULL, { npCache: true }), ...GUEST_TABLES },
];

/** How a rig differs from a profile. */
export interface RigChanges {
  readonly caches?: CachePolicy;
  /** What the driver sees instead of the registers. */
  readonly between?: (registers: MmioHandler, memory: FlatMemory) => MmioHandler;
}

export interface AmdRig extends DriverRig {
  readonly unit: AmdIommu;
  readonly memory: FlatMemory;
  readonly driver: AmdDriver;
}

const SCRATCH = 0x10_0000;
const RAM = 0x200_0000;
/** Frames for tables: behind the scratch memory. */
const FIRST_FRAME = 0x200;
/** Events that a log of 512 keeps. AMD-Vi §2.5.1: one entry stays free. */
const KEPT_EVENTS = 511;

/** An empty backing page of a guest's virtual APIC. */
const preparePosting = ({ memory, scratch }: DriverRig): number => {
  for (let at = scratch; at < scratch + 4096; at += 4) memory.write32(at, 0);
  return scratch;
};

/** A fresh IOMMU with the driver on it, not started. */
export const createAmdRig = ({ capabilities, options, features }: Profile, { caches = "adversarial", between = (registers) => registers }: RigChanges = {}): AmdRig => {
  const memory = new FlatMemory(RAM);
  const frames = new FrameAllocator({ start: FIRST_FRAME, count: RAM / 4096 - FIRST_FRAME });
  const unit = new AmdIommu({ memory, capabilities, caches });
  const requesters = [requesterId(0, 3, 0), requesterId(1, 0, 1), requesterId(0x80, 20, 7)] as const;
  const driver = new AmdDriver({
    memory,
    frames,
    physicalAddressWidth: capabilities.physicalAddressWidth,
    units: [{ registers: between(unit.registers, memory), npCache: capabilities.npCache }],
    deviceTlb: (requester) => requester === requesters[0],
    pageRequests: (requester) => requester === requesters[0],
    ...options,
  });
  return {
    unit,
    memory,
    driver,
    iommu: unit,
    requesters,
    scratch: SCRATCH,
    features: { addressWidth: 48, writeOnly: true, pasids: [5, 0x8041], faults: KEPT_EVENTS, absentAccess: false, interrupts: true, posting: preparePosting, deviceTlb: true, pageRequests: true, nesting: true, ...features },
    framesInUse: () => frames.counts().used,
  };
};

export const profileNamed = (name: string): Profile => PROFILES.find((profile) => profile.name === name) ?? fail(name);

const fail = (name: string): never => {
  throw new RangeError(`There is no profile "${name}".`);
};
