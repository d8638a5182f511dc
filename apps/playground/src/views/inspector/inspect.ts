import { toBytes } from "@iommu-lab/host";
import { bitsKindOf, BITS_KINDS, decodeInput, DecodeInputError, isKind, type BitsKind } from "@iommu-lab/host/decode";
import { DumpError, findTables, isText, sdtChecksum } from "@iommu-lab/pci-bus/acpi";
import type { DecodedStructure } from "@iommu-lab/pci-bus/decode";
import type { FieldNode } from "./fields.ts";
import { romFields } from "./rom-nodes.ts";
import type { Patch } from "./settings.ts";
import { tableFields, type Noticed } from "./table-nodes.ts";

/** One thing that the input holds. */
export interface Item {
  readonly title: string;
  /** "dmar", "rom", or a kind of structure or register. */
  readonly kind: string;
  readonly bytes: Uint8Array;
  /** What the input says of it that its bytes do not. */
  readonly sentences: readonly string[];
}

/** What an input turned out to be. */
export interface Inspected {
  readonly items: readonly Item[];
  /** What lines without bits say. */
  readonly statements: readonly string[];
  readonly noticed: readonly Noticed[];
  /** Why nothing can be made of it. */
  readonly error?: string;
}

/** An item taken apart. */
export interface Opened {
  readonly nodes: readonly FieldNode[];
  readonly noticed: readonly Noticed[];
  readonly sentences: readonly string[];
  readonly spec: string | undefined;
}

const MOST_ITEMS = 500;

const littleEndian = (value: bigint, width: number): Uint8Array => Uint8Array.from({ length: Math.ceil(width / 8) }, (_, i) => Number((value >> BigInt(8 * i)) & 0xffn));
const bigEndianValue = (bytes: Uint8Array): bigint => bytes.reduceRight((value, byte) => (value << 8n) | BigInt(byte), 0n);

/** Bytes of a hex dump with or without offsets, or of plain hexadecimal; undefined for anything else. */
const hexBytes = (text: string): Uint8Array | undefined => {
  const lines = text.split("\n").map((line) => line.trim()).filter((line) => line !== "");
  const dumped = lines.every((line) => /^[0-9a-f]{4,8}:?[ \t]/i.test(line));
  const plain = lines.map((line) => (dumped ? line.replace(/^[0-9a-f]{4,8}:?[ \t]+/i, "").replace(/ {2,}\S{0,20}$|[ \t]+\|.{0,20}\|$/, "") : line)).join(" ").replace(/0x/gi, "").replace(/[\s,;]/g, "");
  return plain.length >= 4 && plain.length % 2 === 0 && /^[0-9a-f]*$/i.test(plain) ? Uint8Array.from({ length: plain.length / 2 }, (_, i) => Number.parseInt(plain.slice(2 * i, 2 * i + 2), 16)) : undefined;
};

const isRom = (bytes: Uint8Array): boolean => bytes.length >= 0x1a && bytes[0] === 0x55 && bytes[1] === 0xaa;

/** The kind whose structures have a name and a width: what a decoder of lines has found. */
const kindNamed = ({ name, width }: DecodedStructure, asked: string): string | undefined => {
  const fits = (kind: string): boolean => bitsKindOf(kind)?.width === width;
  if (fits(asked)) return asked;
  return BITS_KINDS.find((kind) => fits(kind) && (bitsKindOf(kind)?.names.includes(name) ?? false)) ?? BITS_KINDS.find((kind) => fits(kind) && bitsKindOf(kind)?.text === name);
};

const itemOf = (structure: DecodedStructure, asked: string): Item | undefined => {
  const kind = structure.value === undefined ? undefined : kindNamed(structure, asked);
  return kind === undefined || structure.value === undefined ? undefined : { title: `${structure.name} = 0x${structure.value.toString(16)}`, kind, bytes: littleEndian(structure.value, structure.width ?? 64), sentences: structure.fields.length === 0 ? structure.meaning : [] };
};

