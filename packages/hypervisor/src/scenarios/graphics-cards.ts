import { VgaCard } from "@iommu-lab/vga-arbiter";
import { VGA_MEMORY, type Attachment } from "@iommu-lab/pci-bus/model";
import type { MachineInput } from "@iommu-lab/pci-bus/machine";
import type { Machine } from "../machine/machine.ts";
import { laboratory, slot, type LaboratoryInput } from "./laboratory.ts";

type FunctionInput = MachineInput["hostBridges"][number]["functions"][number];

/** Bytes of video memory of a card below: what VGA's planes need. */
const VIDEO_MEMORY = 0x4_0000;

/** A graphics card with these images in its ROM: frame buffer in BAR 0, registers in BAR 2. */
export const graphicsCard = (more: Partial<FunctionInput> = {}): FunctionInput => ({
  at: "00.0", vendor: 0x1234, device: 0x1111, classCode: 0x03_0000,
  bars: [{ index: 0, kind: "memory32", size: VIDEO_MEMORY, prefetchable: true }, { index: 2, kind: "memory32", size: 0x1000 }],
  romSize: 0x1000, rom: ["legacy"], capabilities: { express: true }, behaviour: "vga", ...more,
});

/** Where the cards of `threeCards` are. */
export const THREE_ADDRESSES = ["0000:01:00.0", "0000:02:00.0", "0000:03:00.0"] as const;

/** A machine with three cards to assign, each behind a root port of its own. */
export const threeCards = (kind: "bios" | "uefi", rom: readonly ("legacy" | "efi")[]): LaboratoryInput =>
  laboratory({ firmware: { kind }, memory: 2 ** 26, functions: THREE_ADDRESSES.map((_, i) => slot(`0${i + 1}.0`, i + 1, [graphicsCard({ rom: [...rom] })])) });

/** A machine whose displays are the story: processors reach them past every IOMMU, so it has none. */
export const displayLaboratory = (functions: readonly FunctionInput[]): LaboratoryInput => laboratory({ firmware: { kind: "bios" }, functions, memory: 2 ** 26, iommus: [], commandLine: "" });

/** The graphics card at an address. @throws RangeError when none is there */
export const cardAt = (machine: Machine, address: string): VgaCard => {
  const { fn } = machine.at(address);
  if (!(fn instanceof VgaCard)) throw new RangeError(`${address} is no graphics card.`);
  return fn;
};

/** Where text mode shows its characters. */
export const TEXT_SCREEN = 0xb_8000;
/** Where graphics modes show their points. */
export const GRAPHICS_SCREEN: number = VGA_MEMORY.base;

/** A byte of a card's text screen: characters are in plane 0, their colors in plane 1. */
export const shownText = ({ memory }: VgaCard, offset: number): number => memory.readPlane(offset & 1, offset & ~1);

/** What a video BIOS writes to ports for 16 colors, with each byte written to all four planes: video memory on, then SR04, SR02, GR05, GR06, GR08. */
export const SIXTEEN_COLORS = [
  { port: 0x3c2, size: 1, value: 0x67 },
  { port: 0x3c4, size: 2, value: 0x0604 },
  { port: 0x3c4, size: 2, value: 0x0f02 },
  { port: 0x3ce, size: 2, value: 0x0005 },
  { port: 0x3ce, size: 2, value: 0x0506 },
  { port: 0x3ce, size: 2, value: 0xff08 },
] as const;

/** Counts how often two functions answer one access, until it is stopped. */
export const watchConflicts = ({ complex }: Machine): { readonly count: () => number; readonly stop: () => void } => {
  const before = complex.trace;
  let count = 0;
  complex.trace = {
    hop: (hop) => {
      before?.hop(hop);
      if (hop.decision === "conflict") count++;
    },
  };
  return { count: () => count, stop: () => { complex.trace = before; } };
};

/** Switches VGA Enable and decoding on for a card and what is above it, as software does that knows of no other card. */
export const decodeLegacy = (seat: Attachment): void => {
  const { config } = seat.fn;
  config.write(0x04, 2, config.read(0x04, 2) | 3);
  for (let bridge = seat.bus.bridge; bridge; bridge = bridge.bus.bridge) bridge.fn.config.write(0x3e, 2, bridge.fn.config.read(0x3e, 2) | 8);
};
