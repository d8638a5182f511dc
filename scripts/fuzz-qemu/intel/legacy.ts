import { Pages, readRegister, setRegister, write } from "../pages.ts";
import { DEVICES, requesterOf, type Action, type Block, type Program } from "../program.ts";
import { Random } from "../random.ts";
import { SecondStage, type Domain } from "./second-stage.ts";
import { Transfers, type Device } from "../transfers.ts";
import { command, flushByRegister } from "./commands.ts";
import { checkFaults } from "./check-faults.ts";
import type { Configuration } from "./configuration.ts";
import { IntelMachine } from "./machine.ts";

/** Legacy mode: root, context and second-stage tables with random flaws. VT-d §3.4.2 "Legacy Mode Address Translation". */
interface Tables {
  readonly configuration: Configuration;
  readonly rootTable: number;
  readonly devices: readonly Device[];
  readonly domains: readonly Domain[];
  readonly setup: readonly Action[];
}

const ROOT_SET = 0x4000_0000n;
const ENABLED = 0x8000_0000n;

const contextOf = (random: Random, { aw }: Configuration, domain: Domain): { readonly words: readonly [bigint, bigint]; readonly sound: boolean; readonly passes?: boolean } => {
  const pointer = BigInt(domain.root) << 12n;
  const id = BigInt(domain.id) << 8n;
  const width = domain.levels === 3 ? 1n : 2n;
  const silent = random.chance(0.15) ? 2n : 0n;
  const available = random.chance(0.3) ? BigInt(random.below(16)) << 3n : 0n;
  switch (random.below(14)) {
    case 0:
      return { words: [(random.wide() & ~3n) | silent, random.wide()], sound: false };
    case 1:
      return { words: [pointer | 1n | silent | (BigInt(random.pick([1, 3])) << 2n), width | id], sound: false };
    case 2:
      return { words: [pointer | 1n | silent, BigInt(random.pick(aw === 39 ? [0, 2, 3, 4, 7] : [0, 3, 5, 6])) | id], sound: false };
    case 3:
      // QEMU tells of reserved bits even where FPD is set; hardware does not.
      return { words: random.chance(0.5) ? [pointer | 1n | (1n << BigInt(random.pick([4, 5, 8, 11, aw, aw + 2, 51, 63]))), width | id] : [pointer | 1n, width | id | (1n << BigInt(random.pick([7, 24, 31, 40, 63])))], sound: false };
    case 4:
      return { words: [1n | 8n | silent, (aw === 39 ? 1n : 2n) | id], sound: false, passes: true };
    default:
      return { words: [pointer | 1n | silent, width | id | available], sound: true };
  }
};

const rootOf = (random: Random, pages: Pages, contexts: number, { aw }: Configuration): readonly [bigint, bigint] => {
  const entry = (BigInt(contexts) << 12n) | 1n;
  switch (random.below(10)) {
    case 0:
      return [random.wide() & ~1n, random.wide()];
    case 1:
      return random.chance(0.5) ? [entry | (1n << BigInt(random.pick([1, 5, 11, aw, 51, 63]))), 0n] : [entry, 1n << BigInt(random.below(64))];
    case 2:
      return [(BigInt(pages.hole()) << 12n) | 1n, 0n];
    default:
      return [entry, 0n];
  }
};

const tablesOf = (random: Random, pages: Pages, configuration: Configuration): Tables => {
  const { aw } = configuration;
  const rootTable = pages.take();
  const contexts = pages.take();
  const behindBridge = pages.take();
  const ids = new Set<number>();
  while (ids.size < 3) ids.add(random.between(1, 0xffff));
  const domains = [...ids].map((id) => new SecondStage(random, pages, configuration, aw === 39 || random.chance(0.3) ? 3 : 4).build(id, random.between(3, 7)));
  const setup: Action[] = domains.flatMap((domain) => domain.setup);
  setup.push(write(rootTable * 4096, (BigInt(contexts) << 12n) | 1n, 0n), write(rootTable * 4096 + 16, ...rootOf(random, pages, behindBridge, configuration)));
  const devices = DEVICES.map((bdf): Device => {
    const domain = random.pick(domains);
    const { words, sound, passes = false } = contextOf(random, configuration, domain);
    const table = bdf.startsWith("01") ? behindBridge : contexts;
    setup.push(write(table * 4096 + 16 * (requesterOf(bdf) & 0xff), ...words));
    return { bdf, domain: sound ? domain : undefined, passes };
  });
  return { configuration, rootTable, devices, domains, setup };
};

