/**
 * The source documents' own machine: Core i7-3770, ASUS P8Z68-V, integrated graphics and a GeForce GTX 950.
 * Written from public facts, not captured:
 * - functions, ids and place of processor and chipset: Intel's 3rd generation Core and 6 Series chipset datasheets, pci.ids;
 * - that processor ports have no ACS and chipset ports rely on the kernel's RCBA quirk: Linux drivers/pci/quirks.c;
 * - add-on controllers (ASMedia USB 3.0, ASMedia PCIe-to-PCI bridge): the board's specification page. Which chipset
 *   port each is wired to is an assumption.
 */
import { encodeSdt } from "@iommu-lab/pci-bus/acpi";
import { accessControlServices, advancedErrorReporting, bridgeSubsystem, msi, pciExpress, PcieType, powerManagement, type CapabilityImage } from "@iommu-lab/pci-bus/capabilities";
import type { BuiltFunction, BuiltHost } from "./build-host.ts";

const INTEL = 0x8086;
const ASUS = 0x1043;

const pm = (): CapabilityImage => powerManagement({ PMC: { Version: 3, PMEFromD0: 1, PMEFromD3hot: 1 }, PMCSR: { NoSoftReset: 1 } });

/** A function of the chipset that is conventional PCI. */
const chipset = (address: string, device: number, classCode: number, driver: string | undefined, more: Partial<BuiltFunction> = {}): BuiltFunction => ({
  address, vendor: INTEL, device, classCode, header: 0, revision: 5, subsystemVendor: ASUS, subsystemDevice: 0x844d, interruptPin: 1, capabilities: [pm()], ...(driver === undefined ? {} : { driver }), ...more,
});

const link = { MaxLinkSpeed: 2, MaximumLinkWidth: 1 } as const;

/** One of the chipset's eight root ports: no ACS capability, isolated by registers behind RCBA. */
const chipsetPort = (fn: number, bus: number, below: readonly BuiltFunction[], subordinateBus = bus): BuiltFunction => ({
  address: `0000:00:1c.${fn}`,
  vendor: INTEL,
  device: 0x1c10 + 2 * fn,
  classCode: 0x060400,
  header: 1,
  revision: 0xb5,
  multifunction: true,
  interruptPin: (fn % 4) + 1,
  driver: "pcieport",
  secondaryBus: bus,
  subordinateBus,
  capabilities: [pciExpress({ type: PcieType.RootPort, slot: true, deviceCapabilities: { RoleBasedErrorReporting: 1 }, linkCapabilities: link }), msi({ address64: false }), bridgeSubsystem({ SubsystemVendor: ASUS, Subsystem: 0x844d }), pm()],
  below,
});

const usb3 = (address: string): BuiltFunction => ({
  address, vendor: 0x1b21, device: 0x1042, classCode: 0x0c0330, header: 0, subsystemVendor: ASUS, subsystemDevice: 0x8488, interruptPin: 1, driver: "xhci_hcd",
  bars: [{ index: 0, kind: "memory64", size: 0x8000 }],
  capabilities: [msi({ vectors: 8 }), pm(), pciExpress({ type: PcieType.LegacyEndpoint, deviceCapabilities: { RoleBasedErrorReporting: 1 }, linkCapabilities: link })],
  resetMethods: "pm bus",
});

const gpu: readonly BuiltFunction[] = [
  {
    address: "0000:01:00.0", vendor: 0x10de, device: 0x1402, classCode: 0x030000, header: 0, revision: 0xa1, multifunction: true, interruptPin: 1, driver: "nouveau", bootVga: false, resetMethods: "bus", romSize: 0x80000,
    bars: [
      { index: 0, kind: "memory32", size: 0x100_0000 },
      { index: 1, kind: "memory64", size: 0x1000_0000, prefetchable: true },
      { index: 3, kind: "memory64", size: 0x200_0000, prefetchable: true },
      { index: 5, kind: "io", size: 0x80 },
    ],
    capabilities: [pm(), msi(), pciExpress({ type: PcieType.LegacyEndpoint, deviceCapabilities: { RoleBasedErrorReporting: 1 }, linkCapabilities: { MaxLinkSpeed: 3, MaximumLinkWidth: 16 } }), advancedErrorReporting()],
  },
  {
    address: "0000:01:00.1", vendor: 0x10de, device: 0x0fba, classCode: 0x040300, header: 0, revision: 0xa1, multifunction: true, interruptPin: 2, driver: "snd_hda_intel", resetMethods: "bus",
    bars: [{ index: 0, kind: "memory32", size: 0x4000 }],
    capabilities: [pm(), msi(), pciExpress({ type: PcieType.Endpoint, deviceCapabilities: { RoleBasedErrorReporting: 1 }, linkCapabilities: { MaxLinkSpeed: 3, MaximumLinkWidth: 16 } }), advancedErrorReporting()],
  },
];

