import { encodeDmar } from "@iommu-lab/iommu-intel/dmar";
import { readBundled } from "@iommu-lab/host/bundled";
import { buildLegacyImage, buildOptionRom } from "@iommu-lab/vga-arbiter";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { compareItems } from "../src/views/inspector/compare.ts";
import { bitsAt, bytesWith, nodeAt, valueText } from "../src/views/inspector/fields.ts";
import { checksumFix, inspect, openItem, patched, type Item } from "../src/views/inspector/inspect.ts";
import { FIRST_TEXT, readInspector, withPatches } from "../src/views/inspector/settings.ts";

const hex = (bytes: Uint8Array): string => Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join(" ");
const dmar = (host: string): Item => inspect(hex(readBundled(host).acpi.get("DMAR")!), "auto").items[0]!;
const field = (item: Item, id: string): string | undefined => {
  const node = openItem(item).nodes.find((each) => each.id === id);
  return node && valueText(item.bytes, node);
};

describe("inspector", () => {
  test("settings are read out of anything", () => {
    fc.assert(fc.property(fc.jsonValue(), (value) => { expect(readInspector(readInspector(value))).toEqual(readInspector(value)); }));
  });
  test("the kernel's line about a unit gives its two capability registers", () => {
    const { items } = inspect(FIRST_TEXT, "auto");
    expect(items.map(({ kind }) => kind)).toEqual(expect.arrayContaining(["cap", "ecap"]));
    const cap = items.find(({ kind }) => kind === "cap")!;
    expect(BigInt(`0x${hex(cap.bytes.toReversed()).replaceAll(" ", "")}`)).toBe(0x1c0000c40660462n);
    expect(openItem(cap).nodes.some(({ id }) => id === "SAGAW")).toBe(true);
  });
  test("a DMAR table has its structures, scopes and header as fields at their places", () => {
    const item = dmar("i7-3770-p8z68-v");
    const { nodes, noticed } = openItem(item);
    expect(nodes.filter(({ heading }) => heading).map(({ name }) => name)).toEqual(["Header", "DRHD", "Device Scope", "DRHD"]);
    expect(field(item, "0 Signature")).toBe("\"DMAR\"");
    expect(field(item, "30 BASE_LOW")).toBe("0xfed90000");
    expect(noticed.map(({ id }) => id)).toContain("ioapic-missing");
    expect(nodeAt(nodes, 0x38)?.name).toBe("BASE_LOW");
  });
  test("a changed field is a wrong checksum, and the button's byte makes it right", () => {
    const item = dmar("i7-3770-p8z68-v");
    const node = openItem(item).nodes.find(({ id }) => id === "30 BASE_LOW")!;
    expect(checksumFix(item)).toBeUndefined();
    const changed = patched(item, 0, bytesWith(item.bytes, node.lsb, node.msb, 0xfed95000n).map((patch) => ({ item: 0, ...patch })));
    expect(field(changed, "30 BASE_LOW")).toBe("0xfed95000");
    expect(openItem(changed).noticed.map(({ id }) => id)).toContain("table-checksum-wrong");
    const fixed = patched(changed, 0, [{ item: 0, ...checksumFix(changed)! }]);
    expect(checksumFix(fixed)).toBeUndefined();
    expect(compareItems({ item, opened: openItem(item) }, { item: fixed, opened: openItem(fixed) }).map(({ id, there }) => [id, there])).toEqual([["0 Checksum".replace("0", "9"), expect.any(String)], ["30 BASE_LOW", "0xfed95000"]]);
  });
  test("IVRS, MCFG and option ROMs", () => {
    const ivrs = inspect(hex(readBundled("q35-amd-iommu").acpi.get("IVRS")!), "auto").items[0]!;
    expect(openItem(ivrs).nodes.some(({ name }) => name.startsWith("IVHD"))).toBe(true);
    const rom = buildOptionRom([buildLegacyImage({ vendor: 0x10de, device: 0x1402, code: new Uint8Array(64) } as unknown as Parameters<typeof buildLegacyImage>[0])]);
    const item = inspect(rom, "auto").items[0]!;
    expect([item.kind, field(item, openItem(item).nodes.find(({ name }) => name === "Vendor ID")?.id ?? "")]).toEqual(["rom", "0x10de"]);
  });
  test("any bits of any bytes can be read and written", () => {
    fc.assert(fc.property(fc.uint8Array({ minLength: 1, maxLength: 16 }), fc.nat(127), fc.nat(63), fc.bigInt(0n, (1n << 64n) - 1n), (bytes, start, width, any) => {
      const lsb = start % (8 * bytes.length);
      const msb = Math.min(8 * bytes.length - 1, lsb + width);
      const value = any & ((1n << BigInt(msb - lsb + 1)) - 1n);
      const changed = bytes.slice();
      for (const { at, byte } of bytesWith(bytes, lsb, msb, value)) changed[at] = byte;
      expect(bitsAt(changed, lsb, msb)).toBe(value);
      const [mask, whole] = [((1n << BigInt(msb - lsb + 1)) - 1n) << BigInt(lsb), 8 * bytes.length - 1];
      expect(bitsAt(changed, 0, whole) & ~mask).toBe(bitsAt(bytes, 0, whole) & ~mask);
    }), { numRuns: 200 });
  });
  test("nothing that is pasted makes it throw, under any kind", () => {
    const table = encodeDmar({ structures: [] });
    const input = fc.oneof(fc.string({ maxLength: 120 }), fc.stringMatching(/^[0-9a-fx: \n]{0,120}$/), fc.uint8Array({ maxLength: 80 }).map((rest) => hex(Uint8Array.from([...table.subarray(0, 48), ...rest]))), fc.uint8Array({ maxLength: 80 }).map((rest) => hex(Uint8Array.from([0x55, 0xaa, ...rest]))));
    fc.assert(fc.property(input, fc.constantFrom("auto", "dmar", "cap", "fault", "irte", "amd-event", "rom", "nothing"), (text, kind) => {
      const { items, error, statements, noticed } = inspect(text, kind);
      for (const item of items.slice(0, 4)) openItem(item);
      expect(items.length + statements.length + noticed.length > 0 || error !== undefined || text.trim() === "").toBe(true);
    }), { numRuns: 200 });
  });
  test("a byte that is changed again is there once", () => {
    expect(withPatches([{ item: 0, at: 3, byte: 1 }, { item: 1, at: 3, byte: 2 }], [{ item: 0, at: 3, byte: 9 }])).toEqual([{ item: 1, at: 3, byte: 2 }, { item: 0, at: 3, byte: 9 }]);
  });
});
