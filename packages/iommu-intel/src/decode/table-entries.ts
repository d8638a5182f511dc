import { IRTE_POSTED, IRTE_REMAPPED } from "@iommu-lab/interrupt-remap/vtd";
import { decodeBits, hex, requesterText, wordsOf, type Finding, type Told } from "@iommu-lab/pci-bus/decode";
import { CONTEXT_ENTRY, FIRST_STAGE_ENTRY, PASID_DIRECTORY_ENTRY, PASID_ENTRY, ROOT_ENTRY, SCALABLE_CONTEXT_ENTRY, SCALABLE_ROOT_ENTRY, SECOND_STAGE_ENTRY } from "../layouts/index.ts";

const page = (value: number): bigint => BigInt(value) << 12n;
const notPresent = (what: string, code: string): string => `Not present: ${what} (fault ${code}).`;

/** Legacy root entry. VT-d §9.1. */
export const decodeRootEntry = (value: bigint, offset = 0): Told => {
  const { P, CTP } = ROOT_ENTRY.decode(wordsOf(value, 128));
  return decodeBits(ROOT_ENTRY, value, offset, { facts: { present: P === 1, contextTable: page(CTP) }, meaning: [P ? `The bus's context table is at ${hex(page(CTP))}.` : notPresent("every request from the bus is blocked", "0x1")] });
};

/** Scalable-mode root entry. VT-d §9.2. */
export const decodeScalableRootEntry = (value: bigint, offset = 0): Told => {
  const { LP, LCTP, UP, UCTP } = SCALABLE_ROOT_ENTRY.decode(wordsOf(value, 128));
  const half = (devices: string, present: number, table: number): string => (present ? `Devices ${devices}: context table at ${hex(page(table))}.` : `Devices ${devices}: ${notPresent("their requests are blocked", "0x39")}`);
  return decodeBits(SCALABLE_ROOT_ENTRY, value, offset, { facts: { lowerPresent: LP === 1, lowerContextTable: page(LCTP), upperPresent: UP === 1, upperContextTable: page(UCTP) }, meaning: [half("0 to 15", LP, LCTP), half("16 to 31", UP, UCTP)] });
};

const levelsOf = (aw: number): number | null => (aw >= 1 && aw <= 3 ? aw + 2 : null);
const WIDTHS = [null, 39, 48, 57] as const;

/** Legacy context entry. VT-d §9.3. */
export const decodeContextEntry = (value: bigint, offset = 0): Told => {
  const { P, FPD, TT, AW, DID, SSPTPTR } = CONTEXT_ENTRY.decode(wordsOf(value, 128));
  const findings: Finding[] = [];
  if (P && TT === 3) findings.push({ id: "context-type-reserved", offset, text: "Translation type 3 is reserved: every request is blocked with fault 0x3." });
  if (P && levelsOf(AW) === null) findings.push({ id: "context-width-reserved", offset, text: `Address width ${AW} is reserved: every request is blocked with fault 0x3.` });
  if (P && TT < 2 && SSPTPTR === 0) findings.push({ id: "context-table-zero", offset, text: "The page table is at address 0, where none belongs." });
  if (FPD) findings.push({ id: "faults-not-recorded", offset, text: "FPD is set: faults of this function are blocked silently, nothing shows in the kernel log." });
  const how = TT === 2 ? "Requests pass through untranslated" : `Requests are translated by the ${WIDTHS[AW] ?? "?"}-bit table at ${hex(page(SSPTPTR))}${TT === 1 ? ", and the device may cache translations" : ""}`;
  return decodeBits(CONTEXT_ENTRY, value, offset, {
    facts: { present: P === 1, domain: DID, translation: CONTEXT_ENTRY.fields.TT.values?.[TT] ?? null, addressWidth: WIDTHS[AW] ?? null, levels: levelsOf(AW), pageTable: page(SSPTPTR) },
    meaning: P ? [`${how}, as domain ${DID}.`] : [notPresent("every request of the function is blocked", "0x2")],
    findings,
  });
};

