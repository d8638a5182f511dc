import { Access, AddressType, Completion } from "@iommu-lab/pci-bus";
import { describe, expect, test } from "vitest";
import { HOST_HIGH } from "../../src/hardware/host-walker.ts";
import * as layouts from "../../src/layouts/index.ts";
import type { Rig} from "./rig.ts";
import { DEVICE, DOMAIN, hostRig, RAM } from "./rig.ts";

const { Read, Write } = Access;
const PAGE = 0x12_3456; // arbitrary
const HOST = 0x2_0000; // arbitrary
const fault = (changes: object = {}): object => ({ name: "IO_PAGE_FAULT", DeviceID: DEVICE, DomainIDorPASID: DOMAIN, AddressLow: (PAGE * 4096) % 2 ** 32, AddressHigh: Math.floor(PAGE / 2 ** 20) || undefined, ...changes });
const only = (value: object): object => Object.fromEntries(Object.entries(value).filter(([, each]) => each !== undefined));

describe("the hand masks of host entries", () => {
  test("agree with the layouts, but for the rights", () => {
    expect([layouts.HOST_PDE.reserved, layouts.HOST_PTE.reserved]).toEqual([
      [0, HOST_HIGH.PDE_RESERVED],
      [0, HOST_HIGH.PTE_RESERVED],
    ]);
    expect([layouts.HOST_PTE.fields.IR.lsb - 32, layouts.HOST_PTE.fields.IW.lsb - 32]).toEqual([HOST_HIGH.RIGHTS_SHIFT, HOST_HIGH.RIGHTS_SHIFT + 1]);
  });
});

describe("host page tables, level by level (AMD-Vi §2.2.3)", () => {
  test.each([1, 2, 3, 4, 5, 6])("Mode %i walks as many levels", (levels) => {
    const rig = hostRig({ device: { Mode: levels } });
    const page = levels === 6 ? 2 ** 52 - 3 : 2 ** (9 * levels) - 3;
    rig.mapHost(rig.table, page, HOST, { steps: Array.from({ length: levels }, (_, i) => levels - i) });
    expect(rig.translate(page)).toEqual({ page: HOST, pageShift: 12, permissions: Read | Write, global: false, memoryType: 6, snoop: false, fault: 0, recorded: false, completion: 0 });
    expect(rig.iommu.totals.hostTableReads).toBe(levels);
  });

  test.each([1, 2, 3, 4, 5])("an address above Mode %i's range is a bad level", (levels) => {
    const rig = hostRig({ device: { Mode: levels } });
    const page = 2 ** (9 * levels);
    rig.mapHost(rig.table, 0, HOST, { steps: Array.from({ length: levels }, (_, i) => levels - i) });
    expect(rig.translate(page).fault).toBe(2);
    expect(rig.events()).toMatchObject([{ name: "IO_PAGE_FAULT", PR: 1 }]);
    expect(rig.translate(2 ** 51).fault).toBe(2);
    expect(rig.translate(0).fault).toBe(0);
  });

  test.each([
    [1, 12],
    [2, 21],
    [3, 30],
    [4, 39],
    [5, 48],
  ])("Next Level 0 at level %i is a page of 2^%i bytes", (level, shift) => {
    const rig = hostRig({ device: { Mode: 6 } });
    const page = 2 ** 47 + 2 ** (shift - 12) * 5 + (2 ** (shift - 12) - 1);
    rig.mapHost(rig.table, page, 2 ** (shift - 12) * 3, { steps: Array.from({ length: 7 - level }, (_, i) => 6 - i) });
    expect(rig.translate(page)).toMatchObject({ page: 2 ** (shift - 12) * 3 + 2 ** (shift - 12) - 1, pageShift: shift });
    // From the cache, at the page's other end.
    expect(rig.translate(page - (2 ** (shift - 12) - 1))).toMatchObject({ page: 2 ** (shift - 12) * 3, pageShift: shift });
    expect(rig.iommu.totals.iotlbMisses).toBe(1);
  });

  test("there is no leaf at level 6", () => {
    const rig = hostRig({ device: { Mode: 6 } });
    rig.mapHost(rig.table, 0, HOST, { steps: [6] });
    expect(rig.translate(0).fault).toBe(2);
    expect(rig.events()).toEqual([{ name: "IO_PAGE_FAULT", DeviceID: DEVICE, DomainIDorPASID: DOMAIN, PR: 1 }]);
  });

  test("address bits below a large page's size are ignored", () => {
    const rig = hostRig();
    rig.mapHost(rig.table, 0x200, 0x2_0000 + 5, { steps: [4, 3, 2] });
    expect(rig.translate(0x201).page).toBe(0x2_0001);
  });
});

