import type { AccessSize, MmioHandler } from "@iommu-lab/memory";
import type { ConfigSpace, FabricPort, PciFunction, UpstreamPort } from "@iommu-lab/pci-bus";
import { msix, vendorSpecific, type CapabilityImage } from "@iommu-lab/pci-bus/capabilities";
import { Endpoint } from "@iommu-lab/pci-bus/model";
import { DeviceMemory, DmaRefused } from "./dma.ts";
import { QueueBroken, Virtqueue, type Chain, type QueueFeatures } from "./virtqueue.ts";

/** Feature bits that every device here offers. Virtio 1.2 §6 "Reserved Feature Bits". */
export const Feature = { IndirectDescriptors: 28, EventIndex: 29, Version1: 32, AccessPlatform: 33 } as const;
const COMMON_FEATURES: readonly number[] = Object.values(Feature);

/** Bits of the device status. §2.1. */
const Status = { Acknowledge: 1, Driver: 2, DriverOk: 4, FeaturesOk: 8, NeedsReset: 64, Failed: 128 } as const;

/** What makes one device differ from another. */
export interface VirtioDevice {
  /** Device ID of virtio: 2 block, 3 console, 4 entropy. §5. */
  readonly type: number;
  readonly classCode: number;
  /** Feature bits beside the common ones. */
  readonly features: readonly number[];
  /** Largest size of each queue: powers of two. */
  readonly queues: readonly number[];
  /** The device-specific configuration. */
  readonly config: Uint8Array;
  /** The driver has offered something on a queue. */
  notified(queue: number, io: QueueAccess): void;
  reset?(): void;
}

/** A device's way to its queues. */
export interface QueueAccess {
  readonly memory: DeviceMemory;
  /** Whether the driver accepted a feature. */
  accepted(feature: number): boolean;
  /** The next request of a queue; undefined when there is none, or the driver is not ready. */
  take(queue: number): Chain | undefined;
  give(queue: number, head: number, written: number): void;
  /** Interrupts as the driver wants it, after requests were given back. */
  flush(queue: number): void;
}

const BAR_SIZE = 0x8000;
/** Where the structures are in BAR 0. */
const Place = { Common: 0x0000, Isr: 0x1000, Device: 0x2000, Notify: 0x3000, MsixTable: 0x4000, MsixPending: 0x5000 } as const;
const COMMON_LENGTH = 0x38;
const NOTIFY_MULTIPLIER = 4;
/** Of a virtio_pci_cap: cfg_type. §4.1.4. */
const CapabilityType = { Common: 1, Notify: 2, Isr: 3, Device: 4, PciConfig: 5 } as const;
/** Offsets in a virtio_pci_cap, from the capability's own start. */
const WINDOW = { bar: 4, offset: 8, length: 12, data: 16 } as const;

const structure = (type: number, offset: number, length: number, more: readonly number[] = []): CapabilityImage => {
  const contents = new Uint8Array(13 + 4 * more.length);
  const view = new DataView(contents.buffer);
  view.setUint8(0, type);
  view.setUint32(5, offset, true);
  view.setUint32(9, length, true);
  for (const [i, word] of more.entries()) view.setUint32(13 + 4 * i, word, true);
  return vendorSpecific(contents);
};

/** The window on BARs that configuration space has, for firmware without MMIO: place, length and data can be written. §4.1.4.9. */
const configWindow = (): CapabilityImage => {
  const image = structure(CapabilityType.PciConfig, 0, 0, [0]);
  image.writable.fill(0xff, WINDOW.bar, WINDOW.bar + 1);
  image.writable.fill(0xff, WINDOW.offset, WINDOW.data + 4);
  return image;
};

/**
 * A virtio device behind PCI, version 1.2 without legacy: common, notification, interrupt status and device configuration in
 * BAR 0 with the MSI-X table. §4.1 "Virtio Over PCI Bus". All its DMA goes through its upstream port, and it offers
 * VIRTIO_F_ACCESS_PLATFORM: a driver that does not accept it is refused.
 */
