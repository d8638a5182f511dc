/** Functions with random contents in every capability that has a builder. */
import * as c from "../../src/capabilities/index.ts";
import type { Random } from "./random.ts";

const list = <T>(count: number, make: (i: number) => T): T[] => Array.from({ length: count }, (_, i) => make(i));
const u32 = (r: Random): number => r.below(2 ** 32);
const bytesOf = (r: Random, count: number): Uint8Array => Uint8Array.from(list(count, () => r.below(256)));

export interface RandomFunctionOptions {
  readonly type?: c.PcieType;
  /** How likely each capability is to be there. */
  readonly density?: number;
}

const TYPES = Object.values(c.PcieType);
const LEADS_DOWN: readonly number[] = [c.PcieType.RootPort, c.PcieType.DownstreamPort, c.PcieType.PciToPcieBridge];
const BRIDGES: readonly number[] = [...LEADS_DOWN, c.PcieType.UpstreamPort, c.PcieType.PcieToPciBridge];
const ROOT: readonly number[] = [c.PcieType.RootPort, c.PcieType.RootComplexEventCollector];

const randomExpress = (r: Random, type: c.PcieType, lanes: number): c.CapabilityImage =>
  c.pciExpress({
    type,
    version: r.chance(0.85) ? 2 : 1,
    slot: LEADS_DOWN.includes(type) && r.chance(0.7),
    interruptMessageNumber: r.below(32),
    deviceCapabilities: r.fields(c.DEVICE_CAPABILITIES),
    deviceControl: r.fields(c.DEVICE_CONTROL),
    deviceStatus: r.fields(c.DEVICE_STATUS),
    linkCapabilities: r.fields(c.LINK_CAPABILITIES, { MaximumLinkWidth: lanes }),
    linkControl: r.fields(c.LINK_CONTROL),
    linkStatus: r.fields(c.LINK_STATUS),
    slotCapabilities: r.fields(c.SLOT_CAPABILITIES),
    slotControl: r.fields(c.SLOT_CONTROL),
    slotStatus: r.fields(c.SLOT_STATUS),
    rootControl: r.fields(c.ROOT_CONTROL),
    rootCapabilities: r.fields(c.ROOT_CAPABILITIES),
    rootStatus: r.fields(c.ROOT_STATUS),
    deviceCapabilities2: r.fields(c.DEVICE_CAPABILITIES_2),
    deviceControl2: r.fields(c.DEVICE_CONTROL_2),
    linkCapabilities2: r.fields(c.LINK_CAPABILITIES_2),
    linkControl2: r.fields(c.LINK_CONTROL_2),
    linkStatus2: r.fields(c.LINK_STATUS_2),
    slotCapabilities2: r.fields(c.SLOT_CAPABILITIES_2),
  });

const randomMsi = (r: Random): c.CapabilityImage =>
  c.msi({
    vectors: 2 ** r.below(6),
    address64: r.chance(0.5),
    perVectorMasking: r.chance(0.5),
    control: { Enable: r.below(2), MultipleMessageEnable: r.below(6) },
    address: r.below(2 ** 30) * 4,
    upperAddress: u32(r),
    data: r.below(2 ** 16),
    mask: u32(r),
    pending: u32(r),
  });

