import type { Layout } from "@iommu-lab/memory/layout";
import { describe, expect, test } from "vitest";
import * as c from "../../src/capabilities/index.ts";
import { random, type Random } from "./random.ts";

type Layouts = Readonly<Record<string, Layout<c.Fields>>>;
type Given = Readonly<Record<string, Readonly<Record<string, number>>>>;

/** One builder: the registers it takes values for, by their names, and fields it sets itself. */
interface Case {
  readonly name: string;
  readonly layouts: Layouts;
  readonly build: (values: Given, r: Random) => c.CapabilityImage;
  readonly fixed?: Given;
}

const expressKeys: Readonly<Record<string, [keyof c.PciExpressDescription, Layout<c.Fields>]>> = {
  DeviceCapabilities: ["deviceCapabilities", c.DEVICE_CAPABILITIES],
  DeviceControl: ["deviceControl", c.DEVICE_CONTROL],
  DeviceStatus: ["deviceStatus", c.DEVICE_STATUS],
  LinkCapabilities: ["linkCapabilities", c.LINK_CAPABILITIES],
  LinkControl: ["linkControl", c.LINK_CONTROL],
  LinkStatus: ["linkStatus", c.LINK_STATUS],
  SlotCapabilities: ["slotCapabilities", c.SLOT_CAPABILITIES],
  SlotControl: ["slotControl", c.SLOT_CONTROL],
  SlotStatus: ["slotStatus", c.SLOT_STATUS],
  RootControl: ["rootControl", c.ROOT_CONTROL],
  RootCapabilities: ["rootCapabilities", c.ROOT_CAPABILITIES],
  RootStatus: ["rootStatus", c.ROOT_STATUS],
  DeviceCapabilities2: ["deviceCapabilities2", c.DEVICE_CAPABILITIES_2],
  DeviceControl2: ["deviceControl2", c.DEVICE_CONTROL_2],
  LinkCapabilities2: ["linkCapabilities2", c.LINK_CAPABILITIES_2],
  LinkControl2: ["linkControl2", c.LINK_CONTROL_2],
  LinkStatus2: ["linkStatus2", c.LINK_STATUS_2],
  SlotCapabilities2: ["slotCapabilities2", c.SLOT_CAPABILITIES_2],
};
const AER: Layouts = {
  UncorrectableStatus: c.AER_UNCORRECTABLE_STATUS,
  UncorrectableMask: c.AER_UNCORRECTABLE_MASK,
  UncorrectableSeverity: c.AER_UNCORRECTABLE_SEVERITY,
  CorrectableStatus: c.AER_CORRECTABLE_STATUS,
  CorrectableMask: c.AER_CORRECTABLE_MASK,
  Control: c.AER_CONTROL,
  RootCommand: c.AER_ROOT_COMMAND,
  RootStatus: c.AER_ROOT_STATUS,
  Source: c.AER_SOURCE,
};
const PIO: Layouts = { RPPIOStatus: c.RP_PIO_STATUS, RPPIOMask: c.RP_PIO_MASK, RPPIOSeverity: c.RP_PIO_SEVERITY, RPPIOSysError: c.RP_PIO_SYS_ERROR, RPPIOException: c.RP_PIO_EXCEPTION };

