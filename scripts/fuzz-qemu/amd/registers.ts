import { readRegister, setRegister } from "../pages.ts";
import type { Action, Block, Program } from "../program.ts";
import { Random } from "../random.ts";
import { AmdMachine } from "./machine.ts";
import { CONTROL } from "./unit.ts";

/** A register that may be written with anything while the unit is off. */
interface Probe {
  readonly off: number;
  /** Bits to compare: QEMU keeps reserved ones. */
  readonly mask: bigint;
  /** Only the low half, as one or with the other: QEMU's pointers stay when a base is written, and their other half would show it. */
  readonly pointer?: boolean;
  /** Bits to write: none that starts something. */
  readonly allowed?: bigint;
}

const ALL = (1n << 64n) - 1n;
const LOW = 0xffff_ffffn;
const RING_BASE = 0x0f0f_ffff_ffff_f000n;
const POINTER = 0x7_fff0n;
/** Bits of CONTROL that this unit has, 23:0, and those of them that switch nothing on. */
const CONTROL_BITS = 0xbf_ffffn;
const INERT = CONTROL_BITS & ~0x3005n;

/** What is there and keeps what is written, and what reads 0 for want of a feature. Left out is what QEMU does not have: exclusion base, hardware event registers, 1FF8h, Status. AMD-Vi §3.4. */
const PROBES: readonly Probe[] = [
  { off: 0x00, mask: 0x000f_ffff_ffff_f1ffn },
  { off: 0x08, mask: RING_BASE }, { off: 0x10, mask: RING_BASE }, { off: 0x38, mask: RING_BASE },
  { off: CONTROL, mask: CONTROL_BITS, allowed: INERT }, { off: 0x28, mask: 0x000f_ffff_ffff_f000n },
  ...[0x2000, 0x2008, 0x2010, 0x2018, 0x2030, 0x2038].map((off) => ({ off, mask: POINTER, pointer: true })),
  ...[0x30, 0x60, 0xd8, 0xe0, 0xe8, 0xf0, 0xf8, 0x100, 0x130, 0x138, 0x148, 0x150, 0x158, 0x160, 0x168, 0x170, 0x178, 0x180, 0x1a0, 0x200, 0x208, 0x210, 0x258, 0x2040, 0x2048, 0x2050, 0x2058, 0x2070, 0x2078, 0x2080, 0x2088, 0x2090].map((off) => ({ off, mask: ALL })),
];

const probe = (random: Random, { off, mask, pointer = false, allowed = ALL }: Probe): Action[] => {
  const value = random.pick([random.wide(), ALL, 0n, 1n << BigInt(random.below(64))]) & allowed;
  const read = (at: number, size: 4 | 8, bits: bigint): Action => readRegister(at, size, bits, "the other bits are reserved");
  if (pointer) {
    const wide = random.chance(0.5);
    return [setRegister(off, wide ? 8 : 4, wide ? value : value & LOW), read(off, 4, mask & LOW)];
  }
  const write = random.pick([setRegister(off, 8, value), setRegister(off, 4, value & LOW), setRegister(off + 4, 4, value & LOW & (allowed >> 32n))]);
  return [write, read(off, 8, mask), read(off, 4, mask & LOW), read(off + 4, 4, mask >> 32n)];
};

/** Address and data of the function's MSI capability. PCI Local Bus 3.0 §6.8.1. */
const message = (random: Random): Action[] => [
  { op: "cfg_write", off: 0x64, value: random.bits() }, { op: "cfg_write", off: 0x68, value: random.bits() }, { op: "cfg_write", off: 0x6c, value: random.bits() & 0xffff },
  ...[0x64, 0x68, 0x6c].map((off): Action => ({ op: "cfg_read", off })),
];

/** A random program on registers alone: what stays of what is written. */
export const registerProgram = (seed: number): Program => {
  const random = new Random(seed);
  const blocks: Block[] = Array.from({ length: random.between(20, 60) }, () => ({ required: false, actions: random.chance(0.1) ? message(random) : probe(random, random.pick(PROBES)) }));
  return { family: "amd-registers", seed, machine: new AmdMachine(), blocks };
};
