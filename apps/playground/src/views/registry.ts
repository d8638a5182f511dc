import type { ViewId } from "../state/app-state.ts";
import type { View } from "./view.ts";

/** What the shell knows of a view before its code is there. */
export interface ViewEntry {
  /** "g", then this letter. */
  readonly key: string;
  /** Whether it shows the run that plays: then there is a timeline below. */
  readonly run: boolean;
  readonly load: () => Promise<{ readonly default?: never; readonly VIEW: View<object> }>;
}

/** Every view; each one's code comes when it is shown first. */
export const REGISTRY: Partial<Record<ViewId, ViewEntry>> = {
  story: { key: "s", run: true, load: () => import("./story/view.tsx") },
  attacks: { key: "k", run: true, load: () => import("./attacks/view.tsx") },
  code: { key: "x", run: false, load: () => import("./code/view.tsx") },
  vga: { key: "v", run: true, load: () => import("./vga/view.tsx") },
  walk: { key: "d", run: true, load: () => import("./walk/view.tsx") },
  caches: { key: "c", run: false, load: () => import("./caches/view.tsx") },
  faults: { key: "f", run: true, load: () => import("./faults/view.tsx") },
  interrupts: { key: "i", run: false, load: () => import("./interrupts/view.tsx") },
  topology: { key: "t", run: false, load: () => import("./topology/view.tsx") },
  planner: { key: "p", run: false, load: () => import("./planner/view.tsx") },
  inspector: { key: "n", run: false, load: () => import("./inspector/view.tsx") },
  addresses: { key: "a", run: false, load: () => import("./addresses/view.tsx") },
};