/** Conventional ones beside PCI Express; they fit 192 bytes with it. */
const randomConventional = (r: Random, density: number, header: 0 | 1): c.CapabilityImage[] => {
  const all: (() => c.CapabilityImage)[] = [
    () => c.powerManagement({ PMC: r.fields(c.PMC), PMCSR: r.fields(c.PMCSR), PMCSR_BSE: r.fields(c.PMCSR_BSE), Data: r.fields(c.PM_DATA) }),
    () => randomMsi(r),
    () => c.msix({ vectors: 1 + r.below(2048), table: { bar: r.below(6), offset: r.below(2 ** 29) * 8 }, pendingBits: { bar: r.below(6), offset: r.below(2 ** 29) * 8 }, control: { Enable: r.below(2), FunctionMask: r.below(2) } }),
    () => c.advancedFeatures({ Capabilities: r.fields(c.AF_CAPABILITIES), Status: r.fields(c.AF_STATUS) }),
    () => c.hypertransportMsiMapping({ enable: r.chance(0.5), ...(r.chance(0.5) ? { address: { low: r.below(2 ** 12) * 2 ** 20, high: u32(r) } } : {}) }),
    () => c.vendorSpecific(bytesOf(r, r.below(13))),
    () => c.slotIdentification(r.fields(c.SLOT_ID)),
    () => c.sataIndexData(r.fields(c.SATA_LOCATION)),
    () => c.secureDevice({ Header: r.fields(c.IOMMU_CAPABILITY_HEADER), BaseLow: r.fields(c.IOMMU_BASE_LOW), BaseHigh: r.fields(c.IOMMU_BASE_HIGH), Range: r.fields(c.IOMMU_RANGE), Misc0: r.fields(c.IOMMU_MISC_0), Misc1: r.fields(c.IOMMU_MISC_1) }),
  ];
  if (header === 1) all.push(() => c.bridgeSubsystem(r.fields(c.BRIDGE_SUBSYSTEM_IDS)));
  return all.filter(() => r.chance(density)).map((make) => make());
};

const randomResizable = (r: Random, make: typeof c.resizableBar): c.CapabilityImage =>
  make(list(1 + r.below(6), () => ({ bar: r.below(6), supported: list(44, (i) => i).filter(() => r.chance(0.3)), size: r.below(31) })));

const randomChannels = (r: Random): c.CapabilityImage => {
  const port = r.fields(c.PORT_VC_CAPABILITY_1);
  return c.virtualChannel({
    PortCapability1: port,
    PortCapability2: r.fields(c.PORT_VC_CAPABILITY_2, { VCArbitrationTableOffset: 0 }),
    PortControl: r.fields(c.PORT_VC_CONTROL),
    PortStatus: r.fields(c.PORT_VC_STATUS),
    channels: list((port.ExtendedVCCount ?? 0) + 1, () => ({ Capability: r.fields(c.VC_RESOURCE_CAPABILITY, { PortArbitrationTableOffset: 0 }), Control: r.fields(c.VC_RESOURCE_CONTROL), Status: r.fields(c.VC_RESOURCE_STATUS) })),
  });
};

const randomContainment = (r: Random): c.CapabilityImage => {
  const Capability = r.fields(c.DPC_CAPABILITY, { RPPIOLogSize: r.pick([0, 4, 5, 6, 9]) });
  return c.downstreamPortContainment({
    Capability,
    Control: r.fields(c.DPC_CONTROL),
    Status: r.fields(c.DPC_STATUS),
    Source: r.fields(c.DPC_SOURCE),
    RPPIOStatus: r.fields(c.RP_PIO_STATUS),
    RPPIOMask: r.fields(c.RP_PIO_MASK),
    RPPIOSeverity: r.fields(c.RP_PIO_SEVERITY),
    RPPIOSysError: r.fields(c.RP_PIO_SYS_ERROR),
    RPPIOException: r.fields(c.RP_PIO_EXCEPTION),
    log: Capability.RPExtensions ? list(Capability.RPPIOLogSize ?? 0, () => u32(r)) : [],
  });
};

const randomErrors = (r: Random, type: c.PcieType): c.CapabilityImage =>
  c.advancedErrorReporting({
    root: ROOT.includes(type),
    prefixes: r.chance(0.5),
    version: 1 + r.below(2),
    UncorrectableStatus: r.fields(c.AER_UNCORRECTABLE_STATUS),
    UncorrectableMask: r.fields(c.AER_UNCORRECTABLE_MASK),
    UncorrectableSeverity: r.fields(c.AER_UNCORRECTABLE_SEVERITY),
    CorrectableStatus: r.fields(c.AER_CORRECTABLE_STATUS),
    CorrectableMask: r.fields(c.AER_CORRECTABLE_MASK),
    Control: r.fields(c.AER_CONTROL),
    headerLog: list(4, () => u32(r)),
    prefixLog: list(4, () => u32(r)),
    RootCommand: r.fields(c.AER_ROOT_COMMAND),
    RootStatus: r.fields(c.AER_ROOT_STATUS),
    Source: r.fields(c.AER_SOURCE),
  });

