import type { Action } from "./program.ts";
import type { Random } from "./random.ts";

/** Where nothing answers: reads of tables there fail, data goes nowhere. Below 2^39, and no GiB of it holds FEExxxxxh: QEMU takes a large page for what any part of it is. */
const HOLES: readonly number[] = [0x8_0000_0000, 0x10_0000_0000, 0x40_0000_0000];
/** What programs use of RAM: not the first 4 MiB, where the recorder has its page. */
const LOW = [0x400, 0x8_0000] as const;
const HIGH = [0x10_0000, 0x20_0000] as const;

/** Hands out random pages of RAM, each once, and pages without RAM. Numbers are page numbers (HPA >> 12). */
export class Pages {
  readonly #random: Random;
  readonly #used = new Set<number>();

  constructor(random: Random) {
    this.#random = random;
  }

  /** `count` pages in a row, the first a multiple of `count`. */
  take(count = 1): number {
    for (;;) {
      const [first, end] = this.#random.chance(0.5) ? LOW : HIGH;
      const page = Math.floor(this.#random.between(first, end - count) / count) * count;
      const all = Array.from({ length: count }, (_, i) => page + i);
      if (page < first || all.some((each) => this.#used.has(each))) continue;
      for (const each of all) this.#used.add(each);
      return page;
    }
  }

  /** An address of a page in a random hole. */
  hole(): number {
    return this.#random.pick(HOLES) / 4096 + this.#random.below(0x100);
  }
}

/** Little-endian 64-bit words. */
export const words = (...values: readonly bigint[]): Uint8Array => {
  const data = new Uint8Array(values.length * 8);
  const view = new DataView(data.buffer);
  for (const [i, value] of values.entries()) view.setBigUint64(8 * i, value, true);
  return data;
};

export const write = (addr: number, ...values: readonly bigint[]): Action => ({ op: "mem_write", addr, data: words(...values) });
export const setRegister = (off: number, size: 4 | 8, value: bigint): Action => ({ op: "reg_write", off, size, value });
export const readRegister = (off: number, size: 4 | 8, mask?: bigint, why?: string): Action => ({ op: "reg_read", off, size, ...(mask === undefined ? {} : { mask }), ...(why === undefined ? {} : { why }) });
