import { LANGUAGES, type Language } from "../text/words.ts";

/** Views, in the order of the navigation. */
export const VIEWS = ["story", "topology", "walk", "caches", "faults", "interrupts", "vga", "addresses", "attacks", "planner", "inspector", "code"] as const;
export type ViewId = (typeof VIEWS)[number];

/** Which run of a scenario plays: the same choice gives the same events everywhere. */
export interface RunChoice {
  readonly scenario: string;
  readonly iommu: "intel" | "amd";
  /** 32 bits. */
  readonly seed: number;
  /** Protections taken away. */
  readonly without: readonly string[];
}

/** What all views light up. */
export interface Selection {
  /** A function: "0000:01:00.0". */
  readonly device?: string;
  /** An address in hexadecimal: "0xfee00000". */
  readonly address?: string;
  /** A field of a structure or register, by the manual's name. */
  readonly field?: string;
}

/** Everything the page shows; all of it is in its address. */
export interface AppState {
  /** Without: as the browser prefers. */
  readonly language?: Language;
  readonly view: ViewId;
  /** One view without the shell around it, for course pages. */
  readonly embed: boolean;
  readonly run: RunChoice;
  /** How many events of the run have happened; beyond its end is its end. */
  readonly step: number;
  /** Whether stepping stops at hops and at writes to configuration space too. */
  readonly details: boolean;
  readonly selection: Selection;
  /** What each view keeps for itself; plain JSON, judged by that view alone. */
  readonly views: Readonly<Partial<Record<ViewId, unknown>>>;
}

/** The first screen: a device attacks, and its write is being refused. */
export const FIRST: AppState = { view: "story", embed: false, run: { scenario: "rogue-device", iommu: "intel", seed: 1, without: [] }, step: 260, details: false, selection: {}, views: {} };

const NAME = /^[a-z0-9-]{1,40}$/;
const record = (value: unknown): Record<string, unknown> => (typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Record<string, unknown>) : {});
const natural = (value: unknown, limit: number): number | undefined => (typeof value === "number" && Number.isInteger(value) && value >= 0 && value < limit ? value : undefined);
const matching = (value: unknown, pattern: RegExp): string | undefined => (typeof value === "string" && pattern.test(value) ? value : undefined);

/** Reads a run's choice out of anything. */
export const readRunChoice = (value: unknown): RunChoice => {
  const { scenario, iommu, seed, without } = record(value);
  return {
    scenario: matching(scenario, NAME) ?? FIRST.run.scenario,
    iommu: iommu === "amd" ? "amd" : "intel",
    seed: natural(seed, 2 ** 32) ?? FIRST.run.seed,
    without: Array.isArray(without) ? without.filter((each): each is string => typeof each === "string" && NAME.test(each)).slice(0, 16) : [],
  };
};

const readSelection = (value: unknown): Selection => {
  const { device, address, field } = record(value);
  const [known, place, name] = [matching(device, /^[0-9a-f]{4}:[0-9a-f]{2}:[01][0-9a-f]\.[0-7]$/), matching(address, /^0x[0-9a-f]{1,16}$/), matching(field, /^[\w .:[\]-]{1,40}$/)];
  return { ...(known === undefined ? {} : { device: known }), ...(place === undefined ? {} : { address: place }), ...(name === undefined ? {} : { field: name }) };
};

/** Reads a state out of anything; what is wrong in it is as on the first screen. Never throws. */
export const readState = (value: unknown): AppState => {
  const { language, view, embed, run, step, details, selection, views } = record(value);
  const given = record(views);
  const known = LANGUAGES.find((each) => each === language);
  return {
    ...(known === undefined ? {} : { language: known }),
    view: VIEWS.find((each) => each === view) ?? FIRST.view,
    embed: embed === true,
    run: readRunChoice(run),
    step: natural(step, 2 ** 31) ?? (run === undefined ? FIRST.step : 0),
    details: details === true,
    selection: readSelection(selection),
    views: Object.fromEntries(VIEWS.flatMap((id) => (Object.hasOwn(given, id) ? [[id, given[id]]] : []))),
  };
};
