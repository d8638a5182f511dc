import type { DmarContents } from "./diagnose.ts";
import { registerWindows, unitsOf, type Window } from "./diagnose-units.ts";
import { diagnosis, type Diagnosis } from "./diagnosis.ts";
import type { DmarScope, Rmrr } from "./table.ts";

const hex = (value: bigint): string => `0x${value.toString(16)}`;
const PAGE = 4096n;
const INTERRUPTS = { first: 0xfee0_0000n, last: 0xfeef_ffffn } as const;

const diagnoseBounds = ({ base, limit, offset }: Rmrr, width: number): Diagnosis[] => {
  const range = `${hex(base)} to ${hex(limit)}`;
  if (limit < base) return [diagnosis("rmrr-limit-below-base", offset + 16, `The reserved region from ${range} ends before it begins.`)];
  const found: Diagnosis[] = [];
  if (base % PAGE !== 0n) found.push(diagnosis("rmrr-unaligned", offset + 8, `The reserved region from ${range} does not begin on a page.`));
  if ((limit + 1n) % PAGE !== 0n) found.push(diagnosis("rmrr-unaligned", offset + 16, `The reserved region from ${range} does not end with a page; the limit is its last byte.`));
  if (limit >> BigInt(width) !== 0n) found.push(diagnosis("rmrr-beyond-width", offset + 16, `The reserved region from ${range} needs more than the ${width} bits of the host address width.`));
  if (base <= INTERRUPTS.last && limit >= INTERRUPTS.first) found.push(diagnosis("rmrr-in-interrupt-range", offset + 8, `The reserved region from ${range} touches the interrupt address range.`));
  return found;
};

/** Whether a range touches one of the windows, which are in the order of their first addresses. */
const touches = (windows: readonly Window[], base: bigint, limit: bigint): boolean => {
  let [low, high] = [0, windows.length];
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((windows[middle] as Window).first <= limit) low = middle + 1;
    else high = middle;
  }
  const before = windows[low - 1];
  return before !== undefined && before.reach >= base;
};

const deviceOf = (segment: number, { type, startBus, path, enumerationId }: DmarScope): string => JSON.stringify([segment, type, startBus, enumerationId, path.map((step) => [step.device, step.function])]);

/** Regions of one device that overlap: per device, in the order of addresses, against the farthest end so far. */
const diagnoseOverlaps = (regions: readonly Rmrr[]): Diagnosis[] => {
  const found = new Map<Rmrr, Diagnosis>();
  const farthest = new Map<string, Rmrr>();
  for (const region of regions.filter(({ base, limit }) => base <= limit).toSorted((a, b) => (a.base < b.base ? -1 : a.base > b.base ? 1 : a.offset - b.offset)))
    for (const scope of region.scopes) {
      const device = deviceOf(region.segment, scope);
      const before = farthest.get(device);
      if (before && before !== region && before.limit >= region.base && !found.has(region))
        found.set(region, diagnosis("rmrr-overlap", region.offset + 8, `The reserved region from ${hex(region.base)} to ${hex(region.limit)} overlaps the one at offset ${before.offset}, which names the same device.`));
      if (!before || before.limit < region.limit) farthest.set(device, region);
    }
  return [...found.values()];
};

/** What is wrong with RMRR structures. */
export const diagnoseRegions = (table: DmarContents): Diagnosis[] => {
  const regions = table.structures.filter((s): s is Rmrr => s.name === "RMRR");
  const windows = registerWindows(unitsOf(table));
  return [
    ...regions.flatMap((region) => [
      ...diagnoseBounds(region, table.hostAddressWidth),
      ...(region.scopes.length === 0 ? [diagnosis("rmrr-scope-missing", region.offset, `The reserved region from ${hex(region.base)} to ${hex(region.limit)} names no device.`)] : []),
      ...(region.base <= region.limit && touches(windows, region.base, region.limit) ? [diagnosis("rmrr-over-registers", region.offset + 8, `The reserved region from ${hex(region.base)} to ${hex(region.limit)} holds registers of a remapping unit.`)] : []),
    ]),
    ...diagnoseOverlaps(regions),
  ];
};
