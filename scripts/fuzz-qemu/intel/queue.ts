import { Pages, readRegister, setRegister, words } from "../pages.ts";
import type { Action, Block, Program } from "../program.ts";
import { Random } from "../random.ts";
import { command } from "./commands.ts";
import type { Configuration } from "./configuration.ts";
import { IntelMachine } from "./machine.ts";

const ENABLED = 0x0400_0000n;

/**
 * The invalidation queue as software sees it. VT-d §6.5.2 "Queued Invalidation Interface". Where descriptors go is found
 * when the program runs, so that blocks can be left out of it.
 */
export class Queue {
  readonly #table: number;
  readonly #status: number;
  /** log2 of its 4 KiB pages. */
  readonly #size: number;
  /** Descriptors of 256 bits. */
  readonly #wide: boolean;
  #tail = 0;
  #count = 1;

  constructor(random: Random, pages: Pages, wide: boolean) {
    this.#size = random.below(2);
    this.#wide = wide;
    this.#table = pages.take(2 ** this.#size) * 4096;
    this.#status = pages.take() * 4096 + 4 * random.below(1024);
  }

  /** Switches it on; `other` are the bits of GCMD that stay. */
  enable(other = 0n): Action[] {
    const start = (): Action[] => {
      this.#tail = 0;
      this.#count = 1;
      return [setRegister(0x88, 8, 0n), setRegister(0x90, 8, BigInt(this.#table + (this.#wide ? 0x800 : 0) + this.#size)), ...command(other | ENABLED)];
    };
    return [{ op: "later", actions: start }];
  }

  /** Hands descriptors to the unit, with a wait behind them that writes its status. */
  submit(...descriptors: readonly (readonly [bigint, bigint])[]): Action[] {
    return [{ op: "later", actions: () => [...this.#put(...descriptors, this.#wait()), ...this.#state()] }];
  }

  /** As `submit`, with a wait that only raises the completion event in front. */
  interrupt(): Action[] {
    return [...this.submit([0x15n, 0n]), readRegister(0x9c, 4), readRegister(0xa0, 4)];
  }

  /** A descriptor that must stop the queue, then its repair, the error cleared, and what is left done. */
  broken(descriptor: readonly [bigint, bigint]): Action[] {
    return [{ op: "later", actions: () => this.#break(descriptor) }];
  }

  #break(descriptor: readonly [bigint, bigint]): Action[] {
    const at = this.#table + this.#tail;
    const tried = this.#put(descriptor, this.#wait());
    const repaired = this.#words([0x12n, 0n]);
    return [
      ...tried, readRegister(0x34, 4), readRegister(0x38, 4), ...this.#state(),
      { op: "mem_write", addr: at, data: repaired },
      // Only with the tail written again does QEMU go on; hardware goes on at once. Looked at after both.
      setRegister(0x34, 4, 0x10n), setRegister(0x88, 8, BigInt(this.#tail)), readRegister(0x34, 4), readRegister(0x38, 4), ...this.#state(),
    ];
  }

  #wait(): readonly [bigint, bigint] {
    this.#count++;
    return [(BigInt(this.#count) << 32n) | 0x25n, BigInt(this.#status)];
  }

  #state(): Action[] {
    return [{ op: "mem_read", addr: this.#status, len: 4 }, readRegister(0x80, 8), readRegister(0x88, 8)];
  }

  #words(descriptor: readonly [bigint, bigint]): Uint8Array {
    return this.#wide ? words(...descriptor, 0n, 0n) : words(...descriptor);
  }

  #put(...descriptors: readonly (readonly [bigint, bigint])[]): Action[] {
    const step = this.#wide ? 32 : 16;
    const actions = descriptors.map((descriptor): Action => {
      const action: Action = { op: "mem_write", addr: this.#table + this.#tail, data: this.#words(descriptor) };
      this.#tail = (this.#tail + step) % (4096 << this.#size);
      return action;
    });
    return [...actions, setRegister(0x88, 8, BigInt(this.#tail))];
  }
}

/** A descriptor that every unit takes. VT-d §6.5.2.1–8. */
const goodDescriptor = (random: Random): readonly [bigint, bigint] => {
  const did = BigInt(random.below(0x1_0000)) << 16n;
  const am = random.below(19);
  switch (random.below(7)) {
    case 0:
      return [0x11n, 0n];
    case 1:
      return [0x21n | did, 0n];
    case 2:
      return [0x31n | did | (BigInt(random.below(0x1_0000)) << 32n) | (BigInt(random.below(4)) << 48n), 0n];
    case 3:
      return [0x12n, 0n];
    case 4:
      return [0x22n | did | (BigInt(random.below(4)) << 6n), 0n];
    case 5:
      return [0x32n | did | (BigInt(random.below(4)) << 6n), ((((random.wide() & ((1n << 27n) - 1n)) >> BigInt(am)) << BigInt(am)) << 12n) | (random.chance(0.3) ? 0x40n : 0n) | BigInt(am)];
    default:
      return random.chance(0.5) ? [0x04n, 0n] : [0x14n | (BigInt(random.below(16)) << 27n) | (BigInt(random.below(0x1_0000)) << 32n), 0n];
  }
};

/** A descriptor that none takes, and QEMU refuses too: type, granularity, reserved bits, mask beyond MAMV. */
const badDescriptor = (random: Random): readonly [bigint, bigint] =>
  random.pick<readonly [bigint, bigint]>([
    [0n, 0n], [0x01n, 0n], [0x02n, 0n], [0x0bn, 0n], [0x0en, 0n], [0x0fn, 0n], [0x51n, 0n], [0x1012n, 0n],
    [0x0001_0032n, 0x4_0000_0000_0000n | BigInt(random.between(19, 63))],
  ]);

/** A random program on the queue alone. */
export const queueProgram = (seed: number): Program => {
  const random = new Random(seed);
  const scalable = random.chance(0.3);
  const configuration: Configuration = { aw: random.pick([39, 48]), scalable, snoopControl: false, cachingMode: false, eim: false };
  const queue = new Queue(random, new Pages(random), scalable && random.chance(0.5));
  const event = (control: number, data: number, address: number): Action[] => [setRegister(address, 4, BigInt(0xfee0_0000 + (random.between(1, 0xfe) << 12))), setRegister(data, 4, BigInt(random.between(0x30, 0xfe))), ...(random.chance(0.7) ? [setRegister(control, 4, 0n)] : [])];
  const blocks: Block[] = [{ required: true, actions: [...queue.enable(), ...event(0x38, 0x3c, 0x40), ...event(0xa0, 0xa4, 0xa8)] }];
  for (let i = random.between(10, 40); i > 0; i--)
    blocks.push({
      required: false,
      actions: random.pick<() => Action[]>([
        () => queue.submit(...Array.from({ length: random.below(6) }, () => goodDescriptor(random))),
        () => queue.submit(...Array.from({ length: random.below(100) }, () => goodDescriptor(random))),
        () => queue.interrupt(),
        () => queue.broken(badDescriptor(random)),
        () => [setRegister(0xa0, 4, random.chance(0.5) ? 0n : 0x8000_0000n), readRegister(0xa0, 4)],
        () => [setRegister(0x9c, 4, 1n), readRegister(0x9c, 4), readRegister(0xa0, 4)],
        () => [setRegister(0x38, 4, random.chance(0.5) ? 0n : 0x8000_0000n), readRegister(0x38, 4)],
      ])(),
    });
  return { family: "queue", seed, machine: new IntelMachine(configuration), blocks };
};
