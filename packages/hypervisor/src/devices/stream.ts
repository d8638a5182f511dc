import type { AccessSize, MmioHandler } from "@iommu-lab/memory";
import { Completion, type Clock } from "@iommu-lab/pci-bus";
import type { FunctionDescription } from "@iommu-lab/pci-bus/capabilities";
import { Endpoint } from "@iommu-lab/pci-bus/model";
import { byParts } from "./by-parts.ts";
import { notReentrant } from "./not-reentrant.ts";

/** Offsets in BAR 0 of a stream device, each 32 bits. */
export const StreamRegister = { Control: 0x00, InterruptStatus: 0x04, RingLow: 0x08, RingHigh: 0x0c, Entries: 0x10, Tail: 0x14, Head: 0x18, Errors: 0x1c } as const;
/** Bits of `StreamRegister.Control`. */
export const StreamControl = { Enable: 1 } as const;
/** Bits of `StreamRegister.InterruptStatus`; a written one clears. */
export const StreamInterrupt = { Done: 1, Error: 2 } as const;
/** Bits of a descriptor's last word. */
export const StreamFlag = { FromMemory: 1, Done: 2, Error: 4 } as const;
/** Bytes of a descriptor: address (64 bits), length (32), flags (32). */
export const STREAM_DESCRIPTOR = 16;

/** What a stream device moves, and how fast. */
export interface StreamOptions {
  readonly clock: Clock;
  /** Fills what the device writes to memory; descriptor `count` since power-on. Default: bytes that count up from `count`. */
  readonly produce?: (bytes: Uint8Array, count: number) => void;
  /** Takes what the device read from memory. */
  readonly consume?: (bytes: Uint8Array, count: number) => void;
  /** Nanoseconds from the doorbell to the end of one descriptor. Default 1000. */
  readonly latency?: number;
  /** What it moves data over, when others do too: descriptors wait for their turn. `latency` counts from there. */
  readonly link?: SharedLink;
  /** Makes virtual function `index`. */
  readonly virtualFunction?: (index: number) => Endpoint;
}

/** One link that several functions of a device share: first come, first served, one descriptor after the other. */
export class SharedLink {
  readonly #time: number;
  #free = 0;

  /** @param time nanoseconds that the link takes for a descriptor */
  constructor(time: number) {
    this.#time = time;
  }

  /** Takes the next turn. @returns nanoseconds from `now` until it is over */
  turn(now: number): number {
    this.#free = Math.max(this.#free, now) + this.#time;
    return this.#free - now;
  }
}

/** No more than this is moved by one descriptor. */
const LONGEST = 0x10_0000;

const countUp = (bytes: Uint8Array, count: number): void => {
  for (let i = 0; i < bytes.length; i++) bytes[i] = (count + i) & 0xff;
};

/**
 * A device that moves data through a ring of descriptors in memory, as network and capture cards do: software fills descriptors,
 * writes the tail, and the device works through them one by one while the machine's clock goes on, marks each as done and
 * raises vector 0.
 */
export class StreamDevice extends Endpoint {
  readonly #options: StreamOptions;
  readonly #registers: Uint32Array;
  #count = 0;
  #busy = false;

  /** @param description its configuration space; BAR 0 must be there, except in a virtual function */
  constructor(description: FunctionDescription, options: StreamOptions) {
    const registers = new Uint32Array(8);
    const ring: { device?: StreamDevice } = {};
    super(description, {
      bars: [notReentrant(registerHandler(registers, (offset, value) => ring.device?.written(offset, value)))],
      ...(options.virtualFunction ? { virtualFunction: options.virtualFunction } : {}),
      reset: () => {
        registers.fill(0);
      },
    });
    this.#options = options;
    this.#registers = registers;
    ring.device = this;
  }

  /** Descriptors done since power-on. */
  get count(): number {
    return this.#count;
  }

  /** A register was written. For its own BAR. */
  written(offset: number, value: number): void {
    const registers = this.#registers;
    if (offset === StreamRegister.InterruptStatus) {
      registers[1] = (registers[1] as number) & ~value;
      if (registers[1] === 0) this.lower();
    } else if (offset !== StreamRegister.Head && offset !== StreamRegister.Errors) registers[offset >> 2] = value;
    if (offset === StreamRegister.Tail || offset === StreamRegister.Control) this.#work();
  }

  get #pending(): boolean {
    const [control, , , , entries, tail, head] = this.#registers as unknown as readonly number[];
    return ((control ?? 0) & StreamControl.Enable) !== 0 && (entries ?? 0) > 0 && (tail ?? 0) % (entries ?? 1) !== head;
  }

  #work(): void {
    if (this.#busy || !this.#pending) return;
    this.#busy = true;
    const { clock, link, latency = 1000 } = this.#options;
    clock.after(link ? link.turn(clock.now) : latency, () => {
      this.#busy = false;
      if (!this.#pending) return;
      this.#one();
      this.#work();
    });
  }

  #one(): void {
    const registers = this.#registers;
    const head = registers[6] as number; // eight registers
    const at = BigInt.asUintN(64, BigInt(registers[2] as number) + (BigInt(registers[3] as number) << 32n) + BigInt(head * STREAM_DESCRIPTOR));
    const bytes = new Uint8Array(STREAM_DESCRIPTOR);
    const view = new DataView(bytes.buffer);
    const fetched = this.read(at, bytes) === Completion.Successful;
    const ok = fetched && this.#move(view);
    if (fetched) {
      view.setUint32(12, view.getUint32(12, true) | StreamFlag.Done | (ok ? 0 : StreamFlag.Error), true);
      this.write(BigInt.asUintN(64, at + 12n), bytes.subarray(12));
    }
    registers[6] = (head + 1) % (registers[4] as number);
    if (!ok) registers[7] = (registers[7] as number) + 1;
    this.#count++;
    registers[1] = (registers[1] as number) | StreamInterrupt.Done | (ok ? 0 : StreamInterrupt.Error);
    this.raise(0);
  }

  #move(descriptor: DataView): boolean {
    const address = descriptor.getBigUint64(0, true);
    const length = descriptor.getUint32(8, true);
    if (length > LONGEST) return false;
    const data = new Uint8Array(length);
    if ((descriptor.getUint32(12, true) & StreamFlag.FromMemory) !== 0) {
      if (this.read(address, data) !== Completion.Successful) return false;
      this.#options.consume?.(data, this.#count);
      return true;
    }
    (this.#options.produce ?? countUp)(data, this.#count);
    return this.write(address, data) === Completion.Successful;
  }
}

const registerHandler = (registers: Uint32Array, written: (offset: number, value: number) => void): MmioHandler => {
  const read = (offset: number, size: AccessSize): number => (size === 4 && offset % 4 === 0 ? (registers[offset >> 2] ?? 0) : 0);
  const write = (offset: number, size: AccessSize, value: number): void => {
    if (size === 4 && offset % 4 === 0 && offset < 4 * registers.length) written(offset, value >>> 0);
  };
  return byParts(read, write);
};
