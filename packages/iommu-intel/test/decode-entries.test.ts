import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { decodeContextEntry, decodeFirstStageEntry, decodeIrte, decodePasidDirectoryEntry, decodePasidEntry, decodeRootEntry, decodeScalableContextEntry, decodeScalableRootEntry, decodeSecondStageEntry } from "../src/decode/index.ts";

const pair = (high: bigint, low: bigint): bigint => (high << 64n) | low;

describe("root, context and PASID entries, VT-d §9.1 to §9.6", () => {
  test.each([
    ["a root entry", decodeRootEntry(0x10_0000_1001n), "The bus's context table is at 0x1000001000."],
    ["an empty root entry", decodeRootEntry(0n), "Not present: every request from the bus is blocked (fault 0x1)."],
    ["half a scalable root entry", decodeScalableRootEntry(pair(0x2000n, 0x1001n)), "Devices 0 to 15: context table at 0x1000."],
    ["a translated context", decodeContextEntry(pair(0x0502n, 0x1_0000_0001n)), "Requests are translated by the 48-bit table at 0x100000000, as domain 5."],
    ["a context with ATS", decodeContextEntry(pair(0x0101n, 0x1000n | 5n)), "Requests are translated by the 39-bit table at 0x1000, and the device may cache translations, as domain 1."],
    ["a pass-through context", decodeContextEntry(pair(0x0102n, 9n)), "Requests pass through untranslated, as domain 1."],
    ["a scalable context", decodeScalableContextEntry(pair(0x7n, 0x1000n | 0x1dn | (1n << 9n))), "PASID directory for 16384 PASIDs at 0x1000; requests without PASID use 0x7."],
    ["a PASID directory entry", decodePasidDirectoryEntry(0x1001n), "The PASID table of these 64 PASIDs is at 0x1000."],
    ["a second-stage PASID", decodePasidEntry(pair(3n, 0x2000n | 1n | (2n << 2n) | (2n << 6n))), "Requests are translated by the second-stage table (48 bits) at 0x2000, as domain 3."],
    ["a nested PASID", decodePasidEntry((0x3000n << 128n) | pair(3n, 0x2000n | 1n | (1n << 2n) | (3n << 6n))), "Requests are translated by the first-stage table (4 levels) at 0x3000, then the second-stage table (39 bits) at 0x2000, as domain 3."],
    ["a pass-through PASID", decodePasidEntry(pair(3n, 1n | (4n << 6n))), "Requests pass through untranslated, as domain 3."],
  ])("%s", (_what, { structure, findings }, sentence) => {
    expect(structure.meaning[0]).toBe(sentence);
    expect(findings).toEqual([]);
  });
  test.each([
    ["context-type-reserved", decodeContextEntry(pair(0x102n, 0xdn))],
    ["context-width-reserved", decodeContextEntry(pair(0x100n, 0x1001n))],
    ["context-table-zero", decodeContextEntry(pair(0x102n, 1n))],
    ["faults-not-recorded", decodeContextEntry(2n)],
    ["context-pasid-beyond-directory", decodeScalableContextEntry(pair(0x2000n, 0x1001n))],
    ["pasid-type-reserved", decodePasidEntry(1n)],
    ["pasid-width-reserved", decodePasidEntry(1n | (2n << 6n))],
    ["reserved-bits", decodeContextEntry(1n << 71n)],
    ["irte-not-verified", decodeIrte(1n)],
    ["irte-verification-reserved", decodeIrte(pair(0xc_0000n, 1n))],
    ["irte-delivery-reserved", decodeIrte(pair(0x4_0000n, 1n | (3n << 5n)))],
    ["faults-not-recorded", decodeIrte(2n)],
    ["reserved-bits", decodeSecondStageEntry(1n | (1n << 62n))],
    ["reserved-bits", decodeSecondStageEntry(0x1083n, 0, 2)],
    ["reserved-bits", decodeSecondStageEntry(0x83n, 0, 4)],
  ])("%s", (id, { findings }) => {
    expect(findings.map((each) => each.id)).toContain(id);
  });
});

describe("interrupt remapping table entries, VT-d §9.9, §9.10", () => {
  test("remapped, in xAPIC form", () => {
    const { structure, findings } = decodeIrte(pair(0x4_0000n | 0xfan, (0x0000_0300n << 32n) | (0x31n << 16n) | 1n));
    expect(structure.facts).toMatchObject({ mode: "remapped", requester: "00:1f.2", vector: 0x31, destination: 0x300, xapicDestination: 3, deliveryMode: "fixed" });
    expect(structure.meaning[0]).toBe("From 00:1f.2: vector 49 (fixed, edge) to physical APIC 0x300 (0x3 if the unit is in xAPIC mode).");
    expect(findings).toEqual([]);
  });
  test("remapped, from a range of buses, first bus in the high byte", () => {
    expect(decodeIrte(pair(0x8_0000n | 0x0205n, 1n)).structure.meaning[0]).toContain("From buses 0x2 to 0x5:");
  });
  test("posted", () => {
    const { structure } = decodeIrte(pair((0x1n << 32n) | 0x4_0000n | 0x200n, (0x1234_5640n << 32n) | (0x41n << 16n) | 0xc001n));
    expect(structure.facts).toMatchObject({ mode: "posted", virtualVector: 0x41, descriptor: 0x1_1234_5640n, urgent: true, requester: "02:00.0" });
  });
});

describe("paging entries, VT-d §9.7, §9.8", () => {
  test.each([
    [0x1_2345_6003n, 1, { leaf: true, address: 0x1_2345_6000n, read: true, write: true }],
    [0x1_2340_0081n, 2, { leaf: true, address: 0x1_2340_0000n, read: true, write: false }],
    [0x1_2345_6003n, 3, { leaf: false }],
    [0x1_2345_6003n, undefined, { leaf: null }],
    [0n, 1, { present: false }],
  ])("second stage, case %#", (value, level, facts) => {
    const { structure, findings } = decodeSecondStageEntry(value, 0, level);
    expect(structure.facts).toMatchObject(facts);
    expect(findings).toEqual([]);
  });
  test("first stage", () => {
    expect(decodeFirstStageEntry((1n << 63n) | 0x5007n, 0, 1).structure.facts).toMatchObject({ present: true, leaf: true, address: 0x5000n, write: true, user: true, executeDisable: true });
  });
  test("any bits end in a result", () => {
    fc.assert(fc.property(fc.bigInt({ min: 0n, max: (1n << 512n) - 1n }), fc.constantFrom(undefined, 1, 2, 3, 4, 5), (bits, level) => {
      for (const decode of [decodeRootEntry, decodeScalableRootEntry, decodeContextEntry, decodeIrte]) expect(decode(BigInt.asUintN(128, bits)).structure.fields.length).toBeGreaterThan(0);
      for (const decode of [decodeSecondStageEntry, decodeFirstStageEntry]) expect(decode(BigInt.asUintN(64, bits), 0, level).structure.meaning).toHaveLength(1);
      expect(decodeScalableContextEntry(BigInt.asUintN(256, bits)).structure.width).toBe(256);
      expect(decodePasidEntry(bits).structure.width).toBe(512);
    }));
  });
});
