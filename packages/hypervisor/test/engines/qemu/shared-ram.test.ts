import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { FlatMemory } from "@iommu-lab/memory";
import fc from "fast-check";
import { afterAll, describe, expect, test } from "vitest";
import { SharedRam } from "../../../src/engines/qemu/shared-ram.ts";

const SIZE = 0x8000;
const folder = mkdtempSync(join(tmpdir(), "iommu-ram-"));
afterAll(() => {
  rmSync(folder, { recursive: true });
});

describe("memory that another process has mapped", () => {
  test("its file has no name", () => {
    const ram = new SharedRam(SIZE, folder);
    expect(readdirSync(folder)).toEqual([]);
    ram.close();
  });
  test("it holds what it is given, as a flat memory does", () => {
    const at = fc.integer({ min: 0, max: SIZE - 9 });
    const step = fc.oneof(
      fc.record({ op: fc.constantFrom("write8", "write16", "write32"), at, value: fc.nat(0xff) }),
      fc.record({ op: fc.constant("write64"), at, value: fc.nat(0xffff_ffff) }),
      fc.record({ op: fc.constant("writeFrom"), at, value: fc.nat(0xff) }),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 20 }), fc.array(at, { maxLength: 20 }), (steps, looks) => {
        const ram = new SharedRam(SIZE, folder);
        const flat = new FlatMemory(SIZE);
        for (const memory of [ram, flat])
          for (const { op, at: where, value } of steps) {
            if (op === "write8") memory.write8(where, value);
            else if (op === "write16") memory.write16(where, value * 0x101);
            else if (op === "write32") memory.write32(where, value * 0x101_0101);
            else if (op === "write64") memory.write64(where, value, ~value >>> 0);
            else memory.writeFrom(where, Uint8Array.of(value, 1, 2, 3));
          }
        const seen = (memory: FlatMemory | SharedRam): unknown[] =>
          looks.flatMap((look) => {
            const words = new Uint32Array(2);
            memory.read64(look, words);
            const page = memory.wordsOf(look >>> 12);
            return [memory.read8(look), memory.read16(look), memory.read32(look), ...words, page?.[memory.wordOf(look >>> 12) + ((look & 0xfff) >>> 2)]];
          });
        expect(seen(ram)).toEqual(seen(flat));
        ram.close();
      }),
    );
  });
  test("past its end there is nothing", () => {
    const ram = new SharedRam(SIZE, folder);
    ram.write32(SIZE - 2, 0x1122_3344);
    expect([ram.read32(SIZE - 2), ram.read32(SIZE), ram.wordsOf(SIZE / 4096)]).toEqual([0xffff_3344, 0xffff_ffff, undefined]);
    ram.close();
  });
  test("a few pages can be looked at together", () => {
    const ram = new SharedRam(SIZE, folder);
    for (let page = 0; page < 4; page++) ram.write32(page * 4096, page + 1);
    const pages = [0, 1, 2, 3].map((page) => ram.wordsOf(page));
    expect(pages.map((page) => page?.[0])).toEqual([1, 2, 3, 4]);
    ram.close();
  });
});