const cases: readonly Case[] = [
  { name: "powerManagement", layouts: { PMC: c.PMC, PMCSR: c.PMCSR, PMCSR_BSE: c.PMCSR_BSE, Data: c.PM_DATA }, build: (values) => c.powerManagement(values) },
  {
    name: "pciExpress of a root port with a slot",
    layouts: Object.fromEntries(Object.entries(expressKeys).map(([register, [, layout]]) => [register, layout])),
    build: (values) => c.pciExpress({ type: c.PcieType.RootPort, slot: true, ...Object.fromEntries(Object.entries(expressKeys).map(([register, [key]]) => [key, values[register]])) }),
  },
  { name: "advancedFeatures", layouts: { Capabilities: c.AF_CAPABILITIES, Status: c.AF_STATUS }, build: (values) => c.advancedFeatures(values) },
  { name: "bridgeSubsystem", layouts: { IDs: c.BRIDGE_SUBSYSTEM_IDS }, build: (values) => c.bridgeSubsystem(values.IDs ?? {}) },
  { name: "slotIdentification", layouts: { SlotID: c.SLOT_ID }, build: (values) => c.slotIdentification(values.SlotID ?? {}) },
  { name: "sataIndexData", layouts: { Location: c.SATA_LOCATION }, build: (values) => c.sataIndexData(values.Location ?? {}) },
  {
    name: "secureDevice",
    layouts: { Header: c.IOMMU_CAPABILITY_HEADER, BaseLow: c.IOMMU_BASE_LOW, BaseHigh: c.IOMMU_BASE_HIGH, Range: c.IOMMU_RANGE, Misc0: c.IOMMU_MISC_0, Misc1: c.IOMMU_MISC_1 },
    fixed: { Header: { CapType: 3, CapExt: 1 } },
    build: (values) => c.secureDevice(values),
  },
  { name: "advancedErrorReporting of a root port", layouts: AER, build: (values) => c.advancedErrorReporting({ root: true, prefixes: true, ...values }) },
  { name: "accessControlServices", layouts: { Capability: c.ACS_CAPABILITY, Control: c.ACS_CONTROL }, build: (values) => c.accessControlServices(values) },
  { name: "alternativeRoutingId", layouts: { Capability: c.ARI_CAPABILITY, Control: c.ARI_CONTROL }, build: (values) => c.alternativeRoutingId(values) },
  { name: "addressTranslationServices", layouts: { Capability: c.ATS_CAPABILITY, Control: c.ATS_CONTROL }, build: (values) => c.addressTranslationServices(values) },
  { name: "pageRequestInterface", layouts: { Control: c.PRI_CONTROL, Status: c.PRI_STATUS, Capacity: c.PRI_CAPACITY, Allocation: c.PRI_ALLOCATION }, build: (values) => c.pageRequestInterface(values) },
  { name: "processAddressSpaceId", layouts: { Capability: c.PASID_CAPABILITY, Control: c.PASID_CONTROL }, build: (values) => c.processAddressSpaceId(values) },
  { name: "precisionTimeMeasurement", layouts: { Capability: c.PTM_CAPABILITY, Control: c.PTM_CONTROL }, build: (values) => c.precisionTimeMeasurement(values) },
  {
    name: "l1Substates",
    layouts: { Capabilities: c.L1SS_CAPABILITIES, Control1: c.L1SS_CONTROL_1, Control2: c.L1SS_CONTROL_2, Status: c.L1SS_STATUS },
    fixed: { Capabilities: { LinkActivationSupported: 1 } },
    build: (values) => c.l1Substates(values),
  },
  { name: "latencyToleranceReporting", layouts: { MaxSnoopLatency: c.LTR_LATENCY, MaxNoSnoopLatency: c.LTR_LATENCY }, build: (values) => c.latencyToleranceReporting(values) },
  { name: "dataLinkFeature", layouts: { Capabilities: c.DATA_LINK_FEATURE_CAPABILITIES, Status: c.DATA_LINK_FEATURE_STATUS }, build: (values) => c.dataLinkFeature(values) },
  { name: "laneMargining", layouts: { Capabilities: c.MARGINING_CAPABILITIES, Status: c.MARGINING_STATUS }, build: (values) => c.laneMargining({ lanes: 4, ...values }) },
  { name: "physicalLayer16", layouts: { Status: c.STATUS_16GT }, build: (values) => c.physicalLayer16({ lanes: 4, ...values }) },
  { name: "secondaryPciExpress", layouts: { LinkControl3: c.LINK_CONTROL_3, LaneErrorStatus: c.LANE_ERROR_STATUS }, build: (values) => c.secondaryPciExpress({ lanes: 4, ...values }) },
  {
    name: "downstreamPortContainment",
    layouts: { Capability: c.DPC_CAPABILITY, Control: c.DPC_CONTROL, Status: c.DPC_STATUS, Source: c.DPC_SOURCE, ...PIO },
    fixed: { Capability: { RPExtensions: 1, RPPIOLogSize: 4 } },
    build: (values, r) => c.downstreamPortContainment({ ...values, log: [r.below(2 ** 32), 0, 0, 1] }),
  },
  {
    name: "virtualChannel",
    layouts: { PortCapability1: c.PORT_VC_CAPABILITY_1, PortCapability2: c.PORT_VC_CAPABILITY_2, PortControl: c.PORT_VC_CONTROL, PortStatus: c.PORT_VC_STATUS, VC0Capability: c.VC_RESOURCE_CAPABILITY, VC0Control: c.VC_RESOURCE_CONTROL, VC0Status: c.VC_RESOURCE_STATUS },
    fixed: { PortCapability1: { ExtendedVCCount: 0 } },
    build: ({ VC0Capability = {}, VC0Control = {}, VC0Status = {}, ...port }) => c.virtualChannel({ ...port, channels: [{ Capability: VC0Capability, Control: VC0Control, Status: VC0Status }] }),
  },
];

