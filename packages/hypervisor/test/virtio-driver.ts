/** A virtio driver as a guest has it: split queues in memory, and a device set up through its common configuration. */
import type { AccessSize, AddressSpace, Hpa } from "@iommu-lab/memory";

/** Descriptor flags. Virtio 1.2 §2.7.5. */
export const Flag = { Next: 1, Write: 2, Indirect: 4 } as const;
/** Bits of the device status. §2.1. */
export const Status = { Acknowledge: 1, Driver: 2, DriverOk: 4, FeaturesOk: 8, NeedsReset: 64, Failed: 128 } as const;
/** Structures in BAR 0, as the capabilities say. */
export const Place = { Common: 0x0000, Isr: 0x1000, Device: 0x2000, Notify: 0x3000, MsixTable: 0x4000 } as const;
/** Fields of the common configuration. §4.1.4.3. */
export const Common = { DeviceFeatureSelect: 0x00, DeviceFeature: 0x04, DriverFeatureSelect: 0x08, DriverFeature: 0x0c, ConfigVector: 0x10, QueueCount: 0x12, Status: 0x14, Generation: 0x15, QueueSelect: 0x16, QueueSize: 0x18, QueueVector: 0x1a, QueueEnable: 0x1c, QueueNotifyOffset: 0x1e, Descriptors: 0x20, Driver: 0x28, Device: 0x30 } as const;

export const VERSION_1 = 1n << 32n;
export const ACCESS_PLATFORM = 1n << 33n;
export const INDIRECT = 1n << 28n;
export const EVENT_INDEX = 1n << 29n;
/** What every device here wants. */
export const REQUIRED = VERSION_1 | ACCESS_PLATFORM;

export interface Segment {
  /** As the processor sees it. */
  readonly address: Hpa;
  readonly length: number;
  /** The device may write to it. */
  readonly write?: boolean;
}

/** A split virtqueue, the driver's side. */
export class SplitQueue {
  readonly size: number;
  readonly descriptors: Hpa;
  readonly available: Hpa;
  readonly used: Hpa;
  readonly #memory: AddressSpace<Hpa>;
  readonly #shift: number;
  #next = 0;
  #available = 0;
  #seen = 0;

  /** @param base a page's first byte; three pages are enough for 128 entries @param shift what is added to an address for the device */
  constructor(memory: AddressSpace<Hpa>, base: Hpa, size: number, shift = 0) {
    this.#memory = memory;
    this.size = size;
    this.#shift = shift;
    this.descriptors = base;
    this.available = base + 0x1000;
    this.used = base + 0x2000;
  }

  /** The three areas as the device is told them. */
  get areas(): readonly [number, number, number] {
    return [this.descriptors + this.#shift, this.available + this.#shift, this.used + this.#shift];
  }

  /** Writes a descriptor; `address` is the device's. */
  describe(index: number, address: number | bigint, length: number, flags = 0, next = 0, table = this.descriptors): void {
    const at = table + 16 * index;
    const wide = BigInt(address);
    this.#memory.write64(at, Number(wide & 0xffff_ffffn), Number(wide >> 32n));
    this.#memory.write32(at + 8, length);
    this.#memory.write16(at + 12, flags);
    this.#memory.write16(at + 14, next);
  }

  /** Puts a chain's head into the available ring. */
  offer(head: number): void {
    this.#memory.write16(this.available + 4 + 2 * (this.#available % this.size), head);
    this.availableIndex = this.#available + 1;
  }

  set availableIndex(index: number) {
    this.#available = index & 0xffff;
    this.#memory.write16(this.available + 2, this.#available);
  }

  /** Describes a chain in the next descriptors and offers it; its head. */
  add(segments: readonly Segment[]): number {
    const head = this.#next;
    for (const [i, { address, length, write }] of segments.entries()) {
      const index = (head + i) % this.size;
      const last = i === segments.length - 1;
      this.describe(index, address + this.#shift, length, (write ? Flag.Write : 0) | (last ? 0 : Flag.Next), last ? 0 : (index + 1) % this.size);
    }
    this.#next = (head + segments.length) % this.size;
    this.offer(head);
    return head;
  }

  /** What the device has given back since the last call. */
  taken(): { readonly id: number; readonly length: number }[] {
    const found: { id: number; length: number }[] = [];
    for (; this.#seen !== this.#memory.read16(this.used + 2); this.#seen = (this.#seen + 1) & 0xffff) {
      const at = this.used + 4 + 8 * (this.#seen % this.size);
      found.push({ id: this.#memory.read32(at), length: this.#memory.read32(at + 4) });
    }
    return found;
  }

  /** The avail_event of the device. §2.7.10. */
  get availEvent(): number {
    return this.#memory.read16(this.used + 4 + 8 * this.size);
  }

  /** The used_event of the driver. */
  set usedEvent(index: number) {
    this.#memory.write16(this.available + 4 + 2 * this.size, index & 0xffff);
  }

  /** VIRTQ_AVAIL_F_NO_INTERRUPT. §2.7.7. */
  set noInterrupt(on: boolean) {
    this.#memory.write16(this.available, on ? 1 : 0);
  }
}

/** Accesses to BAR 0. */
export interface Bar {
  read(offset: number, size: AccessSize): number;
  write(offset: number, size: AccessSize, value: number): void;
}

/** What sets a device up. §3.1.1. */
export class VirtioDriver {
  readonly bar: Bar;

  constructor(bar: Bar) {
    this.bar = bar;
  }

  get status(): number {
    return this.bar.read(Common.Status, 1);
  }

  set status(value: number) {
    this.bar.write(Common.Status, 1, value);
  }

  get offered(): bigint {
    return [0, 1].reduce((sum, select) => {
      this.bar.write(Common.DeviceFeatureSelect, 4, select);
      return sum | (BigInt(this.bar.read(Common.DeviceFeature, 4)) << BigInt(32 * select));
    }, 0n);
  }

  /** Resets, then accepts features; whether the device agrees. */
  negotiate(features: bigint): boolean {
    this.status = 0;
    this.status = Status.Acknowledge;
    this.status = Status.Acknowledge | Status.Driver;
    for (const select of [0, 1]) {
      this.bar.write(Common.DriverFeatureSelect, 4, select);
      this.bar.write(Common.DriverFeature, 4, Number((features >> BigInt(32 * select)) & 0xffff_ffffn));
    }
    this.status = this.status | Status.FeaturesOk;
    return (this.status & Status.FeaturesOk) !== 0;
  }

  /** Gives the device a queue, and MSI-X vectors for it where there are any. */
  enable(index: number, queue: SplitQueue, vector = 0xffff): void {
    this.bar.write(Common.QueueSelect, 2, index);
    this.bar.write(Common.QueueSize, 2, queue.size);
    this.bar.write(Common.QueueVector, 2, vector);
    for (const [i, area] of queue.areas.entries()) {
      this.bar.write(Common.Descriptors + 8 * i, 4, area % 2 ** 32);
      this.bar.write(Common.Descriptors + 8 * i + 4, 4, Math.floor(area / 2 ** 32));
    }
    this.bar.write(Common.QueueEnable, 2, 1);
  }

  go(): void {
    this.status = this.status | Status.DriverOk;
  }

  notify(index: number): void {
    this.bar.write(Place.Notify + 4 * index, 2, index);
  }
}
