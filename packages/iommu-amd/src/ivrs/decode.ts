import { decodeSdt, encodeSdt, SDT_HEADER_SIZE, sdtChecksum, wide, wordsAt } from "@iommu-lab/pci-bus/acpi";
import { diagnoseIvrs } from "./diagnose.ts";
import { diagnosis, type Diagnosis } from "./diagnosis.ts";
import { readEntries, readReserved, type Report } from "./entries.ts";
import { IVHD_10, IVHD_11, IVHD_40, IVMD, IVRS_BODY, structureName } from "./layouts.ts";
import type { Ivhd, IvrsOddities, IvrsStructure, IvrsTable, Ivmd, RawBlock } from "./table.ts";

/** Bytes that are no IVRS table at all. */
export class IvrsError extends Error {
  override readonly name = "IvrsError";
}

/** Offset of the first definition block. AMD-Vi §5.2.1. */
const STRUCTURES_OFFSET = 48;

const fixedSize = (type: number): number => (type === 0x10 ? IVHD_10.width / 8 : structureName(type) === "IVHD" ? IVHD_11.width / 8 : structureName(type) === "IVMD" ? IVMD.width / 8 : 0);

const readHardware = (bytes: Uint8Array, offset: number, length: number, type: 0x10 | 0x11 | 0x40, report: Report): Ivhd => {
  const words = wordsAt(bytes, offset, IVHD_11.width);
  const { FLAGS, DEVICE_ID, CAPABILITY_OFFSET, BASE_LOW, BASE_HIGH, SEGMENT, MSI_NUMBER, UNIT_ID, ATTRIBUTES, EFR_LOW, EFR_HIGH, EFR2_LOW, EFR2_HIGH } = IVHD_11.decode(words);
  const head = { name: "IVHD", offset, length, flags: FLAGS, deviceId: DEVICE_ID, capabilityOffset: CAPABILITY_OFFSET, registerBase: wide(BASE_LOW, BASE_HIGH), segment: SEGMENT, msiNumber: MSI_NUMBER, unitId: UNIT_ID } as const;
  const layout = type === 0x10 ? IVHD_10 : type === 0x11 ? IVHD_11 : IVHD_40;
  const tail = { ...readReserved(layout, words.subarray(0, layout.width / 32), offset, report), ...readEntries(bytes, offset + layout.width / 8, offset + length, report) };
  // Features and attributes are at the same place.
  return type === 0x10 ? { type, ...head, features: ATTRIBUTES, ...tail } : { type, ...head, attributes: ATTRIBUTES, extendedFeatures: wide(EFR_LOW, EFR_HIGH), extendedFeatures2: wide(EFR2_LOW, EFR2_HIGH), ...tail };
};

const readMemory = (bytes: Uint8Array, offset: number, length: number, type: 0x20 | 0x21 | 0x22, report: Report): Ivmd => {
  const words = wordsAt(bytes, offset, IVMD.width);
  const { FLAGS, DEVICE_ID, AUXILIARY, SEGMENT, START_LOW, START_HIGH, LENGTH_LOW, LENGTH_HIGH } = IVMD.decode(words);
  const rest = bytes.slice(offset + IVMD.width / 8, offset + length);
  return {
    type,
    name: "IVMD",
    offset,
    length,
    flags: FLAGS,
    deviceId: DEVICE_ID,
    lastDeviceId: AUXILIARY,
    segment: SEGMENT,
    start: wide(START_LOW, START_HIGH),
    size: wide(LENGTH_LOW, LENGTH_HIGH),
    ...readReserved(IVMD, words, offset, report),
    ...(rest.length > 0 ? { rest } : {}),
  };
};

const readRaw = (bytes: Uint8Array, at: number, length: number, type: number, report: Report): RawBlock => {
  const fixed = fixedSize(type);
  report(fixed > 0 ? diagnosis("structure-too-short", at + 2, `${structureName(type)} of type 0x${type.toString(16)} with ${length} bytes; it has at least ${fixed}.`) : diagnosis("structure-type-unknown", at, `Block type 0x${type.toString(16)} (${length} bytes) is not known.`));
  return { type, name: "raw", offset: at, length, flags: bytes[at + 1] as number, data: bytes.slice(at + 4, at + length) };
};

const readStructure = (bytes: Uint8Array, at: number, length: number, report: Report): IvrsStructure => {
  const type = bytes[at] as number;
  if (length < fixedSize(type)) return readRaw(bytes, at, length, type, report);
  switch (type) {
    case 0x10:
    case 0x11:
    case 0x40:
      return readHardware(bytes, at, length, type, report);
    case 0x20:
    case 0x21:
    case 0x22:
      return readMemory(bytes, at, length, type, report);
    default:
      return readRaw(bytes, at, length, type, report);
  }
};

