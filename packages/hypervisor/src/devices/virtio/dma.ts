import { Completion, type UpstreamPort } from "@iommu-lab/pci-bus";

/** A 64-bit address as the driver wrote it: a number where exact, else a bigint. */
export type DmaAddress = number | bigint;

/** The address that two 32-bit halves make. */
export const addressOf = (low: number, high: number): DmaAddress => (high < 0x20_0000 ? (high >>> 0) * 0x1_0000_0000 + (low >>> 0) : (BigInt(high >>> 0) << 32n) | BigInt(low >>> 0));

/** An address so many bytes further on; after the last of 64 bits comes 0. */
export const plus = (address: DmaAddress, bytes: number): DmaAddress => (typeof address === "number" && address + bytes < 2 ** 53 ? address + bytes : BigInt.asUintN(64, BigInt(address) + BigInt(bytes)));

/** The IOMMU, or whoever stands on the way, refused an access. */
export class DmaRefused extends Error {
  override readonly name = "DmaRefused";
}

/** A device's reads and writes of guest memory, little-endian. Everything goes through its upstream port. */
export class DeviceMemory {
  readonly #port: () => UpstreamPort;
  readonly #bytes = new Uint8Array(16);
  readonly #view = new DataView(this.#bytes.buffer);

  constructor(port: () => UpstreamPort) {
    this.#port = port;
  }

  /** @throws DmaRefused */
  read(address: DmaAddress, into: Uint8Array): void {
    if (this.#port().dmaRead(address, into) !== Completion.Successful) throw new DmaRefused(`DMA read of ${into.length} bytes at 0x${address.toString(16)} was refused.`);
  }

  /** @throws DmaRefused */
  write(address: DmaAddress, from: Uint8Array): void {
    if (this.#port().dmaWrite(address, from) !== Completion.Successful) throw new DmaRefused(`DMA write of ${from.length} bytes at 0x${address.toString(16)} was refused.`);
  }

  read16(address: DmaAddress): number {
    this.read(address, this.#bytes.subarray(0, 2));
    return this.#view.getUint16(0, true);
  }

  write16(address: DmaAddress, value: number): void {
    this.#view.setUint16(0, value, true);
    this.write(address, this.#bytes.subarray(0, 2));
  }

  /** Up to 16 bytes, good until the next call. */
  view(address: DmaAddress, bytes: number): DataView {
    this.read(address, this.#bytes.subarray(0, bytes));
    return this.#view;
  }

  write32Pair(address: DmaAddress, first: number, second: number): void {
    this.#view.setUint32(0, first, true);
    this.#view.setUint32(4, second, true);
    this.write(address, this.#bytes.subarray(0, 8));
  }
}
