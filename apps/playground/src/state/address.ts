import { deflateSync, Inflate, strFromU8, strToU8 } from "fflate";
import { FIRST, readRunChoice, readState, VIEWS, type AppState } from "./app-state.ts";
import { exampleState } from "../gallery/gallery.ts";
import { LANGUAGES } from "../text/words.ts";

/**
 * The page's address, after "#":
 *
 * - `v1.TEXT` is a whole state: base64url of deflated JSON, without what is as on the first screen.
 * - `/run/SCENARIO?iommu=amd&seed=7&without=NAME&view=walk&step=3` is a run, short enough to write by hand.
 * - `/example/ID` is an example of the gallery, `/VIEW` a view. `lang=es` and `embed=1` may stand in either, or before the "#" as an ordinary query.
 */
const VERSION = "v1.";
/** Longest address that is read, and longest text that one may unfold to. */
const MOST_CHARACTERS = 100_000;
const MOST_BYTES = 1_000_000;
const CHUNK = 1024;

const toBase64Url = (bytes: Uint8Array): string => btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join("")).replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");
const fromBase64Url = (text: string): Uint8Array => Uint8Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), (character) => character.charCodeAt(0));

/** Inflates, but no more than so many bytes: a short address may stand for gigabytes. */
const inflate = (bytes: Uint8Array): Uint8Array | undefined => {
  const parts: Uint8Array[] = [];
  let size = 0;
  const stream = new Inflate((part) => { parts.push(part); size += part.length; });
  for (let at = 0; at < bytes.length && size <= MOST_BYTES; at += CHUNK) stream.push(bytes.subarray(at, at + CHUNK), at + CHUNK >= bytes.length);
  if (size > MOST_BYTES) return undefined;
  const whole = new Uint8Array(size);
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
};

const unpack = (text: string): unknown => {
  try {
    const bytes = inflate(fromBase64Url(text));
    return bytes && (JSON.parse(strFromU8(bytes)) as unknown);
  } catch {
    return undefined;
  }
};

const readPath = (hash: string): AppState | undefined => {
  const [path = "", query = ""] = hash.replace(/^\/?/, "").split("?");
  const [what, name] = path.split("/");
  const values = new URLSearchParams(query);
  const language = LANGUAGES.find((each) => each === values.get("lang"));
  const shared = { ...(language ? { language } : {}), embed: values.get("embed") === "1" };
  const view = VIEWS.find((each) => each === (what === "run" ? values.get("view") : what));
  if (what === "run" && name !== undefined) return readState({ ...shared, view, run: readRunChoice({ scenario: name, iommu: values.get("iommu"), seed: Number(values.get("seed") ?? 1), without: values.getAll("without") }), step: Number(values.get("step") ?? 0) });
  if (what === "example" && name !== undefined) {
    const example = exampleState(name);
    return example && { ...example, ...shared };
  }
  return view && { ...FIRST, ...shared, view };
};

/** What an address shows. What is none shows the first screen. Never throws. */
export const parseAddress = (hash: string): AppState => {
  const text = hash.replace(/^#/, "").slice(0, MOST_CHARACTERS);
  return text.startsWith(VERSION) ? readState(unpack(text.slice(VERSION.length))) : (readPath(text) ?? FIRST);
};

const differs = (a: unknown, b: unknown): boolean => JSON.stringify(a) !== JSON.stringify(b);

/** The address of a state, "#" included. */
export const formatAddress = (state: AppState): string => {
  const short = Object.fromEntries(Object.entries(state).filter(([key, value]) => key === "run" || key === "step" || differs(value, FIRST[key as keyof AppState])));
  return differs(state, FIRST) ? `#${VERSION}${toBase64Url(deflateSync(strToU8(JSON.stringify(short)), { level: 9, mem: 2 }))}` : "#";
};

/** The address of a run that people can read. */
export const runAddress = ({ scenario, iommu, seed, without }: AppState["run"], more: Readonly<Record<string, string>> = {}): string =>
  `#/run/${scenario}?${new URLSearchParams([["iommu", iommu], ["seed", String(seed)], ...without.map((name): [string, string] => ["without", name]), ...Object.entries(more)])}`;
