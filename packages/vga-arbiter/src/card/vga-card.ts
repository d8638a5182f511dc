import type { AccessSize, MmioHandler } from "@iommu-lab/memory";
import type { FabricPort, UpstreamPort } from "@iommu-lab/pci-bus";
import { pciExpress, PcieType, type FunctionDescription } from "@iommu-lab/pci-bus/capabilities";
import { Endpoint, type LegacyVga, type ModelFunction } from "@iommu-lab/pci-bus/model";
import { buildLegacyImage, buildOptionRom } from "../option-rom/build.ts";
import { byteHandler, bytesHandler } from "./byte-handler.ts";
import { readPort, writePort } from "./vga-ports.ts";
import { VgaRegisters } from "./vga-registers.ts";
import { VgaWindow } from "./vga-window.ts";
import { PLANE_SIZE, PLANES, VideoMemory } from "./video-memory.ts";

/** What sort of card. */
export interface VgaCardOptions {
  readonly vendor?: number;
  readonly device?: number;
  /** 24 bits; VGA by default. */
  readonly classCode?: number;
  /** Bytes, a power of two; 16 MiB by default. */
  readonly videoMemory?: number;
  /** Contents of the option ROM; a legacy image by default, null for a card without ROM. */
  readonly rom?: Uint8Array | null;
  /**
   * The card's own switch for the legacy ranges: "works"; "ignored", as on integrated Intel graphics, where it can be written
   * and nothing follows.
   */
  readonly legacySwitch?: "works" | "ignored";
  /** Behind a PCI Express link (default), or conventional PCI. */
  readonly conventional?: boolean;
  /**
   * The whole configuration space, in place of identity and BARs above: the first prefetchable memory BAR, or the first memory
   * BAR, is the frame buffer, as large as the video memory, and BAR 2 holds the registers where it is another memory BAR.
   */
  readonly description?: FunctionDescription;
}

/** Accesses that came through the legacy ranges, in bytes for memory and in ports for I/O accesses. */
export interface LegacyAccesses {
  readonly memoryReads: number;
  readonly memoryWrites: number;
  readonly ioReads: number;
  readonly ioWrites: number;
}

const NO_ACCESSES: LegacyAccesses = { memoryReads: 0, memoryWrites: 0, ioReads: 0, ioWrites: 0 };
const REGISTER_BAR = 0x1000;
const SMALLEST_ROM = 0x800;
/** Unless more is asked for. */
const MOST_MEMORY = 2 ** 24;

/** BAR index of the linear frame buffer. */
export const FRAMEBUFFER_BAR = 0;
/** BAR index of the card's own registers. */
export const REGISTERS_BAR = 2;
/** Offset of the legacy switch in the registers: 1 makes the card deaf for the legacy ranges. */
export const LEGACY_DISABLE = 0;

/** A VGA-compatible graphics card: legacy registers and window, linear frame buffer (BAR 0), registers of its own (BAR 2), option ROM. */
export class VgaCard implements ModelFunction {
  readonly config: Endpoint["config"];
  readonly bars: readonly (MmioHandler | undefined)[];
  readonly rom: MmioHandler | undefined;
  readonly fabric: FabricPort;
  readonly memory: VideoMemory;
  readonly romBytes: Uint8Array | undefined;
  #registers = new VgaRegisters();
  #window: VgaWindow;
  #accesses = { ...NO_ACCESSES };
  #legacyDisabled = false;
  readonly #legacySwitch: "works" | "ignored";
  readonly #endpoint: Endpoint;
  readonly #legacy: LegacyVga;

