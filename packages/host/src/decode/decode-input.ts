import * as amd from "@iommu-lab/iommu-amd/decode";
import { decodeIvrs, IvrsError, type IvrsTable } from "@iommu-lab/iommu-amd/ivrs";
import { decodeDebugfs, decodeKernelLog, decodeRegister, debugfsFile, REGISTERS, structuresOf, parseWords, WordsError, type Decoded, type Told, type Word } from "@iommu-lab/iommu-intel/decode";
import { decodeDmar, DmarError, type DmarTable } from "@iommu-lab/iommu-intel/dmar";
import { decodeMcfg, DumpError, findTables, isText, type FoundTable, type Mcfg } from "@iommu-lab/pci-bus/acpi";
import { toText } from "../tree/text.ts";
import { bitsKindOf, KIND_LIST, type BitsKind } from "./decode-kinds.ts";

/** What an input turned out to be. */
export type DecodedInput = { readonly kind: "dmar"; readonly dmar: DmarTable } | { readonly kind: "ivrs"; readonly ivrs: IvrsTable } | { readonly kind: "mcfg"; readonly mcfg: Mcfg } | { readonly kind: "bits"; readonly decoded: Decoded };

/** Nothing can be made of an input; the message says what to do. */
export class DecodeInputError extends Error {
  override readonly name = "DecodeInputError";
}

const bad = (message: string): DecodeInputError => new DecodeInputError(message);

const decodeTable = (name: string, { signature, bytes }: FoundTable, kind?: string): DecodedInput | undefined => {
  if (kind !== undefined && kind !== signature.toLowerCase()) return undefined;
  try {
    switch (signature) {
      case "MCFG":
        return { kind: "mcfg", mcfg: decodeMcfg(bytes) };
      case "DMAR":
        return { kind: "dmar", dmar: decodeDmar(bytes) };
      case "IVRS":
        return { kind: "ivrs", ivrs: decodeIvrs(bytes) };
      default:
        return undefined;
    }
  } catch (error) {
    throw error instanceof DmarError || error instanceof IvrsError ? bad(`${name}: ${error.message}`) : error;
  }
};

const fromTables = (name: string, bytes: Uint8Array, text: string | undefined, kind?: string): DecodedInput[] => {
  let tables: FoundTable[];
  try {
    tables = findTables(bytes, text);
  } catch (error) {
    throw error instanceof DumpError ? bad(`${name}: ${error.message}.`) : error;
  }
  const decoded = tables.flatMap((table) => decodeTable(name, table, kind) ?? []);
  if (decoded.length === 0 && tables.length > 0) throw bad(`${name} holds ${tables.map(({ signature }) => `"${signature}"`).join(", ")}, but no ${kind === undefined ? "table that is decoded here (DMAR, IVRS, MCFG)" : `${kind.toUpperCase()} table`}.`);
  return decoded;
};

const collect = (kind: string, told: readonly Told[]): DecodedInput => ({ kind: "bits", decoded: { kind, header: {}, structures: told.map(({ structure }) => structure), diagnoses: told.flatMap(({ findings }) => findings) } });

/** Register values with their names: "CAP 0xd2008c222f0606", "ecap=f0f0da", a line each or after each other. */
const fromNamedRegisters = (text: string): DecodedInput | undefined => {
  if (text.length > 1_000_000) return undefined;
  const told: Told[] = [];
  for (const match of text.matchAll(/(?:^|[\s,;])([A-Za-z][A-Za-z0-9_]{1,24}?)(?:_REG)?\s{0,4}[:= ]\s{0,4}(?:0x)?([0-9a-fA-F]{1,16})(?=[\s,;]|$)/g)) {
    const name = (match[1] as string).toUpperCase();
    const intel = REGISTERS.get(name);
    // Of AMD's registers only those with names that nothing else has.
    const register = intel ?? (name === "EFR" || name === "EFR2" ? amd.REGISTERS.get(name) : undefined);
    const value = BigInt(`0x${match[2] as string}`);
    // "ver 2" in prose is no register value; a sign, a prefix or length make it one.
    const meant = /[:=]|0x/i.test(match[0]) || (match[2] as string).length >= 8;
    if (register && meant && value >> BigInt(register.width) === 0n) told.push((intel ? decodeRegister : amd.decodeRegister)(name, value, match.index));
  }
  return told.length > 0 ? collect("registers", told) : undefined;
};

