import { decodeBits, hex, requesterText, type DecodedStructure, type Fact, type Finding, type Told } from "@iommu-lab/pci-bus/decode";
import { EVENTS, EventCode } from "../layouts/index.ts";

const low = (value: bigint, at: number, width: number): number => Number((value >> BigInt(at)) & ((1n << BigInt(width)) - 1n));

/** Where the 12 bits that Linux prints as flags begin. */
const FLAGS_LSB = 48;
const FLAGS_BITS = 12;
const GN = 1;
const I = 8;
const PR = 0x10;
const RW = 0x20;
const PE = 0x40;
const RZ = 0x80;
const TR = 0x100;

/** What an event says, from the event log or from the kernel's line about it. */
export interface EventParts {
  readonly code: number;
  /** DDDD:bb:dd.f or bb:dd.f; null where the event has none. */
  readonly requester: string | null;
  readonly domain: number | null;
  readonly pasid: number | null;
  readonly address: bigint | null;
  /** Event bits 59:48; null where the line lacks them. */
  readonly flags: number | null;
}

/** Names of the flags of an event that are set. */
const flagNames = (code: number, flags: number): string[] => Object.entries(EVENTS[code]?.fields ?? {}).flatMap(([name, { msb, lsb }]) => (msb === lsb && lsb >= FLAGS_LSB && (flags >>> (lsb - FLAGS_LSB)) & 1 ? [name] : []));

const unknownFlags = (code: number, flags: number): number => {
  let known = 0;
  for (const { msb, lsb } of Object.values(EVENTS[code]?.fields ?? {})) for (let bit = Math.max(lsb, FLAGS_LSB); bit <= Math.min(msb, FLAGS_LSB + FLAGS_BITS - 1); bit++) known |= 1 << (bit - FLAGS_LSB);
  return flags & ~known & 0xfff;
};

const ERRORS = ["", "it was master-aborted", "it was target-aborted", "its data was damaged"] as const;

const UNTRANSLATED = [
  "a read or non-posted write in the interrupt address range",
  "a pretranslated request that it may not send",
  "port I/O that it may not do",
  "a system management message that it may not send",
  "a request in the interrupt or EOI address range",
  "a request in a reserved interrupt address range",
  "a request in the system management address range",
  "a request of a reserved kind",
] as const;
const TRANSLATION = ["for an address that is not allowed", "that it may not send", "with a DeviceID that is not valid"] as const;

/** Why a page fault came about. AMD-Vi §2.5.3. */
const faultCause = (flags: number): { readonly cause: string; readonly text: string } => {
  if (flags & I) {
    if (!(flags & PR)) return { cause: "interrupt-not-mapped", text: "There is no valid interrupt remapping entry for it." };
    return flags & RZ ? { cause: "interrupt-entry-reserved", text: "Its interrupt remapping entry has reserved bits or values." } : { cause: "interrupt-refused", text: "Its interrupt remapping entry is valid, but the interrupt is not allowed." };
  }
  if (!(flags & PR)) return { cause: "not-mapped", text: "Nothing is mapped there: the driver unmapped it too early, never mapped it, or the device computed a wrong address." };
  if (flags & PE) return { cause: "no-permission", text: `The page is mapped, but not for ${flags & RW ? "writes" : "reads"}.` };
  return flags & RZ ? { cause: "reserved-bits", text: "A table entry on the way has reserved bits set." } : { cause: "level-invalid", text: "A table entry on the way has a level or page size that is not allowed." };
};

const typeOf = (flags: number, width: number): number => (flags >>> 9) & ((1 << width) - 1);

const doing = (flags: number): string => (flags & RW ? "write" : flags & PR ? "read" : "access");

type Teller = (who: string, at: string, flags: number) => { readonly meaning: readonly string[]; readonly facts?: Readonly<Record<string, Fact>> };

const hardwareError = (what: string): Teller => (who, at, flags) => ({ meaning: [`${what}${who === "" ? "" : ` for ${who}`}${at} failed${typeOf(flags, 2) === 0 ? "" : `: ${ERRORS[typeOf(flags, 2)] as string}`}.`], facts: { error: [null, "master abort", "target abort", "data error"][typeOf(flags, 2)] ?? null } });

