import { parseMachine, type MachineDescription, type MachineInput } from "@iommu-lab/pci-bus/machine";

/** BARs of a card of the model: frame buffer and registers. */
export const CARD_BARS = [
  { index: 0, kind: "memory32", size: 0x4_0000, prefetchable: true },
  { index: 2, kind: "memory32", size: 0x1000 },
] as const;

const card = (device: number, rom: readonly ("legacy" | "efi")[]) => ({ at: "00.0", vendor: 0x1234, device, classCode: 0x03_0000, bars: [...CARD_BARS], romSize: 0x1000, rom: [...rom], behaviour: "vga", capabilities: { express: true } }) as const;

/** A made-up machine: a graphics card behind each of two root ports. */
export const twoCards = (changes: Partial<MachineInput> = {}): MachineDescription =>
  parseMachine({
    format: "iommu-lab-machine",
    version: 1,
    name: "two cards",
    kernel: { version: "6.12", commandLine: "intel_iommu=on" },
    firmware: { kind: "bios" },
    processors: { count: 1 },
    memory: 2 ** 26,
    iommus: [{ vendor: "intel" }],
    hostBridges: [
      {
        functions: [
          { at: "01.0", kind: "root-port", vendor: 0x8086, device: 0x1901, classCode: 0x06_0400, secondaryBus: 1, below: [card(1, ["legacy"])] },
          { at: "02.0", kind: "root-port", vendor: 0x8086, device: 0x1905, classCode: 0x06_0400, secondaryBus: 2, below: [card(2, ["legacy", "efi"])] },
        ],
      },
    ],
    ...changes,
  });
