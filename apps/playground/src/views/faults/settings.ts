import { KERNELS, type Kernel } from "@iommu-lab/iommu-intel/decode";
import { integer, oneOf, record, text } from "../view.ts";

/** What can be done on the bench: a request that faults, many of them, or software that takes what was recorded. */
export const OPERATIONS = ["unmapped", "readonly", "reserved", "width", "source", "entry", "window", "compatibility", "absent", "impostor", "storm", "take"] as const;
export type Operation = (typeof OPERATIONS)[number];

/** What the view keeps. */
export interface FaultSettings {
  readonly tab: "ring" | "line" | "run";
  readonly vendor: "intel" | "amd";
  readonly kernel: Kernel;
  /** What was done, in order. */
  readonly done: readonly Operation[];
  /** Faults are silenced by FPD, or by SA. */
  readonly silent: boolean;
  /** The record looked at, by its place in the ring. */
  readonly at: number;
  /** Lines that were pasted. */
  readonly line: string;
  /** The pasted line looked at. */
  readonly lineAt: number;
}

/** So many operations are kept. */
export const MOST_DONE = 40;
const MOST_CHARACTERS = 4_000;
const FIRST_LINE = "DMAR: [DMA Write NO_PASID] Request device [01:00.0] fault addr 0x7777000 [fault reason 0x05] PTE Write access is not set";

/** Reads settings out of anything. */
export const readFaults = (kept: unknown): FaultSettings => {
  const { tab, vendor, kernel, done, silent, at, line, lineAt } = record(kept);
  return {
    tab: oneOf(tab, ["ring", "line", "run"]),
    vendor: oneOf(vendor, ["intel", "amd"]),
    kernel: KERNELS.find((each) => each === kernel) ?? "6.12",
    done: (Array.isArray(done) ? done : ["unmapped", "readonly"]).flatMap((each): Operation[] => { const known = OPERATIONS.find((name) => name === each); return known ? [known] : []; }).slice(0, MOST_DONE),
    silent: silent === true,
    at: integer(at, [0, 255], 0),
    line: text(line, MOST_CHARACTERS, FIRST_LINE),
    lineAt: integer(lineAt, [0, 200], 0),
  };
};