/** VF BARs map memory of 32 or 64 bits; nothing else is allowed (PCIe §9.3.3.14), and lspci reads nothing else. */
const randomVfBars = (r: Random): number[] => {
  const bars: number[] = [];
  for (let index = 0; index < 6; index++) {
    const wide = index < 5 && r.chance(0.5);
    bars.push(r.below(2 ** 28) * 16 + (wide ? 4 : 0) + (r.chance(0.5) ? 8 : 0));
    if (wide && ++index < 6) bars.push(r.chance(0.5) ? 0 : u32(r));
  }
  return bars;
};

const randomIov = (r: Random): c.CapabilityImage =>
  c.singleRootIov({
    totalVfs: r.below(2 ** 16),
    initialVfs: r.below(2 ** 16),
    numVfs: r.below(2 ** 16),
    vfDevice: r.below(2 ** 16),
    firstVfOffset: r.below(2 ** 16),
    vfStride: r.below(2 ** 16),
    dependencyLink: r.below(256),
    supportedPageSizes: u32(r),
    systemPageSize: u32(r),
    vfBarValues: randomVfBars(r),
    capabilities: r.fields(c.SRIOV_CAPABILITIES),
    control: r.fields(c.SRIOV_CONTROL),
    status: r.fields(c.SRIOV_STATUS),
    migrationState: r.fields(c.SRIOV_MIGRATION_STATE),
  });

const randomExtended = (r: Random, density: number, type: c.PcieType, lanes: number): c.CapabilityImage[] => {
  const acs = r.fields(c.ACS_CAPABILITY);
  const all: (() => c.CapabilityImage)[] = [
    () => randomErrors(r, type),
    () => c.accessControlServices({ Capability: acs, Control: r.fields(c.ACS_CONTROL) }),
    () => c.alternativeRoutingId({ Capability: r.fields(c.ARI_CAPABILITY), Control: r.fields(c.ARI_CONTROL) }),
    () => c.addressTranslationServices({ Capability: r.fields(c.ATS_CAPABILITY), Control: r.fields(c.ATS_CONTROL) }),
    () => c.pageRequestInterface({ Control: r.fields(c.PRI_CONTROL), Status: r.fields(c.PRI_STATUS), Capacity: r.fields(c.PRI_CAPACITY), Allocation: r.fields(c.PRI_ALLOCATION) }),
    () => c.processAddressSpaceId({ Capability: r.fields(c.PASID_CAPABILITY), Control: r.fields(c.PASID_CONTROL) }),
    () => randomIov(r),
    () => randomResizable(r, c.resizableBar),
    () => randomResizable(r, c.vfResizableBar),
    () => c.deviceSerialNumber({ high: u32(r), low: u32(r) }),
    () => randomContainment(r),
    () => c.precisionTimeMeasurement({ Capability: r.fields(c.PTM_CAPABILITY), Control: r.fields(c.PTM_CONTROL) }),
    () => c.l1Substates({ Capabilities: r.fields(c.L1SS_CAPABILITIES), Control1: r.fields(c.L1SS_CONTROL_1), Control2: r.fields(c.L1SS_CONTROL_2) }),
    () => c.latencyToleranceReporting({ MaxSnoopLatency: r.fields(c.LTR_LATENCY, { Scale: r.below(6) }), MaxNoSnoopLatency: r.fields(c.LTR_LATENCY, { Scale: r.below(6) }) }),
    () => c.secondaryPciExpress({ lanes, LinkControl3: r.fields(c.LINK_CONTROL_3), LaneErrorStatus: { Lanes: r.below(2 ** lanes) }, equalization: list(lanes, () => r.fields(c.LANE_EQUALIZATION)) }),
    () => c.dataLinkFeature({ Capabilities: r.fields(c.DATA_LINK_FEATURE_CAPABILITIES), Status: r.fields(c.DATA_LINK_FEATURE_STATUS) }),
    () => c.physicalLayer16({ lanes, Status: r.fields(c.STATUS_16GT), equalization: list(lanes, () => r.fields(c.LANE_EQUALIZATION_16GT)) }),
    () => c.laneMargining({ lanes, Capabilities: r.fields(c.MARGINING_CAPABILITIES), Status: r.fields(c.MARGINING_STATUS) }),
    () => c.vendorSpecificExtended({ id: r.below(2 ** 16), revision: r.below(16), contents: bytesOf(r, r.below(16)) }),
    () => c.designatedVendorSpecific({ vendor: 0x8086, id: r.below(2 ** 16), revision: r.below(16), contents: bytesOf(r, r.below(16)) }),
    () => randomChannels(r),
  ];
  return all.filter(() => r.chance(density)).map((make) => make());
};

