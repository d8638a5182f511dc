import { Pages, readRegister, setRegister, words, write } from "../pages.ts";
import { requesterOf, type Action, type Block, type Program } from "../program.ts";
import { Random } from "../random.ts";
import { invalidateAll, invalidateDevice, invalidateInterrupts, type Command } from "./commands.ts";
import { AmdMachine } from "./machine.ts";
import { interruptEntry, type InterruptTable } from "./interrupt-entries.ts";
import { CONTROL, ON_BUS_0, Unit, WIDE_ENTRIES } from "./unit.ts";

const FIXED_TYPES: readonly number[] = [0, 0, 0, 1];
const SMI = 2;
/** NMI, INIT, ExtInt and the two that do not exist. */
const OTHER_TYPES: readonly number[] = [3, 4, 5, 6, 7];

interface Message {
  readonly addr: number;
  readonly data: number;
}

/** An address whose destination is not processor 0, which stands still and must go on doing so. */
const addressOf = (random: Random): number => 0xfee0_0000 + (random.between(0x10, 0xf0) << 12) + random.pick([0, 0, 0, 4, 8, 12]);

const messageOf = (random: Random, table: InterruptTable): Message => {
  const addr = addressOf(random);
  const upper = random.chance(0.3) ? random.below(32) << 11 : 0;
  // What QEMU forwards unmapped at IntCtl=1 it overwrites with zeros.
  if (table.forwards || random.chance(0.25)) return { addr, data: upper | (random.pick(table.smisPass ? OTHER_TYPES : [SMI, ...OTHER_TYPES]) << 8) | random.between(0x10, 0xfe) };
  const known = table.indexes.length > 0 && random.chance(0.8);
  return { addr, data: upper | (known ? random.pick(table.indexes) : (random.pick(FIXED_TYPES) << 8) | random.below(256)) };
};

/** A random program on interrupt remapping, with entries of 32 or of 128 bits. AMD-Vi §2.2.5. */
export const interruptProgram = (seed: number): Program => {
  const random = new Random(seed);
  const pages = new Pages(random);
  const wide = random.chance(0.5);
  const unit = new Unit(random, pages, wide ? WIDE_ENTRIES : 0n);
  const { commands } = unit;
  const tables = new Map(ON_BUS_0.map((bdf) => [bdf, interruptEntry(random, pages, wide)] as const));
  const message = (bdf: string, what: Message): Action => ({ op: "msi", bdf, ...what });
  const before = Array.from({ length: random.below(4) }, () => message(random.pick(ON_BUS_0), { addr: addressOf(random), data: random.between(0x10, 0xfe) }));
  const enter = (bdf: string, table: InterruptTable): Action => write(unit.entryOf(bdf), ...table.words);
  const fill = ({ entries }: InterruptTable): Action[] => entries.map(({ at, value }) => ({ op: "mem_write", addr: at, data: words(...value).subarray(0, wide ? 16 : 4) }));
  const setup = [...tables].flatMap(([bdf, table]) => [enter(bdf, table), ...fill(table)]);
  const blocks: Block[] = [{ required: true, actions: [...before, ...setup, ...unit.enable(), readRegister(CONTROL, 8, unit.control), ...commands.submit(invalidateAll)] }];

  /** What makes a unit forget a device's entry and interrupt table. */
  const told = (bdf: string): Command[] => random.pick<Command[]>([[invalidateAll], [invalidateDevice(requesterOf(bdf)), invalidateInterrupts(requesterOf(bdf))]]);
  const changedEntry = (bdf: string, table: InterruptTable): Action[] => {
    if (table.entries.length === 0) return [];
    const { at, index } = random.pick(table.entries);
    const value = table.newEntry();
    return [message(bdf, { addr: addressOf(random), data: index }), { op: "mem_write", addr: at, data: words(...value).subarray(0, wide ? 16 : 4) }, ...commands.submit(random.chance(0.5) ? invalidateAll : invalidateInterrupts(requesterOf(bdf))), message(bdf, { addr: addressOf(random), data: index })];
  };
  const changedDevice = (bdf: string, old: InterruptTable): Action[] => {
    const other = interruptEntry(random, pages, wide);
    const some = (table: InterruptTable): Action[] => Array.from({ length: random.between(1, 4) }, () => message(bdf, messageOf(random, table)));
    return [...some(old), ...fill(other), enter(bdf, other), ...commands.submit(...told(bdf)), ...some(other), enter(bdf, old), ...commands.submit(...told(bdf)), ...some(old)];
  };
  for (let i = random.between(20, 60); i > 0; i--) {
    const [bdf, table] = random.pick([...tables]);
    const kind = random.below(10);
    blocks.push({ required: false, actions: kind === 0 ? changedDevice(bdf, table) : kind <= 2 && !table.forwards ? changedEntry(bdf, table) : [message(bdf, messageOf(random, table))] });
  }
  // QEMU goes on remapping with the unit off; nothing is sent then.
  blocks.push({ required: false, actions: [setRegister(CONTROL, 8, 0n), setRegister(CONTROL, 8, unit.control), ...commands.submit(invalidateAll), message(ON_BUS_0[0] ?? "", messageOf(random, tables.get(ON_BUS_0[0] ?? "") ?? interruptEntry(random, pages, wide)))] });
  return { family: "amd-interrupts", seed, machine: new AmdMachine(), blocks };
};
