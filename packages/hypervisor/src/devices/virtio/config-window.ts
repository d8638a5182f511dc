import type { AccessSize, MmioHandler } from "@iommu-lab/memory";
import type { ConfigSpace } from "@iommu-lab/pci-bus";
import type { CapabilityImage } from "@iommu-lab/pci-bus/capabilities";
import type { Endpoint } from "@iommu-lab/pci-bus/model";

/** Offsets in the capability, from its own start. Virtio 1.2 §4.1.4, §4.1.4.9. */
const Field = { Type: 3, Bar: 4, Offset: 8, Length: 12, Data: 16 } as const;
const DATA_BYTES = 4;
/** VIRTIO_PCI_CAP_PCI_CFG. */
const TYPE = 5;

/** Lets software write what the window capability takes: BAR, place, length and data. */
export const openWindow = (image: CapabilityImage): CapabilityImage => {
  image.writable.fill(0xff, Field.Bar, Field.Bar + 1);
  image.writable.fill(0xff, Field.Offset, Field.Data + DATA_BYTES);
  return image;
};

const placeOf = ({ config }: Endpoint): number => {
  let at = config.read(0x34, 1);
  while (at !== 0 && !(config.read(at, 1) === 0x09 && config.read(at + Field.Type, 1) === TYPE)) at = config.read(at + 1, 1);
  return at;
};

/** Configuration space whose window capability reads and writes a BAR, for firmware without MMIO. Virtio 1.2 §4.1.4.9. */
export class WindowedConfig implements ConfigSpace {
  readonly size: number;
  readonly #endpoint: Endpoint;
  readonly #at: number;
  readonly #barSize: number;

  /** @param barSize bytes of each BAR that the function has */
  constructor(endpoint: Endpoint, barSize: number) {
    this.#endpoint = endpoint;
    this.#at = placeOf(endpoint);
    this.#barSize = barSize;
    this.size = endpoint.config.size;
  }

  /** The live image: the bus sets status bits there. */
  get bytes(): Uint8Array {
    return this.#endpoint.config.bytes;
  }

  /** A read of the data reads the BAR first, into as many bytes of it as the length says. */
  read(offset: number, size: AccessSize): number {
    const target = this.#touchesData(offset, size) ? this.#target() : undefined;
    if (target) {
      const value = target.handler.read(target.offset, target.length);
      for (let i = 0; i < target.length; i++) this.bytes[this.#at + Field.Data + i] = (value >>> (8 * i)) & 0xff;
    }
    return this.#endpoint.config.read(offset, size);
  }

  write(offset: number, size: AccessSize, value: number): void {
    const { config } = this.#endpoint;
    config.write(offset, size, value);
    const target = this.#touchesData(offset, size) ? this.#target() : undefined;
    target?.handler.write(target.offset, target.length, config.read(this.#at + Field.Data, target.length));
  }

  #touchesData(offset: number, size: number): boolean {
    const data = this.#at + Field.Data;
    return offset < data + DATA_BYTES && offset + size > data;
  }

  /** Where the window leads: nowhere unless length and alignment are lawful. */
  #target(): { readonly handler: MmioHandler; readonly offset: number; readonly length: AccessSize } | undefined {
    const { config, bars } = this.#endpoint;
    const length = config.read(this.#at + Field.Length, 4);
    const offset = config.read(this.#at + Field.Offset, 4);
    const handler = bars[config.read(this.#at + Field.Bar, 1)];
    if (!handler || (length !== 1 && length !== 2 && length !== 4) || offset % length !== 0 || offset >= this.#barSize) return undefined;
    return { handler, offset, length };
  }
}
