import { LEGACY, SCALABLE, withCapabilities, type VtdCapabilities } from "@iommu-lab/iommu-intel/hardware";
import { CONTEXT_ENTRY, FIRST_STAGE_ENTRY, PASID_DIRECTORY_ENTRY, PASID_ENTRY, ROOT_ENTRY, SCALABLE_CONTEXT_ENTRY, SCALABLE_ROOT_ENTRY, SECOND_STAGE_ENTRY } from "@iommu-lab/iommu-intel/layouts";
import { VtdBench } from "../bench/vtd-bench.ts";
import { mapAround, mapPage, type TableFormat, type TablePlace } from "./mapping.ts";
import { visitedLevels, type WalkMode } from "./modes.ts";
import { guestPage, hostPage, mappedPage } from "./places.ts";
import { BOUND, BOUND_PASID, type WalkSettings } from "./settings.ts";

const DOMAIN = 5;
/** Guest page numbers of a guest's own tables. */
const GUEST_TABLES = 0x200;
/** Bits of a host address: those above are reserved in every entry. */
const WIDTH = 46;
/** PGTT. */
const FIRST = 1;
const SECOND = 2;
const NESTED = 3;
const PASS = 4;

const LEGACY_UNIT = withCapabilities(LEGACY, { cap: { SAGAW: 0b1110, MGAW: 56 }, hostAddressWidth: WIDTH });
const SCALABLE_UNIT = withCapabilities(SCALABLE, { hostAddressWidth: WIDTH });

const vtdCapabilities = ({ kind }: WalkMode): VtdCapabilities => (kind === "legacy" ? LEGACY_UNIT : SCALABLE_UNIT);

const SECOND_STAGE: TableFormat = {
  layout: SECOND_STAGE_ENTRY,
  pointer: (_level, page) => ({ R: 1, W: 1, ADDR: page }),
  leaf: (level, page) => ({ R: 1, W: 1, ADDR: page, ...(level > 1 ? { PS: 1 } : {}) }),
};
/** With A and D set: the walk writes nothing, and its reads are those of the tables alone. */
const FIRST_STAGE: TableFormat = {
  layout: FIRST_STAGE_ENTRY,
  pointer: (_level, page) => ({ P: 1, RW: 1, US: 1, A: 1, ADDR: page }),
  leaf: (level, page) => ({ P: 1, RW: 1, US: 1, A: 1, D: 1, ADDR: page, ...(level > 1 ? { PS: 1 } : {}) }),
};

interface Stages {
  readonly first: number;
  readonly second: number;
}

const buildStages = (bench: VtdBench, mode: WalkMode, settings: WalkSettings): Stages => {
  const { size, skip } = settings;
  const page = mappedPage(mode, settings);
  const visited = visitedLevels(mode, size, skip);
  const own = (): TablePlace => {
    const made = bench.page();
    return { page: made, named: made };
  };
  if (mode.kind === "pass") return { first: 0, second: 0 };
  if (mode.kind !== "nested") {
    const top = own();
    mapAround(bench, { format: mode.kind === "first" ? FIRST_STAGE : SECOND_STAGE, top, visited, page, target: hostPage(size) }, own);
    return { first: top.page, second: top.page };
  }
  const outer = own();
  const known = new Map<string, TablePlace>();
  const toHost = (guest: number, host: number, levels: readonly number[]): void => { mapPage(bench, { format: SECOND_STAGE, top: outer, visited: levels, page: guest, target: host }, own, known); };
  let tables = GUEST_TABLES;
  const guestTable = (): TablePlace => {
    const place = { page: bench.page(), named: tables++ };
    toHost(place.named, place.page, [4, 3, 2, 1]);
    return place;
  };
  const top = guestTable();
  mapAround(bench, { format: FIRST_STAGE, top, visited, page, target: guestPage(size) }, guestTable);
  toHost(guestPage(size), hostPage(size), visited);
  return { first: top.named, second: outer.page };
};

const bindLegacy = (bench: VtdBench, { levels }: WalkMode, table: number): void => {
  const contexts = bench.page();
  bench.put(ROOT_ENTRY, bench.root + 16 * (BOUND >>> 8), { P: 1, CTP: contexts });
  bench.put(CONTEXT_ENTRY, contexts * 4096 + 16 * (BOUND & 0xff), { P: 1, SSPTPTR: table, AW: levels - 2, DID: DOMAIN });
};

const TYPES: Readonly<Partial<Record<WalkMode["kind"], number>>> = { first: FIRST, second: SECOND, nested: NESTED, pass: PASS };

const bindScalable = (bench: VtdBench, mode: WalkMode, { first, second }: Stages): void => {
  const [contexts, directory, pasids] = [bench.page(), bench.page(), bench.page()];
  bench.put(SCALABLE_ROOT_ENTRY, bench.root + 16 * (BOUND >>> 8), { LP: 1, LCTP: contexts });
  bench.put(SCALABLE_CONTEXT_ENTRY, contexts * 4096 + 32 * (BOUND & 0x7f), { P: 1, PASIDE: 1, PASIDDIRPTR: directory });
  bench.put(PASID_DIRECTORY_ENTRY, directory * 4096, { P: 1, SMPTBLPTR: pasids });
  for (const pasid of [0, BOUND_PASID])
    bench.put(PASID_ENTRY, pasids * 4096 + 64 * pasid, { P: 1, PGTT: TYPES[mode.kind] ?? PASS, AW: 2, DID: DOMAIN, PWSNP: 1, ...(mode.kind === "first" || mode.kind === "nested" ? { FSPTPTR: first, FSPM: mode.levels - 4 } : {}), ...(mode.kind === "second" || mode.kind === "nested" ? { SSPTPTR: second } : {}) });
};

/** A unit with tables as the settings say, translation on. */
export const buildVtd = (mode: WalkMode, settings: WalkSettings): VtdBench => {
  const bench = new VtdBench(vtdCapabilities(mode), { caches: "none" });
  const stages = buildStages(bench, mode, settings);
  if (mode.kind === "legacy") bindLegacy(bench, mode, stages.second);
  else bindScalable(bench, mode, stages);
  bench.start(mode.kind === "legacy" ? 0 : 1);
  return bench;
};
