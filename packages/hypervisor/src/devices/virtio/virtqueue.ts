import { addressOf, plus, type DeviceMemory, type DmaAddress } from "./dma.ts";

/** Flags of a descriptor. Virtio 1.2 §2.7.5 "The Virtqueue Descriptor Table". */
const NEXT = 1;
const WRITE = 2;
const INDIRECT = 4;
/** Of the available ring: the driver wants no interrupts. §2.7.6. */
const NO_INTERRUPT = 1;
const DESCRIPTOR_BYTES = 16;
/** VIRTIO_MSI_NO_VECTOR. §4.1.5.1.2. */
export const NO_VECTOR = 0xffff;

/** A piece of guest memory. */
export interface Buffer {
  readonly address: DmaAddress;
  /** Bytes. */
  readonly length: number;
}

/** A request: what the device may read, then what it may write. */
export interface Chain {
  readonly head: number;
  readonly readable: readonly Buffer[];
  readonly writable: readonly Buffer[];
}

/** What a driver made of a queue breaks the specification: the device needs a reset. */
export class QueueBroken extends Error {
  override readonly name = "QueueBroken";
}

/** Features that change how a queue works. */
export interface QueueFeatures {
  readonly indirect: boolean;
  readonly eventIndex: boolean;
}

/** A split virtqueue, the device's side. Virtio 1.2 §2.7 "Split Virtqueues". */
export class Virtqueue {
  /** Entries at most: a power of two. */
  readonly maximum: number;
  /** As the driver set it. */
  size: number;
  enabled = false;
  /** MSI-X vector. */
  vector = NO_VECTOR;
  /** The descriptor table, the driver's and the device's area. */
  readonly areas = new Uint32Array(6);
  #lastAvailable = 0;
  #used = 0;
  /** Of the used index when the driver was last told. */
  #signalled = 0;

  constructor(maximum: number) {
    this.maximum = maximum;
    this.size = maximum;
  }

  reset(): void {
    this.size = this.maximum;
    this.enabled = false;
    this.vector = NO_VECTOR;
    this.areas.fill(0);
    this.#lastAvailable = this.#used = this.#signalled = 0;
  }

  /** The next request, or undefined when the driver has offered no more. @throws QueueBroken @throws DmaRefused */
  take(memory: DeviceMemory, features: QueueFeatures): Chain | undefined {
    const driver = this.#area(1);
    let waiting = this.#waiting(memory);
    if (waiting === 0 && features.eventIndex) {
      // Asks to be notified of the next one, and looks once more: the driver may have been faster. §2.7.10.
      memory.write16(plus(this.#area(2), 4 + 8 * this.size), this.#lastAvailable);
      waiting = this.#waiting(memory);
    }
    if (waiting === 0) return undefined;
    if (waiting > this.size) throw new QueueBroken(`The available index runs ${waiting} entries ahead in a queue of ${this.size}.`);
    const head = memory.read16(plus(driver, 4 + 2 * (this.#lastAvailable & (this.size - 1))));
    const chain = this.#chain(memory, head, features);
    this.#lastAvailable = (this.#lastAvailable + 1) & 0xffff;
    return chain;
  }

  /** Gives a request back with the bytes written into it. */
  give(memory: DeviceMemory, head: number, written: number): void {
    const device = this.#area(2);
    memory.write32Pair(plus(device, 4 + 8 * (this.#used & (this.size - 1))), head, written);
    this.#used = (this.#used + 1) & 0xffff;
    memory.write16(plus(device, 2), this.#used);
  }

  /** Whether the driver wants to hear of what was given back since it was last told; then it counts as told. §2.7.7.1, §2.7.10. */
  wantsInterrupt(memory: DeviceMemory, features: QueueFeatures): boolean {
    const [before, now] = [this.#signalled, this.#used];
    if (before === now) return false;
    const driver = this.#area(1);
    if (!features.eventIndex) {
      this.#signalled = now;
      return (memory.read16(driver) & NO_INTERRUPT) === 0;
    }
    const event = memory.read16(plus(driver, 4 + 2 * this.size));
    this.#signalled = now;
    return ((now - event - 1) & 0xffff) < ((now - before) & 0xffff);
  }

  /** How far the driver is ahead. */
  #waiting(memory: DeviceMemory): number {
    return (memory.read16(plus(this.#area(1), 2)) - this.#lastAvailable) & 0xffff;
  }

  #area(index: 0 | 1 | 2): DmaAddress {
    return addressOf(this.areas[2 * index] as number, this.areas[2 * index + 1] as number); // three areas of two words
  }

  #chain(memory: DeviceMemory, head: number, { indirect }: QueueFeatures): Chain {
    const readable: Buffer[] = [];
    const writable: Buffer[] = [];
    let table = this.#area(0);
    let entries = this.size;
    let inside = false;
    let index = head;
    // §2.7.5.3.1: no chain is longer than the queue, an indirect one either; the descriptor of its table does not count.
    for (let count = 0; ; ) {
      if (index >= entries) throw new QueueBroken(`Descriptor ${index} is past the ${entries} of its table.`);
      if (count >= this.size) throw new QueueBroken(`The chain from descriptor ${head} is a loop, or longer than the queue.`);
      const view = memory.view(plus(table, DESCRIPTOR_BYTES * index), DESCRIPTOR_BYTES);
      const address = addressOf(view.getUint32(0, true), view.getUint32(4, true));
      const length = view.getUint32(8, true);
      const flags = view.getUint16(12, true);
      const next = view.getUint16(14, true);
      if ((flags & INDIRECT) !== 0) {
        // §2.7.5.3.1: not inside one, not with NEXT, and of whole descriptors. WRITE means nothing here (§2.7.5.3.2).
        if (!indirect || inside || (flags & NEXT) !== 0 || length % DESCRIPTOR_BYTES !== 0) throw new QueueBroken(`Descriptor ${index} is no lawful indirect table (${length} bytes, flags 0x${flags.toString(16)}).`);
        inside = true;
        table = address;
        entries = length / DESCRIPTOR_BYTES;
        index = 0;
        continue;
      }
      count++;
      if ((flags & WRITE) !== 0) writable.push({ address, length });
      else if (writable.length > 0) throw new QueueBroken(`Descriptor ${index} is for reading but follows one for writing.`);
      else readable.push({ address, length });
      if ((flags & NEXT) === 0) return { head, readable, writable };
      index = next;
    }
  }
}

/** Most bytes of a request. */
export const LARGEST_REQUEST = 2 ** 24;

/** Bytes of all buffers together. */
export const roomOf = (buffers: readonly Buffer[]): number => buffers.reduce((sum, { length }) => sum + length, 0);

/** All bytes of buffers, one after the other. @throws QueueBroken when there are more than `limit` */
export const gather = (memory: DeviceMemory, buffers: readonly Buffer[], limit = LARGEST_REQUEST): Uint8Array => {
  const total = roomOf(buffers);
  if (total > limit) throw new QueueBroken(`A request of ${total} bytes; at most ${limit} make sense.`);
  const bytes = new Uint8Array(total);
  let at = 0;
  for (const { address, length } of buffers) {
    memory.read(address, bytes.subarray(at, at + length));
    at += length;
  }
  return bytes;
};

/** Puts bytes into buffers, as far as they have room. @returns bytes written */
export const scatter = (memory: DeviceMemory, buffers: readonly Buffer[], bytes: Uint8Array): number => {
  let at = 0;
  for (const { address, length } of buffers) {
    const part = bytes.subarray(at, at + length);
    if (part.length > 0) memory.write(address, part);
    at += part.length;
  }
  return at;
};