/** Address field with a size code for a page of 2^shift bytes. */
const sized = (base: number, shift: number): number => base + 2 ** (shift - 13) - 1;

describe("pages with a size code, Next Level 7 (AMD-Vi §2.2.3)", () => {
  const sizes = Array.from({ length: 40 - 1 }, (_, i) => i + 13);
  test.each(sizes)("2^%i bytes", (shift) => {
    const level = Math.floor((shift - 12) / 9) + 1;
    const rig = hostRig({ device: { Mode: 6 } });
    const pages = 2 ** (shift - 12);
    const steps = Array.from({ length: 7 - level }, (_, i) => 6 - i);
    const last = pages * 6 - 1;
    const entries = rig.mapHost(rig.table, last, sized(pages, shift), { steps, leaf: { NextLevel: 7 } });
    const out = rig.translate(last);
    // A size that is the level's own is said with Next Level 0.
    if ((shift - 12) % 9 === 0) expect([out.fault, rig.events()]).toMatchObject([2, [{ name: "IO_PAGE_FAULT", PR: 1 }]]);
    else if (pages * 2 > 2 ** 40) expect(out.fault).toBe(2);
    else {
      expect(out).toMatchObject({ fault: 0, page: pages * 2 - 1, pageShift: shift });
      expect(rig.translate(last)).toMatchObject({ page: pages * 2 - 1, pageShift: shift });
      // From the cache, by all its addresses, and to its neighbours no longer.
      const first = last - pages + 1;
      expect([first, first + pages / 2, last - 1].map((page) => rig.translate(page).page)).toEqual([pages, pages + pages / 2, 2 * pages - 2]);
      expect(rig.iommu.totals.iotlbMisses).toBe(1);
      // Invalidating any of its pages takes it whole, one beside it leaves it. AMD-Vi §2.4.3
      for (const cached of [hostRig({ device: { Mode: 6 } }), hostRig({ caches: "adversarial", device: { Mode: 6 } })]) {
        cached.mapHost(cached.table, last, sized(pages, shift), { steps, leaf: { NextLevel: 7 } });
        cached.translate(last);
        cached.mapHost(cached.table, last, 0, { steps, leaf: { PR: 0 } });
        cached.invalidatePages({ Address: first - 1 });
        cached.invalidatePages({ Address: last + 1 });
        cached.invalidatePages({ S: 1, Address: last + 1 });
        expect([first, last].map((page) => cached.translate(page).page)).toEqual([pages, 2 * pages - 1]);
        cached.invalidatePages(shift % 2 === 0 ? { Address: first + pages / 2 } : { S: 1, Address: first });
        expect([first, last].map((page) => cached.translate(page).fault)).toEqual([2, 2]);
      }
    }
    expect(entries).toHaveLength(7 - level);
  });

  test.each([
    [2, 13],
    [2, 20],
    [2, 30],
    [1, 21],
    [1, 22],
    [3, 29],
    [3, 39],
    [4, 48],
  ])("at level %i the size 2^%i is no size of that level", (level, shift) => {
    const rig = hostRig();
    rig.mapHost(rig.table, PAGE, sized(0, shift), { steps: Array.from({ length: 5 - level }, (_, i) => 4 - i), leaf: { NextLevel: 7 } });
    expect(rig.translate(PAGE).fault).toBe(2);
    expect(rig.events()).toEqual([only(fault({ PR: 1 }))]);
  });

  test("an address of ones only has no size", () => {
    const rig = hostRig();
    rig.mapHost(rig.table, PAGE, 2 ** 40 - 1, { leaf: { NextLevel: 7 } });
    expect(rig.translate(PAGE).fault).toBe(2);
  });
});

