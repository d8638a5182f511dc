import type { AccessSize, MmioHandler } from "@iommu-lab/memory";
import type { ConfigSpace, FabricPort, PciFunction, UpstreamPort } from "@iommu-lab/pci-bus";
import { msix, vendorSpecific, type CapabilityImage } from "@iommu-lab/pci-bus/capabilities";
import { Endpoint } from "@iommu-lab/pci-bus/model";
import { byParts } from "../by-parts.ts";
import { notReentrant } from "../not-reentrant.ts";
import { openWindow, WindowedConfig } from "./config-window.ts";
import { DeviceMemory, DmaRefused } from "./dma.ts";
import { FieldWindow } from "./field-window.ts";
import { NO_VECTOR, QueueBroken, Virtqueue, type Chain, type QueueFeatures } from "./virtqueue.ts";

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
  /** Does what a driver's mistake or the IOMMU's refusal may end: the device then needs a reset, and says so. */
  attempt(action: () => void): void;
}

const BAR_SIZE = 0x8000;
/** Where the structures are in BAR 0. */
const Place = { Common: 0x0000, Isr: 0x1000, Device: 0x2000, Notify: 0x3000, MsixTable: 0x4000, MsixPending: 0x5000 } as const;
const NOTIFY_MULTIPLIER = 4;
/** Of a virtio_pci_cap: cfg_type. §4.1.4. */
const CapabilityType = { Common: 1, Notify: 2, Isr: 3, Device: 4, PciConfig: 5 } as const;
/** Bytes of the fields in the common configuration, by name. §4.1.4.3 "Common configuration structure layout". */
const COMMON_WIDTHS = [4, 4, 4, 4, 2, 2, 1, 1, 2, 2, 2, 2, 2, 4, 4, 4, 4, 4, 4] as const;
const Common = {
  DeviceFeatureSelect: 0x00,
  DeviceFeature: 0x04,
  DriverFeatureSelect: 0x08,
  DriverFeature: 0x0c,
  ConfigVector: 0x10,
  QueueCount: 0x12,
  Status: 0x14,
  Generation: 0x15,
  QueueSelect: 0x16,
  QueueSize: 0x18,
  QueueVector: 0x1a,
  QueueEnable: 0x1c,
  QueueNotifyOffset: 0x1e,
  QueueAreas: 0x20,
} as const;
const COMMON_LENGTH = 0x38;
/** Bits of the interrupt status. §4.1.4.5. */
const Reason = { Queue: 1, Configuration: 2 } as const;
/** Requests that a device asks for at a time, in sizes of the queue: a driver that adds more while it is served is not right. */
const ROUNDS = 64;