  /** @throws RangeError when the sizes are impossible */
  constructor(options: VgaCardOptions = {}) {
    const { vendor = 0x1234, device = 0x1111 } = options.description ?? options;
    this.romBytes = options.rom === null ? undefined : (options.rom ?? buildOptionRom([buildLegacyImage({ vendor, device, initHook: 1 })]));
    const description = options.description ?? describeCard(options, romSize(this.romBytes));
    const framebuffer = framebufferOf(description);
    this.memory = new VideoMemory(options.videoMemory ?? defaultMemory(framebuffer?.size));
    this.#window = new VgaWindow(this.#registers, this.memory);
    this.#legacySwitch = options.legacySwitch ?? "works";
    const handlers: (MmioHandler | undefined)[] = [];
    if (framebuffer) handlers[framebuffer.index] = bytesHandler(this.memory.bytes);
    if (hasRegisters(description, framebuffer)) handlers[REGISTERS_BAR] = byteHandler((at) => this.#readRegister(at), (at, value) => { this.#writeRegister(at, value); });
    this.#endpoint = new Endpoint(description, { bars: handlers, ...(this.romBytes ? { rom: bytesHandler(this.romBytes, true) } : {}), reset: () => { this.#reset(); } });
    this.config = this.#endpoint.config;
    this.bars = this.#endpoint.bars;
    this.rom = this.#endpoint.rom;
    this.fabric = this.#endpoint.fabric;
    this.#legacy = { memory: this.#legacyMemory(), io: this.#legacyPorts() };
  }

  /** What answers the legacy ranges; undefined while the card's own switch is off. */
  get legacyVga(): LegacyVga | undefined {
    return this.#legacyDisabled && this.#legacySwitch === "works" ? undefined : this.#legacy;
  }

  get registers(): VgaRegisters {
    return this.#registers;
  }

  get window(): VgaWindow {
    return this.#window;
  }

  /** Accesses through the legacy ranges since power-on, or since `clearAccesses`. */
  get legacyAccesses(): LegacyAccesses {
    return { ...this.#accesses };
  }

  clearAccesses(): void {
    this.#accesses = { ...NO_ACCESSES };
  }

  connect(port: UpstreamPort): void {
    this.#endpoint.connect(port);
  }

  #readRegister(at: number): number {
    return at === LEGACY_DISABLE ? Number(this.#legacyDisabled) : 0;
  }

  #writeRegister(at: number, value: number): void {
    if (at === LEGACY_DISABLE) this.#legacyDisabled = (value & 1) !== 0;
  }

  #legacyMemory(): MmioHandler {
    return byteHandler(
      (offset) => {
        this.#accesses.memoryReads++;
        return this.#window.read(offset);
      },
      (offset, value) => {
        this.#accesses.memoryWrites++;
        this.#window.write(offset, value);
      },
    );
  }

  #legacyPorts(): MmioHandler {
    const read = (port: number, size: AccessSize): number => {
      this.#accesses.ioReads++;
      return readPort(this.#registers, port, size);
    };
    const write = (port: number, size: AccessSize, value: number): void => {
      this.#accesses.ioWrites++;
      writePort(this.#registers, port, size, value);
    };
    return {
      read,
      write,
      read64: (port, into) => {
        into[0] = read(port, 4);
        into[1] = read(port + 4, 4);
      },
      write64: (port, low, high) => {
        write(port, 4, low);
        write(port + 4, 4, high);
      },
    };
  }

  /** Registers start anew; what is in video memory survives, as in a warm machine. */
  #reset(): void {
    this.#registers = new VgaRegisters();
    this.#window = new VgaWindow(this.#registers, this.memory);
    this.#legacyDisabled = false;
  }
}

const romSize = (bytes: Uint8Array | undefined): number => (bytes ? Math.max(SMALLEST_ROM, 2 ** Math.ceil(Math.log2(Math.max(1, bytes.length)))) : 0);

const describeCard = ({ vendor = 0x1234, device = 0x1111, classCode = 0x03_0000, videoMemory = MOST_MEMORY, conventional = false }: VgaCardOptions, rom: number): FunctionDescription => ({
  vendor,
  device,
  classCode,
  header: 0,
  bars: [
    { index: FRAMEBUFFER_BAR, kind: "memory32", size: videoMemory, prefetchable: true },
    { index: REGISTERS_BAR, kind: "memory32", size: REGISTER_BAR },
  ],
  romSize: rom,
  capabilities: conventional ? [] : [pciExpress({ type: PcieType.LegacyEndpoint })],
});

type CardBar = NonNullable<FunctionDescription["bars"]>[number];

const framebufferOf = ({ bars = [] }: FunctionDescription): CardBar | undefined => {
  const memory = bars.filter(({ kind }) => kind !== "io");
  return memory.find(({ prefetchable }) => prefetchable) ?? memory[0];
};

const hasRegisters = ({ bars = [] }: FunctionDescription, framebuffer: CardBar | undefined): boolean => bars.some((bar) => bar.index === REGISTERS_BAR && bar.kind !== "io" && bar !== framebuffer);

/** As much as the frame buffer shows, within reason; a frame buffer beyond it is empty. */
const defaultMemory = (size = MOST_MEMORY): number => Math.min(MOST_MEMORY, Math.max(PLANES * PLANE_SIZE, size));
