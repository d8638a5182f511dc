import { IommuDriverError, type IommuDomain } from "../driver.ts";
import { Access } from "../transaction.ts";
import { check, dma, isBlocked, READ_WRITE, same } from "./checks.ts";
import type { DriverRig } from "./driver-rig.ts";
import { PlainMap } from "./plain-map.ts";
import { RandomSource } from "./random-source.ts";

/** Pages of a 2 MiB page. */
const LARGE = 512;
/** Domains of a history. */
const DOMAINS = 2;

interface World {
  readonly rig: DriverRig;
  readonly random: RandomSource;
  readonly domains: readonly { readonly domain: IommuDomain; readonly plain: PlainMap }[];
  /** Requester and PASID, and the index of the domain it is attached to; -1 for none. */
  readonly sources: { readonly requester: number; readonly pasid: number | undefined; at: number }[];
  /** First pages of the areas where mappings are made: borders of tables of every level. */
  readonly areas: readonly number[];
  /** Pages that something happened to lately. */
  readonly touched: number[];
}

/**
 * Drives random maps, unmaps, flushes, attaches and DMA, and compares with a plain map of pages: what is mapped is reached at
 * once, what is unmapped is not reached after `flush` (and before it only as it was), and nothing else is ever reached.
 * The same seed makes the same history.
 * @throws ContractViolation at the first difference
 */
export const runRandomHistory = (rig: DriverRig, seed: number, steps: number): void => {
  const { driver, requesters, features } = rig;
  driver.start();
  const top = 2 ** (features.addressWidth - 12);
  const world: World = {
    rig,
    random: new RandomSource(seed),
    domains: Array.from({ length: DOMAINS }, () => ({ domain: driver.createDomain({ kind: "paging" }), plain: new PlainMap() })),
    sources: [...requesters.map((requester) => ({ requester, pasid: undefined, at: -1 })), ...(features.pasids ?? []).map((pasid) => ({ requester: requesters[0], pasid, at: -1 }))],
    areas: [0, 2 ** 18 - LARGE, top - 4 * LARGE, ...(features.addressWidth > 40 ? [2 ** 27 - LARGE, 2 ** 31 - LARGE, 2 ** 32] : [])].filter((area) => area + 4 * LARGE <= top),
    touched: [0],
  };
  for (let step = 0; step < steps; step++) {
    const choice = world.random.below(100);
    if (choice < 25) map(world);
    else if (choice < 45) unmap(world);
    else if (choice < 53) flush(world);
    else if (choice < 60) attach(world);
    else probe(world);
  }
  finish(world);
};

/** A number where it is exact, else a bigint. */
const iovaOf = (page: number): number | bigint => (page < 2 ** 41 ? page * 4096 : BigInt(page) * 4096n);

const map = ({ random, domains, areas, touched }: World): void => {
  const { domain, plain } = random.pick(domains);
  const { page, count } = range(random, areas);
  const frame = 0x1000 + random.below(0x6_0000);
  const aligned = random.below(2) === 0 ? frame - (frame % LARGE) + (page % LARGE) : frame;
  const access = random.pick([READ_WRITE, READ_WRITE, Access.Read]);
  touch(random, touched, page, count);
  let mapped = true;
  try {
    domain.map(iovaOf(page), aligned * 4096, count * 4096, access);
  } catch (error) {
    if (!(error instanceof IommuDriverError) || error.code !== "EEXIST") throw error;
    mapped = false;
  }
  same(mapped, plain.map(page, aligned, count, access), `Mapping ${count} pages at ${page} where ${mapped ? "something" : "nothing"} was mapped succeeds`);
};

const unmap = ({ random, domains, areas, touched }: World): void => {
  const { domain, plain } = random.pick(domains);
  const { page, count } = range(random, areas);
  touch(random, touched, page, count);
  same(domain.unmap(iovaOf(page), count * 4096), plain.unmap(page, count) * 4096, `Bytes unmapped of ${count} pages at ${page}`);
};

const flush = ({ random, domains }: World): void => {
  const { domain, plain } = random.pick(domains);
  domain.flush();
  plain.flush();
};

const attach = ({ rig, random, domains, sources }: World): void => {
  const source = random.pick(sources);
  const to = random.below(DOMAINS + 1) - 1;
  const target = domains[to];
  if (target !== undefined) rig.driver.attach(source.requester, target.domain, source.pasid);
  else if (source.at >= 0) rig.driver.detach(source.requester, source.pasid);
  source.at = to;
};

const probe = (world: World): void => {
  const { rig, random, sources, domains, touched } = world;
  const page = Math.min(Math.max(0, random.pick(touched) + random.below(5) - 2), 2 ** (rig.features.addressWidth - 12) - 1);
  const access = random.pick([Access.Read, Access.Write]);
  for (const { domain, plain } of domains) {
    const expected = plain.pages.get(page);
    same(domain.lookup(iovaOf(page)), expected === undefined ? undefined : expected.frame * 4096, `What the tables say of page ${page}`);
  }
  for (const { requester, pasid, at } of sources) {
    const outcome = dma(rig, requester, page, access, pasid);
    const plain = domains[at]?.plain;
    const mapping = plain?.pages.get(page);
    const allowed = mapping !== undefined ? [mapping] : (plain?.stale.get(page) ?? []);
    const what = `DMA of ${requester} (PASID ${pasid ?? "none"}, access ${access}) to page ${page} of ${plain === undefined ? "no domain" : `domain ${at}`}`;
    if (outcome.ok) check(allowed.some(({ frame, access: rights }) => frame === outcome.page && (rights & access) !== 0), () => `${what} reached page ${outcome.page}; mapped to: ${mapping?.frame ?? "nothing"}.`);
    else check(mapping === undefined || (mapping.access & access) === 0, () => `${what} was refused (fault ${outcome.fault}); mapped to: ${mapping?.frame ?? "nothing"}.`);
  }
};

/** Everything goes: nothing may be reached, and what the domains held of memory comes back. */
const finish = ({ rig, domains, sources, touched }: World): void => {
  for (const source of sources) if (source.at < 0) rig.driver.attach(source.requester, domains[0]!.domain, source.pasid);
  for (const { domain, plain } of domains) {
    for (const page of [...plain.pages.keys()]) domain.unmap(iovaOf(page), 4096);
    domain.flush();
  }
  for (const { requester, pasid } of sources) for (const page of touched) isBlocked(rig, requester, page, Access.Read, pasid);
  for (const { requester, pasid } of sources) rig.driver.detach(requester, pasid);
  for (const { domain } of domains) rig.driver.destroyDomain(domain);
  rig.driver.stop();
};

const range = (random: RandomSource, areas: readonly number[]): { readonly page: number; readonly count: number } => {
  const area = random.pick(areas);
  const count = random.pick([1, 1, 1 + random.below(8), LARGE, LARGE + 1, 1 + random.below(2 * LARGE), 2 * LARGE]);
  const offset = random.below(4 * LARGE - count + 1);
  return { page: area + (random.below(2) === 0 ? offset - (offset % LARGE) : offset), count };
};

const touch = (random: RandomSource, touched: number[], page: number, count: number): void => {
  touched.push(page, page + count - 1, page + random.below(count));
  if (touched.length > 60) touched.splice(0, touched.length - 60);
};
