import { describe, expect, test } from "vitest";
import { hasShared, listShared, readShared, skippedWithoutShared } from "../../../test/shared.ts";
import { decodeIvrs, encodeIvrs, type IvhdEntry, type IvrsInput, type IvrsTable } from "../src/ivrs/index.ts";
import { compile, disassemble, hasIasl, skippedWithoutIasl } from "../../../test/iasl.ts";

const up = (value: bigint | number, digits: number): string => value.toString(16).toUpperCase().padStart(digits, "0");
type FieldLine = [offset: number, value: string];

const expectedEntry = (e: IvhdEntry): FieldLine[] => [
  [e.offset, up(e.type, 2)],
  ...("deviceId" in e ? [[e.offset + 1, up(e.deviceId, 4)] as FieldLine] : []),
  ...("setting" in e ? [[e.offset + 3, up(e.setting, 2)] as FieldLine] : []),
  ...("sourceId" in e ? [[e.offset + 5, up(e.sourceId, 4)] as FieldLine] : []),
  ...("extended" in e ? [[e.offset + 4, up(e.extended, 8)] as FieldLine] : []),
  ...(e.name === "special" ? ([[e.offset + 4, up(e.handle, 2)], [e.offset + 7, up(e.variety, 2)]] as FieldLine[]) : []),
];

/** Block types that the installed iasl does not know: it shows their first fields only. */
const newTypes = ({ structures }: IvrsTable): boolean => structures.some(({ type }) => type >= 0x40);

/** What iasl prints for each field of a table, by byte offset, made from our reading. */
const expectedFields = ({ header, structures, ...t }: IvrsTable): FieldLine[] => [
  [4, up(header.length, 8)],
  [8, up(header.revision, 2)],
  [9, up(header.checksum, 2)],
  [24, up(header.oemRevision, 8)],
  [36, up(Number(t.extendedFeatureReporting) | (Number(t.preBootDmaProtection) << 1) | (t.guestVirtualAddressSize << 5) | (t.physicalAddressSize << 8) | (t.virtualAddressSize << 15) | (Number(t.htAtsReserved) << 22), 8)],
  ...structures.flatMap((s): FieldLine[] => [
    [s.offset, up(s.type, 2)],
    [s.offset + 1, up(s.flags, 2)],
    [s.offset + 2, up(s.length, 4)],
    ...("deviceId" in s ? [[s.offset + 4, up(s.deviceId, 4)] as FieldLine] : []),
    ...(s.name === "IVHD" && s.type !== 0x40
      ? ([
          [s.offset + 6, up(s.capabilityOffset, 4)],
          [s.offset + 8, up(s.registerBase, 16)],
          [s.offset + 16, up(s.segment, 4)],
          [s.offset + 18, up(s.msiNumber | (s.unitId << 8), 4)],
          [s.offset + 20, up(s.type === 0x10 ? s.features : s.attributes, 8)],
          ...(s.type === 0x11 ? [[s.offset + 24, up(s.extendedFeatures, 16)], [s.offset + 32, up(s.extendedFeatures2, 16)]] : []),
          ...s.entries.flatMap(expectedEntry),
        ] as FieldLine[])
      : []),
    ...(s.name === "IVMD" ? ([[s.offset + 6, up(s.lastDeviceId, 4)], [s.offset + 16, up(s.start, 16)], [s.offset + 24, up(s.size, 16)]] as FieldLine[]) : []),
  ]),
];

const agree = (bytes: Uint8Array): void => {
  const { fields, text, messages } = disassemble(bytes);
  const table = decodeIvrs(bytes);
  const expected = expectedFields(table);
  expect(expected.map(([offset]) => [offset, fields.get(offset)])).toEqual(expected);
  if (!newTypes(table)) expect(text).not.toMatch(/\*\*\*\*|Invalid|Unknown/);
  expect(messages).not.toMatch(/error|warning|incorrect checksum/i);
};

const PLACE = { name: "IVHD", deviceId: 0x4002, capabilityOffset: 0x40, registerBase: 0x1_feb8_0000n, segment: 1, msiNumber: 2, unitId: 3, flags: 0xb0 } as const;
const ANY: IvrsInput = {
  preBootDmaProtection: true,
  htAtsReserved: true,
  header: { oemId: "IOMMU1", oemTableId: "LABTABLE", creatorId: "LABS" },
  structures: [
    {
      ...PLACE,
      type: 0x10,
      features: 0x8004_8f6e,
      entries: [{ name: "all", setting: 0xd7 }, { name: "select", deviceId: 0x1234 }, { name: "range-start", deviceId: 8 }, { name: "range-end", deviceId: 0xfffe }, { name: "padding", type: 0 }, { name: "alias-select", deviceId: 0x600, sourceId: 0xa4 }, { name: "extended-select", deviceId: 0x100, extended: 0x8000_0000 }],
    },
    {
      ...PLACE,
      type: 0x11,
      attributes: 0x0004_8000,
      extendedFeatures: 0x4f77_ef22_294a_dan,
      entries: [{ name: "alias-range-start", deviceId: 0xff00, sourceId: 0xa5 }, { name: "range-end", deviceId: 0xffff }, { name: "extended-range-start", deviceId: 0x100, extended: 1 }, { name: "range-end", deviceId: 0x1ff }, { name: "special", setting: 0xd7, handle: 33, sourceId: 0xa0, variety: 1 }, { name: "special", handle: 0, sourceId: 0xa0, variety: 2 }],
    },
    { name: "IVMD", type: 0x20, flags: 7, start: 0x8000_0000, size: 0x1000 },
    { name: "IVMD", type: 0x21, flags: 8, deviceId: 0x200, start: 0x1_7132_c000n, size: 0x2_6000 },
    { name: "IVMD", type: 0x22, flags: 3, deviceId: 0x200, lastDeviceId: 0x2ff, start: 0, size: 0x1000 },
  ],
};

