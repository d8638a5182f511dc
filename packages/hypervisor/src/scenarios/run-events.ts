import type { Assertion, Plain } from "./scenario.ts";

/** The first line of an event file. */
export const RUN_FORMAT = { format: "iommu-lab-run", version: 1 } as const;

/** One thing that happened in a run, as the event file has it. `machine` is an index into the machines, in order; `t` nanoseconds of its clock. */
export type RunEvent =
  | { readonly kind: "machine"; readonly machine: number; readonly name: string; readonly description: Plain }
  | { readonly kind: "say"; readonly text: string }
  | ({ readonly kind: "check" } & Assertion)
  | { readonly kind: "hop"; readonly machine: number; readonly t: number; readonly at: string; readonly what: string; readonly decision: string; readonly rule: string };
