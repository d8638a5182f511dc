import { Pages, readRegister, setRegister } from "../pages.ts";
import type { Action, Block, Program } from "../program.ts";
import { Random } from "../random.ts";
import { command } from "./commands.ts";
import type { Configuration } from "./configuration.ts";
import { IntelMachine } from "./machine.ts";

/** A register that may be written with anything, and the bits that come back as the architecture says. */
interface Probe {
  readonly off: number;
  readonly size: 4 | 8;
  /** Bits to compare; those left out are reserved, and kept by QEMU. */
  readonly mask?: bigint;
  /** Sizes of a write that QEMU survives. */
  readonly writes?: readonly (4 | 8)[];
  /** Bits to write: none that starts something. */
  readonly allowed?: bigint;
}

const ALL = (1n << 64n) - 1n;

/** VT-d §11.4 "Register Descriptions". What needs a capability that QEMU's unit does not have reads 0 whatever is written. */
const probes = ({ aw, scalable }: Configuration): readonly Probe[] => {
  const address = (1n << BigInt(aw)) - 1n;
  return [
    { off: 0x00, size: 4, writes: [4] }, { off: 0x08, size: 8 }, { off: 0x10, size: 8 }, { off: 0x1c, size: 4, writes: [4] },
    { off: 0x20, size: 8, mask: address & ~(scalable ? 0x3ffn : 0xfffn) }, { off: 0xb8, size: 8, mask: address & ~0xff0n },
    { off: 0x3c, size: 4, mask: 0xffffn, writes: [4] }, { off: 0x40, size: 4, writes: [4], allowed: 0xffff_fffcn },
    { off: 0xa4, size: 4, mask: 0xffffn, writes: [4] }, { off: 0xa8, size: 4, writes: [4], allowed: 0xffff_fffcn },
    { off: 0x58, size: 8 }, { off: 0x64, size: 4, writes: [4] }, { off: 0x68, size: 4, writes: [4] }, { off: 0x6c, size: 4, writes: [4] }, { off: 0x70, size: 8 }, { off: 0x78, size: 8 },
    { off: 0x80, size: 8 }, { off: 0xb0, size: 4, writes: [4] }, { off: 0xc0, size: 8 }, { off: 0xc8, size: 8 }, { off: 0xd0, size: 8 }, { off: 0xe0, size: 4, writes: [4] }, { off: 0xe4, size: 4, writes: [4] },
    { off: 0x100, size: 8 }, { off: 0x108, size: 8 }, { off: 0x220, size: 8, allowed: ALL }, { off: 0x228, size: 8, allowed: ALL },
  ];
};

const probe = (random: Random, { off, size, mask = ALL, writes = [4, 8], allowed = ALL }: Probe): Action[] => {
  const value = random.pick([random.wide(), ALL, 0n, 1n << BigInt(random.below(64))]) & allowed;
  const wide = size === 8 && random.pick(writes) === 8;
  const upper = size === 8 && !wide && random.chance(0.5);
  const at = upper ? off + 4 : off;
  const low = mask & 0xffff_ffffn;
  const why = "the other bits are reserved";
  const read = (from: number, width: 4 | 8, bits: bigint): Action => readRegister(from, width, bits === (width === 8 ? ALL : 0xffff_ffffn) ? undefined : bits, why);
  return [setRegister(at, wide ? 8 : 4, wide ? value : value & 0xffff_ffffn), ...(size === 8 ? [read(off, 8, mask), read(off + 4, 4, mask >> 32n)] : []), read(off, 4, low)];
};

/** A random program on registers alone: what stays of what is written, what a command sets. */
export const registerProgram = (seed: number): Program => {
  const random = new Random(seed);
  const configuration: Configuration = { aw: random.pick([39, 48]), scalable: random.chance(0.3), snoopControl: random.chance(0.3), cachingMode: random.chance(0.3), eim: random.chance(0.3) };
  const pages = new Pages(random);
  const all = probes(configuration);
  const blocks: Block[] = Array.from({ length: random.between(20, 60) }, () => ({ required: false, actions: probe(random, random.pick(all)) }));
  // Last, when nothing is written at random any more: the one-shot and the lasting bits of GCMD, one at a time.
  const base = BigInt(pages.take()) << 12n;
  const steps = [setRegister(0x20, 8, base), setRegister(0xb8, 8, (BigInt(pages.take()) << 12n) | 7n), setRegister(0x88, 8, 0n), setRegister(0x90, 8, BigInt(pages.take()) << 12n), ...command(0x4000_0000n), ...command(0x0100_0000n), ...command(0x0400_0000n), ...command(0x8400_0000n), ...command(0x8600_0000n), ...command(0x8600_0000n), readRegister(0x18, 4), readRegister(0x80, 8)];
  return { family: "registers", seed, machine: new IntelMachine(configuration), blocks: [...blocks, { required: false, actions: steps }] };
};