export class VirtioFunction implements PciFunction, QueueAccess {
  readonly config: ConfigSpace;
  readonly bars: readonly (MmioHandler | undefined)[];
  readonly fabric: FabricPort;
  readonly memory: DeviceMemory;
  readonly queues: readonly Virtqueue[];
  readonly #device: VirtioDevice;
  readonly #endpoint: Endpoint;
  readonly #offered = new Uint32Array(2);
  readonly #accepted = new Uint32Array(2);
  #status = 0;
  #deviceFeatureSelect = 0;
  #driverFeatureSelect = 0;
  #queueSelect = 0;
  #configVector = 0xffff;
  #generation = 0;
  #isr = 0;

  constructor(device: VirtioDevice) {
    this.#device = device;
    this.queues = device.queues.map((size) => new Virtqueue(size));
    for (const bit of [...COMMON_FEATURES, ...device.features]) this.#offered[bit >> 5] = (this.#offered[bit >> 5] as number) | (1 << (bit & 31));
    const endpoint = (this.#endpoint = new Endpoint(
      {
        vendor: 0x1af4,
        device: 0x1040 + device.type,
        classCode: device.classCode,
        revision: 1,
        subsystemVendor: 0x1af4,
        subsystemDevice: 0x1100,
        header: 0,
        interruptPin: 1,
        bars: [{ index: 0, kind: "memory32", size: BAR_SIZE }],
        capabilities: [
          msix({ vectors: device.queues.length + 1, table: { bar: 0, offset: Place.MsixTable }, pendingBits: { bar: 0, offset: Place.MsixPending } }),
          structure(CapabilityType.Common, Place.Common, COMMON_LENGTH),
          structure(CapabilityType.Isr, Place.Isr, 1),
          structure(CapabilityType.Device, Place.Device, Math.max(4, device.config.length)),
          structure(CapabilityType.Notify, Place.Notify, NOTIFY_MULTIPLIER * device.queues.length, [NOTIFY_MULTIPLIER]),
          configWindow(),
        ],
      },
      { bars: [byParts((offset, size) => this.#read(offset, size), (offset, size, value) => { this.#write(offset, size, value); })], reset: () => { this.#reset(); } },
    ));
    this.bars = endpoint.bars;
    this.fabric = endpoint.fabric;
    this.memory = new DeviceMemory(() => endpoint.port);
    this.config = new WindowedConfig(endpoint, windowOf(endpoint));
  }

  connect(port: UpstreamPort): void {
    this.#endpoint.connect(port);
  }

  accepted(feature: number): boolean {
    return (((this.#accepted[feature >> 5] ?? 0) >>> (feature & 31)) & 1) === 1;
  }

  /** Between DRIVER_OK and whatever broke. */
  get running(): boolean {
    return (this.#status & (Status.DriverOk | Status.NeedsReset)) === Status.DriverOk;
  }

  take(queue: number): Chain | undefined {
    const ring = this.queues[queue];
    if (!ring?.enabled || !this.running) return undefined;
    return this.#guarded(() => ring.take(this.memory, this.#features));
  }

  give(queue: number, head: number, written: number): void {
    const ring = this.queues[queue];
    if (ring?.enabled && this.running) this.#guarded(() => { ring.give(this.memory, head, written); });
  }

  flush(queue: number): void {
    const ring = this.queues[queue];
    if (!ring?.enabled || !this.running) return;
    if (this.#guarded(() => ring.wantsInterrupt(this.memory, this.#features)) === true) this.#interrupt(ring.vector, 1);
  }

  /** Tells the driver that the device configuration has changed. §2.5. */
  configChanged(): void {
    this.#generation = (this.#generation + 1) & 0xff;
    if ((this.#status & Status.DriverOk) !== 0) this.#interrupt(this.#configVector, 2);
  }

  get #features(): QueueFeatures {
    return { indirect: this.accepted(Feature.IndirectDescriptors), eventIndex: this.accepted(Feature.EventIndex) };
  }

  /** Runs what a driver's mistake or the IOMMU's refusal can end. §2.1.2: the device then needs a reset, and says so. */
  #guarded<T>(action: () => T): T | undefined {
    try {
      return action();
    } catch (error) {
      if (!(error instanceof DmaRefused || error instanceof QueueBroken)) throw error;
      this.#status |= Status.NeedsReset;
      this.configChanged();
      return undefined;
    }
  }

  /** MSI-X, or the pin with the reason in the interrupt status. §4.1.4.5. */
  #interrupt(vector: number, reason: 1 | 2): void {
    const { msix: table } = this.#endpoint;
    if (table?.enabled) {
      if (vector < table.vectors) table.raise(vector);
      return;
    }
    this.#isr |= reason;
    this.#endpoint.raise();
  }

  #reset(): void {
    this.#status = 0;
    this.#accepted.fill(0);
    this.#deviceFeatureSelect = this.#driverFeatureSelect = this.#queueSelect = 0;
    this.#configVector = 0xffff;
    if (this.#isr !== 0) this.#endpoint.lower();
    this.#isr = 0;
    for (const queue of this.queues) queue.reset();
    this.#device.reset?.();
  }

  #read(offset: number, size: AccessSize): number {
    if (offset < Place.Isr) return this.#readCommon(offset, size);
    if (offset < Place.Device) return offset === Place.Isr ? this.#readIsr() : 0;
    if (offset >= Place.Notify) return 0;
    let value = 0;
    for (let i = size - 1; i >= 0; i--) value = value * 256 + (this.#device.config[offset - Place.Device + i] ?? 0);
    return value;
  }

  #readIsr(): number {
    const value = this.#isr;
    this.#isr = 0;
    if (value !== 0) this.#endpoint.lower();
    return value;
  }

  /** §4.1.4.3 "Common configuration structure layout". Wide fields are read in halves too. */
  #readCommon(offset: number, size: AccessSize): number {
    const queue = this.queues[this.#queueSelect];
    switch (offset) {
      case 0x00:
        return this.#deviceFeatureSelect;
      case 0x04:
        return this.#offered[this.#deviceFeatureSelect] ?? 0;
      case 0x08:
        return this.#driverFeatureSelect;
      case 0x0c:
        return this.#accepted[this.#driverFeatureSelect] ?? 0;
      case 0x10:
        return size === 4 ? (this.#configVector | (this.queues.length << 16)) >>> 0 : this.#configVector;
      case 0x12:
        return this.queues.length;
      case 0x14:
        return size === 1 ? this.#status : this.#status | (this.#generation << 8) | (size === 4 ? this.#queueSelect << 16 : 0);
      case 0x15:
        return this.#generation;
      case 0x16:
        return this.#queueSelect;
      case 0x18:
        return queue ? queue.size : 0;
      case 0x1a:
        return queue ? queue.vector : 0xffff;
      case 0x1c:
        return queue?.enabled ? 1 : 0;
      case 0x1e:
        return queue ? this.#queueSelect : 0;
      default:
        return offset >= 0x20 && offset < 0x38 ? (queue?.areas[(offset - 0x20) >> 2] ?? 0) : 0;
    }
  }

  #write(offset: number, size: AccessSize, value: number): void {
    if (offset >= Place.Notify) {
      const index = (offset - Place.Notify) / NOTIFY_MULTIPLIER;
      if (Number.isInteger(index) && index < this.queues.length && this.running) this.#guarded(() => { this.#device.notified(index, this); });
      return;
    }
    if (offset < Place.Isr) this.#writeCommon(offset, size, value);
  }

  #writeCommon(offset: number, _size: AccessSize, value: number): void {
    const queue = this.queues[this.#queueSelect];
    switch (offset) {
      case 0x00:
        this.#deviceFeatureSelect = value;
        break;
      case 0x08:
        this.#driverFeatureSelect = value;
        break;
      case 0x0c:
        if (this.#driverFeatureSelect < 2 && (this.#status & Status.FeaturesOk) === 0) this.#accepted[this.#driverFeatureSelect] = value;
        break;
      case 0x10:
        this.#configVector = this.#vector(value);
        break;
      case 0x14:
        this.#setStatus(value & 0xff);
        break;
      case 0x16:
        this.#queueSelect = value & 0xffff;
        break;
      case 0x18:
        // A power of two up to the maximum; anything else leaves it. §4.1.4.3.2.
        if (queue && !queue.enabled && value > 0 && value <= queue.maximum && (value & (value - 1)) === 0) queue.size = value;
        break;
      case 0x1a:
        if (queue) queue.vector = this.#vector(value);
        break;
      case 0x1c:
        if (queue && value === 1) queue.enabled = true;
        break;
      default:
        if (queue && !queue.enabled && offset >= 0x20 && offset < 0x38) queue.areas[(offset - 0x20) >> 2] = value;
    }
  }

  /** A vector that the table does not have is none: reading it back tells the driver. §4.1.5.1.2. */
  #vector(value: number): number {
    return (value & 0xffff) < (this.#endpoint.msix?.vectors ?? 0) ? value & 0xffff : 0xffff;
  }

  #setStatus(value: number): void {
    if (value === 0) {
      this.#reset();
      return;
    }
    const needsReset = this.#status & Status.NeedsReset;
    let next = value | needsReset;
    if ((value & Status.FeaturesOk) !== 0 && (this.#status & Status.FeaturesOk) === 0 && !this.#featuresAreLawful()) next &= ~Status.FeaturesOk;
    this.#status = next;
  }

  /** §2.2.2, §6.2: nothing that was not offered; version 1; and, since all DMA is translated, ACCESS_PLATFORM. */
  #featuresAreLawful(): boolean {
    const unknown = this.#accepted.some((word, i) => (word & ~(this.#offered[i] as number)) !== 0); // two words each
    return !unknown && this.accepted(Feature.Version1) && this.accepted(Feature.AccessPlatform);
  }
}

/** A BAR whose 8-byte accesses are two. */
const byParts = (read: MmioHandler["read"], write: MmioHandler["write"]): MmioHandler => ({
  read,
  write,
  read64: (offset, into) => {
    into[0] = read(offset, 4);
    into[1] = read(offset + 4, 4);
  },
  write64: (offset, low, high) => {
    write(offset, 4, low);
    write(offset + 4, 4, high);
  },
});

/** Offset of the window capability in configuration space. */
const windowOf = ({ config }: Endpoint): number => {
  let at = config.read(0x34, 1);
  while (at !== 0 && !(config.read(at, 1) === 0x09 && config.read(at + 3, 1) === CapabilityType.PciConfig)) at = config.read(at + 1, 1);
  return at;
};

/** Configuration space whose window capability reads and writes BAR 0. §4.1.4.9. */
class WindowedConfig implements ConfigSpace {
  readonly size: number;
  readonly #endpoint: Endpoint;
  readonly #at: number;

  constructor(endpoint: Endpoint, at: number) {
    this.#endpoint = endpoint;
    this.#at = at;
    this.size = endpoint.config.size;
  }

  read(offset: number, size: AccessSize): number {
    const target = this.#target(offset);
    return target ? target.handler.read(target.offset, target.size) : this.#endpoint.config.read(offset, size);
  }

  write(offset: number, size: AccessSize, value: number): void {
    this.#endpoint.config.write(offset, size, value);
    const target = this.#target(offset);
    target?.handler.write(target.offset, target.size, value);
  }

  #target(offset: number): { readonly handler: MmioHandler; readonly offset: number; readonly size: AccessSize } | undefined {
    if (offset !== this.#at + WINDOW.data) return undefined;
    const { config, bars } = this.#endpoint;
    const length = config.read(this.#at + WINDOW.length, 4);
    const handler = config.read(this.#at + WINDOW.bar, 1) === 0 ? bars[0] : undefined;
    const place = config.read(this.#at + WINDOW.offset, 4);
    return handler && (length === 1 || length === 2 || length === 4) && place < BAR_SIZE ? { handler, offset: place, size: length } : undefined;
  }
}
