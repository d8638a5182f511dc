import type { ViewId } from "../state/app-state.ts";
import type { View } from "./view.ts";

/** What the shell knows of a view before its code is there. */
export interface ViewEntry {
  /** "g", then this letter. */
  readonly key: string;
  /** Whether it shows the run that plays: then there is a timeline below. */
  readonly run: boolean;
  /** Whether it shows what the packages say, which other languages have words for in a file of their own. */
  readonly phrases: boolean;
  readonly load: () => Promise<{ readonly default?: never; readonly VIEW: View<object> }>;
}

/** Every view; each one's code comes when it is shown first. */
export const REGISTRY: Partial<Record<ViewId, ViewEntry>> = {
  story: { key: "s", run: true, phrases: false, load: () => import("./story/view.tsx") },
  attacks: { key: "k", run: true, phrases: false, load: () => import("./attacks/view.tsx") },
  code: { key: "x", run: false, phrases: false, load: () => import("./code/view.tsx") },
  vga: { key: "v", run: true, phrases: false, load: () => import("./vga/view.tsx") },
  walk: { key: "d", run: true, phrases: true, load: () => import("./walk/view.tsx") },
  caches: { key: "c", run: false, phrases: true, load: () => import("./caches/view.tsx") },
  faults: { key: "f", run: true, phrases: true, load: () => import("./faults/view.tsx") },
  interrupts: { key: "i", run: false, phrases: true, load: () => import("./interrupts/view.tsx") },
  topology: { key: "t", run: false, phrases: true, load: () => import("./topology/view.tsx") },
  planner: { key: "p", run: false, phrases: true, load: () => import("./planner/view.tsx") },
  inspector: { key: "n", run: false, phrases: true, load: () => import("./inspector/view.tsx") },
  addresses: { key: "a", run: false, phrases: false, load: () => import("./addresses/view.tsx") },
};
