import { decodeSdt, type TableProblem } from "@iommu-lab/pci-bus/acpi";

/** DeviceIDs (requester IDs) that one IVHD device entry speaks of. AMD-Vi §5.2.2 "I/O Virtualization Hardware Definition". */
export interface IvhdRange {
  readonly offset: number;
  /** Entry type byte. */
  readonly type: number;
  readonly first: number;
  readonly last: number;
  /** The DeviceID under which the requests of these functions arrive; undefined: their own. */
  readonly alias?: number | undefined;
}

/** One IOMMU's definition block, types 10h, 11h and 40h. */
export interface Ivhd {
  readonly offset: number;
  readonly type: number;
  /** The IOMMU's own DeviceID. */
  readonly deviceId: number;
  readonly segment: number;
  /** HPA of the register window. */
  readonly registerBase: number;
  readonly ranges: readonly IvhdRange[];
}

/** The part of an IVRS table that says which IOMMU covers which DeviceID. */
export interface IvrsUnits {
  readonly units: readonly Ivhd[];
  readonly problems: readonly TableProblem[];
}

const HEADER = 48;
const u16 = (bytes: Uint8Array, at: number): number => (bytes[at] ?? 0) | ((bytes[at + 1] ?? 0) << 8);
const u32 = (bytes: Uint8Array, at: number): number => (u16(bytes, at) | (u16(bytes, at + 2) << 16)) >>> 0;

/** Bytes of the device entry at `at`: by the type's upper bits, type F0h (ACPI HID) by its UID length. */
const entryLength = (bytes: Uint8Array, at: number): number => {
  const type = bytes[at] ?? 0;
  if (type < 0x80) return 4 << (type >> 6);
  return type === 0xf0 ? 22 + (bytes[at + 21] ?? 0) : 0;
};

const decodeEntries = (bytes: Uint8Array, start: number, end: number, problems: TableProblem[]): IvhdRange[] => {
  const ranges: IvhdRange[] = [];
  let open: { offset: number; type: number; first: number; alias: number | undefined } | undefined;
  for (let at = start; at < end; ) {
    const type = bytes[at] ?? 0;
    const length = entryLength(bytes, at);
    if (length === 0 || at + length > end) {
      problems.push({ kind: "content", field: "Device Entry", offset: at, text: `device entry of type 0x${type.toString(16)} ${length === 0 ? "has no known length" : "reaches past its block"}` });
      break;
    }
    const id = u16(bytes, at + 1);
    const alias = type === 0x42 || type === 0x43 ? u16(bytes, at + 5) : undefined;
    if (type === 0x01) ranges.push({ offset: at, type, first: 0, last: 0xffff });
    else if (type === 0x02 || type === 0x42 || type === 0x46) ranges.push({ offset: at, type, first: id, last: id, alias });
    else if (type === 0x03 || type === 0x43 || type === 0x47) open = { offset: at, type, first: id, alias };
    else if (type === 0x04) {
      if (open && open.first <= id) ranges.push({ ...open, last: id });
      else problems.push({ kind: "content", field: "Device Entry", offset: at, text: open ? `range end 0x${id.toString(16)} lies before its start 0x${open.first.toString(16)}` : "range end without a start" });
      open = undefined;
    }
    at += length;
  }
  if (open) problems.push({ kind: "content", field: "Device Entry", offset: open.offset, text: "range start without an end" });
  return ranges;
};

/**
 * Reads the IOMMU definition blocks of an IVRS table. Of several blocks for one IOMMU the one with the highest
 * known type counts, as in Linux. Never throws: what is damaged is in `problems`.
 */
export const decodeIvrsUnits = (bytes: Uint8Array): IvrsUnits => {
  const { header, problems: found } = decodeSdt(bytes, "IVRS");
  const problems = [...found];
  if (header.signature !== "IVRS") return { units: [], problems };
  const end = Math.min(header.length, bytes.length);
  const units = new Map<number, Ivhd>();
  for (let at = HEADER; at + 4 <= end; ) {
    const type = bytes[at] ?? 0;
    const length = u16(bytes, at + 2);
    if (length < 4 || at + length > end) {
      problems.push({ kind: "content", field: "Block", offset: at, text: `block of type 0x${type.toString(16)} states ${length} bytes; ${end - at} are left in the table` });
      break;
    }
    const fixed = type === 0x10 ? 24 : type === 0x11 || type === 0x40 ? 40 : 0;
    if (fixed > 0 && length < fixed) problems.push({ kind: "content", field: "IVHD", offset: at, text: `IVHD of type 0x${type.toString(16)} has ${length} bytes; its fixed part has ${fixed}` });
    else if (fixed > 0) {
      const key = u16(bytes, at + 16) * 0x1_0000 + u16(bytes, at + 4);
      const known = units.get(key);
      if (!known || known.type < type)
        units.set(key, { offset: at, type, deviceId: u16(bytes, at + 4), segment: u16(bytes, at + 16), registerBase: u32(bytes, at + 8) + u32(bytes, at + 12) * 0x1_0000_0000, ranges: decodeEntries(bytes, at + fixed, at + length, problems) });
    }
    at += length;
  }
  return { units: [...units.values()], problems };
};
