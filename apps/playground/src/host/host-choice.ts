import { bundledHosts } from "@iommu-lab/host/bundled";
import { record } from "../views/view.ts";

/** Which host is looked at: one that comes along, or what was pasted and dropped. */
export type HostChoice = { readonly bundled: string } | { readonly texts: readonly string[]; readonly files: readonly string[] };

/** So much pasted text stands in the address; more is kept in the browser. */
export const MOST_TEXT = 8_192;
const MOST_PIECES = 16;
const ID = /^[a-z0-9-]{1,40}$/;

const FIRST_HOST: HostChoice = { bundled: bundledHosts[0].name };

const strings = (value: unknown): readonly string[] => (Array.isArray(value) ? value.filter((each): each is string => typeof each === "string").slice(0, MOST_PIECES) : []);

/** Texts from the first on, as many as fit. */
const bounded = (texts: readonly string[]): readonly string[] => {
  let room = MOST_TEXT;
  return texts.filter((text) => text !== "" && (room -= text.length) >= 0);
};

/** Reads a choice out of anything; what is none is the first bundled host. */
export const readHostChoice = (value: unknown): HostChoice => {
  const { bundled, texts, files } = record(value);
  const known = bundledHosts.find(({ name }) => name === bundled);
  if (known) return { bundled: known.name };
  const [pasted, stored] = [bounded(strings(texts)), strings(files).filter((id) => ID.test(id))];
  return pasted.length + stored.length > 0 ? { texts: pasted, files: stored } : FIRST_HOST;
};

/** Whether another text still fits into the address. */
export const fitsAddress = (choice: HostChoice, text: string): boolean => text.length + ("texts" in choice ? choice.texts.reduce((sum, each) => sum + each.length, 0) : 0) <= MOST_TEXT;

/** The choice with a piece more, or the pieces of it that a condition keeps. */
export const withText = (choice: HostChoice, text: string): HostChoice => ("texts" in choice ? { ...choice, texts: [...choice.texts, text] } : { texts: [text], files: [] });
export const withFile = (choice: HostChoice, id: string): HostChoice => ("texts" in choice ? { ...choice, files: [...choice.files, id] } : { texts: [], files: [id] });
export const withoutPiece = (choice: HostChoice, kind: "texts" | "files", index: number): HostChoice => ("texts" in choice ? readHostChoice({ ...choice, [kind]: choice[kind].filter((_, i) => i !== index) }) : choice);