const tellers: Readonly<Record<number, Teller>> = {
  [EventCode.IllegalDeviceEntry]: (who, at, flags) => ({ meaning: [`The device table entry of ${who} has ${flags & RZ ? "reserved bits or values" : "a value that is not allowed"}; its ${flags & I ? "interrupt" : flags & TR ? "translation request" : doing(flags)}${at} was blocked.`] }),
  [EventCode.IoPageFault]: (who, at, flags) => {
    const { cause, text } = faultCause(flags);
    const what = flags & I ? `sent an interrupt${at}` : flags & TR ? `asked for the translation${at}` : flags & RW ? `asked for a write${at}` : flags & PR ? `asked for a read${at}` : `asked for an access${at}`;
    return { meaning: [`${who} ${what}, which was blocked.`, text], facts: { request: flags & I ? "interrupt" : flags & TR ? "translation" : "dma", access: flags & (I | TR) ? null : flags & RW ? "write" : flags & PR ? "read" : null, cause } };
  },
  [EventCode.DeviceTableHardwareError]: hardwareError("Reading the device table entry"),
  [EventCode.PageTableHardwareError]: hardwareError("Reading a page table entry"),
  [EventCode.IllegalCommand]: (_who, at) => ({ meaning: [`The command${at} is none, or has reserved bits set: the IOMMU stopped there and takes no more commands.`] }),
  [EventCode.CommandHardwareError]: hardwareError("Reading the command"),
  [EventCode.IotlbTimeout]: (who, at) => ({ meaning: [`The device-TLB of ${who} did not answer the invalidation (the command${at}) in time: the device hangs, or has lost its link.`] }),
  [EventCode.InvalidDeviceRequest]: (who, at, flags) => ({
    meaning: [`${who} sent ${flags & TR ? `a translation request${at} ${TRANSLATION[typeOf(flags, 3)] ?? "of a reserved kind"}` : `${UNTRANSLATED[typeOf(flags, 3)] as string}${at}`}, which was blocked.`],
    facts: { requestType: typeOf(flags, 3) },
  }),
  [EventCode.InvalidPprRequest]: (who, at) => ({ meaning: [`${who} sent a page request${at} that is not allowed.`] }),
  [EventCode.CounterZero]: () => ({ meaning: ["A performance counter ran over."] }),
  [EventCode.RmpPageFault]: (who, at) => ({ meaning: [`${who} asked for memory${at} that belongs to another owner by the reverse map table (SEV-SNP); it was blocked.`] }),
  [EventCode.RmpHardwareError]: hardwareError("Reading the reverse map table"),
};

/** Facts and sentences for an event. */
export const describeEvent = (parts: EventParts, offset: number): { readonly facts: Readonly<Record<string, Fact>>; readonly meaning: readonly string[]; readonly findings: readonly Finding[] } => {
  const { code, requester, domain, pasid, address, flags } = parts;
  const who = `${requester ?? (EVENTS[code]?.fields.DeviceID ? "An unnamed device" : "")}${pasid === null ? "" : ` with PASID ${hex(pasid)}`}`;
  const told = tellers[code]?.(who, address === null ? "" : ` at ${hex(address)}`, flags ?? 0);
  const odd = flags === null ? 0 : unknownFlags(code, flags);
  return {
    facts: { requester, domain, pasid, address, flags, flagNames: flags === null ? [] : flagNames(code, flags), ...told?.facts },
    meaning: told?.meaning ?? [],
    findings: odd === 0 ? [] : [{ id: "event-flags-unknown", offset, text: `The flags ${hex(odd)} mean nothing in this event.` }],
  };
};

/** Names of events by code, and Linux's own name for one. */
export const EVENT_CODES: ReadonlyMap<string, number> = new Map([...Object.entries(EVENTS).map(([code, { name }]): [string, number] => [name, Number(code)]), ["RMP_HW_ERROR", EventCode.RmpHardwareError]]);

const WITH_DOMAIN: readonly number[] = [EventCode.IoPageFault, EventCode.PageTableHardwareError];
const WITH_PASID: readonly number[] = [EventCode.IllegalDeviceEntry, EventCode.IoPageFault, EventCode.PageTableHardwareError, EventCode.InvalidDeviceRequest];

const pasidOf = (code: number, value: bigint, flags: number): number | null => {
  if (code === EventCode.InvalidPprRequest) return flags & 0x100 ? (low(value, 42, 4) << 16) | low(value, 16, 16) : null;
  return WITH_PASID.includes(code) && flags & GN ? (low(value, 16, 4) << 16) | low(value, 32, 16) : null;
};

/** An entry of the event log. AMD-Vi §2.5 "Event Logging". */
export const decodeEvent = (value: bigint, offset = 0): Told => {
  const code = low(value, 60, 4);
  const layout = EVENTS[code];
  if (!layout) {
    const text = code === 0 ? "Code 0 is no event: a slot that was never written, or not written yet." : `Event code ${code} is not known here.`;
    const structure: DecodedStructure = { name: `event with code ${code}`, offset, value, width: 128, fields: [], facts: { code }, meaning: [] };
    return { structure, findings: [{ id: "event-code-unknown", offset, text }] };
  }
  const flags = low(value, FLAGS_LSB, FLAGS_BITS);
  const counter = code === EventCode.CounterZero;
  const pasid = pasidOf(code, value, flags);
  const { facts, meaning } = describeEvent(
    { code, requester: layout.fields.DeviceID ? requesterText(low(value, 0, 16)) : null, domain: WITH_DOMAIN.includes(code) && pasid === null ? low(value, 32, 16) : null, pasid, address: counter ? null : value >> 64n, flags },
    offset,
  );
  return decodeBits(layout, value, offset, { facts: { code, ...facts }, meaning, of: "register" });
};
