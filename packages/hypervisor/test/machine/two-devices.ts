import { parseMachine, type MachineDescription, type MachineInput } from "@iommu-lab/pci-bus/machine";

const NIC = { vendor: 0x8086, device: 0x1572, classCode: 0x02_0000, bars: [{ index: 0, kind: "memory64", size: 0x10000 }], capabilities: { msix: { vectors: 4 }, functionLevelReset: true } } as const;

/** A made-up machine: two root ports, a stream device behind each, a PCI bridge with two conventional devices. */
export const twoDevices = (vendor: "intel" | "amd", changes: Partial<MachineInput> = {}): MachineDescription =>
  parseMachine({
    format: "iommu-lab-machine",
    version: 1,
    name: "two devices",
    kernel: { version: "6.12", commandLine: "intel_iommu=on" },
    firmware: { kind: "uefi" },
    processors: { count: 2 },
    memory: 2 ** 32,
    iommus: [{ vendor }],
    hostBridges: [
      {
        functions: [
          { at: "00.0", vendor: 0x8086, device: 0x29c0, classCode: 0x06_0000 },
          { at: "01.0", kind: "root-port", vendor: 0x8086, device: 0x1901, classCode: 0x06_0400, capabilities: { acs: true }, secondaryBus: 1, below: [{ at: "00.0", ...NIC, behaviour: "stream" }] },
          { at: "02.0", kind: "root-port", vendor: 0x8086, device: 0x1905, classCode: 0x06_0400, capabilities: { acs: true }, secondaryBus: 5, below: [{ at: "00.0", ...NIC, behaviour: "stream" }] },
          {
            at: "03.0", kind: "root-port", vendor: 0x8086, device: 0x1909, classCode: 0x06_0400, capabilities: { acs: true }, secondaryBus: 7, subordinateBus: 8,
            below: [{ at: "00.0", kind: "pcie-to-pci", vendor: 0x1b21, device: 0x1080, classCode: 0x06_0401, secondaryBus: 8, below: [{ at: "01.0", vendor: 0x1234, device: 0x11e8, classCode: 0xff_0000, behaviour: "edu" }, { at: "02.0", vendor: 0x1234, device: 0x11e8, classCode: 0xff_0000, behaviour: "edu" }] }],
          },
        ],
      },
    ],
    ...changes,
  });