/** A leaf now leads elsewhere, and the unit is told in one of the ways that reach it. VT-d §6.5.1.2 "IOTLB Invalidate". */
const moved = (random: Random, pages: Pages, transfers: Transfers, tables: Tables): Action[] => {
  const device = random.pick(tables.devices);
  const targets = device.domain?.targets.filter(({ leaf, memory }) => leaf?.level === 1 && memory !== undefined) ?? [];
  if (device.domain === undefined || targets.length === 0) return [];
  const target = random.pick(targets);
  const direction = random.pick(["read", "write"] as const);
  const before = transfers.transfer(device, target, direction);
  const page = pages.take();
  const value = (BigInt(page) << 12n) | ((target.leaf?.value ?? 0n) & 0xfffn);
  const id = BigInt(device.domain.id) << 32n;
  const am = random.below(4);
  const base = ((target.iova >> 12n) >> BigInt(am)) << BigInt(am + 12);
  const told = random.pick<Action[]>([
    [setRegister(0xf8, 8, (1n << 63n) | (1n << 60n))],
    [setRegister(0xf8, 8, (1n << 63n) | (2n << 60n) | id)],
    [setRegister(0xf0, 8, base | BigInt(am)), setRegister(0xf8, 8, (1n << 63n) | (3n << 60n) | id)],
  ]);
  const sharing = tables.devices.filter(({ domain }) => domain === device.domain);
  const after = sharing.flatMap((each) => transfers.transfer(each, { ...target, memory: page * 4096 }, direction));
  // Back again, so that other blocks find what they know.
  const restore = [write(target.leaf?.at ?? 0, target.leaf?.value ?? 0n), ...transfers.flushAll()];
  return [...before, write(target.leaf?.at ?? 0, value), ...told, readRegister(0xf8, 8, 1n << 63n, "actual granularity"), ...after, ...restore];
};

/** Faults that follow each other while the first stands, with the event masked or not. VT-d §7.2.1 "Primary Fault Logging", §7.3 "Fault Reporting". */
const burst = (random: Random, transfers: Transfers, tables: Tables): Action[] => {
  const actions: Action[] = [];
  for (let i = random.between(2, 6); i > 0; i--) {
    const device = random.pick(tables.devices);
    const target = device.domain !== undefined && random.chance(0.5) ? random.pick(device.domain.targets) : transfers.stray(device, 39);
    actions.push(...transfers.transfer(device, target, undefined, checkFaults(tables.configuration, false)));
    if (random.chance(0.3)) actions.push(setRegister(0x38, 4, random.chance(0.5) ? 0x8000_0000n : 0n), readRegister(0x38, 4));
    if (random.chance(0.2)) actions.push(setRegister(0x34, 4, 1n), readRegister(0x34, 4));
  }
  return [...actions, checkFaults(tables.configuration, true), readRegister(0x38, 4)];
};

/** Translation off and on again. */
const offAndOn = (random: Random, pages: Pages, transfers: Transfers, tables: Tables): Action[] => {
  const { bdf } = random.pick(tables.devices);
  const page = pages.take();
  const off = transfers.transfer({ bdf, domain: undefined }, { iova: BigInt(page) << 12n, size: 4096, memory: page * 4096, leaf: undefined });
  return [...command(0n), ...off, ...command(ROOT_SET), ...transfers.flushAll(), ...command(ENABLED)];
};

/** A random program in legacy mode, invalidating by registers. */
export const legacyProgram = (seed: number): Program => {
  const random = new Random(seed);
  const configuration: Configuration = { aw: random.pick([39, 48]), scalable: false, snoopControl: random.chance(0.25), cachingMode: random.chance(0.2), eim: false };
  const pages = new Pages(random);
  const transfers = new Transfers(random, flushByRegister, checkFaults(configuration, true));
  const tables = tablesOf(random, pages, configuration);
  const events = [setRegister(0x40, 4, BigInt(0xfee0_0000 + (random.between(1, 0xfe) << 12))), setRegister(0x3c, 4, BigInt(random.between(0x30, 0xfe))), ...(random.chance(0.7) ? [setRegister(0x38, 4, 0n)] : [])];
  const on = [setRegister(0x20, 8, BigInt(tables.rootTable) << 12n), readRegister(0x20, 8), ...command(ROOT_SET), ...flushByRegister(), readRegister(0x28, 8, 1n << 63n, "actual granularity"), ...command(ENABLED)];
  const blocks: Block[] = [{ required: true, actions: [transfers.forget(), ...tables.setup, ...events, ...on] }];
  for (let i = random.between(15, 40); i > 0; i--) {
    const kind = random.below(20);
    const device = random.pick(tables.devices);
    const actions =
      kind === 0 ? offAndOn(random, pages, transfers, tables)
      : kind <= 2 ? burst(random, transfers, tables)
      : kind <= 5 ? moved(random, pages, transfers, tables)
      : kind <= 8 || device.domain === undefined ? transfers.transfer(device, transfers.stray(device, configuration.aw))
      : transfers.transfer(device, random.pick(device.domain.targets));
    blocks.push({ required: false, actions });
  }
  return { family: "legacy", seed, machine: new IntelMachine(configuration), blocks };
};
