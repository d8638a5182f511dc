/** Random histories of a driver's work, as data: the same one can be given to any driver. */
import { Access } from "@iommu-lab/pci-bus";
import fc from "fast-check";
import type { Pairing } from "./machines.ts";
import type { MappedRange } from "./plain-ranges.ts";

/** Pages of a 2 MiB and of a 1 GiB page. */
const LARGE = 512;
const HUGE = 2 ** 18;
/** Frames begin above 4 GiB: no mapping leads into an interrupt range. */
const FIRST_FRAME = 2 ** 20;

export const DOMAINS = 2;

/** One step; domains and sources by number. */
export type Step =
  | { readonly do: "map"; readonly domain: number; readonly range: MappedRange }
  | { readonly do: "unmap"; readonly domain: number; readonly range: MappedRange }
  | { readonly do: "flush"; readonly domain: number }
  | { readonly do: "attach"; readonly source: number; readonly domain: number }
  | { readonly do: "detach"; readonly source: number }
  | { readonly do: "ask"; readonly page: number };

/** Where mappings are made: borders of tables of every level, and the last pages. Not where interrupts are. */
const areasOf = ({ addressWidth }: Pairing): readonly number[] => [0, HUGE - LARGE, 2 ** 27 - HUGE, 2 ** 31, 2 ** (addressWidth - 12) - 3 * HUGE];

const rangeOf = (pairing: Pairing): fc.Arbitrary<MappedRange> => {
  const start = fc.tuple(fc.constantFrom(...areasOf(pairing)), fc.nat(3), fc.constantFrom(LARGE, LARGE, HUGE), fc.oneof(fc.constant(0), fc.nat(3), fc.nat(LARGE)));
  const count = fc.oneof({ weight: 3, arbitrary: fc.integer({ min: 1, max: 8 }) }, { weight: 3, arbitrary: fc.constantFrom(LARGE, LARGE + 1, 2 * LARGE, 3 * LARGE - 1) }, { weight: 1, arbitrary: fc.constantFrom(HUGE, HUGE + LARGE + 1, HUGE - 1) });
  const frame = fc.tuple(fc.nat(1000), fc.constantFrom(1, LARGE, HUGE, HUGE));
  const access = fc.constantFrom(Access.Read | Access.Write, Access.Read | Access.Write, Access.Read, pairing.writeOnly ? Access.Write : Access.Read);
  const top = 2 ** (pairing.addressWidth - 12);
  return fc.tuple(start, count, frame, access).map(([[area, steps, size, offset], pages, [place, alignment], rights]) => {
    const page = Math.min(area + (size === HUGE ? Math.min(steps, 1) : steps) * size + offset, top - pages);
    // As far from a border of this alignment as the page, so that pages of its size fit.
    const aligned = FIRST_FRAME + place * HUGE + (page % alignment);
    return { page, count: pages, frame: alignment === 1 ? aligned + place : aligned, access: rights };
  });
};

/** A history over the sources 0 to `sources`-1. */
export const historyOf = (pairing: Pairing, sources: number): fc.Arbitrary<readonly Step[]> => {
  const domain = fc.nat(DOMAINS - 1);
  const source = fc.nat(sources - 1);
  const range = rangeOf(pairing);
  const step = fc.oneof(
    { weight: 6, arbitrary: fc.record({ do: fc.constant("map" as const), domain, range }) },
    { weight: 5, arbitrary: fc.record({ do: fc.constant("unmap" as const), domain, range }) },
    { weight: 3, arbitrary: fc.record({ do: fc.constant("flush" as const), domain }) },
    { weight: 2, arbitrary: fc.record({ do: fc.constant("attach" as const), source, domain }) },
    { weight: 1, arbitrary: fc.record({ do: fc.constant("detach" as const), source }) },
    { weight: 4, arbitrary: fc.record({ do: fc.constant("ask" as const), page: range.map(({ page, count }) => page + (count >>> 1)) }) },
  );
  return fc.array(step, { minLength: 10, maxLength: 80, size: "max" });
};