const randomBars = (r: Random, count: number): c.BarDescription[] => {
  const bars: c.BarDescription[] = [];
  for (let index = 0; index < count; index++) {
    if (r.chance(0.4)) continue;
    const kind = r.pick(index + 1 < count ? (["io", "memory32", "memory64"] as const) : (["io", "memory32"] as const));
    bars.push({ index, kind, size: 2 ** (kind === "io" ? 2 + r.below(8) : kind === "memory32" ? 12 + r.below(16) : 12 + r.below(26)), prefetchable: kind !== "io" && r.chance(0.5) });
    if (kind === "memory64") index++;
  }
  return bars;
};

/** A function with random contents, programmed at random as software could: every configuration byte gets random writes. */
export const randomFunction = (r: Random, { type = r.pick(TYPES), density = 0.5 }: RandomFunctionOptions = {}): c.FunctionConfig => {
  const lanes = r.pick([1, 2, 4, 8, 16]);
  const header = BRIDGES.includes(type) ? 1 : 0;
  const config = new c.FunctionConfig({
    vendor: 0x1d0f,
    device: r.below(2 ** 16),
    // An audio device, or a PCI bridge: classes whose capabilities get no special reading.
    classCode: header === 1 ? 0x060400 : 0x040100,
    revision: r.below(256),
    header,
    ...(header === 0 ? { subsystemVendor: 1 + r.below(0xfffe), subsystemDevice: r.below(2 ** 16) } : {}),
    multifunction: r.chance(0.5),
    bars: randomBars(r, header === 1 ? 2 : 6),
    romSize: r.chance(0.5) ? 2 ** (11 + r.below(8)) : 0,
    interruptPin: r.below(5),
    capabilities: [randomExpress(r, type, lanes), ...randomConventional(r, density, header), ...randomExtended(r, density, type, lanes)],
    bridge: { io: r.pick([16, 32, "none"] as const), prefetchable: r.pick([32, 64, "none"] as const) },
  });
  for (let at = 4; at < 0x40; at += 4) config.write(at, 4, u32(r));
  // Prefetchable windows below 2^52: numbers show no more exactly, and no such memory exists.
  if (header === 1) for (const at of [0x28, 0x2c]) config.write(at, 4, r.chance(0.3) ? 0 : r.below(2 ** 20));
  // Status bits are the hardware's to set; the capabilities list bit stays.
  config.bytes[6] = (config.bytes[6]! & 0x10) | (r.below(256) & 0xa8);
  config.bytes[7] = r.below(256);
  if (header === 1) {
    config.bytes[0x1e] = r.below(256) & 0xa0;
    config.bytes[0x1f] = r.below(256);
  }
  return config;
};

const hex = (value: number, width: number): string => value.toString(16).padStart(width, "0");

/** The form `lspci -xxxx` prints and `lspci -F` reads. */
export const hexDump = (address: string, bytes: Uint8Array): string => {
  const lines = [`${address} function`];
  for (let at = 0; at < bytes.length; at += 16) lines.push(`${hex(at, at < 0x100 ? 2 : 3)}: ${Array.from(bytes.subarray(at, at + 16), (byte) => hex(byte, 2)).join(" ")}`);
  return `${lines.join("\n")}\n`;
};