const TEMPLATE = `
[0004] Signature : "IVRS"
[0004] Table Length : 00000000
[0001] Revision : 02
[0001] Checksum : 00
[0006] Oem ID : "IOMMU "
[0008] Oem Table ID : "LAB     "
[0004] Oem Revision : 00000007
[0004] Asl Compiler ID : "INTL"
[0004] Asl Compiler Revision : 00000001
[0004] Virtualization Info : 00203041
[0008] Reserved : 0000000000000000
[0001] Subtable Type : 10
[0001] Flags : B0
[0002] Length : 0034
[0002] DeviceId : 0002
[0002] Capability Offset : 0040
[0008] Base Address : 00000000FEB80000
[0002] PCI Segment Group : 0000
[0002] Virtualization Info : 0000
[0004] Feature Reporting : 80048F6E
[0001] Entry Type : 03
[0002] Device ID : 0008
[0001] Data Setting : 00
[0001] Entry Type : 04
[0002] Device ID : FFFE
[0001] Data Setting : 00
[0001] Entry Type : 42
[0002] Device ID : FF00
[0001] Data Setting : 00
[0001] Reserved : 00
[0002] Source Used Device ID : 00A5
[0001] Reserved : 00
[0001] Entry Type : 00
[0002] Device ID : 0000
[0001] Data Setting : 00
[0001] Entry Type : 48
[0002] Device ID : 0000
[0001] Data Setting : D7
[0001] Handle : 21
[0002] Source Used Device ID : 00A0
[0001] Variety : 01
[0001] Subtable Type : 21
[0001] Flags : 08
[0002] Length : 0020
[0002] DeviceId : 0200
[0002] Auxiliary Data : 0000
[0008] Reserved : 0000000000000000
[0008] Start Address : 000000007132C000
[0008] Memory Length : 0000000000026000
`;

describe.skipIf(!hasIasl())(`IVRS tables and iasl${skippedWithoutIasl}`, () => {
  test("iasl reads what we write without a complaint, and reads the same", () => {
    agree(encodeIvrs(ANY));
  });
  test("iasl compiles its own reading of our table back to the same blocks", () => {
    const ours = encodeIvrs(ANY);
    const theirs = compile(disassemble(ours).text);
    expect(theirs.subarray(36)).toEqual(ours.subarray(36));
  });
  test("a table that iasl compiled is read as it was written, and re-encodes to iasl's bytes", () => {
    const bytes = compile(TEMPLATE);
    const table = decodeIvrs(bytes);
    expect(table).toMatchObject({
      extendedFeatureReporting: true,
      preBootDmaProtection: false,
      guestVirtualAddressSize: 2,
      physicalAddressSize: 48,
      virtualAddressSize: 64,
      header: { oemId: "IOMMU", oemTableId: "LAB", oemRevision: 7, creatorId: "INTL" },
      structures: [
        {
          name: "IVHD",
          type: 0x10,
          flags: 0xb0,
          deviceId: 2,
          capabilityOffset: 0x40,
          registerBase: 0xfeb8_0000n,
          features: 0x8004_8f6e,
          entries: [{ name: "range-start", deviceId: 8 }, { name: "range-end", deviceId: 0xfffe }, { name: "alias-select", deviceId: 0xff00, sourceId: 0xa5 }, { name: "padding" }, { name: "special", setting: 0xd7, handle: 0x21, sourceId: 0xa0, variety: 1 }],
        },
        { name: "IVMD", type: 0x21, flags: 8, deviceId: 0x200, start: 0x7132_c000n, size: 0x2_6000n },
      ],
    });
    expect(table.diagnoses.map(({ id }) => id)).toEqual(["ivmd-exclusion"]);
    expect(encodeIvrs(table)).toEqual(bytes);
  });
  describe.skipIf(!hasShared())(`firmware tables of real machines${skippedWithoutShared}`, () => {
    test.each(listShared("acpi", ".ivrs"))("%s: iasl agrees with every field we read", (file) => {
      agree(new Uint8Array(readShared(`acpi/${file}`)));
    });
  });
});