/** Scalable-mode context entry. VT-d §9.4. */
export const decodeScalableContextEntry = (value: bigint, offset = 0): Told => {
  const e = SCALABLE_CONTEXT_ENTRY.decode(wordsOf(value, 256));
  const pasids = 2 ** (e.PDTS + 13);
  const findings: Finding[] = [];
  if (e.P && e.RID_PASID >= pasids) findings.push({ id: "context-pasid-beyond-directory", offset, text: `RID_PASID ${hex(e.RID_PASID)} is beyond the ${pasids} PASIDs of the directory: requests are blocked with fault 0x43.` });
  if (e.FPD) findings.push({ id: "faults-not-recorded", offset, text: "FPD is set: faults of this function are blocked silently, nothing shows in the kernel log." });
  return decodeBits(SCALABLE_CONTEXT_ENTRY, value, offset, {
    facts: { present: e.P === 1, pasidDirectory: page(e.PASIDDIRPTR), pasids, ridPasid: e.RID_PASID, deviceTlb: e.DTE === 1, pasidEnable: e.PASIDE === 1, pageRequests: e.PRE === 1 },
    meaning: e.P
      ? [`PASID directory for ${pasids} PASIDs at ${hex(page(e.PASIDDIRPTR))}; requests without PASID use ${hex(e.RID_PASID)}.`, `Requests with PASID ${e.PASIDE ? "are allowed" : "are blocked"}; device-TLB ${e.DTE ? "on" : "off"}; page requests ${e.PRE ? "on" : "off"}.`]
      : [notPresent("every request of the function is blocked", "0x41")],
    findings,
  });
};

/** PASID directory entry. VT-d §9.5. */
export const decodePasidDirectoryEntry = (value: bigint, offset = 0): Told => {
  const { P, SMPTBLPTR } = PASID_DIRECTORY_ENTRY.decode(wordsOf(value, 64));
  return decodeBits(PASID_DIRECTORY_ENTRY, value, offset, { facts: { present: P === 1, pasidTable: page(SMPTBLPTR) }, meaning: [P ? `The PASID table of these 64 PASIDs is at ${hex(page(SMPTBLPTR))}.` : notPresent("requests with these 64 PASIDs are blocked", "0x51")] });
};

/** PASID table entry. VT-d §9.6. */
export const decodePasidEntry = (value: bigint, offset = 0): Told => {
  const e = PASID_ENTRY.decode(wordsOf(value, 512));
  const translation = PASID_ENTRY.fields.PGTT.values?.[e.PGTT];
  const findings: Finding[] = [];
  if (e.P && translation === undefined) findings.push({ id: "pasid-type-reserved", offset, text: `Translation type ${e.PGTT} is reserved: requests are blocked with fault 0x5b.` });
  if (e.P && (e.PGTT === 2 || e.PGTT === 3) && levelsOf(e.AW) === null) findings.push({ id: "pasid-width-reserved", offset, text: `Second-stage address width ${e.AW} is reserved: requests are blocked with fault 0x5b.` });
  const first = `first-stage table (${e.FSPM === 0 ? 4 : e.FSPM === 1 ? 5 : "?"} levels) at ${hex(page(e.FSPTPTR))}`;
  const second = `second-stage table (${WIDTHS[e.AW] ?? "?"} bits) at ${hex(page(e.SSPTPTR))}`;
  const how = e.PGTT === 1 ? `by the ${first}` : e.PGTT === 2 ? `by the ${second}` : e.PGTT === 3 ? `by the ${first}, then the ${second}` : "";
  return decodeBits(PASID_ENTRY, value, offset, {
    facts: { present: e.P === 1, domain: e.DID, translation: translation ?? null, firstStageTable: page(e.FSPTPTR), secondStageTable: page(e.SSPTPTR), secondStageWidth: WIDTHS[e.AW] ?? null },
    meaning: e.P ? [`${how === "" ? "Requests pass through untranslated" : `Requests are translated ${how}`}, as domain ${e.DID}.`] : [notPresent("requests with the PASID are blocked", "0x59")],
    findings,
  });
};

