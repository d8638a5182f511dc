import { Pages, readRegister, setRegister, write } from "../pages.ts";
import { DEVICES, requesterOf, type Action, type Block, type Program } from "../program.ts";
import { Queue } from "./queue.ts";
import { Random } from "../random.ts";
import { SecondStage, type Domain } from "./second-stage.ts";
import { Transfers, type Device } from "../transfers.ts";
import { command } from "./commands.ts";
import { checkFaults } from "./check-faults.ts";
import type { Configuration } from "./configuration.ts";
import { IntelMachine } from "./machine.ts";

const QUEUE = 0x0400_0000n;

/** What becomes of a device's requests in the PASID structures. */
type Flaw = "none" | "context not present" | "context reserved" | "directory not present" | "entry not present" | "entry reserved" | "translation type" | "width" | "pass-through" | "directory unreadable" | "table unreadable";
const FLAWS: readonly Flaw[] = ["none", "none", "none", "none", "none", "none", "context not present", "context reserved", "directory not present", "entry not present", "entry reserved", "translation type", "width", "pass-through", "directory unreadable", "table unreadable"];

/** One device's context entry, PASID directory and table. VT-d §3.4.3 "Scalable Mode Address Translation", §9.4 to §9.6. */
const deviceTables = (random: Random, pages: Pages, { aw }: Configuration, bdf: string, contexts: readonly [number, number], domain: Domain): { readonly actions: readonly Action[]; readonly device: Device } => {
  const flaw = random.pick(FLAWS);
  const devfn = requesterOf(bdf) & 0xff;
  const context = (contexts[devfn >> 7] ?? 0) * 4096 + 32 * (devfn & 0x7f);
  const directory = flaw === "directory unreadable" ? pages.hole() : pages.take();
  const table = flaw === "table unreadable" ? pages.hole() : pages.take();
  const pasid = random.pick([0, 1, 0x3f, 0x40, 100]);
  const size = BigInt(random.below(3));
  const width = domain.levels === 3 ? 1n : 2n;
  const silent = random.chance(0.1) && flaw === "none" ? 2n : 0n;
  const contextLow = (BigInt(directory) << 12n) | (size << 9n) | silent | 1n;
  const contextReserved = random.pick([1n << BigInt(random.pick([5, 6, 7, 8, aw, 51])), 0n]);
  const entryWidth = flaw === "width" ? BigInt(random.pick(aw === 39 ? [0, 2, 3, 5] : [0, 3, 6])) : width;
  const type = flaw === "translation type" ? BigInt(random.pick([0, 1, 3, 5, 6, 7])) : flaw === "pass-through" ? 4n : 2n;
  const entryLow = (BigInt(domain.root) << 12n) | (type << 6n) | (entryWidth << 2n) | 1n;
  const actions = [
    flaw === "context not present" ? write(context, random.wide() & ~3n, 0n, 0n, 0n)
    : flaw === "context reserved" ? write(context, contextLow | contextReserved, BigInt(pasid) | (contextReserved === 0n ? 1n << BigInt(random.between(22, 63)) : 0n), 0n, 0n)
    : write(context, contextLow, BigInt(pasid), 0n, 0n),
    ...(flaw === "directory unreadable" ? [] : [write(directory * 4096 + 8 * (pasid >> 6), (BigInt(table) << 12n) | (flaw === "directory not present" ? 0n : 1n))]),
    ...(flaw === "directory unreadable" || flaw === "table unreadable" ? [] : [write(table * 4096 + 64 * (pasid & 0x3f), flaw === "entry not present" ? entryLow & ~1n : flaw === "entry reserved" ? entryLow | (1n << BigInt(random.pick([10, 11]))) : entryLow, BigInt(domain.id), 0n, 0n, 0n, 0n, 0n, 0n)]),
  ];
  return { actions, device: { bdf, domain: flaw === "none" ? domain : undefined, passes: flaw === "pass-through" } };
};

/** A random program in scalable mode: second stage and pass-through by RID_PASID. */
export const scalableProgram = (seed: number): Program => {
  const random = new Random(seed);
  const configuration: Configuration = { aw: random.pick([39, 48]), scalable: true, snoopControl: false, cachingMode: false, eim: false };
  const pages = new Pages(random);
  const queue = new Queue(random, pages, true);
  const everything = [[0x11n, 0n], [0x37n, 0n], [0x12n, 0n]] as const;
  const transfers = new Transfers(random, () => queue.submit(...everything), checkFaults(configuration, true));
  const ids = new Set<number>();
  while (ids.size < 3) ids.add(random.between(1, 0xffff));
  const domains = [...ids].map((id) => new SecondStage(random, pages, configuration, configuration.aw === 39 ? 3 : 4).build(id, random.between(3, 7)));
  const rootTable = pages.take();
  const contexts = [pages.take(), pages.take()] as const;
  const behind = [pages.take(), pages.take()] as const;
  const half = (page: number): bigint => (BigInt(page) << 12n) | 1n;
  const made = DEVICES.map((bdf) => deviceTables(random, pages, configuration, bdf, bdf.startsWith("01") ? behind : contexts, random.pick(domains)));
  const devices = made.map(({ device }) => device);
  const setup: Action[] = [...domains.flatMap((domain) => domain.setup), write(rootTable * 4096, half(contexts[0]), half(contexts[1])), write(rootTable * 4096 + 16, random.chance(0.8) ? half(behind[0]) : 0n, half(behind[1])), ...made.flatMap(({ actions }) => actions)];
  const on = [setRegister(0x20, 8, (BigInt(rootTable) << 12n) | 0x400n), ...command(0x4000_0000n), ...queue.enable(), ...queue.submit(...everything), ...command(0x8000_0000n | QUEUE)];
  const blocks: Block[] = [{ required: true, actions: [transfers.forget(), ...setup, ...on] }];
  for (let i = random.between(15, 40); i > 0; i--) {
    const device = random.pick(devices);
    const target = device.domain === undefined || random.chance(0.2) ? transfers.stray(device, configuration.aw) : random.pick(device.domain.targets);
    blocks.push({ required: false, actions: random.chance(0.1) ? [...transfers.flushAll(), readRegister(0x34, 4)] : transfers.transfer(device, target) });
  }
  return { family: "scalable", seed, machine: new IntelMachine(configuration), blocks };
};
