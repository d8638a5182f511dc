import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { decodeDescriptor, decodeFaultRecord, decodeRegister, parseWords, REGISTERS, structuresOf, WordsError } from "../src/decode/index.ts";

const ids = ({ findings }: { readonly findings: readonly { readonly id: string }[] }): string[] => findings.map(({ id }) => id);

describe("capability registers, VT-d §11.4.2, §11.4.3", () => {
  test("a capability value in words", () => {
    // 64 K domains, 39 and 48 bits, MGAW 48, records at 220h, 2 MiB and 1 GiB, PSI with MAMV 18, drains, posted interrupts.
    const { structure, findings } = decodeRegister("CAP", 0x08d2_008c_222f_0606n);
    expect(structure.facts).toEqual({ domains: 65_536, guestAddressWidth: 48, tableWidths: [39, 48], pageSizes: ["4 KiB", "2 MiB", "1 GiB"], faultRecordsOffset: "0x220", faultRecords: 1, cachingMode: false, postedInterrupts: true });
    expect(findings).toEqual([]);
  });
  test("an extended capability value in words", () => {
    const { structure } = decodeRegister("ECAP", 0x4801_80f0_0f4an);
    expect(structure.facts).toMatchObject({ modes: ["legacy", "scalable"], iotlbRegistersOffset: "0xf0", interruptRemapping: true, x2apic: false, passThrough: true, deviceTlbs: false, pasidBits: 0 });
  });
  test.each([
    ["CAP", 0x7n | (4n << 8n) | (47n << 16n), "cap-domains-reserved"],
    ["CAP", 47n << 16n, "cap-no-table-width"],
    ["CAP", (4n << 8n) | (20n << 16n), "cap-width-implausible"],
    ["CAP", (2n << 8n) | (47n << 16n), "cap-width-beyond-tables"],
    ["CAP", 0x80n | (4n << 8n) | (47n << 16n), "cap-caching-mode"],
    ["CAP", 0x10n | (4n << 8n) | (47n << 16n), "cap-write-buffer"],
    ["ECAP", 0x9n, "ecap-contradiction"],
    ["ECAP", 0x3n, "ecap-no-interrupt-remapping"],
    ["ECAP", 0x1n, "ecap-no-queue"],
    ["ECAP", 0xan, "ecap-not-coherent"],
    ["ECAP", (1n << 64n) - 1n, "register-all-ones"],
    ["ECAP", 0xbn | (1n << 24n), "reserved-bits"],
  ])("%s: %s is named %s", (name, value, id) => {
    expect(ids(decodeRegister(name, value))).toContain(id);
  });
  test("status bits that are set are said, others are not", () => {
    const { structure } = decodeRegister("FSTS", 0x0000_0312n);
    expect(structure.meaning).toEqual(["Primary pending fault: some recording register has F set.", "Invalidation queue error.", "Recording register of the first pending fault: 3."]);
  });
  test("a register that does not exist is misuse", () => {
    expect(() => decodeRegister("NONE", 0n)).toThrow(/no register NONE/);
  });
  test("every register decodes every value of its width, and its fields hold the value's bits", () => {
    fc.assert(fc.property(fc.constantFrom(...REGISTERS), fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }), ([name, { width }], any) => {
      const value = BigInt.asUintN(width, any);
      for (const field of decodeRegister(name, value).structure.fields) expect(BigInt(field.value)).toBe(BigInt.asUintN(field.msb - field.lsb + 1, value >> BigInt(field.lsb)));
    }));
  });
});

describe("fault records, VT-d §11.4.7.6", () => {
  test.each([
    ["a read without PASID", 0xc000_0006_0000_0200_0000_0000_fffe_0000n, { valid: true, requester: "02:00.0", access: "read", address: 0xfffe_0000n, reason: 6, reasonName: "LGN.3", pasid: null }],
    ["a write with PASID 12345h", (0x8123_4585_8000_00fan << 64n) | 0xffff_ffff_f000n, { access: "write", requester: "00:1f.2", address: 0xffff_ffff_f000n, reason: 0x85, reasonName: "SGN.6", pasid: 0x1_2345 }],
    ["an interrupt", (0x8000_0022_0000_f0f8n << 64n) | (0x0011n << 48n), { requester: "f0:1f.0", interruptIndex: 0x11, reason: 0x22 }],
  ])("%s", (_what, value, facts) => {
    const { structure, findings } = decodeFaultRecord(value);
    expect(structure.facts).toMatchObject(facts);
    expect(findings).toEqual([]);
  });
  test.each([
    ["fault-record-empty", 0n],
    ["fault-reason-unknown", 0x8000_00ff_0000_0000n << 64n],
    ["fault-attributes-without-pasid", 0x8000_0006_2000_0000n << 64n],
    ["reserved-bits", (0x8000_0006_0000_0000n << 64n) | 1n],
  ])("%s", (id, value) => {
    expect(ids(decodeFaultRecord(value))).toContain(id);
  });
});

