import { GA_LOG_ENTRY, IRTE_128, IRTE_128_GUEST, IRTE_32 } from "@iommu-lab/interrupt-remap/amd";
import { decodeBits, hex, requesterText, wordsOf, type Finding, type Told } from "@iommu-lab/pci-bus/decode";
import { PPR_LOG_ENTRY } from "../layouts/index.ts";

const NOT_VALID = "Not valid: interrupts with this index are blocked, and logged as IO_PAGE_FAULT with I=1.";

const hostEntry = (value: bigint, width: 32 | 128, offset: number): Told => {
  const layout = width === 32 ? IRTE_32 : IRTE_128;
  const words = wordsOf(value, width);
  const { RemapEn, SupIOPF, IntType, DM, Destination, Vector } = layout.decode(words);
  const high = width === 128 ? IRTE_128.decode(words).DestinationHigh : 0;
  const destination = high * 2 ** 24 + Destination;
  const type = layout.fields.IntType.values?.[IntType] ?? null;
  const findings: Finding[] = [];
  if (RemapEn && IntType > 1) findings.push({ id: "irte-type-reserved", offset, text: `Interrupt type ${IntType} is reserved: the interrupt is blocked.` });
  if (width === 32 && IRTE_32.decode(words).GuestMode) findings.push({ id: "irte-guest-mode-misplaced", offset, text: "Entries of 32 bits are for the host only: bit 7 is to be 0." });
  if (SupIOPF) findings.push({ id: "faults-not-recorded", offset, text: "SupIOPF is set: interrupts that this entry blocks are dropped silently." });
  return decodeBits(layout, value, offset, {
    facts: { valid: RemapEn === 1, guestMode: false, vector: Vector, destination, type: IntType > 1 ? null : type, logical: DM === 1 },
    meaning: [RemapEn ? `Vector ${Vector} (${IntType > 1 ? "reserved type" : (type ?? `type ${IntType}`)}) to ${DM ? "logical" : "physical"} APIC ${hex(destination)}.` : NOT_VALID],
    findings,
  });
};

const guestEntry = (value: bigint, offset: number): Told => {
  const e = IRTE_128_GUEST.decode(wordsOf(value, 128));
  const [destination, backingPage] = [e.DestinationHigh * 2 ** 24 + e.Destination, BigInt(e.VApicPage) << 12n];
  const findings: Finding[] = [];
  if (e.RemapEn && backingPage === 0n) findings.push({ id: "irte-backing-page-zero", offset, text: "The virtual APIC backing page is at address 0, where none belongs." });
  if (e.RemapEn && !e.IsRun && !e.GALogIntr) findings.push({ id: "irte-wake-missing", offset, text: "The guest is not running and GALogIntr is 0: nobody learns of the interrupt until it runs again." });
  if (e.SupIOPF) findings.push({ id: "faults-not-recorded", offset, text: "SupIOPF is set: interrupts that this entry blocks are dropped silently." });
  const then = e.IsRun ? `the doorbell of APIC ${hex(destination)} rings` : e.GALogIntr ? `the GA log gets tag ${hex(e.GATag)}` : "nothing else happens";
  return decodeBits(IRTE_128_GUEST, value, offset, {
    facts: { valid: e.RemapEn === 1, guestMode: true, vector: e.Vector, destination, backingPage, tag: e.GATag, running: e.IsRun === 1, log: e.GALogIntr === 1 },
    meaning: [e.RemapEn ? `Posts vector ${e.Vector} into the virtual APIC page at ${hex(backingPage)}; ${then}.` : NOT_VALID],
    findings,
  });
};

/** Interrupt remapping table entry. AMD-Vi §2.2.5. @param width 32, or 128 with GAEn */
export const decodeIrte = (value: bigint, width: 32 | 128 = 128, offset = 0): Told => (width === 128 && ((value >> 7n) & 1n) === 1n ? guestEntry(value, offset) : hostEntry(value, width, offset));

/** Entry of the guest virtual APIC log. AMD-Vi §2.7. */
export const decodeGaLogEntry = (value: bigint, offset = 0): Told => {
  const { GATag, DeviceID, Code } = GA_LOG_ENTRY.decode(wordsOf(value, 64));
  const requester = requesterText(DeviceID);
  return decodeBits(GA_LOG_ENTRY, value, offset, {
    facts: { tag: GATag, requester, code: Code },
    meaning: Code === 1 ? [`${requester} sent an interrupt for a guest that is not running; its entry's tag is ${hex(GATag)}.`] : [],
    findings: Code === 1 ? [] : [{ id: "ga-log-code-unknown", offset, text: Code === 0 ? "Code 0 is no entry: a slot that was never written." : `Code ${Code} is not known here.` }],
  });
};

const ACCESSES = [
  ["RD", "read"],
  ["RW", "write"],
  ["NX", "execute"],
] as const;

/** Entry of the peripheral page request log. AMD-Vi §2.6. */
export const decodePprLogEntry = (value: bigint, offset = 0): Told => {
  const e = PPR_LOG_ENTRY.decode(wordsOf(value, 128));
  const [requester, address, pasid] = [requesterText(e.DeviceID), BigInt(e.Address) << 12n, e.GN ? (e.PASIDHigh << 16) | e.PASIDLow : null];
  const access = ACCESSES.filter(([field]) => e[field]).map(([, name]) => name);
  return decodeBits(PPR_LOG_ENTRY, value, offset, {
    facts: { requester, address, pasid, access, user: e.US === 1, group: e.Tag, last: e.Last === 1, code: e.PprCode },
    meaning: e.PprCode === 1 ? [`${requester}${pasid === null ? "" : ` with PASID ${hex(pasid)}`} asks for the page at ${hex(address)}${access.length > 0 ? ` to ${access.join(" and ")}` : ""} (group ${e.Tag}${e.Last ? ", its last" : ""}).`] : [],
    findings: e.PprCode === 1 ? [] : [{ id: "ppr-code-unknown", offset, text: e.PprCode === 0 ? "Code 0 is no request: a slot that was never written." : `Code ${e.PprCode} is not known here.` }],
  });
};
