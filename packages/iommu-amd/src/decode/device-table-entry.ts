import { decodeBits, hex, wordsOf, type Fact, type Finding, type Told } from "@iommu-lab/pci-bus/decode";
import { DEVICE_TABLE_ENTRY } from "../layouts/index.ts";

const HALF = 128n;
const LOW = (1n << HALF) - 1n;

const PASSES = [
  ["INITPass", "INIT"],
  ["EIntPass", "ExtInt"],
  ["NMIPass", "NMI"],
  ["Lint0Pass", "LINT0"],
  ["Lint1Pass", "LINT1"],
] as const;

type Entry = ReturnType<typeof DEVICE_TABLE_ENTRY.decode>;

/** The GCR3 table's address from its three parts. */
const gcr3Table = ({ GCR3Low, GCR3Mid, GCR3High }: Entry): bigint => (BigInt(GCR3Low) << 12n) | (BigInt(GCR3Mid) << 15n) | (BigInt(GCR3High) << 31n);

const dmaText = (e: Entry): string[] => {
  if (!e.V) return ["V is 0: DMA passes untranslated, the device reaches all of memory."];
  if (!e.TV) return ["DMA is blocked: V is set but TV is not, so every access ends in a page fault."];
  const rights = `${e.IR ? "R" : "-"}${e.IW ? "W" : "-"}`;
  const host = e.Mode === 0 ? "no host table" : e.Mode === 7 ? "a host table of reserved depth" : `the host table of ${e.Mode} levels at ${hex(BigInt(e.HostRoot) << 12n)}`;
  const guest = e.GV ? `requests with PASID by the guest tables of the GCR3 table at ${hex(gcr3Table(e))}, then ` : "";
  if (!e.IR && !e.IW && !e.GV) return [`DMA is blocked: neither reads nor writes are allowed (domain ${e.DomainID}).`];
  if (e.Mode === 0 && !e.GV) return [`DMA passes untranslated with rights ${rights}, as domain ${e.DomainID}.`];
  return [`DMA is translated: ${guest}${host}; rights ${rights}; as domain ${e.DomainID}.`];
};

const CONTROL = ["blocked", "passed on unmapped", "remapped", "blocked (the control is reserved)"] as const;

const interruptText = (e: Entry, passes: readonly string[]): string =>
  e.IV
    ? `Fixed interrupts are ${CONTROL[e.IntCtl] as string}${e.IntCtl === 2 ? ` by the table of ${2 ** e.IntTabLen} entries at ${hex(BigInt(e.IntTabRoot) << 7n)}` : ""}; ${passes.length > 0 ? `${passes.join(", ")} ${passes.length === 1 ? "passes" : "pass"} unmapped` : "no other kind passes"}.`
    : "IV is 0: interrupts pass unmapped, the device can send any.";

const findingsOf = (e: Entry, offset: number): Finding[] => {
  const findings: Finding[] = [];
  const find = (id: string, text: string): void => void findings.push({ id, offset, text });
  if (e.V && e.TV && e.Mode === 7) find("dte-mode-reserved", "Mode 7 is reserved: every access ends in a page fault.");
  if (e.V && e.GV && e.GLX === 3) find("dte-gcr3-levels-reserved", "GLX 3 is reserved.");
  if (e.V && e.TV && e.Mode > 0 && e.Mode < 7 && e.HostRoot === 0) find("dte-table-zero", "The host page table is at address 0, where none belongs.");
  if (e.V && e.IoCtl === 3) find("dte-io-control-reserved", "IoCtl 3 is reserved: the event log gets ILLEGAL_DEV_TABLE_ENTRY.");
  if (e.IV && e.IntCtl === 3) find("dte-interrupt-control-reserved", "IntCtl 3 is reserved: the event log gets ILLEGAL_DEV_TABLE_ENTRY.");
  if (e.IV && e.IntCtl === 2 && e.IntTabLen > 11) find("dte-interrupt-table-too-long", `IntTabLen ${e.IntTabLen} is more than 11: the event log gets ILLEGAL_DEV_TABLE_ENTRY.`);
  if (e.IV && e.IntCtl === 1) find("dte-interrupts-unmapped", "Interrupts pass unmapped: an assigned device can send any.");
  if (!e.IV) find("dte-interrupts-unmapped", "Interrupts are not judged at all: an assigned device can send any.");
  if (e.V && e.SA) find("faults-not-recorded", "SA is set: page faults of this device are blocked silently, nothing shows in the kernel log.");
  else if (e.V && e.SE) find("faults-recorded-once", "SE is set: of this device's page faults only the first shows in the kernel log.");
  if (e.IV && e.IG) find("interrupt-faults-not-recorded", "IG is set: interrupts that are blocked are dropped silently.");
  return findings;
};

/** Device table entry. AMD-Vi §2.2.2 "Device Table". */
export const decodeDeviceTableEntry = (value: bigint, offset = 0): Told => {
  const e = DEVICE_TABLE_ENTRY.decode(wordsOf(value, 256));
  const passes = PASSES.filter(([field]) => e[field]).map(([, name]) => name);
  const facts: Record<string, Fact> = {
    valid: e.V === 1,
    translationValid: e.TV === 1,
    domain: e.DomainID,
    levels: e.Mode === 7 ? null : e.Mode,
    pageTable: BigInt(e.HostRoot) << 12n,
    read: e.IR === 1,
    write: e.IW === 1,
    guestTranslation: e.GV === 1,
    gcr3Table: gcr3Table(e),
    gcr3Levels: e.GLX === 3 ? null : e.GLX + 1,
    deviceTlb: e.I === 1,
    pageRequests: e.PPR === 1,
    interruptMapValid: e.IV === 1,
    interruptTable: BigInt(e.IntTabRoot) << 7n,
    interruptEntries: 2 ** e.IntTabLen,
    interruptControl: DEVICE_TABLE_ENTRY.fields.IntCtl.values?.[e.IntCtl] ?? null,
    interruptsPassed: passes,
  };
  const { structure } = decodeBits(DEVICE_TABLE_ENTRY, value, offset, { facts, meaning: [...dmaText(e), ...(e.V && e.I ? ["The device may use its device-TLB (ATS)."] : []), interruptText(e, passes)] });
  // Hardware judges the lower half with V, the upper half with IV.
  const { findings } = decodeBits(DEVICE_TABLE_ENTRY, (e.V ? value & LOW : 0n) | (e.IV ? (value >> HALF) << HALF : 0n), offset, { findings: findingsOf(e, offset) });
  return { structure, findings };
};
