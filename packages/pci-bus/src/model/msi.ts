import type { ConfigSpace } from "../config-space.ts";
import type { UpstreamPort } from "../function.ts";
import { liveBytes } from "./status-bits.ts";

const ENABLE = 1;
const WIDE = 0x80;
const MASKABLE = 0x100;

/** Sends a function's MSIs as its capability says, with per-vector masks where it has them. PCIe §6.1.4, §7.7.1 "MSI Capability Structures". */
export class MsiSender {
  readonly #config: ConfigSpace;
  readonly #at: number;
  readonly #port: () => UpstreamPort | undefined;

  /**
   * @param at   offset of the MSI capability
   * @param port where messages go; undefined while the function is not plugged in
   */
  constructor(config: ConfigSpace, at: number, port: () => UpstreamPort | undefined) {
    this.#config = config;
    this.#at = at;
    this.#port = port;
  }

  get #control(): number {
    return this.#config.read(this.#at + 2, 2);
  }

  get enabled(): boolean {
    return (this.#control & ENABLE) !== 0;
  }

  /** Vectors that software enabled: 1 to 32. */
  get vectors(): number {
    return Math.min(32, 1 << ((this.#control >> 4) & 7));
  }

  /** Sends vector `vector` (taken modulo the enabled ones), or leaves it pending while its mask bit is set. Nothing happens while MSI is off. */
  raise(vector: number): void {
    if (!this.enabled) return;
    const which = vector % this.vectors;
    if ((this.#masks >>> which) & 1) this.#setPending(this.#pending | (1 << which));
    else this.#send(which);
  }

  /** To be called after configuration writes: sends what was pending and is no longer masked. */
  flush(): void {
    if (!(this.#control & MASKABLE) || !this.enabled) return;
    const ready = this.#pending & ~this.#masks;
    if (ready === 0) return;
    this.#setPending(this.#pending & ~ready);
    for (let vector = 0; vector < 32; vector++) if ((ready >>> vector) & 1) this.#send(vector);
  }

  get #maskAt(): number {
    return this.#at + (this.#control & WIDE ? 0x10 : 0x0c);
  }

  get #masks(): number {
    return this.#control & MASKABLE ? this.#config.read(this.#maskAt, 4) : 0;
  }

  get #pending(): number {
    return this.#config.read(this.#maskAt + 4, 4);
  }

  #setPending(value: number): void {
    const bytes = liveBytes(this.#config);
    if (bytes) new DataView(bytes.buffer, bytes.byteOffset).setUint32(this.#maskAt + 4, value, true);
  }

  #send(vector: number): void {
    const wide = (this.#control & WIDE) !== 0;
    const low = this.#config.read(this.#at + 4, 4);
    const high = wide ? this.#config.read(this.#at + 8, 4) : 0;
    const data = this.#config.read(this.#at + (wide ? 0x0c : 0x08), 2);
    // PCIe §6.1.4.4: the low bits of the data tell the vectors apart.
    this.#port()?.message(high ? (BigInt(high) << 32n) | BigInt(low) : low, (data & ~(this.vectors - 1)) | vector);
  }
}