const readStructures = (bytes: Uint8Array, end: number, report: Report): { readonly structures: readonly IvrsStructure[]; readonly rest: Uint8Array } => {
  const structures: IvrsStructure[] = [];
  let at = STRUCTURES_OFFSET;
  while (at < end) {
    const length = (bytes[at + 2] ?? 0) | ((bytes[at + 3] ?? 0) << 8);
    if (end - at < 4 || length < 4 || at + length > end) {
      const what = end - at < 4 ? `${end - at} bytes are left where a block should begin.` : `A block (${structureName(bytes[at] as number)}) states ${length} bytes; ${end - at} are left in the table.`;
      report(diagnosis(end - at >= 4 && length < 4 ? "structure-length-zero" : "structure-overruns-table", at, what));
      break;
    }
    structures.push(readStructure(bytes, at, length, report));
    at += length;
  }
  return { structures, rest: bytes.slice(at, end) };
};

/** Where the table ends, and how its length and checksum fields lie. ACPI §5.2.6. */
const readFrame = (bytes: Uint8Array, report: Report): { readonly end: number; readonly odd: IvrsOddities } => {
  const { header } = decodeSdt(bytes, "IVRS");
  const sound = header.length >= STRUCTURES_OFFSET && header.length <= bytes.length;
  const end = sound ? header.length : bytes.length;
  if (!sound) report(diagnosis("table-length-wrong", 4, `Length says ${header.length} bytes; ${bytes.length} are at hand, and all of them are read.`));
  const expected = sdtChecksum(bytes, end);
  if (header.checksum !== expected) report(diagnosis("table-checksum-wrong", 9, `The checksum is 0x${header.checksum.toString(16)}; the bytes need 0x${expected.toString(16)}.`));
  if (end < bytes.length) report(diagnosis("table-trailing-bytes", end, `${bytes.length - end} bytes follow the ${end} that Length counts.`));
  const fresh = encodeSdt("IVRS", new Uint8Array(), header);
  const plain = bytes.subarray(0, SDT_HEADER_SIZE).every((byte, i) => (i >= 4 && i < 8) || i === 9 || byte === fresh[i]);
  return {
    end,
    odd: {
      ...(plain ? {} : { header: bytes.slice(0, SDT_HEADER_SIZE) }),
      ...(sound ? {} : { length: header.length }),
      ...(header.checksum === expected ? {} : { checksum: header.checksum }),
      ...(end < bytes.length ? { trailing: bytes.slice(end) } : {}),
    },
  };
};

/**
 * Reads an IVRS table, signature to end, as in /sys/firmware/acpi/tables/IVRS. AMD-Vi §5.2.
 * Firmware's mistakes do not stop it: they are in `diagnoses`, and what is damaged is kept as bytes.
 * @throws IvrsError when the bytes are no IVRS table, or end before its first block
 */
export const decodeIvrs = (bytes: Uint8Array): IvrsTable => {
  const { header } = decodeSdt(bytes);
  if (header.signature !== "IVRS") throw new IvrsError(`An IVRS table starts with "IVRS"; here are ${bytes.length} bytes that start with "${header.signature}".`);
  if (bytes.length < STRUCTURES_OFFSET) throw new IvrsError(`The IVRS table ends after ${bytes.length} bytes; its blocks begin at byte ${STRUCTURES_OFFSET}.`);
  const diagnoses: Diagnosis[] = [];
  const report: Report = (found) => void diagnoses.push(found);
  const frame = readFrame(bytes, report);
  const words = wordsAt(bytes, SDT_HEADER_SIZE, IVRS_BODY.width);
  const { EFR_SUP, DMA_REMAP_SUP, GVA_SIZE, PA_SIZE, VA_SIZE, HT_ATS_RESV } = IVRS_BODY.decode(words);
  const kept = readReserved(IVRS_BODY, words, SDT_HEADER_SIZE, report);
  const { structures, rest } = readStructures(bytes, frame.end, report);
  const odd: IvrsOddities = { ...frame.odd, ...kept, ...(rest.length > 0 ? { rest } : {}) };
  const table = {
    header,
    extendedFeatureReporting: EFR_SUP === 1,
    preBootDmaProtection: DMA_REMAP_SUP === 1,
    guestVirtualAddressSize: GVA_SIZE,
    physicalAddressSize: PA_SIZE,
    virtualAddressSize: VA_SIZE,
    htAtsReserved: HT_ATS_RESV === 1,
    structures,
    ...(Object.keys(odd).length > 0 ? { odd } : {}),
  };
  return { ...table, diagnoses: [...diagnoses, ...diagnoseIvrs(table)].sort((a, b) => a.offset - b.offset) };
};
