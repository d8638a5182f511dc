import { meaningOf } from "@iommu-lab/memory/layout";
import { CARDBUS_CAPABILITIES_POINTER, CONVENTIONAL_SIZE, EXPRESS_SIZE, FIRST_CAPABILITY, FIRST_EXTENDED, HeaderOffset } from "../config/offsets.ts";
import { wordsAt, type ConfigRegister } from "../config/register.ts";
import { decodeHeader } from "./decode-header.ts";
import type { ConfigProblem, DecodedCapability, DecodedConfig, DecodedField, DecodedHeader, DecodedRegister } from "./decoded.ts";
import type { CapabilityView } from "./definition.ts";
import { definitionOf } from "./definitions.ts";
import { findCapability, firstCapability, hasExtendedSpace, LONGEST_EXTENDED_LIST, LONGEST_LIST, pcieType } from "./find.ts";
import { capabilityName } from "./names.ts";

const PCI_X = 0x07;
const PCI_EXPRESS = 0x10;
const LINK_CAPABILITIES = 0xc;

const hex = (value: number): string => `0x${value.toString(16)}`;

/** What a capability's shape may depend on beside its own bytes. */
interface Surroundings {
  readonly portType: number;
  readonly lanes: number;
}

const viewOf = (bytes: Uint8Array, at: number, { portType, lanes }: Surroundings): CapabilityView => {
  const byte = (offset: number): number => bytes[at + offset] ?? 0xff;
  const word = (offset: number): number => byte(offset) | (byte(offset + 1) << 8);
  return { at, available: bytes.length - at, portType, lanes, byte, word, dword: (offset) => (word(offset) | (word(offset + 2) << 16)) >>> 0 };
};

const decodeRegister = (bytes: Uint8Array, at: number, name: string, { at: offset, layout }: ConfigRegister): DecodedRegister => {
  const words = wordsAt(bytes, at + offset, layout.width);
  const values = layout.decode(words);
  const fields = Object.entries(layout.fields).map(([field, of]): DecodedField => {
    const value = values[field] ?? 0;
    const meaning = meaningOf(of, value);
    return { name: field, msb: of.msb, lsb: of.lsb, value, ...(meaning === undefined ? {} : { meaning }) };
  });
  return { name, offset: at + offset, layoutName: layout.name, value: (words[0] ?? 0) >>> 0, fields };
};

/** Reads one capability; registers past `end` are left out and said to be missing. */
const decodeCapability = (bytes: Uint8Array, view: CapabilityView, id: number, extended: boolean, end: number, problems: ConfigProblem[]): DecodedCapability => {
  const name = capabilityName(id, extended);
  const version = extended ? view.byte(2) & 15 : undefined;
  const common = { id, name, offset: view.at, extended, ...(version === undefined ? {} : { version }) };
  const definition = definitionOf(id, extended);
  if (!definition) return { ...common, length: extended ? 4 : 2, registers: [] };
  const { length, registers } = definition.shape(view);
  const type = definition.type?.(view);
  if (view.at + length > end) problems.push({ offset: view.at, text: `${name} at ${hex(view.at)} has ${length} bytes but ends at ${hex(end)}: the rest cannot be seen.` });
  const whole = Object.entries(registers).filter(([, each]) => view.at + each.at + each.layout.width / 8 <= end);
  return { ...common, length, ...(type === undefined ? {} : { type }), registers: whole.map(([key, each]) => decodeRegister(bytes, view.at, key, each)) };
};

interface Walk {
  readonly bytes: Uint8Array;
  readonly extended: boolean;
  /** First byte the list may point to. */
  readonly first: number;
  /** End of the space the list lives in. */
  readonly end: number;
  readonly longest: number;
  readonly surroundings: Surroundings;
  readonly problems: ConfigProblem[];
}

/** Why the list cannot go on at `at`, or undefined when it can. */
const breakAt = ({ bytes, first, end, extended }: Walk, at: number, seen: ReadonlySet<number>, id: number): string | undefined => {
  if (at < first) return `The list of capabilities points to ${hex(at)}, below ${hex(first)} where capabilities begin.`;
  if (at + (extended ? 4 : 2) > Math.min(end, bytes.length)) return `The list of capabilities points to ${hex(at)}, where no bytes were given (there are ${hex(bytes.length)}).`;
  if (seen.has(at)) return `The list of capabilities comes back to ${hex(at)}: a loop.`;
  if (id === (extended ? 0xffff : 0xff)) return `The capability at ${hex(at)} has the id ${hex(id)}: nothing answers there.`;
  return undefined;
};

