import { describe, expect, test } from "vitest";
import { hasShared, listShared, readShared, skippedWithoutShared } from "../../../test/shared.ts";
import { decodeDmar, encodeDmar, type DmarInput, type DmarTable } from "../src/dmar/index.ts";
import { compile, disassemble, hasIasl, skippedWithoutIasl } from "../../../test/iasl.ts";

const up = (value: bigint | number, digits: number): string => value.toString(16).toUpperCase().padStart(digits, "0");

/** What iasl prints for each field of a table, by byte offset, made from our reading. */
const expectedFields = ({ header, hostAddressWidth, interruptRemapping, x2apicOptOut, dmaControlOptIn, structures }: DmarTable): [number, string][] => [
  [4, up(header.length, 8)],
  [8, up(header.revision, 2)],
  [9, up(header.checksum, 2)],
  [24, up(header.oemRevision, 8)],
  [36, up(hostAddressWidth - 1, 2)],
  [37, up(Number(interruptRemapping) | (Number(x2apicOptOut) << 1) | (Number(dmaControlOptIn) << 2), 2)],
  ...structures.flatMap((s): [number, string][] => [
    [s.offset, up(s.type, 4)],
    [s.offset + 2, up(s.length, 4)],
    ...("segment" in s ? [[s.offset + 6, up(s.segment, 4)] as [number, string]] : []),
    ...(s.name === "DRHD" ? ([[s.offset + 4, up(Number(s.includeAll), 2)], [s.offset + 8, up(s.registerBase, 16)]] as [number, string][]) : []),
    ...(s.name === "RMRR" ? ([[s.offset + 8, up(s.base, 16)], [s.offset + 16, up(s.limit, 16)]] as [number, string][]) : []),
    ...(s.name === "ATSR" ? ([[s.offset + 4, up(Number(s.allPorts), 2)]] as [number, string][]) : []),
    ...(s.name === "RHSA" ? ([[s.offset + 8, up(s.registerBase, 16)], [s.offset + 16, up(s.proximityDomain, 8)]] as [number, string][]) : []),
    ...(s.name === "ANDD" ? ([[s.offset + 7, up(s.deviceNumber, 2)], [s.offset + 8, `"${s.objectName}"`]] as [number, string][]) : []),
    ...("scopes" in s
      ? s.scopes.flatMap(({ offset, type, enumerationId, startBus, path }): [number, string][] => [
          [offset, up(type, 2)],
          [offset + 1, up(6 + 2 * path.length, 2)],
          [offset + 4, up(enumerationId, 2)],
          [offset + 5, up(startBus, 2)],
          ...path.map((step, i): [number, string] => [offset + 6 + 2 * i, `${up(step.device, 2)},${up(step.function, 2)}`]),
        ])
      : []),
  ]),
];

const agree = (bytes: Uint8Array): void => {
  const { fields, text, messages } = disassemble(bytes);
  const expected = expectedFields(decodeDmar(bytes));
  expect(expected.map(([offset]) => [offset, fields.get(offset)])).toEqual(expected);
  expect(text).not.toMatch(/\*\*\*\*|Invalid|Unknown/);
  expect(messages).not.toMatch(/error|warning|incorrect checksum/i);
};

const ANY: DmarInput = {
  hostAddressWidth: 46,
  x2apicOptOut: true,
  dmaControlOptIn: true,
  header: { oemId: "IOMMU1", oemTableId: "LABTABLE", creatorId: "LABS" },
  structures: [
    { name: "DRHD", registerBase: 0xfed9_0000, segment: 2, scopes: [{ type: 1, path: [{ device: 2, function: 0 }] }, { type: 2, startBus: 3, path: [{ device: 28, function: 4 }, { device: 0, function: 0 }] }, { type: 5, enumerationId: 1, path: [{ device: 21, function: 0 }] }] },
    { name: "DRHD", registerBase: 0x38_fed9_1000, includeAll: true, scopes: [{ type: 3, enumerationId: 2, startBus: 0xf0, path: [{ device: 31, function: 7 }] }, { type: 4, startBus: 0xf0, path: [{ device: 15, function: 0 }] }] },
    { name: "RMRR", base: 0x8b80_0000, limit: 0x1_8fff_ffffn, scopes: [{ type: 1, path: [{ device: 2, function: 0 }] }] },
    { name: "ATSR", allPorts: true },
    { name: "ATSR", segment: 2, scopes: [{ type: 2, path: [{ device: 1, function: 0 }] }] },
    { name: "RHSA", registerBase: 0xfed9_0000, proximityDomain: 3 },
    { name: "ANDD", deviceNumber: 1, objectName: "\\_SB.PCI0.I2C0" },
  ],
};

