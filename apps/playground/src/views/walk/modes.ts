/** How a walk goes: which hardware, which tables. */
export interface WalkMode {
  readonly vendor: "intel" | "amd";
  readonly kind: "legacy" | "second" | "first" | "nested" | "pass" | "host" | "guest";
  /** Levels of the tables that the device's addresses go through first. */
  readonly levels: number;
  /** Levels of the tables behind those, for nested walks. */
  readonly outer: number;
}

const mode = (vendor: WalkMode["vendor"], kind: WalkMode["kind"], levels: number, outer = 0): WalkMode => ({ vendor, kind, levels, outer });

/** Every mode by the name that addresses of the page have for it. */
export const MODES = {
  "vtd-legacy-3": mode("intel", "legacy", 3),
  "vtd-legacy-4": mode("intel", "legacy", 4),
  "vtd-legacy-5": mode("intel", "legacy", 5),
  "vtd-second-4": mode("intel", "second", 4),
  "vtd-first-4": mode("intel", "first", 4),
  "vtd-first-5": mode("intel", "first", 5),
  "vtd-nested": mode("intel", "nested", 4, 4),
  "vtd-pass": mode("intel", "pass", 0),
  "amd-host-3": mode("amd", "host", 3),
  "amd-host-4": mode("amd", "host", 4),
  "amd-host-6": mode("amd", "host", 6),
  "amd-guest-4": mode("amd", "guest", 4),
  "amd-guest-5": mode("amd", "guest", 5),
  "amd-nested": mode("amd", "nested", 4, 4),
} as const satisfies Record<string, WalkMode>;

export type ModeId = keyof typeof MODES;
export const MODE_IDS = Object.keys(MODES) as [ModeId, ...ModeId[]];

/** Level whose entries map a page of each size. */
export const LEAF_LEVELS = { "4K": 1, "2M": 2, "1G": 3 } as const;
export type PageSize = keyof typeof LEAF_LEVELS;

/** Whether tables may leave levels out, as AMD's host tables may. */
export const canSkip = ({ kind, levels }: WalkMode, size: PageSize): boolean => kind === "host" && levels > LEAF_LEVELS[size] + 1;

/** Levels that a walk visits, top first. With `skip` everything between the top and the leaf is left out. */
export const visitedLevels = (chosen: WalkMode, size: PageSize, skip: boolean): readonly number[] => {
  const leaf = LEAF_LEVELS[size];
  if (chosen.levels === 0) return [];
  if (skip && canSkip(chosen, size)) return [chosen.levels, leaf];
  return Array.from({ length: chosen.levels - leaf + 1 }, (_, i) => chosen.levels - i);
};
