import type { Field, Layout, Values } from "@iommu-lab/memory/layout";
import { bytesOf, decodeSdt, encodeSdt, halves, sdtChecksum } from "@iommu-lab/pci-bus/acpi";
import { ENTRY_ACPI, ENTRY_ALIAS, ENTRY_ALL, ENTRY_EXTENDED, ENTRY_RANGE_END, ENTRY_SELECT, ENTRY_SPECIAL, IVHD_10, IVHD_11, IVMD, IVRS_BODY } from "./layouts.ts";
import type { AddressInput, IvhdEntryInput, IvrsInput, IvrsOddities, IvrsStructureInput } from "./table.ts";

const join = (parts: readonly Uint8Array[]): Uint8Array => {
  const all = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
};

/** A fixed part from its fields, with the reserved bits that were kept. */
const fixed = <F extends Readonly<Record<string, Field>>>(layout: Layout<F>, values: Partial<Values<F>>, reserved?: Uint8Array): Uint8Array => {
  const bytes = bytesOf(layout.encode(values), layout.width);
  for (const [i, byte] of (reserved ?? []).entries()) if (i < bytes.length) bytes[i] = (bytes[i] as number) | byte;
  return bytes;
};

/** The 8 bytes of a hardware or compatible ID as two words. */
const idWords = (what: string, id: string): readonly [low: number, high: number] => {
  const bytes = new Uint8Array(8);
  if (id.length > 8) throw new RangeError(`The ${what} ${JSON.stringify(id)} has ${id.length} characters; there are bytes for 8.`);
  for (let i = 0; i < id.length; i++) {
    const code = id.charCodeAt(i);
    if (code > 0xff) throw new RangeError(`The ${what} ${JSON.stringify(id)} has a character that is no single byte.`);
    bytes[i] = code;
  }
  const view = new DataView(bytes.buffer);
  return [view.getUint32(0, true), view.getUint32(4, true)];
};

const encodeAcpi = (entry: Extract<IvhdEntryInput, { readonly name: "acpi-device" }>): Uint8Array => {
  const uid = entry.uid ?? new Uint8Array();
  if (uid.length > 255) throw new RangeError(`The unique ID of ${JSON.stringify(entry.hid)} has ${uid.length} bytes; its length field holds 255.`);
  const [HID_LOW, HID_HIGH] = idWords("hardware ID", entry.hid);
  const [CID_LOW, CID_HIGH] = idWords("compatible ID", entry.cid ?? "");
  return join([fixed(ENTRY_ACPI, { TYPE: 0xf0, DEVICE_ID: entry.deviceId, SETTING: entry.setting ?? 0, HID_LOW, HID_HIGH, CID_LOW, CID_HIGH, UID_FORMAT: entry.uidFormat ?? 0, UID_LENGTH: uid.length }, entry.reserved), uid]);
};

/** An entry of a type and bytes after it, as many as the type tells. */
const encodeBytes = (type: number, data: Uint8Array): Uint8Array => {
  if (!(Number.isInteger(type) && type >= 0 && type < 0x80 && data.length === (4 << (type >> 6)) - 1)) throw new RangeError(`A device entry of type 0x${type.toString(16)} cannot have ${1 + data.length} bytes: types up to 3Fh have 4, up to 7Fh 8.`);
  return join([Uint8Array.of(type), data]);
};

const encodeEntry = (entry: IvhdEntryInput): Uint8Array => {
  switch (entry.name) {
    case "padding":
      return encodeBytes(entry.type, entry.data ?? new Uint8Array(entry.type === 0x40 ? 7 : 3));
    case "raw":
      return encodeBytes(entry.type, entry.data);
    case "all":
      return fixed(ENTRY_ALL, { TYPE: 0x01, SETTING: entry.setting ?? 0 }, entry.reserved);
    case "select":
    case "range-start":
      return fixed(ENTRY_SELECT, { TYPE: entry.name === "select" ? 0x02 : 0x03, DEVICE_ID: entry.deviceId, SETTING: entry.setting ?? 0 }, entry.reserved);
    case "range-end":
      return fixed(ENTRY_RANGE_END, { TYPE: 0x04, DEVICE_ID: entry.deviceId }, entry.reserved);
    case "alias-select":
    case "alias-range-start":
      return fixed(ENTRY_ALIAS, { TYPE: entry.name === "alias-select" ? 0x42 : 0x43, DEVICE_ID: entry.deviceId, SETTING: entry.setting ?? 0, SOURCE_ID: entry.sourceId }, entry.reserved);
    case "extended-select":
    case "extended-range-start":
      return fixed(ENTRY_EXTENDED, { TYPE: entry.name === "extended-select" ? 0x46 : 0x47, DEVICE_ID: entry.deviceId, SETTING: entry.setting ?? 0, EXTENDED: entry.extended ?? 0 }, entry.reserved);
    case "special":
      return fixed(ENTRY_SPECIAL, { TYPE: 0x48, SETTING: entry.setting ?? 0, HANDLE: entry.handle, SOURCE_ID: entry.sourceId, VARIETY: entry.variety }, entry.reserved);
    case "acpi-device":
      return encodeAcpi(entry);
  }
};

const at = (what: string, value: AddressInput, low: string, high: string): Record<string, number> => {
  const [first, second] = halves(what, value);
  return { [low]: first, [high]: second };
};

