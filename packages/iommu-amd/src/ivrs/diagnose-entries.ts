import type { IvrsContents } from "./diagnose.ts";
import { diagnosis, type Diagnosis } from "./diagnosis.ts";
import { DTE_SETTING } from "./layouts.ts";
import { countingBlocks, hardwareBlocks, rangesOf, type IvhdRange } from "./ranges.ts";
import type { AcpiEntry, Ivhd, IvhdEntry, SpecialEntry } from "./table.ts";

const IO_APIC = 1;
const HPET = 2;
/** 00:14.0, where AMD's southbridge has its I/O APIC. */
const SOUTHBRIDGE = 0x00a0;

const hex = (value: number): string => `0x${value.toString(16)}`;
const sourceText = (deviceId: number): string => `${(deviceId >>> 8).toString(16).padStart(2, "0")}:${((deviceId >>> 3) & 31).toString(16).padStart(2, "0")}.${deviceId & 7}`;

const UID_FORMAT = 20;
const INTEGER_BYTES = 8;

const diagnoseAcpi = ({ offset, hid, uidFormat, uid }: AcpiEntry, blockType: number): Diagnosis[] => {
  const found: Diagnosis[] = [];
  if (blockType !== 0x40) found.push(diagnosis("acpi-entry-misplaced", offset, `An ACPI device entry is in a block of type ${hex(blockType)}.`));
  if (hid === "") found.push(diagnosis("acpi-hid-empty", offset + 4, "The ACPI device entry has no hardware ID."));
  const wrong =
    uidFormat > 2 ? `The unique ID's form ${uidFormat} is none of 0, 1 and 2.` : uidFormat === 0 && uid.length > 0 ? `A unique ID of ${uid.length} bytes is there, but said to be none.` : uidFormat === 1 && uid.length !== INTEGER_BYTES ? `The unique ID is said to be an integer, but has ${uid.length} bytes.` : uidFormat === 2 && uid.length === 0 ? "The unique ID is said to be a string, but has no bytes." : undefined;
  if (wrong !== undefined) found.push(diagnosis("acpi-uid-malformed", offset + UID_FORMAT, wrong));
  return found;
};

const diagnoseEntry = (entry: IvhdEntry, blockType: number): Diagnosis[] => [
  ...("setting" in entry && DTE_SETTING.reservedIn(Uint32Array.of(entry.setting)) >= 0 ? [diagnosis("reserved-nonzero", entry.offset + 3, `The reserved bit 3 of the DTE setting ${hex(entry.setting)} is set.`)] : []),
  ...(entry.name === "acpi-device" ? diagnoseAcpi(entry, blockType) : []),
  ...(entry.name === "special" && entry.variety !== IO_APIC && entry.variety !== HPET ? [diagnosis("special-variety-unknown", entry.offset + 7, `A special device has variety ${entry.variety}.`)] : []),
];

const diagnoseBlock = (block: Ivhd): Diagnosis[] => {
  const { ranges, diagnoses } = rangesOf(block.entries);
  const serves = ranges.length > 0 || block.entries.some(({ name }) => name === "special");
  return [...block.entries.flatMap((entry) => diagnoseEntry(entry, block.type)), ...diagnoses, ...(serves ? [] : [diagnosis("ivhd-serves-nothing", block.offset, "The block has no device entry that names a device.")])];
};

/** Per segment in the order of DeviceIDs, against the farthest range so far. */
const diagnoseClaims = (units: readonly Ivhd[]): Diagnosis[] => {
  const claims = units
    .flatMap((unit): { readonly unit: Ivhd; readonly range: IvhdRange }[] => rangesOf(unit.entries).ranges.map((range) => ({ unit, range })))
    .sort((a, b) => a.unit.segment - b.unit.segment || a.range.first - b.range.first || a.range.offset - b.range.offset);
  const found: Diagnosis[] = [];
  // Of the ranges so far: the farthest, and the farthest of any other IOMMU.
  let [farthest, other]: [(typeof claims)[number] | undefined, (typeof claims)[number] | undefined] = [undefined, undefined];
  for (const claim of claims) {
    if (farthest && farthest.unit.segment !== claim.unit.segment) [farthest, other] = [undefined, undefined];
    const rival = farthest && farthest.unit !== claim.unit ? farthest : other;
    if (rival && claim.range.first <= rival.range.last) found.push(diagnosis("device-in-two-units", claim.range.offset, `Device ${hex(claim.range.first)} is named here and under the IOMMU of the block at offset ${rival.unit.offset}.`));
    if (!farthest || claim.range.last > farthest.range.last) {
      if (farthest && farthest.unit !== claim.unit) other = farthest;
      farthest = claim;
    } else if (farthest.unit !== claim.unit && (!other || claim.range.last > other.range.last)) other = claim;
  }
  return found;
};

const VARIETIES = ["", "I/O APIC", "HPET"] as const;

const diagnoseSpecial = (units: readonly Ivhd[]): Diagnosis[] => {
  const found: Diagnosis[] = [];
  const known = new Map<number, SpecialEntry>();
  for (const entry of units.flatMap(({ entries }) => entries)) {
    if (entry.name !== "special" || (entry.variety !== IO_APIC && entry.variety !== HPET)) continue;
    const key = entry.variety * 256 + entry.handle;
    const earlier = known.get(key);
    if (earlier && earlier.sourceId !== entry.sourceId) found.push(diagnosis("special-repeated", entry.offset, `${VARIETIES[entry.variety] as string} ${entry.handle} sends as ${sourceText(entry.sourceId)} here, and as ${sourceText(earlier.sourceId)} at offset ${earlier.offset}.`));
    known.set(key, entry);
  }
  const apics = [...known.values()].filter(({ variety }) => variety === IO_APIC);
  const first = units[0];
  if (first && apics.length === 0) found.push(diagnosis("ioapic-missing", first.offset, "No IOMMU has an entry for an I/O APIC."));
  else if (first && !apics.some(({ sourceId }) => sourceId === SOUTHBRIDGE)) found.push(diagnosis("ioapic-not-in-southbridge", (apics[0] as SpecialEntry).offset, `I/O APICs send as ${apics.map(({ sourceId }) => sourceText(sourceId)).join(", ")}.`));
  return found;
};

/** What is wrong with device entries. */
export const diagnoseEntries = ({ structures }: IvrsContents): Diagnosis[] => {
  const units = countingBlocks(structures);
  return [...hardwareBlocks(structures).flatMap(diagnoseBlock), ...diagnoseClaims(units), ...diagnoseSpecial(units)];
};
