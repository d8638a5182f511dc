import type { AccessSize, MmioHandler } from "@iommu-lab/memory";
import type { FabricRoot } from "./fabric.ts";

const ENABLE = 0x8000_0000;

/**
 * Configuration mechanism #1: CONFIG_ADDRESS at port 0xcf8 (offset 0), CONFIG_DATA at 0xcfc (offset 4).
 * PCI §3.2.2.3.2; segment 0 and the first 256 bytes only.
 */
export class ConfigPorts implements MmioHandler {
  readonly #complex: FabricRoot;
  #address = 0;

  constructor(complex: FabricRoot) {
    this.#complex = complex;
  }

  read(offset: number, size: AccessSize): number {
    if (offset < 4) return size === 4 ? this.#address >>> 0 : 2 ** (8 * size) - 1;
    if (!(this.#address & ENABLE)) return 2 ** (8 * size) - 1;
    return this.#complex.configRead({ domain: 0, requester: this.#requester }, (this.#address & 0xfc) | (offset & 3), size);
  }

  write(offset: number, size: AccessSize, value: number): void {
    // Only a whole doubleword reaches CONFIG_ADDRESS; narrower writes belong to other devices at these ports.
    if (offset < 4) {
      if (offset === 0 && size === 4) this.#address = value & ~0x7f00_0003;
      return;
    }
    if (this.#address & ENABLE) this.#complex.configWrite({ domain: 0, requester: this.#requester }, (this.#address & 0xfc) | (offset & 3), size, value);
  }

  read64(offset: number, into: Uint32Array): void {
    into[0] = this.read(offset, 4);
    into[1] = this.read(offset + 4, 4);
  }

  write64(offset: number, low: number, high: number): void {
    this.write(offset, 4, low);
    this.write(offset + 4, 4, high);
  }

  get #requester(): number {
    return (this.#address >>> 8) & 0xffff;
  }
}
