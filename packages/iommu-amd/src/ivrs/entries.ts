import type { Field, Layout } from "@iommu-lab/memory/layout";
import { reservedBytes, wordsAt } from "@iommu-lab/pci-bus/acpi";
import { diagnosis, type Diagnosis } from "./diagnosis.ts";
import { ENTRY_ACPI, ENTRY_ALIAS, ENTRY_ALL, ENTRY_EXTENDED, ENTRY_RANGE_END, ENTRY_SELECT, ENTRY_SPECIAL } from "./layouts.ts";
import type { IvhdEntry } from "./table.ts";

export type Report = (found: Diagnosis) => void;

const hexBytes = (bytes: Uint8Array): string => [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join(" ");

/** Reserved bits of a fixed part that are set: kept, and reported. */
export const readReserved = (layout: Layout<Readonly<Record<string, Field>>>, words: Uint32Array, at: number, report: Report): { readonly reserved?: Uint8Array } => {
  const reserved = reservedBytes(layout, words);
  if (!reserved) return {};
  const first = reserved.findIndex((byte) => byte !== 0);
  report(diagnosis("reserved-nonzero", at + first, `Reserved bits of the ${layout.name} are set (byte ${first} on: ${hexBytes(reserved.subarray(first, reserved.findLastIndex((byte) => byte !== 0) + 1))}).`));
  return { reserved };
};

const ACPI_DEVICE = 0xf0;
const ACPI_FIXED = ENTRY_ACPI.width / 8;
const UID_LENGTH = 21;

/** Bytes of the device entry at `at`: by the type's upper bits, of ACPI devices by the unique ID's; 0 when nothing tells. */
const entryLength = (bytes: Uint8Array, at: number, end: number): number => {
  const type = bytes[at] as number;
  if (type < 0x80) return 4 << (type >> 6);
  return type === ACPI_DEVICE && at + UID_LENGTH < end ? ACPI_FIXED + (bytes[at + UID_LENGTH] as number) : 0;
};

/** Characters of one byte each, without the zeros after them. */
const idText = (bytes: Uint8Array): string => String.fromCharCode(...bytes).replace(/\0+$/, "");

const readAcpi = (bytes: Uint8Array, at: number, length: number, report: Report): IvhdEntry => {
  const words = wordsAt(bytes, at, ENTRY_ACPI.width);
  const { DEVICE_ID, SETTING, UID_FORMAT } = ENTRY_ACPI.decode(words);
  return {
    type: ACPI_DEVICE,
    name: "acpi-device",
    offset: at,
    length,
    deviceId: DEVICE_ID,
    setting: SETTING,
    hid: idText(bytes.subarray(at + 4, at + 12)),
    cid: idText(bytes.subarray(at + 12, at + 20)),
    uidFormat: UID_FORMAT,
    uid: bytes.slice(at + ACPI_FIXED, at + length),
    ...readReserved(ENTRY_ACPI, words, at, report),
  };
};

const readEntry = (bytes: Uint8Array, at: number, length: number, report: Report): IvhdEntry => {
  const type = bytes[at] as number;
  const words = wordsAt(bytes, at, 64);
  const place = { offset: at, length };
  const kept = (layout: Layout<Readonly<Record<string, Field>>>): { readonly reserved?: Uint8Array } => readReserved(layout, words, at, report);
  switch (type) {
    case 0x00:
    case 0x40:
      return { type, name: "padding", ...place, data: bytes.slice(at + 1, at + length) };
    case 0x01:
      return { type, name: "all", ...place, setting: ENTRY_ALL.decode(words).SETTING, ...kept(ENTRY_ALL) };
    case 0x02:
    case 0x03: {
      const { DEVICE_ID, SETTING } = ENTRY_SELECT.decode(words);
      return { type, name: type === 0x02 ? "select" : "range-start", ...place, deviceId: DEVICE_ID, setting: SETTING };
    }
    case 0x04:
      return { type, name: "range-end", ...place, deviceId: ENTRY_RANGE_END.decode(words).DEVICE_ID, ...kept(ENTRY_RANGE_END) };
    case 0x42:
    case 0x43: {
      const { DEVICE_ID, SETTING, SOURCE_ID } = ENTRY_ALIAS.decode(words);
      return { type, name: type === 0x42 ? "alias-select" : "alias-range-start", ...place, deviceId: DEVICE_ID, setting: SETTING, sourceId: SOURCE_ID, ...kept(ENTRY_ALIAS) };
    }
    case 0x46:
    case 0x47: {
      const { DEVICE_ID, SETTING, EXTENDED } = ENTRY_EXTENDED.decode(words);
      return { type, name: type === 0x46 ? "extended-select" : "extended-range-start", ...place, deviceId: DEVICE_ID, setting: SETTING, extended: EXTENDED };
    }
    case 0x48: {
      const { SETTING, HANDLE, SOURCE_ID, VARIETY } = ENTRY_SPECIAL.decode(words);
      return { type, name: "special", ...place, setting: SETTING, handle: HANDLE, sourceId: SOURCE_ID, variety: VARIETY, ...kept(ENTRY_SPECIAL) };
    }
    case ACPI_DEVICE:
      return readAcpi(bytes, at, length, report);
    default:
      report(diagnosis("entry-type-unknown", at, `Device entry type 0x${type.toString(16)} (${length} bytes) is not in the specification.`));
      return { type, name: "raw", ...place, data: bytes.slice(at + 1, at + length) };
  }
};

/** The device entries of a block, and what cannot be read of it. AMD-Vi §5.2.2 "IVHD Device Entries". */
export const readEntries = (bytes: Uint8Array, start: number, end: number, report: Report): { readonly entries: readonly IvhdEntry[]; readonly rest?: Uint8Array } => {
  const entries: IvhdEntry[] = [];
  for (let at = start; at < end; ) {
    const length = entryLength(bytes, at, end);
    if (length === 0 || at + length > end) {
      const type = `0x${(bytes[at] as number).toString(16)}`;
      report(diagnosis("entry-length-invalid", at, length === 0 ? `Nothing tells the length of a device entry of type ${type}.` : `The device entry of type ${type} has ${length} bytes; ${end - at} are left in its block.`));
      return { entries, rest: bytes.slice(at, end) };
    }
    entries.push(readEntry(bytes, at, length, report));
    at += length;
  }
  return { entries };
};