describe("skipped levels (AMD-Vi §2.2.3)", () => {
  test.each([
    [[4, 1]],
    [[4, 2, 1]],
    [[4, 3, 1]],
    [[4, 2]],
    [[6, 1]],
    [[6, 5, 3, 1]],
  ])("%j: skipped address bits are 0", (steps) => {
    const rig = hostRig({ device: { Mode: steps[0] as number } });
    const page = steps.reduce((sum, level) => sum + 5 * 2 ** (9 * (level - 1)), 0);
    rig.mapHost(rig.table, page, HOST - (HOST % 512), { steps });
    expect(rig.translate(page).fault).toBe(0);
    const top = steps[0] as number;
    for (let level = 1; level < top; level++) {
      if (steps.includes(level) || level < (steps.at(-1) as number)) continue;
      for (const bit of [0, 4, 8]) expect([level, bit, rig.translate(page + 2 ** (9 * (level - 1) + bit)).fault]).toEqual([level, bit, 2]);
    }
    expect(rig.events().every((event) => event.PR === 1 && event.PE === undefined && event.RZ === undefined)).toBe(true);
  });

  test.each([
    [4, 4],
    [4, 5],
    [4, 6],
    [3, 3],
    [1, 1],
    [2, 5],
  ])("at level %i Next Level %i is a bad level", (level, next) => {
    const rig = hostRig({ device: { Mode: level } });
    rig.put(layouts.HOST_PDE, rig.table * 4096, { PR: 1, IR: 1, IW: 1, NextLevel: next, Address: rig.page() });
    expect(rig.translate(0).fault).toBe(2);
    expect(rig.events()).toEqual([{ name: "IO_PAGE_FAULT", DeviceID: DEVICE, DomainIDorPASID: DOMAIN, PR: 1 }]);
  });
});

describe("rights (AMD-Vi §2.2.3)", () => {
  const levels = [0, 1, 2, 3, 4];
  const cases = levels.flatMap((at) => [0, 1, 2, 3].map((rights) => [at, rights] as const));
  test.each(cases)("what place %i (4 is the device's entry) leaves is %i", (place, rights) => {
    for (const caches of ["none", "realistic", "adversarial"] as const) {
      const rig = hostRig({ caches });
      const entries = rig.mapHost(rig.table, PAGE, HOST);
      const fields = { IR: rights & 1, IW: rights >> 1 };
      if (place === 4) rig.device({ Mode: 4, HostRoot: rig.table, ...fields });
      else {
        const at = entries[place] as number;
        const words = rig.words(at, 2);
        rig.put(place === 3 ? layouts.HOST_PTE : layouts.HOST_PDE, at, { ...(place === 3 ? layouts.HOST_PTE : layouts.HOST_PDE).decode(words), ...fields });
      }
      // Twice each: from the tables, then from the caches.
      for (const access of [Read, Write, Read, Write, Read | Write]) {
        const out = rig.translate(PAGE, { access });
        expect([caches, access, out.fault, out.completion]).toEqual([caches, access, ...((access & ~rights) === 0 ? [0, Completion.Successful] : [2, Completion.CompleterAbort])]);
        if (out.fault === 0) expect(out.permissions).toBe(rights);
        expect(rig.events()).toEqual(out.fault === 0 ? [] : [only(fault({ PR: 1, PE: 1, ...((access & Write) !== 0 ? { RW: 1 } : {}) }))]);
      }
    }
  });

  test("rights of two levels that leave nothing together leave nothing", () => {
    const rig = hostRig({ device: { I: 1 } });
    const entries = rig.mapHost(rig.table, PAGE, HOST, { leaf: { IR: 0 } });
    rig.put(layouts.HOST_PDE, entries[1] as number, { ...layouts.HOST_PDE.decode(rig.words(entries[1] as number, 2)), IW: 0 });
    for (const access of [Read, Write]) expect(rig.translate(PAGE, { access }).fault).toBe(2);
    expect(rig.translate(PAGE, { type: AddressType.TranslationRequest, access: 0 })).toMatchObject({ fault: 0, permissions: 0, completion: Completion.Successful });
  });
});

