import { decodeBits, hex, wordsOf, type Finding, type Told } from "@iommu-lab/pci-bus/decode";
import { GCR3_ENTRY, GUEST_PTE, HOST_PDE, HOST_PTE } from "../layouts/index.ts";

const page = (value: number): bigint => BigInt(value) << 12n;

/** The size that the ones at the bottom of a page number stand for, in bytes: 2^(p+1) for the lowest zero at bit p. AMD-Vi §2.2.3. */
export const codedSize = (pageNumber: bigint): bigint => {
  let ones = 0n;
  for (let rest = pageNumber; (rest & 1n) === 1n; rest >>= 1n) ones++;
  return 1n << (13n + ones);
};

const sizeText = (bytes: bigint): string => (bytes % (1n << 30n) === 0n ? `${bytes >> 30n} GiB` : bytes % (1n << 20n) === 0n ? `${bytes >> 20n} MiB` : `${bytes >> 10n} KiB`);

/** Size of a page that an entry of a level maps unless it says otherwise. */
const defaultSize = (level: number): bigint => 4096n << BigInt(9 * (level - 1));

const SIZE_CODED = 7;
const NO_LEVEL = 6;

/** Host (v1) page table or page directory entry. AMD-Vi §2.2.3. @param level 1 to 6, when known */
export const decodeHostEntry = (value: bigint, offset = 0, level?: number): Told => {
  const e = HOST_PTE.decode(wordsOf(value, 64));
  const leaf = e.NextLevel === 0 || e.NextLevel === SIZE_CODED;
  const number = BigInt(e.Address);
  const coded = e.NextLevel === SIZE_CODED;
  const bytes = coded ? codedSize(number) : leaf && level !== undefined ? defaultSize(level) : null;
  const address = coded && bytes !== null ? (page(e.Address) / bytes) * bytes : page(e.Address);
  const findings: Finding[] = [];
  const find = (id: string, text: string): void => void findings.push({ id, offset, text });
  if (e.PR && !leaf && (level === undefined ? e.NextLevel === NO_LEVEL : e.NextLevel >= level)) find("pte-level-invalid", `Next Level ${e.NextLevel} ${level === undefined ? "needs a level above it, which there is not" : `is no level below ${level}`}: the walk ends in a page fault.`);
  if (e.PR && coded && bytes !== null && level !== undefined && (bytes <= defaultSize(level) || bytes >= defaultSize(level + 1))) find("pte-size-invalid", `A page of ${sizeText(bytes)} does not belong on level ${level}: the walk ends in a page fault.`);
  if (e.PR && leaf && !coded && bytes !== null && page(e.Address) % bytes !== 0n) find("pte-address-unaligned", `The address is not aligned to the page of ${sizeText(bytes)}.`);
  if (e.PR && !e.IR && !e.IW) find("pte-permits-nothing", "Neither reads nor writes are allowed: every access ends in a page fault.");
  const rights = `${e.IR ? "R" : "-"}${e.IW ? "W" : "-"}`;
  const what = leaf ? `${bytes === null ? "Page" : `Page of ${sizeText(bytes)}`} at ${hex(address)}` : `Table of level ${e.NextLevel} at ${hex(address)}`;
  const told = decodeBits(leaf ? HOST_PTE : HOST_PDE, value, offset, {
    facts: { present: e.PR === 1, ...(level === undefined ? {} : { level }), leaf, nextLevel: leaf ? null : e.NextLevel, address, bytes, read: e.IR === 1, write: e.IW === 1, accessed: e.A === 1, dirty: leaf && e.D === 1, forceCoherent: leaf && e.FC === 1 },
    meaning: [e.PR ? `${what}, rights ${rights}.` : "Not present: every access ends in a page fault."],
    findings,
  });
  // Of an entry that is not present nothing else counts.
  return e.PR ? told : { structure: told.structure, findings: [] };
};

/** Guest (v2) page table entry: the processor's own format. AMD-Vi §2.2.3. @param level 1 to 5, when known */
export const decodeGuestEntry = (value: bigint, offset = 0, level?: number): Told => {
  const e = GUEST_PTE.decode(wordsOf(value, 64));
  const known = level !== undefined || e.PS === 1;
  const leaf = level === 1 || (e.PS === 1 && (level === undefined || level <= 3));
  const findings: Finding[] = e.P && e.PS && level !== undefined && level > 3 ? [{ id: "pte-size-invalid", offset, text: `Entries of level ${level} map no pages: the walk ends in a page fault.` }] : [];
  return decodeBits(GUEST_PTE, value, offset, {
    facts: { present: e.P === 1, ...(level === undefined ? {} : { level }), leaf: known ? leaf : null, address: page(e.Address), write: e.RW === 1, user: e.US === 1, noExecute: e.NX === 1 },
    meaning: [e.P ? `${known ? (leaf ? "Page" : "Table") : "Table or 4 KiB page"} at ${hex(page(e.Address))}, ${e.RW ? "writable" : "read-only"}, ${e.US ? "user" : "supervisor"}${e.NX ? ", not executable" : ""}.` : "Not present: every access ends in a page fault."],
    findings,
  });
};

/** GCR3 table entry of any level. AMD-Vi §2.2.3 "Guest CR3 Table". */
export const decodeGcr3Entry = (value: bigint, offset = 0): Told => {
  const { V, Address } = GCR3_ENTRY.decode(wordsOf(value, 64));
  const told = decodeBits(GCR3_ENTRY, value, offset, {
    facts: { valid: V === 1, address: page(Address) },
    meaning: [V ? `The PASID's guest page table, or on upper levels the next GCR3 table, is at ${hex(page(Address))}.` : "Not valid: requests with these PASIDs end in page faults."],
  });
  return V ? told : { structure: told.structure, findings: [] };
};