const structure = (type: number, offset: number, length: number, more: readonly number[] = []): CapabilityImage => {
  const contents = new Uint8Array(13 + 4 * more.length);
  const view = new DataView(contents.buffer);
  view.setUint8(0, type);
  view.setUint32(5, offset, true);
  view.setUint32(9, length, true);
  for (const [i, word] of more.entries()) view.setUint32(13 + 4 * i, word, true);
  return vendorSpecific(contents);
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
  #configVector = NO_VECTOR;
  #generation = 0;
  #isr = 0;
  /** The level of the INTx pin. */
  #pin = false;
  #serving = false;
  /** Requests asked for since the device began to serve. */
  #taken = 0;
  readonly #common = new FieldWindow({ widths: COMMON_WIDTHS, get: (at) => this.#getCommon(at), set: (at, value) => { this.#setCommon(at, value); } });

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
          openWindow(structure(CapabilityType.PciConfig, 0, 0, [0])),
        ],
      },
      { bars: [notReentrant(byParts((offset, size) => this.#read(offset, size), (offset, size, value) => { this.#write(offset, size, value); }))], reset: () => { this.#reset(); } },
    ));
    this.bars = endpoint.bars;
    this.fabric = endpoint.fabric;
    this.memory = new DeviceMemory(() => endpoint.port);
    this.config = new WindowedConfig(endpoint, BAR_SIZE);
    endpoint.config.onWrite(() => {
      this.#drivePin();
    });
  }

  connect(port: UpstreamPort): void {
    this.#endpoint.connect(port);
  }

  accepted(feature: number): boolean {
    return (((this.#accepted[feature >> 5] ?? 0) >>> (feature & 31)) & 1) === 1;
  }

  /** Between DRIVER_OK, which needs features agreed on, and whatever broke. §3.1.1. */
  get running(): boolean {
    return (this.#status & (Status.DriverOk | Status.FeaturesOk | Status.NeedsReset)) === (Status.DriverOk | Status.FeaturesOk);
  }

  take(queue: number): Chain | undefined {
    const ring = this.queues[queue];
    if (!ring?.enabled || !this.running) return undefined;
    return this.#guarded(() => {
      if (this.#taken++ >= ROUNDS * ring.size) throw new QueueBroken(`Queue ${queue} gets new requests while old ones are served, without end.`);
      return ring.take(this.memory, this.#features);
    });
  }

  give(queue: number, head: number, written: number): void {
    const ring = this.queues[queue];
    if (ring?.enabled && this.running) this.#guarded(() => { ring.give(this.memory, head, written); });
  }

  flush(queue: number): void {
    const ring = this.queues[queue];
    if (!ring?.enabled || !this.running) return;
    if (this.#guarded(() => ring.wantsInterrupt(this.memory, this.#features)) === true) this.#interrupt(ring.vector, Reason.Queue);
  }

  attempt(action: () => void): void {
    const outermost = !this.#serving;
    if (outermost) this.#taken = 0;
    this.#serving = true;
    try {
      this.#guarded(action);
    } finally {
      if (outermost) this.#serving = false;
    }
  }

  /** Tells the driver that the device configuration has changed. §2.5, §4.1.4.3.1. */
  configChanged(): void {
    this.#generation = (this.#generation + 1) & 0xff;
    this.#tellOfConfig();
  }

  #tellOfConfig(): void {
    if ((this.#status & Status.DriverOk) !== 0) this.#interrupt(this.#configVector, Reason.Configuration);
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
      this.#tellOfConfig();
      return undefined;
    }
  }

  /** §4.1.4.5.1: the interrupt status tells of the configuration always, of queues only while MSI-X is off. */
  #interrupt(vector: number, reason: 1 | 2): void {
    const { msix: table } = this.#endpoint;
    const messages = table?.enabled === true;
    if (!messages || reason === Reason.Configuration) this.#isr |= reason;
    if (messages && vector < table.vectors) table.raise(vector);
    this.#drivePin();
  }

  /** The pin is the logical or of the interrupt status while MSI-X is off. §4.1.4.5.1. */
  #drivePin(): void {
    const level = this.#isr !== 0 && this.#endpoint.msix?.enabled !== true;
    if (level === this.#pin) return;
    this.#pin = level;
    if (level) this.#endpoint.raise();
    else this.#endpoint.lower();
  }

  #reset(): void {
    this.#status = 0;
    this.#accepted.fill(0);
    this.#deviceFeatureSelect = this.#driverFeatureSelect = this.#queueSelect = 0;
    this.#configVector = NO_VECTOR;
    this.#isr = 0;
    this.#drivePin();
    for (const queue of this.queues) queue.reset();
    this.#device.reset?.();
  }

  #read(offset: number, size: AccessSize): number {
    if (offset < Place.Isr) return this.#common.read(offset, size);
    if (offset < Place.Device) return offset === Place.Isr ? this.#readIsr() : 0;
    if (offset >= Place.Notify) return 0;
    let value = 0;
    for (let i = size - 1; i >= 0; i--) value = value * 256 + (this.#device.config[offset - Place.Device + i] ?? 0);
    return value;
  }

  #readIsr(): number {
    const value = this.#isr;
    this.#isr = 0;
    this.#drivePin();
    return value;
  }

  #getCommon(at: number): number {
    const queue = this.queues[this.#queueSelect];
    switch (at) {
      case Common.DeviceFeatureSelect:
        return this.#deviceFeatureSelect;
      case Common.DeviceFeature:
        return this.#offered[this.#deviceFeatureSelect] ?? 0;
      case Common.DriverFeatureSelect:
        return this.#driverFeatureSelect;
      case Common.DriverFeature:
        return this.#accepted[this.#driverFeatureSelect] ?? 0;
      case Common.ConfigVector:
        return this.#configVector;
      case Common.QueueCount:
        return this.queues.length;
      case Common.Status:
        return this.#status;
      case Common.Generation:
        return this.#generation;
      case Common.QueueSelect:
        return this.#queueSelect;
      case Common.QueueSize:
        return queue ? queue.size : 0;
      case Common.QueueVector:
        return queue ? queue.vector : NO_VECTOR;
      case Common.QueueEnable:
        return queue?.enabled ? 1 : 0;
      case Common.QueueNotifyOffset:
        return queue ? this.#queueSelect : 0;
      default:
        return queue?.areas[(at - Common.QueueAreas) >> 2] ?? 0;
    }
  }

  #write(offset: number, size: AccessSize, value: number): void {
    if (offset < Place.Isr) this.#common.write(offset, size, value);
    if (offset < Place.Notify) return;
    const index = (offset - Place.Notify) / NOTIFY_MULTIPLIER;
    // §3.1.1: a device that is not told DRIVER_OK consumes nothing.
    if (Number.isInteger(index) && index < this.queues.length && this.running) this.attempt(() => { this.#device.notified(index, this); });
  }

  #setCommon(at: number, value: number): void {
    const queue = this.queues[this.#queueSelect];
    switch (at) {
      case Common.DeviceFeatureSelect:
        this.#deviceFeatureSelect = value;
        break;
      case Common.DriverFeatureSelect:
        this.#driverFeatureSelect = value;
        break;
      case Common.DriverFeature:
        if (this.#driverFeatureSelect < 2 && (this.#status & Status.FeaturesOk) === 0) this.#accepted[this.#driverFeatureSelect] = value;
        break;
      case Common.ConfigVector:
        this.#configVector = this.#vector(value);
        break;
      case Common.Status:
        this.#setStatus(value);
        break;
      case Common.QueueSelect:
        this.#queueSelect = value;
        break;
      case Common.QueueSize:
        // A power of two up to the maximum; anything else leaves it. §4.1.4.3.2.
        if (queue && !queue.enabled && value > 0 && value <= queue.maximum && (value & (value - 1)) === 0) queue.size = value;
        break;
      case Common.QueueVector:
        if (queue) queue.vector = this.#vector(value);
        break;
      case Common.QueueEnable:
        if (queue && value === 1) queue.enabled = true;
        break;
      default:
        if (queue && !queue.enabled && at >= Common.QueueAreas) queue.areas[(at - Common.QueueAreas) >> 2] = value;
    }
  }

  /** A vector that the table does not have is none: reading it back tells the driver. §4.1.5.1.2. */
  #vector(value: number): number {
    return value < (this.#endpoint.msix?.vectors ?? 0) ? value : NO_VECTOR;
  }

  #setStatus(value: number): void {
    if (value === 0) {
      this.#reset();
      return;
    }
    // Only the device says that it needs a reset.
    let next = (value & ~Status.NeedsReset) | (this.#status & Status.NeedsReset);
    if ((value & Status.FeaturesOk) !== 0 && (this.#status & Status.FeaturesOk) === 0 && !this.#featuresAreLawful()) next &= ~Status.FeaturesOk;
    this.#status = next;
  }

  /** §2.2.2, §6.2: nothing that was not offered; version 1; and, since all DMA is translated, ACCESS_PLATFORM. */
  #featuresAreLawful(): boolean {
    const unknown = this.#accepted.some((word, i) => (word & ~(this.#offered[i] as number)) !== 0); // two words each
    return !unknown && this.accepted(Feature.Version1) && this.accepted(Feature.AccessPlatform);
  }
}