/** What both vendors' drivers wrote into a kernel log, in the order of the lines. */
const decodeLog = (text: string): Decoded => {
  const [intel, own] = [decodeKernelLog(text), amd.decodeKernelLog(text)];
  const byPlace = (a: { readonly offset: number }, b: { readonly offset: number }): number => a.offset - b.offset;
  return {
    kind: "log",
    header: { ...intel.header, recognised: intel.structures.length + own.structures.length },
    structures: [...intel.structures, ...own.structures].sort(byPlace),
    diagnoses: [...intel.diagnoses, ...own.diagnoses].sort(byPlace),
  };
};

/** Logs and debugfs files of a text, or undefined when it is neither. */
const fromText = (text: string): DecodedInput | undefined => {
  const file = debugfsFile(text);
  const decoded = file ? decodeDebugfs(file, text) : decodeLog(text);
  return file || decoded.structures.length > 0 ? { kind: "bits", decoded } : undefined;
};

/** The structures of a kind that a log or debugfs file has. */
const pick = (input: DecodedInput | undefined, kind: string, { names }: BitsKind): DecodedInput | undefined => {
  if (input?.kind !== "bits") return undefined;
  const structures = input.decoded.structures.filter(({ name }) => names.includes(name));
  const places = new Set(structures.map(({ offset }) => offset));
  return structures.length > 0 ? { kind: "bits", decoded: { kind, header: input.decoded.header, structures, diagnoses: input.decoded.diagnoses.filter(({ offset }) => places.has(offset)) } } : undefined;
};

/** Structures that follow each other in raw bytes, as in a dump of memory. */
const fromBytes = (name: string, bytes: Uint8Array, kind: string, { width, text, decode }: BitsKind): DecodedInput => {
  const size = width / 8;
  if (bytes.length % size !== 0) throw bad(`${name} is binary with ${bytes.length} bytes; a ${text} has ${size}.`);
  const told: Told[] = [];
  for (let at = 0; at < bytes.length; at += size) {
    let value = 0n;
    for (let i = size - 1; i >= 0; i--) value = (value << 8n) | BigInt(bytes[at + i] as number);
    if (value !== 0n || bytes.length === size) told.push(decode(value, at));
  }
  return collect(kind, told);
};

/** Structures that have two widths show it by their length: descriptors of scalable mode, interrupt entries of 32 bits. */
const otherWidth = (kind: string, words: readonly Word[]): BitsKind | undefined => {
  if (kind === "iqe" && words.some((word) => word.bits > 128)) return bitsKindOf("iqe256");
  return kind === "amd-irte" && words.length === 1 && words.every((word) => word.bits <= 32) ? bitsKindOf("amd-irte32") : undefined;
};

const fromKind = (name: string, bytes: Uint8Array, text: string | undefined, kind: string, bits: BitsKind): DecodedInput => {
  if (text === undefined) return fromBytes(name, bytes, kind, bits);
  const both = kind === "efr" ? fromFeatures(text) : undefined;
  if (both) return both;
  const words = parseWords(text);
  const found = words ? undefined : (pick(fromText(text), kind, bits) ?? pick(fromNamedRegisters(text), kind, bits));
  if (found) return found;
  const { width, text: what, decode } = otherWidth(kind, words ?? []) ?? bits;
  try {
    return collect(kind, structuresOf(text, width, what).map(({ value, offset }) => decode(value, offset)));
  } catch (error) {
    throw error instanceof WordsError ? bad(`${name}: ${error.message}`) : error;
  }
};

/** What a file's name says about contents that do not show it: /sys/class/iommu/dmar0/intel-iommu/cap, ivhd0/amd-iommu/features. */
const kindByName = (name: string): string | undefined => (/(?:^|\/)amd-iommu\/features$/.test(name) ? "efr" : /(?<!amd-iommu)(?:^|\/)(cap|ecap)$/.exec(name)?.[1]);

/** Both registers in one file, since Linux 6.2: EFR, a colon, EFR2. */
const fromFeatures = (text: string): DecodedInput | undefined => {
  const [, efr, efr2] = /^\s{0,16}(?:0x)?([0-9a-f]{1,16}):(?:0x)?([0-9a-f]{1,16})\s{0,16}$/i.exec(text) ?? [];
  return efr === undefined || efr2 === undefined ? undefined : collect("efr", [amd.decodeRegister("EFR", BigInt(`0x${efr}`), 0), amd.decodeRegister("EFR2", BigInt(`0x${efr2}`), text.indexOf(":") + 1)]);
};