describe("entries that are not as they must be (AMD-Vi §2.5.3)", () => {
  test.each([0, 1, 2, 3])("PR=0 at place %i", (place) => {
    const rig = hostRig();
    const at = rig.mapHost(rig.table, PAGE, HOST)[place] as number;
    rig.flip(at, 0);
    expect(rig.translate(PAGE)).toMatchObject({ fault: 2, recorded: true, completion: Completion.CompleterAbort, page: 0, permissions: 0, pageShift: 12 });
    expect(rig.events()).toEqual([only(fault())]);
    expect(rig.translate(PAGE, { access: Write }).fault).toBe(2);
    expect(rig.events()).toEqual([only(fault())]);
  });

  const reserved = (mask: number): number[] => Array.from({ length: 32 }, (_, i) => i).filter((i) => ((mask >>> i) & 1) === 1).map((i) => i + 32);
  test.each([0, 1, 2, 3])("every reserved bit at place %i, and no other, faults with RZ", (place) => {
    const rig = hostRig({ caches: "none" });
    const at = rig.mapHost(rig.table, PAGE, HOST)[place] as number;
    const found: number[] = [];
    for (let bit = 0; bit < 64; bit++) {
      // Address and rights, PR and Next Level are other tests'.
      if (bit === 0 || (bit >= 9 && bit <= 51) || bit === 61 || bit === 62) continue;
      rig.flip(at, bit);
      const out = rig.translate(PAGE);
      const events = rig.events();
      if (out.fault !== 0) {
        expect(events).toEqual([only(fault({ PR: 1, RZ: 1 }))]);
        found.push(bit);
      }
      rig.flip(at, bit);
    }
    expect(found).toEqual(reserved(place === 3 ? HOST_HIGH.PTE_RESERVED : HOST_HIGH.PDE_RESERVED));
  });

  test("reserved bits come before rights, rights before the level", () => {
    const rig = hostRig({ caches: "none" });
    const at = rig.mapHost(rig.table, PAGE, HOST)[1] as number;
    rig.put(layouts.HOST_PDE, at, { PR: 1, NextLevel: 5, Address: 1 });
    rig.translate(PAGE);
    rig.flip(at, 52);
    rig.translate(PAGE);
    rig.flip(at, 0);
    rig.translate(PAGE);
    expect(rig.events()).toEqual([only(fault({ PR: 1, PE: 1 })), only(fault({ PR: 1, RZ: 1 })), only(fault())]);
  });

  test.each([0, 1, 2, 3])("an entry at place %i where no memory is: PAGE_TAB_HARDWARE_ERROR with its address", (place) => {
    const rig = hostRig();
    const entries = rig.mapHost(rig.table, PAGE, HOST);
    const table = RAM / 4096 + 0x10_0000 + place;
    if (place === 0) rig.device({ Mode: 4, HostRoot: table });
    else rig.put(layouts.HOST_PDE, entries[place - 1] as number, { PR: 1, IR: 1, IW: 1, NextLevel: 4 - place, Address: table });
    const address = table * 4096 + ((entries[place] as number) % 4096);
    expect(rig.translate(PAGE, { access: Write })).toMatchObject({ fault: 4, recorded: true, completion: Completion.CompleterAbort });
    expect(rig.translate(PAGE)).toMatchObject({ fault: 4 });
    const error = { name: "PAGE_TAB_HARDWARE_ERROR", DeviceID: DEVICE, DomainIDorPASID: DOMAIN, Type: 2, AddressLow: address % 2 ** 32, AddressHigh: Math.floor(address / 2 ** 32) };
    expect(rig.events()).toEqual([{ ...error, RW: 1 }, error]);
  });

  test("addresses end at PAsize: above it they are reserved", () => {
    const rig = hostRig({ physicalAddressWidth: 40 });
    const entries = rig.mapHost(rig.table, PAGE, 2 ** 28 - 1);
    expect(rig.translate(PAGE).page).toBe(2 ** 28 - 1);
    rig.mapHost(rig.table, PAGE, 2 ** 28);
    rig.invalidatePages({ Address: PAGE });
    expect(rig.translate(PAGE).fault).toBe(2);
    rig.put(layouts.HOST_PDE, entries[2] as number, { PR: 1, IR: 1, IW: 1, NextLevel: 1, Address: 2 ** 28 });
    rig.invalidatePages({ Address: PAGE });
    expect(rig.translate(PAGE).fault).toBe(2);
    expect(rig.events()).toEqual([only(fault({ PR: 1, RZ: 1 })), only(fault({ PR: 1, RZ: 1 }))]);
  });
});

describe("what a leaf says beside its address (AMD-Vi §2.2.3)", () => {
  test("FC makes the access snoop, from the tables and from the cache", () => {
    const rig = hostRig();
    rig.mapHost(rig.table, PAGE, HOST, { leaf: { FC: 1 } });
    expect([rig.translate(PAGE).snoop, rig.translate(PAGE).snoop]).toEqual([true, true]);
  });

  test("U: a translation request gets no rights, an untranslated one does", () => {
    const rig = hostRig({ device: { I: 1 } });
    rig.mapHost(rig.table, PAGE, HOST, { leaf: { U: 1 } });
    for (let i = 0; i < 2; i++) {
      expect(rig.translate(PAGE, { type: AddressType.TranslationRequest })).toMatchObject({ fault: 0, permissions: 0 });
      expect(rig.translate(PAGE)).toMatchObject({ fault: 0, permissions: Read | Write, snoop: false });
    }
  });
});

