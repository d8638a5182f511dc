import { formatAddress, type FunctionAddress } from "@iommu-lab/pci-bus";
import { barBase, Command, type RootComplex } from "@iommu-lab/pci-bus/model";
import type { FirmwareFramebuffer, VgaDevice } from "../arbiter/device.ts";
import { romVerdict } from "../option-rom/verdict.ts";
import { choosePrimary, displaysOf, ownersOf, readRom, routeTo } from "./displays.ts";
import type { BootReport, BootStep } from "./step.ts";

/** How the displays came up under UEFI. */
export interface UefiReport extends BootReport {
  /** What the operating system is given to draw on. */
  readonly framebuffer: FirmwareFramebuffer | undefined;
}

/** What UEFI firmware decides. */
export interface UefiOptions {
  readonly primary?: FunctionAddress;
  /** Bytes of a picture: 1024 by 768 in 32 bits by default. */
  readonly pictureSize?: number;
}

const GRAY = 0x80;

/** The card's first memory BAR, where its driver draws. */
const framebufferOf = (complex: RootComplex, { address }: VgaDevice): { readonly base: number; readonly size: number } | undefined => {
  const seat = complex.find(address);
  const bar = seat?.bars.find(({ kind }) => kind !== "io");
  const base = seat && bar ? barBase(seat.fn.config, bar) : 0;
  return bar && base > 0 ? { base, size: bar.size } : undefined;
};

/** Runs a card's graphics output driver: BARs alone are touched. UEFI §12.9 "Graphics Output Protocol". */
const startGop = (complex: RootComplex, display: VgaDevice, pictureSize: number): FirmwareFramebuffer | undefined => {
  const bar = framebufferOf(complex, display);
  if (!bar || bar.size <= pictureSize) return undefined;
  display.config.write(0x04, 2, display.config.read(0x04, 2) | Command.MemorySpace);
  complex.memoryWrite(bar.base, new Uint8Array(pictureSize).fill(GRAY));
  return { base: bar.base, size: pictureSize, device: display.address };
};

/**
 * Brings displays up as UEFI without a compatibility module does: each card with a UEFI driver for x86-64 draws into its own
 * BAR, and nobody gets, or uses, the legacy ranges. Cards without such a driver stay dark. The machine must be enumerated.
 */
export const bootUefi = (complex: RootComplex, options: UefiOptions = {}): UefiReport => {
  const displays = displaysOf(complex);
  const steps: BootStep[] = [];
  const started = new Map<VgaDevice, FirmwareFramebuffer>();
  routeTo(displays, undefined);
  for (const display of displays) {
    const rom = readRom(complex, display.address);
    const card = { vendor: display.config.read(0, 2), device: display.config.read(2, 2) };
    const framebuffer = rom && romVerdict(rom, card).ovmf === "yes" ? startGop(complex, display, options.pictureSize ?? 1024 * 768 * 4) : undefined;
    if (framebuffer) started.set(display, framebuffer);
    const text = framebuffer ? "is set up by its UEFI driver, through its BARs alone" : "has no UEFI driver for x86-64, or no room to draw, and stays dark";
    steps.push({ action: framebuffer ? "start-gop" : "skip", device: display.address, owners: ownersOf(complex, displays), text: `${formatAddress(display.address)} ${text}.` });
  }
  const primary = choosePrimary([...started.keys()], options.primary) ?? [...started.keys()][0];
  return { steps, primary: primary?.address, initialised: [...started.keys()].map(({ address }) => address), framebuffer: primary && started.get(primary) };
};
