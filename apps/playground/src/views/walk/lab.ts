import { Access, AddressType, newTranslation, type ExplanationStep, type Translation } from "@iommu-lab/pci-bus";
import type { Tables } from "../bench/tables.ts";
import { applyEdits } from "../entries/edits.ts";
import type { TableMap } from "../entries/table-map.ts";
import { buildAmd } from "./amd-machine.ts";
import { MODES, type WalkMode } from "./modes.ts";
import type { WalkSettings } from "./settings.ts";
import { memoryReads, walkSteps, type WalkStep } from "./steps.ts";
import { buildVtd } from "./vtd-machine.ts";

/** A request that was made on the bench, and everything about it. */
export interface WalkRun {
  readonly mode: WalkMode;
  readonly steps: readonly WalkStep[];
  readonly translation: Readonly<Translation>;
  /** Host address, when it was translated. */
  readonly host: bigint | undefined;
  readonly reads: number;
  /** The record that the hardware left of a fault: a fault recording register or an event. */
  readonly record: readonly number[] | undefined;
  /** Words in memory at an address. */
  readonly words: (address: number, count: number) => readonly number[];
  /** The table of a step: which of its rows are not empty. */
  readonly map: (step: WalkStep) => TableMap | undefined;
}

const RIGHTS = { read: Access.Read, write: Access.Write, execute: Access.Read | Access.Execute } as const;

const mapOf = (tables: Tables, { place, kind }: WalkStep): TableMap | undefined => {
  if (!place || !kind) return undefined;
  const words = kind.layout.width / 32;
  const used: number[] = [];
  for (let row = 0; row < place.rows; row++) if (tables.words(place.table + row * words * 4, words).some((word) => word !== 0)) used.push(row);
  return { table: place.table, rows: place.rows, used, row: place.row };
};

/** Builds the machine, edits it and makes the request. The same settings give the same result. */
export const runWalk = (settings: WalkSettings): WalkRun => {
  const mode: WalkMode = MODES[settings.mode];
  const vtd = mode.vendor === "intel" ? buildVtd(mode, settings) : undefined;
  const amd = vtd ? undefined : buildAmd(mode, settings);
  const tables: Tables = vtd ?? amd!;
  applyEdits(tables, settings.edits);
  const address = BigInt(settings.address);
  const translation = newTranslation();
  const explained: ExplanationStep[] = [];
  (vtd?.unit ?? amd!.iommu).translate(
    { requester: settings.requester, pasid: settings.pasid, addressType: AddressType.Untranslated, page: Number(address >> 12n), access: RIGHTS[settings.access] },
    translation,
    { step: (step) => { explained.push(step); } },
  );
  const steps = walkSteps(explained);
  const granted = translation.fault === 0 && translation.completion === 0;
  const record = vtd ? vtd.firstFault() : amd!.events()[0];
  return {
    mode,
    steps,
    translation,
    host: granted ? (BigInt(translation.page) << 12n) + (address & 0xfffn) : undefined,
    reads: memoryReads(explained),
    record: record && [...record],
    words: (at, count) => [...tables.words(at, count)],
    map: (step) => mapOf(tables, step),
  };
};
