import { decodeKernelLog as decodeAmdLog } from "@iommu-lab/iommu-amd/decode";
import { decodeKernelLog as decodeIntelLog, type DecodedStructure, type Fact } from "@iommu-lab/iommu-intel/decode";
import { formatAddress, parseAddress } from "@iommu-lab/pci-bus";
import { linesOf } from "@iommu-lab/pci-bus/decode";
import { KERNEL_FORMATS } from "./kernel-formats.ts";
import type { LogFormat, LogLevel } from "./log-format.ts";
import { OTHER_MEANING, VENDOR_MEANINGS } from "./vendor-meanings.ts";
import { VFIO_FORMATS } from "./vfio-formats.ts";

/** One recognised line of a log. */
export interface LogEvent {
  /** From 1. */
  readonly line: number;
  /** The line as it stands there, at most 2048 characters. */
  readonly text: string;
  /** Name of its format. */
  readonly id: string;
  readonly level: LogLevel;
  /** dddd:bb:dd.f, where the line names a function. */
  readonly device: string | undefined;
  /** What it holds, by name. */
  readonly fields: Readonly<Record<string, Fact>>;
  readonly happened: string;
  readonly why: string;
  readonly advice: string;
  /** Registers, descriptors and table entries of the line, bit for bit. */
  readonly decoded: readonly DecodedStructure[];
}

/** Every format that is not one of the vendors' own; those are the formats of their decoders. */
export const LOG_FORMATS: readonly LogFormat[] = [...VFIO_FORMATS, ...KERNEL_FORMATS];

const deviceOf = (text: Fact | undefined): string | undefined => {
  const address = typeof text === "string" ? parseAddress(text) : undefined;
  return address && formatAddress(address);
};

const fill = (sentence: string, fields: Readonly<Record<string, string>>): string => sentence.replace(/\{(\w+)\}/g, (_whole, name: string) => fields[name] ?? "");

const fromFormat = (line: number, text: string): LogEvent | undefined => {
  for (const format of LOG_FORMATS) {
    const match = format.pattern.exec(text);
    if (!match) continue;
    const fields = Object.fromEntries(Object.entries<string | undefined>(match.groups ?? {}).filter((entry): entry is [string, string] => entry[1] !== undefined));
    return { line, text, id: format.id, level: format.level, device: deviceOf(fields.device), fields, happened: fill(format.happened, fields), why: fill(format.why, fields), advice: fill(format.advice, fields), decoded: [] };
  }
  return undefined;
};

/** Events that the driver itself has no name for. */
const UNKNOWN_EVENT = /^event with code \d+$/;
const NEWER = { level: "fault", why: "The IOMMU logged an event that this kernel has no name for.", advice: "Update the kernel; the bits are in its line." } as const;

const fromVendor = (line: number, text: string, structures: readonly DecodedStructure[]): LogEvent => {
  const [first] = structures as readonly [DecodedStructure, ...DecodedStructure[]];
  const isInterrupt = first.name === "fault" && first.facts.access === "interrupt";
  const meaning = VENDOR_MEANINGS[isInterrupt ? "interrupt fault" : first.name] ?? (UNKNOWN_EVENT.test(first.name) ? NEWER : OTHER_MEANING);
  return { line, text, id: first.name.toLowerCase().replace(/[^a-z0-9]+/g, "-"), level: meaning.level, device: deviceOf(first.facts.requester) ?? deviceOf(first.facts.device), fields: first.facts, happened: structures.flatMap(({ meaning: sentences }) => sentences).join(" "), why: meaning.why, advice: meaning.advice, decoded: structures.filter(({ width }) => width !== undefined) };
};

/** The vendors' structures by the offset of their line. */
const byOffset = (text: string): ReadonlyMap<number, readonly DecodedStructure[]> => {
  const found = new Map<number, DecodedStructure[]>();
  for (const structure of [...decodeIntelLog(text).structures, ...decodeAmdLog(text).structures]) {
    const same = found.get(structure.offset);
    if (same) same.push(structure);
    else found.set(structure.offset, [structure]);
  }
  return found;
};

/**
 * Explains a kernel log, or what QEMU and libvirt printed: every line of a known format, decoded, with what happened, why,
 * and what to do. Times, hosts and levels that loggers put before lines do not matter; other lines are passed over.
 */
export const explainLog = (text: string): LogEvent[] => {
  const vendor = byOffset(text);
  const events: LogEvent[] = [];
  let number = 0;
  for (const { line, offset } of linesOf(text)) {
    number++;
    const structures = vendor.get(offset);
    const known = fromFormat(number, line);
    if (known) events.push(structures ? { ...known, fields: { ...structures[0]?.facts, ...known.fields }, decoded: structures.filter(({ width }) => width !== undefined) } : known);
    else if (structures) events.push(fromVendor(number, line, structures));
  }
  return events;
};
