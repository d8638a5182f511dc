import { formatAddress, type FunctionAddress } from "@iommu-lab/pci-bus";
import type { RootComplex } from "@iommu-lab/pci-bus/model";
import type { VgaDevice } from "../arbiter/device.ts";
import { initHookOf } from "../option-rom/build.ts";
import { CodeType, type OptionRomImage } from "../option-rom/image.ts";
import { parseOptionRom } from "../option-rom/parse.ts";
import { copyToShadow, SHADOW_BASE } from "../option-rom/shadow.ts";
import { choosePrimary, displaysOf, ownersOf, readRom, routeTo } from "./displays.ts";
import { setTextMode, showText, type InitHook } from "./text-mode.ts";
import type { BootAction, BootReport, BootStep } from "./step.ts";

/** What a legacy BIOS decides. */
export interface BiosOptions {
  /** The display that setup names as the first one; by default the first that is found. */
  readonly primary?: FunctionAddress;
  /** What each number of an image's init hook does; 1 sets text mode by default. */
  readonly hooks?: Readonly<Record<number, InitHook>>;
  /** Starts the other displays as well, handing them the legacy ranges in turn; the default. */
  readonly startSecondary?: boolean;
}

const ids = ({ config }: VgaDevice): { vendor: number; device: number } => ({ vendor: config.read(0, 2), device: config.read(2, 2) });

/** The image that a BIOS runs: legacy, of this card, whole, and with a right checksum. */
const runnable = (bytes: Uint8Array, display: VgaDevice): OptionRomImage | undefined => {
  const card = ids(display);
  return parseOptionRom(bytes, card).images.find((image) => image.codeType === CodeType.LegacyBios && image.checksum === "good" && !image.truncated && image.vendor === card.vendor);
};

/** One boot of a legacy BIOS. */
class BiosBoot {
  readonly steps: BootStep[] = [];
  readonly initialised: FunctionAddress[] = [];
  readonly #complex: RootComplex;
  readonly #displays: readonly VgaDevice[];
  readonly #hooks: Readonly<Record<number, InitHook>>;

  constructor(complex: RootComplex, options: BiosOptions) {
    this.#complex = complex;
    this.#displays = displaysOf(complex);
    this.#hooks = options.hooks ?? { 1: setTextMode };
  }

  run(options: BiosOptions): BootReport {
    const primary = choosePrimary(this.#displays, options.primary);
    if (!primary) return this.#report(undefined);
    this.#step("choose", primary, "is the first display");
    this.#start(primary);
    const others = options.startSecondary === false ? [] : this.#displays.filter((display) => display !== primary);
    for (const display of others) this.#start(display);
    if (others.length > 0) {
      this.#route(primary);
      this.#restoreShadow(primary);
    }
    const shown = this.initialised.includes(primary.address);
    if (shown) showText(this.#complex, "BIOS");
    return this.#report(shown ? primary.address : undefined);
  }

  #report(primary: FunctionAddress | undefined): BootReport {
    return { steps: this.steps, primary, initialised: this.initialised };
  }

  #step(action: BootAction, { address }: VgaDevice, what: string): void {
    this.steps.push({ action, device: address, owners: ownersOf(this.#complex, this.#displays), text: `${formatAddress(address)} ${what}.` });
  }

  #route(display: VgaDevice): void {
    routeTo(this.#displays, display);
    this.#step("route", display, "gets the legacy ranges");
  }

  /** Routes, copies the ROM to RAM, checks and runs it. PCI Firmware §5.2 "Power-on Self Test (POST) Code". */
  #start(display: VgaDevice): void {
    this.#route(display);
    const image = this.#copyRom(display);
    const hook = image && this.#hooks[initHookOf(image) ?? -1];
    if (!hook) {
      if (image) this.#step("skip", display, "has a video BIOS that stands for no known initialisation");
      return;
    }
    hook(this.#complex);
    this.initialised.push(display.address);
    this.#step("run-vbios", display, "is set up by its video BIOS");
  }

  #copyRom(display: VgaDevice): Uint8Array | undefined {
    const bytes = readRom(this.#complex, display.address);
    const image = bytes && runnable(bytes, display);
    if (!bytes || !image) {
      this.#step("skip", display, bytes ? "has no legacy image that a BIOS would run" : "has no option ROM");
      return undefined;
    }
    const contents = bytes.slice(image.offset, image.offset + image.headerLength);
    copyToShadow(this.#complex.memory, contents);
    this.#step("copy-rom", display, `has its video BIOS at 0x${SHADOW_BASE.toString(16)} now, and its ROM BAR is off`);
    return contents;
  }

  /** What stays at 0xc_0000 is the video BIOS of the display with the screen. */
  #restoreShadow(primary: VgaDevice): void {
    if (this.initialised.includes(primary.address)) this.#copyRom(primary);
  }
}

/**
 * Brings displays up as a legacy BIOS does: chooses the first one, gives it the legacy ranges, copies its video BIOS to RAM and
 * runs it; then the same for each other display, handing the ranges over, and back. The machine must be enumerated.
 */
export const bootBios = (complex: RootComplex, options: BiosOptions = {}): BootReport => new BiosBoot(complex, options).run(options);
