import type { ExplanationStep, InterruptMessage, Posting } from "@iommu-lab/pci-bus";
import { MESSAGE_ADDRESS, MESSAGE_DATA } from "../msi/message-layouts.ts";
import { POSTED } from "./entry-masks.ts";
import { InterruptFault } from "./interrupt-fault.ts";
import { IRTE_POSTED, IRTE_REMAPPED, IRTE_REMAPPED_XAPIC, POSTED_INTERRUPT_DESCRIPTOR, POSTED_INTERRUPT_DESCRIPTOR_XAPIC, REMAPPABLE_ADDRESS, REMAPPABLE_DATA } from "./layouts.ts";

/** "blocked, fault 25h": how a fault reads in an explanation. */
const blocked = (fault: number, recorded: boolean): string => `blocked, fault ${fault.toString(16)}h${recorded ? "" : ", not recorded because of FPD"}`;

const RULES: Readonly<Record<number, string>> = {
  [InterruptFault.RequestReserved]: "With SHV=1, bits 31:16 of the data must be zero.",
  [InterruptFault.IndexTooLarge]: "The index must be inside the interrupt remapping table.",
  [InterruptFault.EntryNotPresent]: "The entry must be present.",
  [InterruptFault.EntryAccess]: "The entry must be in memory below the host address width.",
  [InterruptFault.EntryReserved]: "A present entry may have no reserved bit or value set.",
  [InterruptFault.SourceRefused]: "The requester must be one that the entry allows.",
  [InterruptFault.DescriptorAccess]: "The posted-interrupt descriptor must be in memory below the host address width.",
  [InterruptFault.DescriptorReserved]: "The posted-interrupt descriptor may have no reserved bit set.",
};

const hexId = (value: number): string => `${value.toString(16)}h`;

/** A request in compatibility format: passed or blocked. VT-d §5.1.2.1. */
export const explainCompatibility = (message: Readonly<InterruptMessage>, enabled: boolean, fault: number): ExplanationStep => {
  const words = Uint32Array.of(message.address, message.data);
  return {
    structure: enabled ? "interrupt request, compatibility format" : "interrupt request, remapping disabled",
    raw: [...words],
    fields: { ...MESSAGE_ADDRESS.decode(words), ...MESSAGE_DATA.decode(words, 1) },
    rule: enabled ? "Requests in compatibility format pass only with CFIS=1 and EIME=0." : "With IRES=0 every request passes as if in compatibility format.",
    section: "VT-d §5.1.2.1",
    outcome: fault ? blocked(fault, true) : "passes unchanged",
  };
};

/** A request in remappable format and the index it names. VT-d §5.1.3 "Interrupt Remapping Table". */
export const explainRequest = (message: Readonly<InterruptMessage>, index: number, entries: number, fault: number): ExplanationStep => {
  const words = Uint32Array.of(message.address, message.data);
  const fields = REMAPPABLE_ADDRESS.decode(words);
  return {
    structure: "interrupt request, remappable format",
    raw: [...words],
    fields: fields.SHV ? { ...fields, ...REMAPPABLE_DATA.decode(words, 1) } : fields,
    rule: RULES[fault] ?? `The index is the handle, plus the subhandle with SHV=1: ${hexId(index)} of ${hexId(entries)} entries.`,
    section: fault === InterruptFault.RequestReserved ? "VT-d §5.1.2.2" : "VT-d §5.1.3",
    outcome: fault ? blocked(fault, true) : "continue",
  };
};

/** The fields of an IRTE by the layout its mode chooses. */
const irteFields = (entry: Uint32Array, extended: boolean): Readonly<Record<string, number>> => {
  if (((entry[0] as number) & POSTED) !== 0) return IRTE_POSTED.decode(entry);
  return (extended ? IRTE_REMAPPED : IRTE_REMAPPED_XAPIC).decode(entry);
};

/** An IRTE read or found, and what was judged of it. VT-d §9.9, §9.10. */
export const explainEntry = (address: number, entry: Uint32Array | undefined, extended: boolean, cached: boolean, fault: number, recorded: boolean): ExplanationStep => ({
  structure: cached ? "IRTE, from the interrupt entry cache" : "IRTE",
  address,
  ...(entry === undefined ? {} : { raw: [...entry], fields: irteFields(entry, extended) }),
  rule: RULES[fault] ?? "The entry is present and has no reserved bit or value set.",
  section: entry !== undefined && ((entry[0] as number) & POSTED) !== 0 ? "VT-d §9.10" : "VT-d §9.9",
  outcome: fault ? blocked(fault, recorded) : "continue",
});

const VERIFICATIONS = ["SVT=0: any requester may use the entry.", "SVT=1: the requester ID must equal SID in the bits that SQ leaves.", "SVT=2: the requester's bus must lie from SID 15:8 to SID 7:0."];

/** The check of the requester. VT-d §9.9, fields SVT, SQ, SID. */
export const explainSource = (requester: number, verification: number, sid: number, qualifier: number, fault: number, recorded: boolean): ExplanationStep => ({
  structure: "source-id verification",
  fields: { requester, SVT: verification, SQ: qualifier, SID: sid },
  rule: VERIFICATIONS[verification] ?? "",
  section: "VT-d §9.9",
  outcome: fault ? blocked(fault, recorded) : "continue",
});

/** The interrupt that leaves. VT-d §5.1.4 "Overview of Interrupt Remapping". */
export const explainDelivery = (vector: number, destination: number): ExplanationStep => ({
  structure: "remapped interrupt",
  fields: { vector, destination },
  rule: "The interrupt takes every attribute from the entry.",
  section: "VT-d §5.1.4",
  outcome: `delivered: vector ${hexId(vector)} to ${hexId(destination)}`,
});

/** A posting, or why it failed. VT-d §5.2.3 "Interrupt-Posting Hardware Operation". */
export const explainPosting = (address: number, descriptor: Uint32Array | undefined, extended: boolean, posting: Posting, fault: number, recorded: boolean): ExplanationStep => {
  const { notification } = posting;
  const sent = notification.kind === "interrupt" ? `notification vector ${hexId(notification.interrupt.vector)} to ${hexId(notification.interrupt.destination)}` : "no notification";
  return {
    structure: "posted-interrupt descriptor",
    address,
    ...(descriptor === undefined ? {} : { raw: [...descriptor], fields: (extended ? POSTED_INTERRUPT_DESCRIPTOR : POSTED_INTERRUPT_DESCRIPTOR_XAPIC).decode(descriptor) }),
    rule: RULES[fault] ?? "The vector's bit in PIR is set; with ON=0, and SN=0 or URG=1, ON is set and NV goes to NDST.",
    section: "VT-d §5.2.3",
    outcome: fault ? blocked(fault, recorded) : `posted: vector ${hexId(posting.vector)}, ${sent}`,
  };
};