/** Everything after the fixed part. */
const encodeTail = (s: IvrsStructureInput): Uint8Array => (s.name === "raw" ? s.data : join([...(s.name === "IVHD" ? (s.entries ?? []).map(encodeEntry) : []), s.rest ?? new Uint8Array()]));

const lengthOf = (s: IvrsStructureInput, fixedBytes: number, tailBytes: number): number => {
  const total = fixedBytes + tailBytes;
  if (total > 0xffff) throw new RangeError(`A block of type 0x${s.type.toString(16)} with ${total} bytes does not fit its 16-bit length.`);
  return total;
};

type HardwareInput = Extract<IvrsStructureInput, { readonly name: "IVHD" }>;

const encodeHardware = (s: HardwareInput, tailBytes: number): Uint8Array => {
  const layout = s.type === 0x10 ? IVHD_10 : IVHD_11;
  const head = {
    TYPE: s.type,
    FLAGS: s.flags ?? 0,
    LENGTH: lengthOf(s, layout.width / 8, tailBytes),
    DEVICE_ID: s.deviceId ?? 0,
    CAPABILITY_OFFSET: s.capabilityOffset ?? 0,
    ...at("The register base", s.registerBase, "BASE_LOW", "BASE_HIGH"),
    SEGMENT: s.segment ?? 0,
    MSI_NUMBER: s.msiNumber ?? 0,
    UNIT_ID: s.unitId ?? 0,
  };
  if (s.type === 0x10) return fixed(IVHD_10, { ...head, FEATURES: s.features ?? 0 }, s.reserved);
  return fixed(IVHD_11, { ...head, ATTRIBUTES: s.attributes ?? 0, ...at("The EFR image", s.extendedFeatures ?? 0, "EFR_LOW", "EFR_HIGH"), ...at("The EFR2 image", s.extendedFeatures2 ?? 0, "EFR2_LOW", "EFR2_HIGH") }, s.reserved);
};

const encodeFixed = (s: IvrsStructureInput, tailBytes: number): Uint8Array => {
  if (s.name === "IVHD") return encodeHardware(s, tailBytes);
  if (s.name === "IVMD")
    return fixed(
      IVMD,
      {
        TYPE: s.type,
        FLAGS: s.flags ?? 0,
        LENGTH: lengthOf(s, IVMD.width / 8, tailBytes),
        DEVICE_ID: s.deviceId ?? 0,
        AUXILIARY: s.lastDeviceId ?? 0,
        SEGMENT: s.segment ?? 0,
        ...at("The range's start", s.start, "START_LOW", "START_HIGH"),
        ...at("The range's size", s.size, "LENGTH_LOW", "LENGTH_HIGH"),
      },
      s.reserved,
    );
  const total = lengthOf(s, 4, tailBytes);
  for (const value of [s.type, s.flags ?? 0]) if (!(Number.isInteger(value) && value >= 0 && value <= 0xff)) throw new RangeError(`A block of type ${s.type} with flags ${s.flags ?? 0}: each is one byte.`);
  return Uint8Array.of(s.type, s.flags ?? 0, total & 0xff, total >>> 8);
};

const encodeStructure = (structure: IvrsStructureInput): Uint8Array => {
  const tail = encodeTail(structure);
  return join([encodeFixed(structure, tail.length), tail]);
};

/** Puts back how the header's texts were padded, where they still say the same. */
const restoreTexts = (table: Uint8Array, kept: Uint8Array): void => {
  const [now, then] = [decodeSdt(table).header, decodeSdt(kept).header];
  if (now.oemId === then.oemId) table.set(kept.subarray(10, 16), 10);
  if (now.oemTableId === then.oemTableId) table.set(kept.subarray(16, 24), 16);
  if (now.creatorId === then.creatorId) table.set(kept.subarray(28, 32), 28);
};

const finish = (table: Uint8Array, odd: IvrsOddities): Uint8Array => {
  if (odd.header) restoreTexts(table, odd.header);
  if (odd.length !== undefined) new DataView(table.buffer).setUint32(4, odd.length, true);
  table[9] = odd.checksum ?? sdtChecksum(table);
  return odd.trailing ? join([table, odd.trailing]) : table;
};

/**
 * Makes an IVRS table; a decoded table gives its own bytes again. Blocks and entries keep the order they are given in
 * (for one IOMMU, older block types come first); lengths, the revision and the checksum are computed.
 * @throws RangeError when a value does not fit its field
 */
export const encodeIvrs = (table: IvrsInput): Uint8Array => {
  const { structures, odd = {} } = table;
  const body = fixed(
    IVRS_BODY,
    {
      EFR_SUP: (table.extendedFeatureReporting ?? structures.some(({ type }) => type === 0x11 || type === 0x40)) ? 1 : 0,
      DMA_REMAP_SUP: table.preBootDmaProtection ? 1 : 0,
      GVA_SIZE: table.guestVirtualAddressSize ?? 2,
      PA_SIZE: table.physicalAddressSize ?? 48,
      VA_SIZE: table.virtualAddressSize ?? 64,
      HT_ATS_RESV: table.htAtsReserved ? 1 : 0,
    },
    odd.reserved,
  );
  // Revision 2 says that types from 40h on may be among the blocks.
  const identity = { revision: structures.some(({ type }) => type >= 0x40) ? 2 : 1, ...table.header };
  return finish(encodeSdt("IVRS", join([body, ...structures.map(encodeStructure), odd.rest ?? new Uint8Array()]), identity), odd);
};
