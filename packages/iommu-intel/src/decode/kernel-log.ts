import { big, hex, lineOf, linesOf, requesterText, type Decoded, type DecodedStructure, type Fact, type Finding, type LineFormat, type LineResult, type Told } from "@iommu-lab/pci-bus/decode";
import { FAULT_REASONS } from "../layouts/index.ts";
import { decodeDescriptor } from "./descriptors.ts";
import { describeReason, reasonSentence } from "./fault-record.ts";
import { decodeRegister } from "./registers.ts";
import { BOOT_LINES, LINE_NOTES } from "./kernel-log-boot.ts";
import { decodeContextEntry, decodePasidDirectoryEntry, decodePasidEntry, decodeRootEntry, decodeScalableContextEntry, decodeScalableRootEntry, decodeSecondStageEntry } from "./table-entries.ts";

const told = (...results: readonly Told[]): LineResult => ({ structures: results.map(({ structure }) => structure), findings: results.flatMap(({ findings }) => findings) });

/**
 * "Request device [bb:dd.f]": 6.x `[DMA Read NO_PASID] … fault addr 0x… [fault reason 0x06]`, 5.x `[DMA Read] … PASID
 * ffffffff fault addr … [fault reason 06]`, 4.x and older with the reason, in decimal, on the next line.
 */
const FAULT =
  /\[(DMA Read|DMA Write|INTR-REMAP)(?: (NO_PASID)| PASID (?:0x)?([0-9a-f]{1,8}))?\]? ?:? ?Request device \[{1,2}(?:([0-9a-f]{4}):)?([0-9a-f]{2}):([0-9a-f]{2})\.([0-7])\](?: PASID (?:0x)?([0-9a-f]{1,8}))? fault (addr|index) (?:0x)?([0-9a-f]{1,16})(?: {0,2}\[fault reason (0x)?([0-9a-f]{1,2})\])?/i;
/** The 2.6 to 4.x form of interrupt faults, which has no bracket before its name. */
const OLD_INTERRUPT = /(INTR-REMAP): Request device \[{1,2}([0-9a-f]{2}):([0-9a-f]{2})\.([0-7])\] fault index (?:0x)?([0-9a-f]{1,16})(?: {0,2}\[fault reason (0x)?([0-9a-f]{1,2})\])?/i;
const REASON = /\[fault reason (0x)?([0-9a-f]{1,2})\]/i;

interface LogFault {
  readonly offset: number;
  readonly access: "read" | "write" | "interrupt";
  readonly segment: number | null;
  readonly requester: number;
  readonly address: bigint;
  readonly pasid: number | null;
}

/** The kernel printed reasons in decimal before it wrote 0x before them; digits that are none can only be hexadecimal. */
const reasonOf = (prefix: string | undefined, digits: string): number => (prefix || /[a-f]/i.test(digits) ? Number.parseInt(digits, 16) : Number.parseInt(digits, 10));

const faultResult = (fault: LogFault, reason: number | null): LineResult => {
  const { offset, access, segment, requester, address, pasid } = fault;
  const who = `${segment === null ? "" : `${segment.toString(16).padStart(4, "0")}:`}${requesterText(requester)}`;
  const facts: Record<string, Fact> = { requester: who, access, ...(access === "interrupt" ? { interruptIndex: Number(address) } : { address }), pasid, ...(reason === null ? { reason: null } : describeReason(reason)) };
  const what = access === "interrupt" ? `sent an interrupt with index ${hex(address)}` : `asked for a ${access} at ${hex(address)}`;
  const findings: Finding[] = [];
  if (reason === null) findings.push({ id: "fault-reason-missing", offset, text: "The line, or the one after it, that names the fault reason is missing." });
  else if (!(reason in FAULT_REASONS)) findings.push({ id: "fault-reason-unknown", offset, text: `Fault reason ${hex(reason)} is not in the specification.` });
  return lineOf("fault", offset, facts, [`${who}${pasid === null ? "" : ` with PASID ${hex(pasid)}`} ${what}, which was blocked.`, ...(reason === null ? [] : [reasonSentence(reason)])], findings);
};

