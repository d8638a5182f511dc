import { big, lineOf, linesOf, type Decoded, type DecodedStructure, type Fact, type Finding, type LineResult, type Told } from "@iommu-lab/pci-bus/decode";
import { decodeCommand } from "./commands.ts";
import { decodeDeviceTableEntry } from "./device-table-entry.ts";
import { decodeEvent, describeEvent, EVENT_CODES } from "./events.ts";
import { BOOT_LINES, LINE_NOTES } from "./kernel-log-boot.ts";

const told = ({ structure, findings }: Told): LineResult => ({ structures: [structure], findings });

/** The name of an event, and up to 400 characters of what is said about it. */
const EVENT = new RegExp(`\\b(${[...EVENT_CODES.keys()].sort((a, b) => b.length - a.length).join("|")})\\b([^\\]\\n]{0,400})(\\])?`);
/** Values of an event: "device=01:00.0", "domain=0x0011", "address=0xfffc0000", "flags=0x0010". */
const VALUE = /\b(device|domain|pasid|address|flags|tag|vmg_tag|gpa|spa|flags_rmp)\s?=\s?([0-9a-fx:.]{1,24})/gi;
/** The device that the kernel's line begins with: "nvme 0000:01:00.0: AMD-Vi: Event logged [". */
const PREFIX = /(?:^|[\s\]])([\w.-]{1,40}) ([0-9a-f]{4,5}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]): AMD-Vi:/i;
const DEVICE = /^(?:[0-9a-f]{4,5}:)?[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]$/i;
const UNKNOWN = /UNKNOWN (?:type=\S{1,6} )?event\[0\]=(?:0x)?([0-9a-f]{1,8}),? event\[1\]=(?:0x)?([0-9a-f]{1,8}),? event\[2\]=(?:0x)?([0-9a-f]{1,8}),? event\[3\]=(?:0x)?([0-9a-f]{1,8})/i;

const HEXADECIMAL = /^(?:0x)?([0-9a-f]{1,16})$/i;
const valueOf = (text: string | undefined): bigint | null => {
  const digits = HEXADECIMAL.exec(text ?? "")?.[1];
  return digits === undefined ? null : big(digits);
};

const numberOf = (text: string | undefined): number | null => {
  const value = valueOf(text);
  return value === null || value > 0xffff_ffffn ? null : Number(value);
};

/** Events that Linux prints no flags for. */
const WITHOUT_FLAGS: readonly string[] = ["ILLEGAL_COMMAND_ERROR", "IOTLB_INV_TIMEOUT", "EVENT_COUNTER_ZERO"];

/**
 * "Event logged [NAME key=value …]": with the device in the line as bb:dd.f (2.6 to 5.18) or dddd:bb:dd.f (5.19 on), or,
 * where a driver has the device, with the driver and the device before "AMD-Vi:" (4.x on).
 */
const readEvent = (line: string, offset: number): LineResult | undefined => {
  const match = EVENT.exec(line);
  if (!match) return undefined;
  const [, name = "", rest = "", closed] = match;
  const values = new Map([...rest.matchAll(VALUE)].map(([, key = "", value = ""]) => [key.toLowerCase(), value] as const));
  if (values.size === 0) return undefined;
  const prefix = PREFIX.exec(line.slice(0, match.index));
  const device = values.get("device");
  const requester = device !== undefined && DEVICE.test(device) ? device.toLowerCase() : (prefix?.[2]?.toLowerCase() ?? null);
  const flags = numberOf(values.get("flags"));
  const parts = { code: EVENT_CODES.get(name) as number, requester, domain: numberOf(values.get("domain")), pasid: numberOf(values.get("pasid")), address: valueOf(values.get("address") ?? values.get("gpa") ?? values.get("spa")), flags };
  const lost = closed === undefined || (flags === null && !WITHOUT_FLAGS.includes(name));
  // Linux prints a PASID of 0 where the event has none.
  const described = describeEvent({ ...parts, pasid: parts.pasid !== null && flags !== null && !(flags & 1) && name !== "INVALID_PPR_REQUEST" ? null : parts.pasid }, offset);
  const facts: Record<string, Fact> = { ...described.facts, driver: prefix?.[1] ?? null, ...(values.has("tag") ? { group: numberOf(values.get("tag")) } : {}), ...(values.has("vmg_tag") ? { vmgTag: numberOf(values.get("vmg_tag")) } : {}), ...(values.has("flags_rmp") ? { rmpFlags: numberOf(values.get("flags_rmp")) } : {}) };
  const findings: Finding[] = [...described.findings, ...(lost ? [{ id: "event-incomplete", offset, text: "The line ends before the event does: what is missing counts as 0." }] : [])];
  return lineOf(name, offset, facts, described.meaning, findings);
};

const read = (line: string, offset: number): LineResult | undefined => {
  const unknown = UNKNOWN.exec(line);
  if (unknown) return told(decodeEvent((big(unknown[4]) << 96n) | (big(unknown[3]) << 64n) | (big(unknown[2]) << 32n) | big(unknown[1]), offset));
  const event = readEvent(line, offset);
  if (event) return event;
  for (const { pattern, read: reader } of BOOT_LINES) {
    const match = pattern.exec(line);
    if (match) return reader(match, offset, "");
  }
  const note = LINE_NOTES.find(({ pattern }) => pattern.test(line));
  return note ? lineOf(note.id, offset, {}, [note.text], note.finding ? [{ id: note.id, offset, text: note.text }] : []) : undefined;
};

/** Structures that come as four lines, one for each part: "DTE[0]: 0123456789abcdef", "CMD[3]: 00000000". */
const PART = /\b(DTE|CMD)\[([0-3])\]: {0,2}(?:0x)?([0-9a-f]{1,16})\b/i;

interface Collected {
  readonly what: string;
  readonly offset: number;
  readonly parts: readonly bigint[];
}

const collect = (before: Collected | undefined, [, what = "", index, digits]: RegExpExecArray, offset: number): Collected | undefined => {
  if (index === "0") return { what: what.toUpperCase(), offset, parts: [big(digits)] };
  return before?.what === what.toUpperCase() && before.parts.length === Number(index) ? { ...before, parts: [...before.parts, big(digits)] } : undefined;
};

const assemble = ({ what, offset, parts }: Collected): LineResult => {
  const width = what === "DTE" ? 64n : 32n;
  const value = parts.reduceRight((sum, part) => (sum << width) | (part & ((1n << width) - 1n)), 0n);
  return told(what === "DTE" ? decodeDeviceTableEntry(value, offset) : decodeCommand(value, offset));
};

/**
 * What the AMD IOMMU driver wrote into a kernel log: events in every form since 2.6.26, dumps of device table entries and
 * commands, and what it says at boot. Other lines are passed over; the result has no structures when there are none of
 * the driver's.
 */
export const decodeKernelLog = (text: string): Decoded => {
  const [structures, findings]: [DecodedStructure[], Finding[]] = [[], []];
  const add = (result: LineResult): void => {
    for (const structure of result.structures) structures.push(structure);
    for (const finding of result.findings) findings.push(finding);
  };
  let [count, collected]: [number, Collected | undefined] = [0, undefined];
  for (const { line, offset } of linesOf(text)) {
    count++;
    const part = PART.exec(line);
    if (part) {
      collected = collect(collected, part, offset);
      if (collected?.parts.length === 4) add(assemble(collected));
      continue;
    }
    const result = read(line, offset);
    if (result) add(result);
  }
  return { kind: "log", header: { lines: count, recognised: structures.length }, structures, diagnoses: findings };
};
