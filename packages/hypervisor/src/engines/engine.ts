import type { AccessSize, AddressSpace, Hpa, MmioHandler, Pfn } from "@iommu-lab/memory";

/** Guest memory as devices and IOMMUs reach it: bytes for devices, words for walkers of tables. */
export interface GuestRam extends AddressSpace<Hpa> {
  /** Bytes, from address 0 on. */
  readonly size: number;
  /** Words that page `pfn` is among, good until a few more pages are asked for; undefined where no RAM is. */
  wordsOf(pfn: Pfn<"HPA">): Uint32Array | undefined;
  /** Index in those words of the page's first. */
  wordOf(pfn: Pfn<"HPA">): number;
}

/** Registers that are no BAR of a visible function: firmware's tables say where they are. */
export interface RegisterWindow {
  /** Bytes: a power of two from 4096 on. */
  readonly size: number;
  readonly handler: MmioHandler;
}

/** What a guest's processor reaches beside RAM. The engine asks, the board answers. */
export interface GuestBus {
  /** Functions of bus 0: device number times 8 plus function, ascending. */
  readonly functions: readonly number[];
  readonly windows: readonly RegisterWindow[];
  /** ACPI tables beside the engine's own, whole. */
  readonly tables: readonly Uint8Array[];
  /** All ones where nobody answers. `offset` is a multiple of `size`. */
  configRead(devfn: number, offset: number, size: AccessSize): number;
  configWrite(devfn: number, offset: number, size: AccessSize, value: number): void;
  /** BARs, by guest-physical address; 1, 2, 4 or 8 bytes. */
  memoryRead(address: Hpa, into: Uint8Array): void;
  memoryWrite(address: Hpa, from: Uint8Array): void;
}

/** How a guest ended. */
export interface EngineEnd {
  readonly reason: "powered-off" | "stopped" | "failed";
  /** What failed, in a sentence. */
  readonly text?: string;
}

/** A guest that is made but may not run yet. */
export interface EngineSession<Program> {
  readonly memory: GuestRam;
  /** A write of 32 bits to 0xfeex_xxxx, past all remapping: an interrupt in compatibility format. */
  message(address: number, data: number): void;
  /** What somebody types on the serial line. */
  type(bytes: Uint8Array): void;
  /**
   * Starts the guest. Firmware decides where register windows are, so the board is made when it has: `make` may be called
   * more than once, with no places at first, and the last board counts.
   */
  start(program: Program, make: (windows: readonly Hpa[]) => GuestBus): Promise<void>;
  /** Fulfilled when the guest is gone and nothing of it is left. */
  readonly ended: Promise<EngineEnd>;
  /** Ends the guest, if it runs. Nothing of it is left when the promise is fulfilled. */
  stop(): Promise<EngineEnd>;
}

/** Memory and console of a new guest. */
export interface EngineOptions {
  /** Bytes of RAM: a multiple of 1 MiB. */
  readonly ram: number;
  /** Takes what the guest sends over its serial line. */
  readonly console: (bytes: Uint8Array) => void;
}

/** What runs a guest's instructions. `Program` is what it can be given to run. */
export interface Engine<Program> {
  readonly name: string;
  /** Undefined when it can run here, else why not and what to do about it. */
  unavailable(): string | undefined;
  /** @throws Error when there is not enough memory */
  open(options: EngineOptions): EngineSession<Program>;
}
