import { decodeSdt, encodeSdt, SDT_HEADER_SIZE } from "@iommu-lab/pci-bus/acpi";
import fc from "fast-check";
import { describe, expect, test } from "vitest";

describe("system description table header (ACPI §5.2.6)", () => {
  test("the bytes of an encoded table add up to zero modulo 256", () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), (body) => encodeSdt("TEST", body).reduce((sum, byte) => sum + byte, 0) % 256 === 0));
  });

  test("decoding gives back the header and the contents that were encoded, without problems", () => {
    const table = encodeSdt("TEST", Uint8Array.of(1, 2, 3), { revision: 7, oemId: "ACME", oemTableId: "BOARD", oemRevision: 0xfedc_ba98, creatorId: "TOOL", creatorRevision: 3 });
    const { header, body, problems } = decodeSdt(table, "TEST");
    expect(header).toMatchObject({ signature: "TEST", length: SDT_HEADER_SIZE + 3, revision: 7, oemId: "ACME", oemTableId: "BOARD", oemRevision: 0xfedc_ba98, creatorId: "TOOL", creatorRevision: 3 });
    expect([...body]).toEqual([1, 2, 3]);
    expect(problems).toEqual([]);
  });

  test("a flipped byte is reported as a checksum problem at offset 9", () => {
    const table = encodeSdt("TEST", Uint8Array.of(1, 2, 3));
    table[36] = 9;
    expect(decodeSdt(table).problems).toMatchObject([{ kind: "checksum", field: "Checksum", offset: 9 }]);
  });

  test("a length past the end is reported at offset 4 and the rest is read", () => {
    const table = encodeSdt("TEST", Uint8Array.of(1, 2, 3, 4)).subarray(0, 38);
    const { body, problems } = decodeSdt(table);
    expect(problems).toContainEqual(expect.objectContaining({ kind: "length", offset: 4 }));
    expect([...body]).toEqual([1, 2]);
  });

  test("another signature than expected is reported at offset 0", () => {
    expect(decodeSdt(encodeSdt("TEST", new Uint8Array()), "MCFG").problems).toMatchObject([{ kind: "signature", field: "Signature", offset: 0 }]);
  });

  test("no bytes whatever make decoding throw", () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 64 }), (bytes) => void decodeSdt(bytes, "MCFG")));
  });

  test("a signature that is not four characters long is refused", () => {
    expect(() => encodeSdt("TOOLONG", new Uint8Array())).toThrow(RangeError);
  });
});