const TEMPLATE = `
[0004] Signature : "DMAR"
[0004] Table Length : 00000000
[0001] Revision : 01
[0001] Checksum : 00
[0006] Oem ID : "IOMMU "
[0008] Oem Table ID : "LAB     "
[0004] Oem Revision : 00000007
[0004] Asl Compiler ID : "INTL"
[0004] Asl Compiler Revision : 00000001
[0001] Host Address Width : 26
[0001] Flags : 05
[0010] Reserved : 00 00 00 00 00 00 00 00 00 00
[0002] Subtable Type : 0000
[0002] Length : 0018
[0001] Flags : 01
[0001] Reserved : 00
[0002] PCI Segment Number : 0001
[0008] Register Base Address : 00000000FED91000
[0001] Device Scope Type : 03
[0001] Entry Length : 08
[0002] Reserved : 0000
[0001] Enumeration ID : 02
[0001] PCI Bus Number : F0
[0002] PCI Path : 1F,07
[0002] Subtable Type : 0001
[0002] Length : 0022
[0002] Reserved : 0000
[0002] PCI Segment Number : 0001
[0008] Base Address : 000000007B800000
[0008] End Address (limit) : 000000007FFFFFFF
[0001] Device Scope Type : 01
[0001] Entry Length : 0A
[0002] Reserved : 0000
[0001] Enumeration ID : 00
[0001] PCI Bus Number : 00
[0002] PCI Path : 1C,00
[0002] PCI Path : 00,01
[0002] Subtable Type : 0003
[0002] Length : 0014
[0004] Reserved : 00000000
[0008] Base Address : 00000000FED91000
[0004] Proximity Domain : 00000005
`;

describe.skipIf(!hasIasl())(`DMAR tables and iasl${skippedWithoutIasl}`, () => {
  test("iasl reads what we write without a complaint, and reads the same", () => {
    agree(encodeDmar(ANY));
  });
  test("iasl compiles its own reading of our table back to the same structures", () => {
    const ours = encodeDmar(ANY);
    const theirs = compile(disassemble(ours).text);
    expect(theirs.subarray(36)).toEqual(ours.subarray(36));
  });
  test("a table that iasl compiled is read as it was written, and re-encodes to iasl's bytes", () => {
    const bytes = compile(TEMPLATE);
    const table = decodeDmar(bytes);
    expect(table).toMatchObject({
      hostAddressWidth: 39,
      interruptRemapping: true,
      x2apicOptOut: false,
      dmaControlOptIn: true,
      header: { oemId: "IOMMU", oemTableId: "LAB", oemRevision: 7, creatorId: "INTL" },
      structures: [
        { name: "DRHD", includeAll: true, segment: 1, registerBase: 0xfed9_1000n, scopes: [{ type: 3, enumerationId: 2, startBus: 0xf0, path: [{ device: 0x1f, function: 7 }] }] },
        { name: "RMRR", segment: 1, base: 0x7b80_0000n, limit: 0x7fff_ffffn, scopes: [{ type: 1, path: [{ device: 0x1c, function: 0 }, { device: 0, function: 1 }] }] },
        { name: "RHSA", registerBase: 0xfed9_1000n, proximityDomain: 5 },
      ],
      diagnoses: [],
    });
    expect(encodeDmar(table)).toEqual(bytes);
  });
  describe.skipIf(!hasShared())(`firmware tables of real machines${skippedWithoutShared}`, () => {
    test.each(listShared("acpi", ".dmar"))("%s: iasl agrees with every field we read", (file) => {
      agree(new Uint8Array(readShared(`acpi/${file}`)));
    });
  });
});