/** Interrupt remapping table entry. VT-d §9.9, §9.10. */
export const decodeIrte = (value: bigint, offset = 0): Told => {
  const words = wordsOf(value, 128);
  const posted = ((words[0] as number) & 0x8000) !== 0;
  const layout = posted ? IRTE_POSTED : IRTE_REMAPPED;
  const { SID, SQ, SVT, P, FPD } = IRTE_REMAPPED.decode(words);
  const who =
    SVT === 0 ? "any requester" : SVT === 1 ? `${requesterText(SID)}${SQ ? ` (${IRTE_REMAPPED.fields.SQ.values?.[SQ] ?? ""} compared)` : ""}` : SVT === 2 ? `buses ${hex(SID >>> 8)} to ${hex(SID & 0xff)}` : "nobody (the type of verification is reserved)";
  const findings: Finding[] = [];
  if (P && SVT === 0) findings.push({ id: "irte-not-verified", offset, text: "SVT is 0: any device can send this interrupt, an assigned one too." });
  if (P && SVT === 3) findings.push({ id: "irte-verification-reserved", offset, text: "SVT 3 is reserved: the interrupt is blocked." });
  if (FPD) findings.push({ id: "faults-not-recorded", offset, text: "FPD is set: interrupts that this entry blocks are dropped silently." });
  const common = { present: P === 1, mode: posted ? "posted" : "remapped", sourceValidation: IRTE_REMAPPED.fields.SVT.values?.[SVT] ?? null, requester: SVT === 1 ? requesterText(SID) : null };
  const none = notPresent("interrupts with this index are blocked", "0x22");
  if (posted) {
    const e = IRTE_POSTED.decode(words);
    const descriptor = (BigInt(e.PDAH) << 32n) | (BigInt(e.PDAL) << 6n);
    return decodeBits(layout, value, offset, { facts: { ...common, virtualVector: e.VV, descriptor, urgent: e.URG === 1 }, meaning: P ? [`From ${who}: posts vector ${e.VV} into the descriptor at ${hex(descriptor)}${e.URG ? ", urgently" : ""}.`] : [none], findings });
  }
  const e = IRTE_REMAPPED.decode(words);
  const mode = IRTE_REMAPPED.fields.DLM.values?.[e.DLM];
  if (P && mode === undefined) findings.push({ id: "irte-delivery-reserved", offset, text: `Delivery mode ${e.DLM} is reserved.` });
  // In xAPIC mode the destination is in bits 15:8 of the field, all else zero.
  const xapic = e.DST !== 0 && (e.DST & 0xffff_00ff) === 0;
  return decodeBits(layout, value, offset, {
    facts: { ...common, vector: e.V, destination: e.DST, xapicDestination: xapic ? e.DST >>> 8 : null, deliveryMode: mode ?? null, logical: e.DM === 1, level: e.TM === 1 },
    meaning: P ? [`From ${who}: vector ${e.V} (${mode ?? "reserved mode"}, ${e.TM ? "level" : "edge"}) to ${e.DM ? "logical" : "physical"} APIC ${hex(e.DST)}${xapic ? ` (${hex(e.DST >>> 8)} if the unit is in xAPIC mode)` : ""}.`] : [none],
    findings,
  });
};

/** Level whose page an entry maps: 4 KiB at 1, 2 MiB at 2, 1 GiB at 3. */
const pageBytes = (level: number): bigint => 4096n << BigInt(9 * (level - 1));

/** Second-stage paging entry. VT-d §9.8. @param level 1 to 5, when known */
export const decodeSecondStageEntry = (value: bigint, offset = 0, level?: number): Told => {
  const e = SECOND_STAGE_ENTRY.decode(wordsOf(value, 64));
  const leaf = level === 1 || (e.PS === 1 && (level === undefined || level === 2 || level === 3));
  const rights = `${e.R ? "R" : "-"}${e.W ? "W" : "-"}`;
  const present = e.R === 1 || e.W === 1;
  const findings: Finding[] = [];
  if (present && e.PS && level !== undefined && level > 3) findings.push({ id: "reserved-bits", offset, text: `Bit 7 is reserved in a level ${level} entry: fault 0xc, in scalable mode 0x7a.` });
  if (present && leaf && level !== undefined && level <= 3 && (page(e.ADDR) & (pageBytes(level) - 1n)) !== 0n) findings.push({ id: "reserved-bits", offset, text: `The low address bits of a ${level === 2 ? "2 MiB" : "1 GiB"} page are reserved and set.` });
  return decodeBits(SECOND_STAGE_ENTRY, value, offset, {
    facts: { present, ...(level === undefined ? {} : { level }), leaf: level === undefined && !e.PS ? null : leaf, address: page(e.ADDR), read: e.R === 1, write: e.W === 1 },
    meaning: [present ? `${level === undefined && !e.PS ? "Table or 4 KiB page" : leaf ? (level === undefined ? "Large page" : "Page") : "Table"} at ${hex(page(e.ADDR))}, rights ${rights}.` : notPresent("neither reads nor writes are allowed", "0x5 or 0x6, in scalable mode 0x79")],
    findings: e.TM ? [...findings, { id: "reserved-bits", offset, text: "Bit 62 (TM) must be 0: fault 0xc, in scalable mode 0x7a." }] : findings,
  });
};

/** First-stage paging entry. VT-d §9.7. @param level 1 to 5, when known */
export const decodeFirstStageEntry = (value: bigint, offset = 0, level?: number): Told => {
  const e = FIRST_STAGE_ENTRY.decode(wordsOf(value, 64));
  const leaf = level === 1 || (e.PS === 1 && (level === undefined || level === 2 || level === 3));
  const known = level !== undefined || e.PS === 1;
  return decodeBits(FIRST_STAGE_ENTRY, value, offset, {
    facts: { present: e.P === 1, ...(level === undefined ? {} : { level }), leaf: known ? leaf : null, address: page(e.ADDR), write: e.RW === 1, user: e.US === 1, executeDisable: e.XD === 1 },
    meaning: [e.P ? `${known ? (leaf ? "Page" : "Table") : "Table or 4 KiB page"} at ${hex(page(e.ADDR))}, ${e.RW ? "writable" : "read-only"}, ${e.US ? "user" : "supervisor"}.` : notPresent("the access is blocked", "0x71")],
  });
};
