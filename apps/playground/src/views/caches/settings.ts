import { integer, oneOf, record } from "../view.ts";

/** Pages that the bench maps: the first ones of one table. */
export const PAGES = 4;
/** What can be done to a page. */
export const PAGE_OPERATIONS = ["map", "unmap", "read", "write", "ats", "invalidate-page", "invalidate-device"] as const;
/** What can be done to everything. */
export const OPERATIONS = ["move", "invalidate-domain", "invalidate-global", "invalidate-source", "invalidate-pasid", "wait", "bell", "flush"] as const;
type PageOperation = (typeof PAGE_OPERATIONS)[number];

/** One thing that was done; those to a page name it. */
export type Operation = { readonly do: PageOperation; readonly page: number } | { readonly do: (typeof OPERATIONS)[number] };

/** What the view keeps. */
export interface CacheSettings {
  /** Intel's in legacy or scalable mode: the latter has a PASID-cache. */
  readonly vendor: "intel" | "intel-scalable" | "amd";
  readonly policy: "none" | "realistic" | "adversarial";
  /** What software does after an unmap: nothing, invalidate and wait at once, or later for many. */
  readonly discipline: "hand" | "strict" | "lazy";
  /** The tail is moved by hand: descriptors wait until then. */
  readonly hold: boolean;
  /** CM of VT-d, NpCache of AMD-Vi: "not present" may be kept too. Only the adversarial caches do. */
  readonly absent: boolean;
  /** The page that buttons act on. */
  readonly page: number;
  readonly done: readonly Operation[];
}

/** So many operations are kept. */
export const MOST_DONE = 60;
/** The first screen: a page is unmapped without invalidation, and the device still reaches it. */
const FIRST: readonly Operation[] = [{ do: "map", page: 0 }, { do: "read", page: 0 }, { do: "unmap", page: 0 }, { do: "write", page: 0 }];

const readOperation = (value: unknown): Operation[] => {
  const { do: name, page } = record(value);
  const onPage = PAGE_OPERATIONS.find((each) => each === name);
  if (onPage) return [{ do: onPage, page: integer(page, [0, PAGES - 1], 0) }];
  const known = OPERATIONS.find((each) => each === name);
  return known ? [{ do: known }] : [];
};

/** Reads settings out of anything. */
export const readCaches = (kept: unknown): CacheSettings => {
  const { vendor, policy, discipline, hold, absent, page, done } = record(kept);
  return {
    vendor: oneOf(vendor, ["intel", "intel-scalable", "amd"]),
    policy: oneOf(policy, ["realistic", "adversarial", "none"]),
    discipline: oneOf(discipline, ["hand", "strict", "lazy"]),
    hold: hold === true,
    absent: absent === true,
    page: integer(page, [0, PAGES - 1], 0),
    done: (Array.isArray(done) ? done.flatMap(readOperation) : FIRST).slice(0, MOST_DONE),
  };
};