/** Follows one list. `link` is where the pointer to `at` stands, for problems. */
const walk = (of: Walk, start: number, startLink: number): DecodedCapability[] => {
  const { bytes, extended, problems } = of;
  const found: DecodedCapability[] = [];
  const seen = new Set<number>();
  let at = start;
  let link = startLink;
  while (at !== 0) {
    const view = viewOf(bytes, at, of.surroundings);
    const id = extended ? view.word(0) : view.byte(0);
    const broken = breakAt(of, at, seen, id) ?? (seen.size >= of.longest ? `The list of capabilities is longer than the ${of.longest} that find room.` : undefined);
    if (broken !== undefined) {
      problems.push({ offset: link, text: broken });
      break;
    }
    seen.add(at);
    found.push(decodeCapability(bytes, view, id, extended, Math.min(of.end, bytes.length), problems));
    link = extended ? at + 2 : at + 1;
    at = extended ? (view.word(2) >>> 4) & 0xffc : view.byte(1) & 0xfc;
  }
  return found;
};

const conventional = (bytes: Uint8Array, header: DecodedHeader, surroundings: Surroundings, problems: ConfigProblem[]): DecodedCapability[] => {
  const link = header.type === 2 ? CARDBUS_CAPABILITIES_POINTER : HeaderOffset.CapabilitiesPointer;
  const of = { bytes, extended: false, first: FIRST_CAPABILITY, end: CONVENTIONAL_SIZE, longest: LONGEST_LIST, surroundings, problems };
  return walk(of, bytes[link]! & 0xfc, link);
};

const extended = (bytes: Uint8Array, surroundings: Surroundings, problems: ConfigProblem[]): DecodedCapability[] =>
  walk({ bytes, extended: true, first: FIRST_EXTENDED, end: EXPRESS_SIZE, longest: LONGEST_EXTENDED_LIST, surroundings, problems }, FIRST_EXTENDED, FIRST_EXTENDED);

const surroundingsOf = (bytes: Uint8Array): Surroundings => {
  const express = findCapability(bytes, PCI_EXPRESS);
  const link = express === 0 ? 0 : express + LINK_CAPABILITIES;
  return { portType: pcieType(bytes), lanes: link === 0 ? 0 : ((bytes[link] ?? 0) >>> 4) | (((bytes[link + 1] ?? 0) & 3) << 4) };
};

/** A function without a list hides nothing; one whose extended space reads as all ones cannot be reached there. */
const visibilityOf = (bytes: Uint8Array, listed: boolean, express: boolean): DecodedConfig["capabilitiesVisible"] => {
  if (!listed) return "all";
  if (bytes.length <= Math.max(FIRST_CAPABILITY, firstCapability(bytes))) return "none";
  if (!express) return bytes.length < CONVENTIONAL_SIZE ? "conventional" : "all";
  const reachable = bytes.length > FIRST_EXTENDED && !bytes.subarray(FIRST_EXTENDED, FIRST_EXTENDED + 4).every((byte) => byte === 0xff);
  return reachable ? "all" : "conventional";
};

/**
 * Reads a function's configuration bytes: 64 (what users without privileges get), 256, 4096 or any other number.
 * Never throws and ends on any contents; what is wrong with them stands in `problems`. PCIe §7.5 to §7.9.
 */
export const decodeConfig = (bytes: Uint8Array): DecodedConfig => {
  const problems: ConfigProblem[] = [];
  const padded = bytes.length >= FIRST_CAPABILITY ? bytes : new Uint8Array(FIRST_CAPABILITY);
  if (padded !== bytes) {
    padded.set(bytes);
    problems.push({ offset: bytes.length, text: `Only ${bytes.length} bytes were given; a header has 64.` });
  }
  const header = decodeHeader(padded);
  // A vendor ID of 0xffff alone is that of a virtual function: PCIe §9.3.4.1.1.
  const gone = padded.subarray(0, FIRST_CAPABILITY).every((byte) => byte === 0xff);
  if (gone) problems.push({ offset: 0, text: "Every bit is one: no function answers here (powered off, unplugged or failed)." });
  const listed = !gone && header.status.CapabilitiesList === 1;
  const surroundings = surroundingsOf(bytes);
  const capabilities = listed && bytes.length > FIRST_CAPABILITY ? conventional(bytes, header, surroundings, problems) : [];
  const express = capabilities.some(({ id }) => id === PCI_EXPRESS || id === PCI_X);
  if (express && hasExtendedSpace(bytes)) capabilities.push(...extended(bytes, surroundings, problems));
  return { size: bytes.length, capabilitiesVisible: visibilityOf(padded, listed, express), header, capabilities, problems };
};