const requesterOf = (bus: string | undefined, device: string | undefined, fn: string | undefined): number => (Number(big(bus)) << 8) | ((Number(big(device)) & 31) << 3) | Number(big(fn));

/** PASID ffffffff and the like stand for none. */
const pasidOf = (digits: string | undefined): number | null => (digits === undefined || big(digits) > 0xf_ffffn ? null : Number(big(digits)));

const readFault = (line: string, offset: number): { readonly fault: LogFault; readonly reason: number | null } | undefined => {
  const match = FAULT.exec(line);
  if (match) {
    const [, access = "", , pasid, segment, bus, device, fn, laterPasid, kind, address, prefix, reason] = match;
    const type = kind?.toLowerCase() === "index" || access.toUpperCase() === "INTR-REMAP" ? "interrupt" : /read/i.test(access) ? "read" : "write";
    return {
      fault: { offset, access: type, segment: segment === undefined ? null : Number(big(segment)), requester: requesterOf(bus, device, fn), address: big(address), pasid: pasidOf(pasid ?? laterPasid) },
      reason: reason === undefined ? null : reasonOf(prefix, reason),
    };
  }
  const old = OLD_INTERRUPT.exec(line);
  if (!old) return undefined;
  const [, , bus, device, fn, index, prefix, reason] = old;
  return { fault: { offset, access: "interrupt", segment: null, requester: requesterOf(bus, device, fn), address: big(index), pasid: null }, reason: reason === undefined ? null : reasonOf(prefix, reason) };
};

const QUEUE_REASONS = ["none", "the tail pointer is beyond the queue", "the descriptor could not be read", "the descriptor's type is invalid", "reserved bits of the descriptor are set", "the descriptor width is not allowed", "the tail is not aligned to descriptors", "the translation table mode is invalid"] as const;

const quad = (high: string | undefined, low: string | undefined): bigint => (big(high) << 64n) | big(low);

const FORMATS: readonly LineFormat[] = [
  { pattern: /handling fault status reg (?:0x)?([0-9a-f]{1,8})/i, read: ([, value], offset) => told(decodeRegister("FSTS", big(value), offset)) },
  {
    pattern: /Invalidation Queue Error(?: \(IQE\))?: Reason (?:0x)?([0-9a-f]{1,16})/i,
    read: ([, reason], offset) => lineOf("invalidation queue error", offset, { reason: Number(big(reason) & 15n) }, [`The unit stopped at a descriptor: ${QUEUE_REASONS[Number(big(reason) & 15n)] ?? "for a reason the specification does not have"}.`]),
  },
  {
    pattern: /Invalidation (Time-out|Completion) Error(?: \((?:ITE|ICE)\))?: SID (?:0x)?([0-9a-f]{1,16})/i,
    read: ([, which, source], offset) => {
      const requester = requesterText(Number(big(source) & 0xffffn));
      const timeout = /time/i.test(which ?? "");
      return lineOf(`invalidation ${timeout ? "time-out" : "completion"} error`, offset, { requester }, [timeout ? `The device-TLB of ${requester} did not answer an invalidation in time: the device hangs, or has lost its link.` : `The device-TLB of ${requester} answered an invalidation wrongly.`]);
    },
  },
  { pattern: /QI (?:HEAD|PRIOR): [^=\n]{0,80}qw0 = (?:0x)?([0-9a-f]{1,16}), qw1 = (?:0x)?([0-9a-f]{1,16})/i, read: ([, qw0, qw1], offset) => told(decodeDescriptor(quad(qw1, qw0), 128, offset)) },
  { pattern: /scalable mode root entry: hi (?:0x)?([0-9a-f]{1,16}), low (?:0x)?([0-9a-f]{1,16})/i, read: ([, high, low], offset) => told(decodeScalableRootEntry(quad(high, low), offset)) },
  { pattern: /\broot[ _]entry(?:\[63:0\])?: (?:0x)?([0-9a-f]{1,16})/i, read: ([, low], offset) => told(decodeRootEntry(big(low), offset)) },
  { pattern: /context entry: hi (?:0x)?([0-9a-f]{1,16}), low (?:0x)?([0-9a-f]{1,16})/i, read: ([, high, low], offset, mode) => told((mode === "scalable" ? decodeScalableContextEntry : decodeContextEntry)(quad(high, low), offset)) },
  { pattern: /pasid dir entry: (?:0x)?([0-9a-f]{1,16})/i, read: ([, value], offset) => told(decodePasidDirectoryEntry(big(value), offset)) },
  { pattern: /pte level: ([1-5]), pte value: (?:0x)?([0-9a-f]{1,16})/i, read: ([, level, value], offset) => told(decodeSecondStageEntry(big(value), offset, Number(level))) },
  {
    pattern: /(?:page table|pte) not present at level ([0-5])/i,
    read: ([, level], offset) => lineOf("walk ended", offset, { level: Number(level) }, [`The walk found no entry at level ${level ?? ""}: the address is not mapped. The driver unmapped it too early, never mapped it, or the device computed a wrong address.`]),
  },
  {
    pattern: /\bDump (\S{1,32}) table entries for IOVA (?:0x)?([0-9a-f]{1,16})/i,
    read: ([, unit, address], offset) => lineOf("table dump", offset, { unit: unit ?? null, address: big(address) }, [`The tables of ${unit ?? ""} for address ${hex(big(address))} follow.`]),
  },
  ...BOOT_LINES,
];