/** A function of four lanes with one further capability. */
const functionWith = (image: c.CapabilityImage): c.FunctionConfig => {
  const express = c.pciExpress({ type: c.PcieType.RootPort, linkCapabilities: { MaximumLinkWidth: 4 } });
  return new c.FunctionConfig({ vendor: 1, device: 2, classCode: 0x060400, header: 1, capabilities: image.id === 0x10 && !image.extended ? [image] : [express, image] });
};

const decodedOf = (image: c.CapabilityImage): c.DecodedCapability => {
  const decoded = c.decodeConfig(functionWith(image).bytes);
  expect(decoded.problems).toEqual([]);
  return decoded.capabilities.find(({ id, extended }) => id === image.id && extended === image.extended)!;
};

const valuesOf = (capability: c.DecodedCapability): Record<string, Record<string, number>> =>
  Object.fromEntries(capability.registers.map((register) => [register.name, Object.fromEntries(register.fields.map((field) => [field.name, field.value]))]));

describe("Builders, placed and decoded again", () => {
  test.each(cases)("$name: every field comes back", ({ layouts, build, fixed = {} }) => {
    for (let seed = 0; seed < 20; seed++) {
      const r = random(seed);
      const given = Object.fromEntries(Object.entries(layouts).map(([name, of]) => [name, { ...(r.fields(of) as Record<string, number>), ...fixed[name] }]));
      expect(valuesOf(decodedOf(build(given, r)))).toMatchObject(given);
    }
  });

  test("MSI: control, address, data, mask and pending bits for every form", () => {
    for (const address64 of [false, true])
      for (const perVectorMasking of [false, true])
        for (const extendedMessageData of [false, true]) {
          const image = c.msi({ vectors: 8, address64, perVectorMasking, extendedMessageData, address: 0xfee0_1004, upperAddress: 0x1234, data: 0x4321, extendedData: 0x99, mask: 0x81, pending: 0x42 });
          expect(valuesOf(decodedOf(image))).toMatchObject({
            Control: { MultipleMessageCapable: 3, Address64Capable: Number(address64), PerVectorMaskingCapable: Number(perVectorMasking), ExtendedMessageDataCapable: Number(extendedMessageData) },
            Address: { Address: 0xfee0_1004 / 4 },
            Data: { Data: 0x4321 },
            ...(address64 ? { UpperAddress: { Address: 0x1234 } } : {}),
            ...(extendedMessageData ? { ExtendedData: { Data: 0x99 } } : {}),
            ...(perVectorMasking ? { Mask: { Mask: 0x81 }, Pending: { Pending: 0x42 } } : {}),
          });
        }
  });

  test("MSI-X: table and pending bits", () => {
    const image = c.msix({ vectors: 2048, table: { bar: 4, offset: 0x2000 }, pendingBits: { bar: 2, offset: 0xffff_fff8 } });
    expect(valuesOf(decodedOf(image))).toMatchObject({ Control: { TableSize: 2047 }, Table: { BIR: 4, Offset: 0x400 }, PBA: { BIR: 2, Offset: 0x1fff_ffff } });
    expect(() => c.msix({ vectors: 2049, table: { bar: 0, offset: 0 }, pendingBits: { bar: 0, offset: 0 } })).toThrow(RangeError);
  });

  test("SR-IOV: numbers, page sizes and VF BARs, which size like BARs", () => {
    const image = c.singleRootIov({ totalVfs: 64, vfDevice: 0x154c, firstVfOffset: 0x80, vfStride: 2, vfBars: [{ index: 0, kind: "memory64", size: 0x1_0000, prefetchable: true }] });
    expect(valuesOf(decodedOf(image))).toMatchObject({ TotalVFs: { Value: 64 }, InitialVFs: { Value: 64 }, FirstVFOffset: { Value: 0x80 }, VFStride: { Value: 2 }, VFDeviceID: { Value: 0x154c }, SystemPageSize: { Size: 1 }, VFBAR0: { Value: 0xc } });
    const config = functionWith(image);
    config.write(0x124, 4, 0xffff_ffff);
    expect(config.read(0x124, 4)).toBe(0xffff_000c);
  });

  test("Resizable BAR and VF Resizable BAR: sizes below and above 128 TiB", () => {
    for (const [make, id] of [[c.resizableBar, 0x15], [c.vfResizableBar, 0x24]] as const) {
      const decoded = decodedOf(make([{ bar: 1, supported: [0, 27, 28, 43], size: 27 }, { bar: 3, supported: [5], size: 5 }]));
      expect(decoded.id).toBe(id);
      expect(valuesOf(decoded)).toEqual({
        Capability0: { SupportedSizes: 0x0800_0001 },
        Control0: { BARIndex: 1, NumberOfBARs: 2, BARSize: 27, SupportedSizesUpper: 0x8001 },
        Capability1: { SupportedSizes: 0x20 },
        Control1: { BARIndex: 3, NumberOfBARs: 0, BARSize: 5, SupportedSizesUpper: 0 },
      });
    }
  });

  test("serial number, vendor-specific ones and HyperTransport mapping", () => {
    expect(valuesOf(decodedOf(c.deviceSerialNumber({ high: 0x0011_2233, low: 0x4455_6677 })))).toEqual({ SerialNumber: { Low: 0x4455_6677, High: 0x0011_2233 } });
    expect(decodedOf(c.vendorSpecific(Uint8Array.of(1, 2, 3, 4, 5)))).toMatchObject({ length: 8 });
    expect(decodedOf(c.vendorSpecificExtended({ id: 0xbeef, revision: 3, contents: new Uint8Array(24) }))).toMatchObject({ length: 32 });
    expect(valuesOf(decodedOf(c.designatedVendorSpecific({ vendor: 0x1e98, id: 8, revision: 1 })))).toEqual({ Header1: { DVSECVendorID: 0x1e98, DVSECRevision: 1, DVSECLength: 10 }, Header2: { DVSECID: 8 } });
    expect(decodedOf(c.hypertransportMsiMapping({ enable: true }))).toMatchObject({ type: "MSI mapping", length: 4 });
    expect(valuesOf(decodedOf(c.hypertransportMsiMapping({ address: { low: 0xfee0_0000, high: 1 } })))).toMatchObject({ Address: { Address: 0xfee }, UpperAddress: { Address: 1 } });
    expect(decodedOf(c.vitalProductData())).toMatchObject({ name: "Vital Product Data", length: 8 });
  });

  test("a field that does not fit is refused", () => {
    expect(() => c.addressTranslationServices({ Capability: { InvalidateQueueDepth: 32 } })).toThrow(RangeError);
    expect(() => c.msi({ vectors: 3 })).toThrow("allowed are 1, 2, 4, 8, 16 and 32");
    expect(() => c.pciExpress({ type: 0, slot: true })).toThrow("has no slot");
  });
});

