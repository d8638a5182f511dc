import { Pages, readRegister, setRegister, write } from "../pages.ts";
import { DEVICES, requesterOf, type Action, type Block, type Program } from "../program.ts";
import { Queue } from "./queue.ts";
import { Random } from "../random.ts";
import { command } from "./commands.ts";
import type { Configuration } from "./configuration.ts";
import { IntelMachine } from "./machine.ts";

const TABLE_SET = 0x0100_0000n;
const QUEUE = 0x0400_0000n;
const REMAPPING = 0x0200_0000n;

/** An entry that lets some device through, or one with a flaw. VT-d §9.9 "Interrupt Remapping Table Entry (IRTE) for Remapped Interrupts". */
const entryOf = (random: Random, { eim }: Configuration): readonly [bigint, bigint] => {
  const destination = eim && random.chance(0.5) ? BigInt(random.bits()) : BigInt(random.between(0x10, 0xf0)) << (eim ? 0n : 8n);
  // Away from processor 0, which stands still and must go on doing so: only these modes do nothing to one that is not addressed.
  const low = 1n | (BigInt(random.below(8)) << 2n) | (BigInt(random.pick([0, 0, 0, 1])) << 5n) | (BigInt(random.below(16)) << 8n) | (BigInt(random.between(0x10, 0xfe)) << 16n) | (destination << 32n);
  const requester = requesterOf(random.pick(DEVICES));
  const bus = requester >> 8;
  // SVT 2 with one bus: with two QEMU takes first and last the wrong way round.
  const verify = random.pick<readonly [number, number]>([[0, random.below(0x1_0000)], [1, requester], [1, requester], [1, random.below(0x1_0000)], [2, (bus << 8) | bus], [2, 0x0202], [3, requester]]);
  const high = BigInt(verify[1]) | (BigInt(random.below(4)) << 16n) | (BigInt(verify[0]) << 18n);
  switch (random.below(10)) {
    case 0:
      return [low & ~1n, high];
    case 1:
      return random.chance(0.5) ? [low | (1n << BigInt(random.pick([12, 13, 14, 24, 28, 31]))), high] : [low, high | (1n << BigInt(random.between(20, 63)))];
    default:
      return [low, high];
  }
};

const compatible = (random: Random): { readonly addr: number; readonly data: number } => ({ addr: 0xfee0_0000 + (random.between(0x10, 0xf0) << 12), data: random.between(0x10, 0xfe) });

const remappable = (random: Random, entries: number): { readonly addr: number; readonly data: number } => {
  const index = random.chance(0.9) ? random.below(entries) : random.below(0x1_0000);
  const sub = random.chance(0.4);
  const subhandle = sub ? random.below(Math.min(index + 1, 256)) : 0;
  const handle = index - subhandle;
  return { addr: 0xfee0_0010 + (sub ? 8 : 0) + ((handle & 0x7fff) << 5) + ((handle >> 15) << 2), data: sub ? subhandle : random.chance(0.5) ? 0 : random.below(0x1_0000) };
};

/** A random program on interrupt remapping. VT-d §5.1 "Interrupt Remapping". */
export const interruptProgram = (seed: number): Program => {
  const random = new Random(seed);
  const configuration: Configuration = { aw: random.pick([39, 48]), scalable: false, snoopControl: false, cachingMode: false, eim: random.chance(0.3) };
  const pages = new Pages(random);
  const queue = new Queue(random, pages, false);
  const size = random.between(0, 7);
  const entries = 2 ** (size + 1);
  const table = pages.take() * 4096;
  const set = (index: number): Action => write(table + 16 * index, ...entryOf(random, configuration));
  const message = (what: { readonly addr: number; readonly data: number }): Action => ({ op: "msi", bdf: random.pick(DEVICES), ...what });
  const before = Array.from({ length: random.below(4) }, () => message(compatible(random)));
  const setup = Array.from({ length: entries }, (_, i) => set(i));
  const on = [setRegister(0xb8, 8, BigInt(table) | (configuration.eim ? 0x800n : 0n) | BigInt(size)), readRegister(0xb8, 8), ...command(TABLE_SET), ...queue.enable(), ...queue.submit([0x04n, 0n]), ...command(QUEUE | REMAPPING)];
  const blocks: Block[] = [{ required: true, actions: [...before, ...setup, ...on] }];
  for (let i = random.between(20, 60); i > 0; i--) {
    const index = random.below(entries);
    blocks.push({
      required: false,
      actions:
        random.chance(0.2) ? [set(index), ...queue.submit(random.pick([[0x04n, 0n], [0x14n | (BigInt(index) << 32n), 0n]] as const)), message({ addr: 0xfee0_0010 + (index << 5), data: 0 })]
        : [message(remappable(random, entries)), readRegister(0x34, 4)],
    });
  }
  return { family: "interrupts", seed, machine: new IntelMachine(configuration), blocks };
};
