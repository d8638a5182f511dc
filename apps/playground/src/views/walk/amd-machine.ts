import { FULL, withCapabilities } from "@iommu-lab/iommu-amd/hardware";
import { DEVICE_TABLE_ENTRY, GCR3_ENTRY, GUEST_PTE, HOST_PDE, HOST_PTE } from "@iommu-lab/iommu-amd/layouts";
import { AmdBench } from "../bench/amd-bench.ts";
import type { Fields } from "../bench/tables.ts";
import { mapAround, mapPage, type TableFormat, type TablePlace } from "./mapping.ts";
import { visitedLevels, type WalkMode } from "./modes.ts";
import { guestPage, hostPage, mappedPage } from "./places.ts";
import { BOUND, BOUND_PASID, type WalkSettings } from "./settings.ts";

const DOMAIN = 5;
const GUEST_TABLES = 0x200;
/** Bits of a host address: those above are reserved in every entry. */
const WIDTH = 48;

const IOMMU = withCapabilities(FULL, { physicalAddressWidth: WIDTH });

const HOST_TABLES: TableFormat = {
  layout: HOST_PDE,
  leafLayout: HOST_PTE,
  pointer: (level, page) => ({ PR: 1, NextLevel: level, Address: page, IR: 1, IW: 1 }),
  leaf: (_level, page) => ({ PR: 1, Address: page, IR: 1, IW: 1 }),
};
/** With A and D set: the walk writes nothing. */
const GUEST_FORMAT: TableFormat = {
  layout: GUEST_PTE,
  pointer: (_level, page) => ({ P: 1, RW: 1, US: 1, A: 1, Address: page }),
  leaf: (level, page) => ({ P: 1, RW: 1, US: 1, A: 1, D: 1, Address: page, ...(level > 1 ? { PS: 1 } : {}) }),
};

/** The fields of a device table entry that name a GCR3 table of one level, for requests without PASID too. */
const guestFields = (page: number, levels: number): Fields => ({ GV: 1, GIoV: 1, GCR3Low: page & 7, GCR3Mid: Math.floor(page / 8) & 0xffff, GCR3High: Math.floor(page / 0x8_0000), GuestPagingMode: levels - 4 });

/** An IOMMU with tables as the settings say, switched on. */
export const buildAmd = (mode: WalkMode, settings: WalkSettings): AmdBench => {
  const { size, skip } = settings;
  const bench = new AmdBench(IOMMU, { caches: "none" });
  const page = mappedPage(mode, settings);
  const visited = visitedLevels(mode, size, skip);
  const own = (): TablePlace => {
    const made = bench.page();
    return { page: made, named: made };
  };
  const entry: Fields = { V: 1, TV: 1, IR: 1, IW: 1, DomainID: DOMAIN };
  const top = own();
  if (mode.kind === "host") {
    mapAround(bench, { format: HOST_TABLES, top, visited, page, target: hostPage(size) }, own);
    bench.put(DEVICE_TABLE_ENTRY, bench.entryOf(BOUND), { ...entry, Mode: mode.levels, HostRoot: top.page });
  } else {
    const known = new Map<string, TablePlace>();
    const nested = mode.kind === "nested";
    const toHost = (guest: number, host: number, levels: readonly number[]): void => { mapPage(bench, { format: HOST_TABLES, top, visited: levels, page: guest, target: host }, own, known); };
    let tables = GUEST_TABLES;
    const guestTable = (): TablePlace => {
      if (!nested) return own();
      const place = { page: bench.page(), named: tables++ };
      toHost(place.named, place.page, [4, 3, 2, 1]);
      return place;
    };
    const guestTop = guestTable();
    mapAround(bench, { format: GUEST_FORMAT, top: guestTop, visited, page, target: nested ? guestPage(size) : hostPage(size) }, guestTable);
    if (nested) toHost(guestPage(size), hostPage(size), visited);
    const gcr3 = bench.page();
    for (const pasid of [0, BOUND_PASID]) bench.put(GCR3_ENTRY, gcr3 * 4096 + 8 * pasid, { V: 1, Address: guestTop.named });
    bench.put(DEVICE_TABLE_ENTRY, bench.entryOf(BOUND), { ...entry, ...guestFields(gcr3, mode.levels), ...(nested ? { Mode: mode.outer, HostRoot: top.page } : {}) });
  }
  bench.start({ GTEn: 1 });
  return bench;
};
