import { FrameAllocator, PAGE_SIZE, SparseMemory } from "@iommu-lab/memory";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { describeWalk, PageRight, ProcessorTables, type PageRights, type TableFormat } from "../../src/mmu/processor-tables.ts";

const { Read, Write, Execute, User } = PageRight;
const RAM = 2 ** 26;
/** Above 4 GiB, so that both words of an entry count. */
const FAR = 0xd_eadb_e000;

const make = (format: TableFormat): { tables: ProcessorTables; memory: SparseMemory; frames: FrameAllocator } => {
  const memory = new SparseMemory({ ranges: [{ start: 0, size: RAM }] });
  const frames = new FrameAllocator({ start: 16, count: RAM / PAGE_SIZE - 16 });
  return { tables: new ProcessorTables(format, memory, frames), memory, frames };
};

const FORMATS = ["paging", "extended"] as const;
/** What the tables of a format say of rights that were asked for. */
const kept = (format: TableFormat, rights: PageRights): PageRights => (format === "extended" ? (rights & 7) | User : Read | rights);

const step = fc.record({ what: fc.constantFrom("map", "map", "unmap", "walk"), slot: fc.nat(7), page: fc.nat(3), frame: fc.nat(2 ** 40 - 1), rights: fc.integer({ min: 1, max: 15 }) });
/** Neighbours, borders of tables of each level, the last pages of 48 bits. */
const SLOTS = [0, 2 ** 9 - 2, 2 ** 18 - 2, 2 ** 27 - 2, 2 ** 30, 2 ** 35 + 5, 2 ** 36 - 4, 0x7_ffff_fff8];

describe.each(FORMATS)("processor tables for %s", (format) => {
  test("are a map from pages to frames and rights, over any history", () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (history) => {
        const { tables, frames } = make(format);
        const model = new Map<number, { hpa: number; rights: number }>();
        for (const { what, slot, page: offset, frame, rights } of history) {
          const page = SLOTS[slot]! + offset;
          if (what === "map") {
            tables.map(page * PAGE_SIZE, frame * PAGE_SIZE, rights);
            // Second-stage entries without any right are not present.
            if (format === "extended" && (rights & 7) === 0) model.delete(page);
            else model.set(page, { hpa: frame * PAGE_SIZE, rights: kept(format, rights) });
          } else if (what === "unmap") expect(tables.unmap(page * PAGE_SIZE)).toBe(model.delete(page));
          for (const access of [Read, Write, Execute, Read | User, Write | User]) {
            const wanted = format === "extended" ? access & 7 : access;
            const entry = model.get(page);
            const walk = tables.walk(page * PAGE_SIZE + 0x123, access);
            expect(walk.hpa).toBe(entry && (wanted & ~entry.rights) === 0 ? entry.hpa + 0x123 : undefined);
            if (walk.hpa !== undefined) expect(walk.error).toBe(0);
          }
        }
        expect(frames.counts().used).toBe(tables.tables);
        frames.check();
      }),
    );
  });

  test("mapping elsewhere replaces, and takes no more tables", () => {
    const { tables } = make(format);
    tables.map(0x1000, 0x5000, Read | Write | Execute | User);
    expect(tables.tables).toBe(4);
    tables.map(0x1000, FAR, Read);
    expect([tables.tables, tables.walk(0x1000, Read).hpa, tables.walk(0x1000, Write).hpa]).toEqual([4, FAR, undefined]);
  });

  test("unmapping where no table is makes none", () => {
    const { tables } = make(format);
    expect([tables.unmap(2 ** 40), tables.tables]).toEqual([false, 1]);
  });

  test("a walk tells each entry it read, from the root down, as far as it came", () => {
    const { tables, memory } = make(format);
    tables.map(0x12_3456_7000, FAR, Read | Write | Execute);
    const { steps } = tables.walk(0x12_3456_7000, Read);
    expect(steps.map(({ level, index }) => [level, index])).toEqual([[4, 0], [3, 0x48], [2, 0x1a2], [1, 0x167]]);
    expect(steps[0]?.at).toBe(tables.root);
    for (const { at, low, high } of steps) expect([memory.read32(at), memory.read32(at + 4)]).toEqual([low, high]);
    expect(tables.walk(2 ** 39, Read).steps).toHaveLength(1);
    expect(describeWalk(tables.walk(0x12_3456_7000, Read)).at(-1)).toBe("HPA 0xd_eadb_e000");
    expect(describeWalk(tables.walk(2 ** 39, Read)).at(-1)).toBe("fault");
  });

  test("without frames for tables there is a refusal", () => {
    const memory = new SparseMemory({ ranges: [{ start: 0, size: RAM }] });
    const frames = new FrameAllocator({ start: 16, count: 2, maxOrder: 0 });
    const tables = new ProcessorTables(format, memory, frames);
    expect(() => { tables.map(0, 0, Read); }).toThrow(/no frame left/);
    expect(() => { new ProcessorTables(format, memory, new FrameAllocator({ start: 16, count: 1 })).map(0, 0, Read); }).toThrow(RangeError);
  });
});

describe("page fault error codes (Intel SDM vol. 3 §4.7)", () => {
  const ALL = Read | Write | Execute | User;
  test.each<readonly [string, rights: number | undefined, access: number, code: number]>([
    ["a read of a page that is not there", undefined, Read, 0],
    ["a write to one", undefined, Write, 2],
    ["a user's read of one", undefined, Read | User, 4],
    ["a user's write to one", undefined, Write | User, 6],
    ["a fetch from one", undefined, Execute, 0x10],
    ["a write to a page for reading", Read | User, Write, 3],
    ["a user's write to one", Read | User, Write | User, 7],
    ["a user's read of a page of the kernel's", Read | Write, Read | User, 5],
    ["a fetch from data", Read | Write | User, Execute, 0x11],
    ["a user's fetch from data", Read | Write | User, Execute | User, 0x15],
  ])("%s", (_what, rights, access, code) => {
    const { tables } = make("paging");
    tables.map(0x2000, 0x9000, ALL);
    if (rights !== undefined) tables.map(0x1000, 0x8000, rights);
    expect(tables.walk(0x1000, access)).toMatchObject({ hpa: undefined, error: code });
  });
});

describe("exit qualifications of EPT violations (Intel SDM vol. 3 §28.2.1)", () => {
  test.each<readonly [string, rights: number, access: number, qualification: number]>([
    ["nothing is there", 0, Read, 0b000_001],
    ["a write to what can be read", Read, Write, 0b001_010],
    ["a fetch from what can be read and written", Read | Write, Execute, 0b011_100],
    ["a read of what can be fetched alone", Execute, Read, 0b100_001],
  ])("%s", (_what, rights, access, qualification) => {
    const { tables } = make("extended");
    tables.map(0x2000, 0x9000, 7);
    tables.map(0x1000, 0x8000, rights);
    expect(tables.walk(0x1000, access)).toMatchObject({ hpa: undefined, error: qualification });
  });
});