describe("what a walk reads and remembers (AMD-Vi §2.2.3, §2.4.3)", () => {
  /** Two pages of one last table, whose level 3 index is 0, so that level 3 may be left out. */
  const NEIGHBOURS = [5, 6] as const;
  test.each([
    ["plain", { HAD: 0 }, [4, 3, 2, 1]],
    ["with accessed bits to set", { HAD: 1 }, [4, 3, 2, 1]],
    ["with dirty bits to set", { HAD: 3 }, [4, 3, 2, 1]],
    ["past a level that is left out", { HAD: 0 }, [4, 2, 1]],
  ])("%s: every entry once, and of a neighbour the last one alone", (_what, device, steps) => {
    for (const caches of ["realistic", "adversarial"] as const) {
      const rig = hostRig({ caches, device });
      for (const [i, page] of NEIGHBOURS.entries()) rig.mapHost(rig.table, page, HOST + i, { steps });
      const reads = NEIGHBOURS.map((page, i) => {
        expect(rig.translate(page, { access: Write }).page).toBe(HOST + i);
        return rig.iommu.totals.hostTableReads;
      });
      expect(reads).toEqual([steps.length, steps.length + 1]);
    }
  });
  test("every entry once where only a lower one's accessed bit is to be set", () => {
    const rig = hostRig({ device: { HAD: 1 } });
    const entries = rig.mapHost(rig.table, PAGE, HOST);
    for (const at of entries.slice(0, 2)) rig.memory.write32(at, rig.memory.read32(at) | (1 << 5));
    expect(rig.translate(PAGE).page).toBe(HOST);
    expect(rig.iommu.totals.hostTableReads).toBe(4);
  });
});

describe("accessed and dirty bits of the host (AMD-Vi §2.2.3, DTE.HAD)", () => {
  const flags = (rig: Rig, entries: readonly number[]): string => entries.map((at) => ((rig.memory.read32(at) >>> 5) & 3).toString()).join("");
  test.each([
    [0, "0000", "0000"],
    [1, "1111", "1111"],
    [2, "0000", "0000"],
    [3, "1111", "1113"],
  ])("HAD=%i: %s after a read, %s after a write", (HAD, read, written) => {
    for (const caches of ["none", "realistic", "adversarial"] as const) {
      const rig = hostRig({ caches, device: { HAD } });
      const entries = rig.mapHost(rig.table, PAGE, HOST);
      expect(rig.translate(PAGE).permissions).toBe(Read | Write);
      expect(flags(rig, entries)).toBe(read);
      rig.translate(PAGE, { access: Write });
      expect(flags(rig, entries)).toBe(written);
      const before = rig.iommu.totals.hostTableReads;
      rig.translate(PAGE, { access: Write });
      if (caches !== "none") expect(rig.iommu.totals.hostTableReads).toBe(before);
    }
  });

  test.each([
    [{ HASup: 0, HDSup: 0 }, "0000"],
    [{ HASup: 1, HDSup: 0 }, "1111"],
  ])("without the features %j HAD=3 writes %s", (efr, written) => {
    const rig = hostRig({ efr, device: { HAD: 3 } });
    const entries = rig.mapHost(rig.table, PAGE, HOST);
    expect(rig.translate(PAGE, { access: Write }).fault).toBe(0);
    expect(flags(rig, entries)).toBe(written);
  });

  test("a fault below leaves A above, and no D", () => {
    const rig = hostRig({ device: { HAD: 3 } });
    const entries = rig.mapHost(rig.table, PAGE, HOST, { leaf: { IW: 0 } });
    rig.translate(PAGE, { access: Write });
    expect(flags(rig, entries)).toBe("1110");
  });

  test("a translation request without writing gets no right to write a clean page", () => {
    const rig = hostRig({ device: { HAD: 3, I: 1 } });
    rig.mapHost(rig.table, PAGE, HOST);
    const ask = (access: Access): number => rig.translate(PAGE, { type: AddressType.TranslationRequest, access }).permissions;
    expect([ask(Read), ask(Read), ask(Write), ask(Read)]).toEqual([Read, Read, Read | Write, Read | Write]);
  });

  test("a write to a page that may not be written sets no D for a translation request", () => {
    const rig = hostRig({ device: { HAD: 3, I: 1 } });
    const entries = rig.mapHost(rig.table, PAGE, HOST, { leaf: { IW: 0 } });
    expect(rig.translate(PAGE, { type: AddressType.TranslationRequest, access: Write }).permissions).toBe(Read);
    expect(flags(rig, entries)).toBe("1111");
  });
});