const read = (line: string, offset: number, mode: string): LineResult | undefined => {
  for (const { pattern, read: reader } of FORMATS) {
    const match = pattern.exec(line);
    if (match) return reader(match, offset, mode);
  }
  const note = LINE_NOTES.find(({ pattern }) => pattern.test(line));
  return note ? lineOf(note.id, offset, {}, [note.text], note.finding ? [{ id: note.id, offset, text: note.text }] : []) : undefined;
};

/**
 * What the Intel IOMMU driver wrote into a kernel log: faults in every form since 2.6.31, queue errors, table dumps, and
 * what it says at boot. Other lines are passed over; the result has no structures when there are none of the driver's.
 */
export const decodeKernelLog = (text: string): Decoded => {
  const [structures, findings]: [DecodedStructure[], Finding[]] = [[], []];
  const add = (result: LineResult): void => {
    for (const structure of result.structures) structures.push(structure);
    for (const finding of result.findings) findings.push(finding);
  };
  let [count, mode, waiting]: [number, string, LogFault | undefined] = [0, "legacy", undefined];
  // A PASID table entry comes as eight lines, one for each quadword.
  let entry: bigint[] = [];
  for (const { line, offset } of linesOf(text)) {
    count++;
    const found = readFault(line, offset);
    const [, prefix, digits] = (!found && waiting ? REASON.exec(line) : null) ?? [];
    if (waiting && digits !== undefined) {
      add(faultResult(waiting, reasonOf(prefix, digits)));
      waiting = undefined;
      continue;
    }
    if (found) {
      if (waiting) add(faultResult(waiting, null));
      waiting = found.reason === null ? found.fault : undefined;
      if (found.reason !== null) add(faultResult(found.fault, found.reason));
      continue;
    }
    const quadword = /pasid table entry\[([0-7])\]: (?:0x)?([0-9a-f]{1,16})/i.exec(line);
    if (quadword) {
      entry = quadword[1] === "0" ? [big(quadword[2])] : Number(quadword[1]) === entry.length ? [...entry, big(quadword[2])] : [];
      if (entry.length === 8) add(told(decodePasidEntry(entry.reduceRight((sum, part) => (sum << 64n) | part, 0n), offset)));
      continue;
    }
    if (/root entry/i.test(line)) mode = /scalable mode root entry/i.test(line) ? "scalable" : "legacy";
    const result = read(line, offset, mode);
    if (result) add(result);
  }
  if (waiting) add(faultResult(waiting, null));
  return { kind: "log", header: { lines: count, recognised: structures.length }, structures, diagnoses: findings };
};
