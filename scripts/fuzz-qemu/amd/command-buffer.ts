import { readRegister, setRegister, words, type Pages } from "../pages.ts";
import type { Action } from "../program.ts";
import type { Random } from "../random.ts";
import { completionStore, type Command } from "./commands.ts";

const BASE = 0x08;
const HEAD = 0x2000;
const TAIL = 0x2008;
const BYTES = 16;
/** Smallest length field: 256 commands. */
export const SMALLEST = 8;

/**
 * The command buffer as software sees it. AMD-Vi §2.4 "Commands". Where commands go is found when the program runs, so
 * that blocks can be left out of it, and nothing in that is random.
 */
export class CommandBuffer {
  readonly #table: number;
  readonly #store: number;
  /** Len: log2 of the commands. */
  readonly #length: number;
  #tail = 0;
  /** Where the unit is. */
  #head = 0;
  #count = 0;

  constructor(random: Random, pages: Pages, length = SMALLEST) {
    this.#length = length;
    this.#table = pages.take(2 ** (length - SMALLEST)) * 4096;
    this.#store = pages.take() * 4096 + 8 * random.below(512);
  }

  /** How many commands it holds. */
  get size(): number {
    return 2 ** this.#length;
  }

  /** Tells the unit where it is; to be done while it is off. QEMU leaves the pointers' registers as they are then. */
  place(): Action[] {
    const start = (): readonly Action[] => {
      this.#tail = 0;
      this.#head = 0;
      this.#count = 0;
      return [setRegister(BASE, 8, BigInt(this.#table) | (BigInt(this.#length) << 56n)), setRegister(HEAD, 8, 0n), setRegister(TAIL, 8, 0n)];
    };
    return [{ op: "later", actions: start }];
  }

  /** Writes commands, with a wait behind them that stores a number of its own, without telling the unit. */
  put(...commands: readonly Command[]): Action[] {
    return [{ op: "later", actions: () => this.#write([...commands, this.#wait()]) }];
  }

  /** Tells the unit how far commands go. */
  ring(): Action[] {
    return [{ op: "later", actions: () => [setRegister(TAIL, this.#accessSize(), BigInt(this.#tail))] }];
  }

  /**
   * What the last wait stored, and how far the unit is.
   * @param done the unit does what it is told
   */
  look(done = true): Action[] {
    const pointers = (): Action[] => {
      if (done) this.#head = this.#tail;
      // QEMU shows the buffer's size where hardware is back at 0.
      return [...(this.#head === 0 ? [] : [readRegister(HEAD, this.#accessSize())]), readRegister(TAIL, 4)];
    };
    return [{ op: "mem_read", addr: this.#store, len: 8 }, { op: "later", actions: pointers }];
  }

  /** Hands commands to the unit and sees them done. */
  submit(...commands: readonly Command[]): Action[] {
    return [...this.put(...commands), ...this.ring(), ...this.look()];
  }

  #accessSize(): 4 | 8 {
    return this.#count % 2 === 0 ? 8 : 4;
  }

  #wait(): Command {
    this.#count++;
    return completionStore(this.#store, 0xfeed_0000_0000n + BigInt(this.#count));
  }

  /** In one piece, or two around the buffer's end. */
  #write(commands: readonly Command[]): Action[] {
    const room = this.size - this.#tail / BYTES;
    const pieces = [commands.slice(0, room), commands.slice(room)].filter(({ length }) => length > 0);
    return pieces.map((piece): Action => {
      const addr = this.#table + this.#tail;
      this.#tail = (this.#tail + BYTES * piece.length) % (BYTES * this.size);
      return { op: "mem_write", addr, data: words(...piece.flat()) };
    });
  }
}
