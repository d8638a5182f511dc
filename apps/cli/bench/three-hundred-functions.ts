import { buildHost, type BuiltFunction } from "@iommu-lab/host/bundled";
import type { MemoryTree } from "@iommu-lab/host";
import { accessControlServices, advancedErrorReporting, msi, pciExpress, PcieType, powerManagement } from "@iommu-lab/pci-bus/capabilities";

const hex = (value: number): string => value.toString(16).padStart(2, "0");

const functionsBelow = (bus: number): BuiltFunction[] =>
  Array.from({ length: 8 }, (_, fn) => ({
    address: `0000:${hex(bus)}:00.${fn}`, vendor: 0x8086, device: 0x1572, classCode: 0x020000, header: 0, multifunction: fn === 0, interruptPin: 1, driver: "i40e",
    bars: [{ index: 0, kind: "memory64", size: 0x80_0000, prefetchable: true }],
    capabilities: [powerManagement(), msi({ vectors: 1 }), pciExpress({ type: PcieType.Endpoint }), advancedErrorReporting()],
  }));

/** A server with some three hundred functions: 33 root ports, half of them with ACS, eight functions below each. */
export const threeHundredFunctions = (): MemoryTree =>
  buildHost({
    name: "three hundred functions",
    version: "Linux version 6.12.0 (description of a machine that could be)",
    commandLine: "intel_iommu=on",
    dmesg: ["[    0.0] DMAR: Intel(R) Virtualization Technology for Directed I/O"],
    tables: {},
    functions: Array.from({ length: 33 }, (_, i): BuiltFunction => ({
      address: `0000:00:${hex(1 + (i >> 3))}.${i & 7}`, vendor: 0x8086, device: 0x2030, classCode: 0x060400, header: 1, multifunction: (i & 7) === 0, secondaryBus: i + 1, driver: "pcieport",
      capabilities: [pciExpress({ type: PcieType.RootPort, slot: true }), ...(i % 2 ? [accessControlServices({ Capability: { SourceValidation: 1, P2PRequestRedirect: 1, P2PCompletionRedirect: 1, UpstreamForwarding: 1 } })] : [])],
      below: functionsBelow(i + 1),
    })),
  });