/** The processor's x16 port: PCI Express, but without ACS. */
const processorPort: BuiltFunction = {
  address: "0000:00:01.0", vendor: INTEL, device: 0x0151, classCode: 0x060400, header: 1, revision: 9, interruptPin: 1, driver: "pcieport", secondaryBus: 1,
  capabilities: [bridgeSubsystem({ SubsystemVendor: ASUS, Subsystem: 0x844d }), pm(), msi({ address64: false }), pciExpress({ type: PcieType.RootPort, slot: true, deviceCapabilities: { RoleBasedErrorReporting: 1 }, linkCapabilities: { MaxLinkSpeed: 3, MaximumLinkWidth: 16 } })],
  below: gpu,
};

const pciBridge: BuiltFunction = {
  address: "0000:04:00.0", vendor: 0x1b21, device: 0x1080, classCode: 0x060401, header: 1, revision: 3, secondaryBus: 5,
  capabilities: [bridgeSubsystem({ SubsystemVendor: ASUS, Subsystem: 0x8489 }), pm()],
  below: [],
};

/** RCBA in the LPC bridge, with its enable bit: what Linux asks before it isolates the chipset's ports. */
const RCBA = { 0xf0: [0x01, 0xc0, 0xd1, 0xfe] } as const;

const bytes = (...parts: readonly (readonly number[])[]): number[] => parts.flat();
const u32 = (value: number): number[] => [value & 0xff, (value >>> 8) & 0xff, (value >>> 16) & 0xff, value >>> 24];

/** Physical address bits of this processor. */
const HOST_ADDRESS_WIDTH = 36;

/** Two units, as on every client of this generation: one for the graphics, one for all the rest. VT-d §8.1. */
const dmar = (): Uint8Array => {
  const graphics = bytes([0, 0, 24, 0, 0, 0, 0, 0], u32(0xfed9_0000), u32(0), [1, 8, 0, 0, 0, 0, 2, 0]);
  const rest = bytes([0, 0, 16, 0, 1, 0, 0, 0], u32(0xfed9_1000), u32(0));
  return encodeSdt("DMAR", Uint8Array.from(bytes([HOST_ADDRESS_WIDTH - 1, 1], Array.from({ length: 10 }, () => 0), graphics, rest)), { oemTableId: "Z68BOARD" });
};

export const ivyBridgeZ68: BuiltHost = {
  name: "i7-3770-p8z68-v",
  version: "Linux version 6.1.0 (description of a known machine)",
  commandLine: "BOOT_IMAGE=/boot/vmlinuz root=/dev/sda1 ro quiet",
  dmesg: ["[    0.000000] DMI: System manufacturer System Product Name/P8Z68-V"],
  tables: { DMAR: dmar() },
  functions: [
    chipset("0000:00:00.0", 0x0150, 0x060000, undefined, { revision: 9, interruptPin: 0, capabilities: [] }),
    processorPort,
    chipset("0000:00:02.0", 0x0162, 0x030000, "i915", {
      revision: 9, bootVga: true, resetMethods: "device_specific",
      bars: [{ index: 0, kind: "memory64", size: 0x40_0000 }, { index: 2, kind: "memory64", size: 0x1000_0000, prefetchable: true }, { index: 4, kind: "io", size: 0x40 }],
      capabilities: [msi({ address64: false }), pm()],
    }),
    chipset("0000:00:16.0", 0x1c3a, 0x078000, "mei_me", { multifunction: true, capabilities: [pm(), msi()] }),
    chipset("0000:00:19.0", 0x1503, 0x020000, "e1000e", { resetMethods: "pm", capabilities: [pm(), msi()] }),
    chipset("0000:00:1a.0", 0x1c2d, 0x0c0320, "ehci-pci"),
    chipset("0000:00:1b.0", 0x1c20, 0x040300, "snd_hda_intel", { capabilities: [pm(), msi(), pciExpress({ type: PcieType.RootComplexIntegratedEndpoint, deviceCapabilities: { RoleBasedErrorReporting: 1 } })] }),
    chipsetPort(0, 2, []),
    chipsetPort(4, 3, [usb3("0000:03:00.0")]),
    chipsetPort(6, 4, [pciBridge], 5),
    chipset("0000:00:1d.0", 0x1c26, 0x0c0320, "ehci-pci"),
    chipset("0000:00:1f.0", 0x1c44, 0x060100, "lpc_ich", { multifunction: true, interruptPin: 0, capabilities: [], raw: RCBA }),
    chipset("0000:00:1f.2", 0x1c02, 0x010601, "ahci", { capabilities: [msi({ address64: false }), pm()] }),
    chipset("0000:00:1f.3", 0x1c22, 0x0c0500, "i801_smbus", { capabilities: [] }),
  ],
};

/** The same machine with a root port that has ACS: what a newer processor's x16 port would change. */
export const withProcessorAcs: BuiltHost = {
  ...ivyBridgeZ68,
  name: "i7-3770-p8z68-v, if its x16 port had ACS",
  functions: ivyBridgeZ68.functions.map((f) => (f === processorPort ? { ...f, capabilities: [...(f.capabilities ?? []), accessControlServices({ Capability: { SourceValidation: 1, P2PRequestRedirect: 1, P2PCompletionRedirect: 1, UpstreamForwarding: 1 } })] } : f)),
};
