import type { ExplanationStep } from "@iommu-lab/pci-bus";
import { kindOf, pointerOf, type EntryKind } from "../entries/entry-layouts.ts";

/** What an entry of tables allows, by letters: R, W, X, U (user) where its format says so. */
type Rights = string;

/** A step with what is known of its structure. */
export interface WalkStep {
  readonly step: ExplanationStep;
  readonly kind: EntryKind | undefined;
  /** Bytes of the table that the entry stands in, as far as it is one of 4 KiB. */
  readonly place: { readonly table: number; readonly row: number; readonly rows: number } | undefined;
  /** Page number that the entry leads to. */
  readonly pointer: number | undefined;
  readonly rights: Rights | undefined;
  /** What all entries of this walk so far allow. */
  readonly soFar: Rights | undefined;
  /** The walk ends here, badly. */
  readonly stops: boolean;
}

/** The rights in an entry's fields; undefined where it has none. */
const rightsOf = (fields: Readonly<Record<string, number>>, structure: string): Rights | undefined => {
  const letters = (...pairs: readonly (readonly [letter: string, on: boolean])[]): Rights => pairs.map(([letter, on]) => (on ? letter : "–")).join("");
  if (structure.startsWith("second-stage")) return letters(["R", fields.R === 1], ["W", fields.W === 1]);
  if (structure.startsWith("first-stage")) return letters(["R", fields.P === 1], ["W", fields.RW === 1], ["X", fields.XD === 0], ["U", fields.US === 1]);
  if (structure.startsWith("guest entry")) return letters(["R", fields.P === 1], ["W", fields.RW === 1], ["X", fields.NX === 0], ["U", fields.US === 1]);
  if (structure.startsWith("host entry") || structure === "device table entry") return letters(["R", fields.IR === 1], ["W", fields.IW === 1]);
  return undefined;
};

const both = (a: Rights, b: Rights): Rights => Array.from(a, (letter, i) => (letter === b[i] ? letter : "–")).join("");

const placeOf = ({ address }: ExplanationStep, kind: EntryKind | undefined): WalkStep["place"] => {
  if (address === undefined || !kind) return undefined;
  const bytes = kind.layout.width / 8;
  return { table: address - (address % 4096), row: Math.floor((address % 4096) / bytes), rows: 4096 / bytes };
};

const STOPS = /fault|FAULT|ERROR|ILLEGAL|INVALID|no memory|unsupported|blocked|beyond|not present|no permission|reserved/;

/** Steps of one decision with what the drawings need. */
export const walkSteps = (steps: readonly ExplanationStep[]): readonly WalkStep[] => {
  let [inner, outer, lastOuter]: [Rights | undefined, Rights | undefined, number] = [undefined, undefined, 0];
  return steps.map((step) => {
    const kind = kindOf(step);
    const rights = step.fields && kind ? rightsOf(step.fields, step.structure) : undefined;
    let soFar: Rights | undefined;
    if (rights !== undefined && kind?.track === "outer") {
      // A walk that begins again at the top is another one.
      outer = outer === undefined || kind.level >= lastOuter ? rights : both(outer, rights);
      lastOuter = kind.level;
      soFar = outer;
    } else if (rights !== undefined && kind?.track === "single") {
      inner = inner === undefined ? rights : both(inner, rights);
      soFar = inner;
    } else if (rights !== undefined) soFar = rights;
    return { step, kind, place: placeOf(step, kind), pointer: step.fields && kind ? pointerOf(step.fields) : undefined, rights, soFar, stops: STOPS.test(step.outcome) };
  });
};

/** How often memory was read: each structure in memory once. */
export const memoryReads = (steps: readonly ExplanationStep[]): number => steps.filter(({ address, raw }) => address !== undefined && raw !== undefined).length;

/** A row of a nested walk: reads of the outer tables, then the entry that they lead to, as indexes of steps. */
export interface NestedRow {
  readonly outer: readonly number[];
  readonly entry: number | undefined;
}

/** A nested walk as a grid; empty where there is no outer walk before an inner entry. */
export const nestedRows = (steps: readonly WalkStep[]): readonly NestedRow[] => {
  const rows: NestedRow[] = [];
  let outer: number[] = [];
  for (const [i, { kind }] of steps.entries()) {
    if (kind?.track === "outer") outer.push(i);
    else if (kind?.track === "single") {
      rows.push({ outer, entry: i });
      outer = [];
    }
  }
  if (outer.length > 0) rows.push({ outer, entry: undefined });
  return rows.some(({ outer: reads, entry }) => reads.length > 0 && entry !== undefined) ? rows : [];
};