describe("Write masks that depend on what is there", () => {
  test("ACS control bits are writable where the capability is (PCIe §7.7.11.3)", () => {
    const config = functionWith(c.accessControlServices({ Capability: { SourceValidation: 1, P2PRequestRedirect: 1, UpstreamForwarding: 1 } }));
    config.write(0x106, 2, 0xffff);
    expect(config.read(0x106, 2)).toBe(0b10101);
  });

  test("ARI forwarding is enabled only where it is supported (PCIe §7.5.3.16)", () => {
    const config = functionWith(c.pciExpress({ type: 4, deviceCapabilities2: { ARIForwardingSupported: 1 } }));
    const without = functionWith(c.pciExpress({ type: 4 }));
    for (const each of [config, without]) each.write(0x68, 2, 0x20);
    expect([config.read(0x68, 2), without.read(0x68, 2)]).toEqual([0x20, 0]);
  });

  test("PASID permissions are enabled only where they are supported (PCIe §7.8.9.3)", () => {
    const config = functionWith(c.processAddressSpaceId({ Capability: { PrivilegedModeSupported: 1, MaxPASIDWidth: 20 } }));
    config.write(0x106, 2, 7);
    expect(config.read(0x106, 2)).toBe(5);
  });

  test("Retrain Link and Initiate FLR read as zero", () => {
    const config = functionWith(c.pciExpress({ type: 4, deviceCapabilities: { FunctionLevelResetCapability: 1 } }));
    config.write(0x48, 2, 0x8000);
    config.write(0x50, 2, 0x20);
    expect([config.read(0x48, 2), config.read(0x50, 2)]).toEqual([0, 0]);
  });
});
