import { NO_PASID } from "@iommu-lab/pci-bus";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { flip, readEdits, withField, withWords } from "../src/views/entries/edits.ts";
import { splitRequest } from "../src/views/walk/address-split.ts";
import { beyondWidth, breakEntry } from "../src/views/walk/breaks.ts";
import { runWalk, type WalkRun } from "../src/views/walk/lab.ts";
import { LEAF_LEVELS, MODE_IDS, MODES, type PageSize } from "../src/views/walk/modes.ts";
import { BOUND_PASID, readWalk, type WalkSettings } from "../src/views/walk/settings.ts";
import { nestedRows } from "../src/views/walk/steps.ts";

const SIZES = Object.keys(LEAF_LEVELS) as PageSize[];
const FIRST = readWalk({});
const named = (run: WalkRun, structure: string): WalkRun["steps"][number] => run.steps.find(({ step }) => step.structure === structure)!;

describe("a request on the bench", () => {
  test.each(MODE_IDS)("%s translates pages of every size", (mode) => {
    for (const size of SIZES) {
      const { host, translation } = runWalk({ ...FIRST, mode, size });
      expect(host, size).toBe(mode === "vtd-pass" ? BigInt(FIRST.address) : 0x1_5234_5678n);
      expect(translation.pageShift, size).toBe(mode === "vtd-pass" ? 12 : 3 + 9 * LEAF_LEVELS[size]);
    }
  });
  test("with a PASID finds the PASID's tables, where tables are by PASID", () => {
    for (const mode of MODE_IDS) expect(runWalk({ ...FIRST, mode, pasid: BOUND_PASID }).host !== undefined, mode).toBe(!/legacy|host/.test(mode));
  });
  test("reads every level once; nested, each guest table through the host's tables", () => {
    const reads = (mode: WalkSettings["mode"], size: PageSize = "4K"): number => runWalk({ ...FIRST, mode, size }).reads;
    expect([reads("vtd-legacy-3"), reads("vtd-legacy-4"), reads("vtd-legacy-5"), reads("vtd-legacy-4", "1G")]).toEqual([5, 6, 7, 4]);
    // Root, context, directory and PASID entry; then five walks of four levels and four guest entries.
    expect([reads("vtd-second-4"), reads("vtd-nested"), reads("vtd-pass")]).toEqual([8, 28, 4]);
    expect([reads("amd-host-4"), reads("amd-host-6"), reads("amd-guest-4"), reads("amd-nested")]).toEqual([5, 7, 6, 26]);
  });
  test("skips levels where AMD's tables do", () => {
    const run = runWalk({ ...FIRST, mode: "amd-host-4", skip: true, address: "0x5678", mapped: "0x5678" });
    expect([run.host !== undefined, run.reads]).toEqual([true, 3]);
    expect(runWalk({ ...FIRST, mode: "amd-host-4", skip: true, address: "0x205678", mapped: "0x205678" }).host).toBeUndefined();
  });
  test("a nested walk is a grid of five rows", () => {
    for (const mode of ["vtd-nested", "amd-nested"] as const) expect(nestedRows(runWalk({ ...FIRST, mode }).steps).map(({ outer, entry }) => [outer.length, entry !== undefined])).toEqual([[4, true], [4, true], [4, true], [4, true], [4, false]]);
    expect(nestedRows(runWalk(FIRST).steps)).toEqual([]);
  });
  test("an address split by bits is the address again", () => {
    fc.assert(
      fc.property(fc.bigInt(0n, 2n ** 64n - 1n), fc.constantFrom(...MODE_IDS), fc.constantFrom(...SIZES), fc.boolean(), (address, mode, size, skip) => {
        const parts = splitRequest({ ...FIRST, mode, size, skip, address: `0x${address.toString(16)}` }).find(({ name }) => name === "address")!.parts;
        expect(parts.reduce((sum, { value, lsb }) => sum + (value << BigInt(lsb)), 0n)).toBe(address);
      }),
    );
  });
});