type Facts = Decoded["structures"][number]["facts"];

/** Kinds that show by their bits, with how many there are. */
const GUESSES: readonly { readonly kind: string; readonly fewest: number; readonly most: number; readonly likely: (facts: Facts) => boolean }[] = [
  { kind: "fault", fewest: 128, most: 128, likely: ({ valid, reasonName, interrupt }) => valid === true && (reasonName !== null || interrupt === true) },
  { kind: "cap", fewest: 44, most: 64, likely: ({ guestAddressWidth, faultRecordsOffset }) => Number(guestAddressWidth) >= 36 && faultRecordsOffset !== "0x0" },
];

/** Hexadecimal that can hardly be anything else: a valid fault record, a capability register. */
const guess = (text: string): DecodedInput | undefined => {
  const words = parseWords(text) ?? [];
  if (words.length === 0 || words.length > 64) return undefined;
  for (const { kind, fewest, most, likely } of GUESSES) {
    const bits = bitsKindOf(kind);
    if (!bits || words.some((word) => word.bits < fewest || word.bits > most)) continue;
    const told = words.map(({ value, offset }) => bits.decode(value, offset));
    if (told.some(({ structure, findings }) => findings.some(({ id }) => id !== "cap-caching-mode") || !likely(structure.facts))) continue;
    const found = collect(kind, told);
    return found.kind === "bits" ? { kind: "bits", decoded: { ...found.decoded, diagnoses: [{ id: "kind-guessed", offset: 0, text: `The input looks like a ${bits.text}, but does not say so; give the kind (${kind}) to be sure.` }, ...found.decoded.diagnoses] } } : undefined;
  }
  return undefined;
};

const recognise = (name: string, bytes: Uint8Array, text: string | undefined): DecodedInput[] => {
  const tables = fromTables(name, bytes, text);
  if (tables.length > 0) return tables;
  if (text !== undefined) {
    const found = fromText(text) ?? fromNamedRegisters(text);
    if (found) return [found];
    const kind = kindByName(name);
    const bits = kind === undefined ? undefined : bitsKindOf(kind);
    if (kind !== undefined && bits) return [fromKind(name, bytes, text, kind, bits)];
    const likely = guess(text);
    if (likely) return [likely];
    if ((parseWords(text)?.length ?? 0) > 0) throw bad(`${name} is hexadecimal, which does not say what it means; give the kind before it: iommu decode KIND ${name === "standard input" ? "-" : name}. Kinds: ${KIND_LIST}.`);
  }
  throw bad(`${name} is nothing that can be recognised: no DMAR, IVRS or MCFG table (raw, acpidump, hex dump), no line of an IOMMU driver, no file of /sys/kernel/debug/iommu/intel, no register value with its name${text === undefined ? " (it is binary)" : ""}. If you know what it is, give the kind: ${KIND_LIST}.`);
};

/**
 * Decodes an input by its kind, or by what it shows.
 * @throws DecodeInputError when nothing can be made of it
 */
export const decodeInput = (name: string, bytes: Uint8Array, kind: string | undefined): DecodedInput[] => {
  const text = isText(bytes) ? toText(bytes) : undefined;
  if (kind === undefined) return recognise(name, bytes, text);
  const bits = bitsKindOf(kind);
  if (bits) return [fromKind(name, bytes, text, kind, bits)];
  if (kind === "log" || kind === "debugfs") {
    const file = text === undefined ? undefined : debugfsFile(text);
    if (text !== undefined && kind === "debugfs" && file) return [{ kind: "bits", decoded: decodeDebugfs(file, text) }];
    const decoded = text === undefined || kind === "debugfs" ? undefined : decodeLog(text);
    if (decoded && decoded.structures.length > 0) return [{ kind: "bits", decoded }];
    throw bad(kind === "log" ? `${name} has no line of an IOMMU driver; those have DMAR:, DMAR-IR: or AMD-Vi: in them.` : `${name} is no file of /sys/kernel/debug/iommu/intel: none of their headings is in it.`);
  }
  const tables = fromTables(name, bytes, text, kind);
  if (tables.length === 0) throw bad(`${name} holds no ${kind.toUpperCase()} table: no bytes that begin with "${kind.toUpperCase()}", raw, as acpidump text or in hexadecimal.`);
  return tables;
};