describe("invalidation queue descriptors, VT-d §6.5.2", () => {
  const of = (qw0: bigint, qw1 = 0n): bigint => (qw1 << 64n) | qw0;
  test.each([
    ["all contexts", of(0x11n), "Forgets context entries of all domains."],
    ["a domain's contexts", of(0x0005_0021n), "Forgets context entries of domain 5."],
    ["the whole IOTLB, drained", of(0xd2n), "Forgets translations: everything; writes and reads in flight are waited for."],
    ["four pages of a domain", of(0x0001_0032n, 0x1_0000_4002n), "Forgets translations: pages 0x100004000 to 0x100007fff of domain 1."],
    ["eight pages of a device", of(0x0200_0000_0003n, 0x1_3000n | 1n), "Asks the device-TLB of 02:00.0 to forget 0x10000 to 0x17fff."],
    ["one IRTE", of(0x0007_0000_0014n), "Forgets 2^0 interrupt remapping entries from index 7 on."],
    ["a wait that writes", of(0x2_0000_0025n, 0x1_0005_2604n), "Waits for all before it, then writes 0x2 to 0x100052604."],
    ["all of a PASID", of((0x12n << 32n) | 0x0003_0026n), "Forgets translations of PASID 0x12 in domain 3: all."],
    ["the PASID cache", of(0x37n), "Forgets PASID table entries of all domains."],
    ["a PASID's device-TLB", of((0x12n << 32n) | 0x0200_0008n, 0x5000n), "Asks the device-TLB of 02:00.0 to forget 0x5000 to 0x5fff of PASID 0x12."],
    ["an answer", of((0x12n << 32n) | 0x0200_0019n, 3n << 3n), "Answers page request group 3 of 02:00.0: the pages are there."],
  ])("%s", (_what, value, sentence) => {
    const { structure, findings } = decodeDescriptor(value);
    expect([structure.meaning, findings]).toEqual([[sentence], []]);
  });
  test.each([
    ["descriptor-type-invalid", of(0n)],
    ["descriptor-type-invalid", of(0xan)],
    ["descriptor-type-invalid", of(0x201n)],
    ["descriptor-granularity-reserved", of(0x1n)],
    ["descriptor-granularity-reserved", of(0x2n)],
    ["descriptor-granularity-reserved", of(0x6n)],
    ["descriptor-granularity-reserved", of(0x27n)],
    ["descriptor-address-unaligned", of(0x32n, 0x1001n)],
    ["descriptor-wait-silent", of(0x5n)],
    ["reserved-bits", of(0x11n, 1n)],
  ])("%s", (id, value) => {
    expect(ids(decodeDescriptor(value))).toContain(id);
  });
  test("the upper half of a wide descriptor must be zero", () => {
    expect(ids(decodeDescriptor(of(0x11n) | (1n << 200n), 256))).toEqual(["reserved-bits"]);
  });
});

describe("hexadecimal of an input", () => {
  test.each([
    ["0x1234", 64, [0x1234n]],
    ["1234 5678", 64, [0x1234n, 0x5678n]],
    ["0x2 0x1", 128, [(1n << 64n) | 2n]],
    ["qw0 = 0x2, qw1 = 0x1", 128, [(1n << 64n) | 2n]],
    ["0000000000000001:0000000000000002", 128, [(1n << 64n) | 2n]],
    ["c0000006000002000000_0000fffe0000", 128, [0xc000_0006_0000_0200_0000_0000_fffe_0000n]],
  ])("%j as %i bits", (text, width, values) => {
    expect(structuresOf(text, width, "x").map(({ value }) => value)).toEqual(values);
  });
  test.each([
    ["hello", 64, /something else/],
    ["", 64, /no number/],
    ["1 2 3", 128, /2 quadwords; the text has 3/],
    ["12345678123456781", 64, /does not fit the 64 bits/],
    ["1:12345678123456781", 128, /something else/],
    ["1 112345678123456781 2", 128, /mixes/],
  ])("%j as %i bits is refused", (text, width, message) => {
    expect(() => structuresOf(text, width, "x")).toThrow(message);
    expect(() => structuresOf(text, width, "x")).toThrow(WordsError);
  });
  test("any text ends in words, or in none", () => {
    fc.assert(fc.property(fc.string({ maxLength: 300, unit: fc.constantFrom(...Array.from("0123456789abcdefx:_ =q\n\u001b")) }), (text) => {
      for (const { value, bits } of parseWords(text) ?? []) expect(value >> BigInt(bits)).toBe(0n);
    }));
  });
});