describe("breaking a table", () => {
  test.each(MODE_IDS)("%s: a reserved bit in any entry stops the request; so does an address beyond the width", (mode) => {
    const run = runWalk({ ...FIRST, mode });
    for (const step of run.steps) {
      const edits = breakEntry({}, step, "reserved");
      if (edits) expect(runWalk({ ...FIRST, mode, edits }).host, step.step.structure).toBeUndefined();
    }
    const settings = { ...FIRST, mode };
    expect(runWalk({ ...settings, address: beyondWidth(settings) }).host).toBeUndefined();
  });
  test("an entry that is not present stops it; an AMD device table entry without V lets it pass", () => {
    for (const mode of MODE_IDS) {
      for (const step of runWalk({ ...FIRST, mode }).steps) {
        const edits = breakEntry({}, step, "present");
        if (edits) expect(runWalk({ ...FIRST, mode, edits }).host, `${mode} ${step.step.structure}`).toBe(step.step.structure === "device table entry" ? BigInt(FIRST.address) : undefined);
      }
    }
  });
  test("one bit of the last entry changes the page, the rights and the record", () => {
    const { step } = named(runWalk(FIRST), "second-stage entry, level 1");
    const edited = (words: readonly number[], access: WalkSettings["access"] = "read"): WalkRun => runWalk({ ...FIRST, access, edits: withWords({}, step.address!, words) });
    expect(edited(flip(step.raw!, 12)).host).toBe(0x1_5234_4678n);
    expect(edited(flip(step.raw!, 1)).translation.permissions).toBe(1);
    expect([edited(flip(step.raw!, 1), "write").translation.fault, (edited(flip(step.raw!, 1), "write").record?.[3] ?? 0) & 0xff]).toEqual([5, 5]);
    expect(edited(withField(step.raw!, 51, 12, 0x99n)).host).toBe(0x9_9678n);
  });
  test("rights are those that all levels have", () => {
    const { step } = named(runWalk(FIRST), "second-stage entry, level 3");
    const run = runWalk({ ...FIRST, edits: withWords({}, step.address!, flip(step.raw!, 1)) });
    expect(run.steps.flatMap(({ soFar }) => (soFar === undefined ? [] : [soFar]))).toEqual(["RW", "R–", "R–", "R–"]);
  });
});

describe("what an address of the page may hold", () => {
  test("anything is settings, and settings are themselves", () => {
    const odd = fc.oneof(fc.anything(), fc.record({ mode: fc.oneof(fc.constantFrom(...MODE_IDS, "__proto__"), fc.anything()), size: fc.anything(), requester: fc.anything(), pasid: fc.oneof(fc.integer(), fc.anything()), address: fc.oneof(fc.string(), fc.bigInt(0n, 2n ** 70n).map((n) => `0x${n.toString(16)}`)), mapped: fc.string(), edits: fc.dictionary(fc.oneof(fc.string(), fc.nat().map((n) => `0x${n.toString(16)}`)), fc.anything()), at: fc.anything() }, { requiredKeys: [] }));
    fc.assert(
      fc.property(odd, (kept) => {
        const settings = readWalk(kept);
        expect(readWalk(JSON.parse(JSON.stringify(settings)))).toEqual(settings);
      }),
    );
  });
  test("any settings make a request that ends", () => {
    const words = fc.array(fc.nat(2 ** 32 - 1), { minLength: 1, maxLength: 16 });
    fc.assert(
      fc.property(fc.record({ mode: fc.constantFrom(...MODE_IDS), size: fc.constantFrom(...SIZES), skip: fc.boolean(), requester: fc.nat(0xffff), pasid: fc.oneof(fc.constant(NO_PASID), fc.nat(0xf_ffff)), address: fc.bigInt(0n, 2n ** 64n - 1n).map((n) => `0x${n.toString(16)}`), mapped: fc.bigInt(0n, 2n ** 64n - 1n).map((n) => `0x${n.toString(16)}`), access: fc.constantFrom("read", "write", "execute"), edits: fc.dictionary(fc.nat(0xffff).map((n) => `0x${(n * 8).toString(16)}`), words, { maxKeys: 4 }) }), (kept) => {
        const run = runWalk(readWalk(kept));
        expect(run.steps.length + run.translation.fault).toBeGreaterThan(0);
        for (const step of run.steps) run.map(step);
      }),
      { numRuns: 60 },
    );
  });
  test("edits are bounded, aligned and inside the bench's memory", () => {
    expect(readEdits({ "0x1000": [1], "0x1001": [1], "1000": [1], "0x40000000": [1], "0x3ffffffc": [1, 2], "0x2000": [-1], "0x3000": [], "0x4000": "x" })).toEqual({ "0x1000": [1] });
    expect(Object.keys(readEdits(Object.fromEntries(Array.from({ length: 200 }, (_, i) => [`0x${(4096 * (i + 1)).toString(16)}`, [1]]))))).toHaveLength(64);
  });
});

test("every mode has its vendor's name", () => {
  for (const id of MODE_IDS) expect(MODES[id].vendor).toBe(id.startsWith("vtd") ? "intel" : "amd");
});