const fromBits = (text: Uint8Array, name: string, kind: string | undefined): Inspected => {
  const items: Item[] = [];
  const statements: string[] = [];
  const noticed: Noticed[] = [];
  for (const input of decodeInput(name, text, kind)) {
    if (input.kind !== "bits") continue;
    for (const structure of input.decoded.structures.slice(0, MOST_ITEMS)) {
      const item = itemOf(structure, kind ?? input.decoded.kind);
      if (item) items.push(item);
      else statements.push(`${structure.name}: ${structure.meaning.join(" ")}`);
    }
    if (items.length === 0) noticed.push(...input.decoded.diagnoses);
  }
  return { items, statements, noticed };
};

const TABLES = ["dmar", "ivrs", "mcfg"];

/** Finds out what an input is. Never throws. */
export const inspect = (input: Uint8Array | string, kind: string): Inspected => {
  const bytes = typeof input === "string" ? toBytes(input) : input;
  const text = typeof input === "string" ? input : isText(bytes) ? new TextDecoder().decode(bytes) : undefined;
  const asked = kind === "auto" || kind === "rom" || !isKind(kind) ? undefined : kind;
  try {
    if (asked === undefined || TABLES.includes(asked)) {
      const tables = findTables(bytes, text).filter(({ signature }) => asked === undefined || signature.toLowerCase() === asked);
      if (tables.length > 0) return { items: tables.slice(0, MOST_ITEMS).map(({ signature, bytes: table }) => ({ title: signature, kind: signature.toLowerCase(), bytes: table, sentences: [] })), statements: [], noticed: [] };
    }
    const raw = text === undefined ? bytes : asked === undefined ? hexBytes(text) : undefined;
    if (raw && asked === undefined && (kind === "rom" || isRom(raw))) return { items: [{ title: "option ROM", kind: "rom", bytes: raw, sentences: [] }], statements: [], noticed: [] };
    return fromBits(bytes, "input", asked);
  } catch (error) {
    if (error instanceof DecodeInputError || error instanceof DumpError) return { items: [], statements: [], noticed: [], error: error.message };
    throw error;
  }
};

const bitsFields = ({ decode }: BitsKind, bytes: Uint8Array): Opened => {
  const { structure, findings } = decode(bigEndianValue(bytes), 0);
  return {
    nodes: structure.fields.map(({ name, msb, lsb, text, meaning, address }) => ({ id: name.slice(0, 40), name, msb, lsb, text, meaning: meaning ?? (address === undefined ? undefined : `0x${address.toString(16)}`), depth: 0 })),
    noticed: findings,
    sentences: structure.meaning,
    spec: structure.spec,
  };
};

/** An item's fields, what is wrong with it, and what it says. Never throws. */
export const openItem = ({ kind, title, bytes, sentences }: Item): Opened => {
  if (kind === "rom") return { ...romFields(bytes), spec: "PCI Firmware §5.1" };
  const bits = bitsKindOf(kind);
  if (bits) {
    const opened = bitsFields(bits, bytes);
    return { ...opened, sentences: [...sentences, ...opened.sentences] };
  }
  return { ...tableFields(title, bytes), sentences, spec: undefined };
};

/** An item with bytes changed. */
export const patched = (item: Item, index: number, patches: readonly Patch[]): Item => {
  const own = patches.filter((patch) => patch.item === index && patch.at < item.bytes.length);
  if (own.length === 0) return item;
  const bytes = item.bytes.slice();
  for (const { at, byte } of own) bytes[at] = byte;
  return { ...item, bytes };
};

const CHECKSUM = 9;
/** The byte that makes a table's sum right; undefined where it is, and for what has none. */
export const checksumFix = ({ kind, bytes }: Item): { readonly at: number; readonly byte: number } | undefined => {
  if (kind === "rom" || bitsKindOf(kind) || bytes.length <= CHECKSUM) return undefined;
  const stated = ((bytes[4] ?? 0) | ((bytes[5] ?? 0) << 8) | ((bytes[6] ?? 0) << 16)) + (bytes[7] ?? 0) * 2 ** 24;
  const byte = sdtChecksum(bytes, Math.min(stated, bytes.length));
  return byte === bytes[CHECKSUM] ? undefined : { at: CHECKSUM, byte };
};
