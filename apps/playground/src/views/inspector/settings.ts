import { integer, record, text } from "../view.ts";

/** A byte that was changed, in one of the things that the input holds. */
export interface Patch {
  readonly item: number;
  readonly at: number;
  readonly byte: number;
}

export interface InspectorSettings {
  /** What was pasted. */
  readonly text: string;
  /** A file that is kept in the browser, instead of a text. */
  readonly file: string;
  /** What it is; "auto": as it shows. */
  readonly kind: string;
  /** Which of the things in it is looked at. */
  readonly item: number;
  readonly patches: readonly Patch[];
  /** What it is compared with. */
  readonly other: string;
}

export const MOST_TEXT = 16_384;
const [MOST_PATCHES, MOST_BYTES, MOST_ITEMS] = [1_024, 2 ** 24, 10_000];

/** What is shown first: the line that a kernel prints for each unit. */
export const FIRST_TEXT = "DMAR: dmar0: reg_base_addr fed90000 ver 1:0 cap 1c0000c40660462 ecap 19e2ff0505e";

const readPatch = (value: unknown): Patch[] => {
  const { item, at, byte } = record(value);
  const patch = { item: integer(item, [0, MOST_ITEMS], -1), at: integer(at, [0, MOST_BYTES], -1), byte: integer(byte, [0, 255], -1) };
  return patch.item < 0 || patch.at < 0 || patch.byte < 0 ? [] : [patch];
};

export const readInspector = (kept: unknown): InspectorSettings => {
  const { text: given, file, kind, item, patches, other } = record(kept);
  return {
    text: text(given, MOST_TEXT, FIRST_TEXT),
    file: /^[a-z0-9-]{1,40}$/.test(text(file, 40, "")) ? (file as string) : "",
    kind: /^[a-z0-9-]{1,40}$/.test(text(kind, 40, "")) ? (kind as string) : "auto",
    item: integer(item, [0, MOST_ITEMS], 0),
    patches: (Array.isArray(patches) ? patches : []).slice(0, MOST_PATCHES).flatMap(readPatch),
    other: text(other, MOST_TEXT, ""),
  };
};

/** The patches with more bytes changed; a byte that is changed again is there once. */
export const withPatches = (patches: readonly Patch[], more: readonly Patch[]): readonly Patch[] => [...patches.filter(({ item, at }) => !more.some((each) => each.item === item && each.at === at)), ...more].slice(-MOST_PATCHES);
