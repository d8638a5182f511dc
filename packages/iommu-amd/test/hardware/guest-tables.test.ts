import { Access, AddressType } from "@iommu-lab/pci-bus";
import { describe, expect, test } from "vitest";
import { GCR3_HIGH_RESERVED, GCR3_LOW_RESERVED } from "../../src/hardware/guest-walker.ts";
import { ZEN } from "../../src/hardware/index.ts";
import * as layouts from "../../src/layouts/index.ts";
import { DEVICE, DOMAIN, gcr3Fields, guestRig, PASID, RAM, Rig, type RequestOptions } from "./rig.ts";

const { Read, Write, Execute, Privileged } = Access;
const PAGE = 0x1_2345; // arbitrary
const TARGET = 0x2_0000; // arbitrary, inside the identity map of nested rigs
const ask = (rig: Rig, options: RequestOptions & { readonly page?: number } = {}): ReturnType<Rig["translate"]> => rig.translate(options.page ?? PAGE, { pasid: PASID, ...options });
const fault = (changes: object = {}): object => ({ name: "IO_PAGE_FAULT", DeviceID: DEVICE, DomainIDorPASID: PASID, GN: 1, US: 1, AddressLow: (PAGE * 4096) % 2 ** 32, ...changes });

describe("the hand masks of GCR3 entries", () => {
  test("agree with the layout", () => {
    expect(layouts.GCR3_ENTRY.reserved).toEqual([GCR3_LOW_RESERVED, GCR3_HIGH_RESERVED >>> 0]);
  });
});

describe("guest tables (AMD-Vi §2.2.3)", () => {
  test.each([
    [4, 1, 12],
    [4, 2, 21],
    [4, 3, 30],
    [5, 1, 12],
    [5, 2, 21],
    [5, 3, 30],
  ])("%i levels, leaf at level %i: pages of 2^%i bytes", (levels, leafLevel, pageShift) => {
    const rig = guestRig({ device: { GuestPagingMode: levels - 4 } });
    const size = 2 ** (pageShift - 12);
    const page = 2 ** (9 * levels - 2) + 3 * size + size - 1;
    rig.mapGuest(rig.guest, page, 2 * size, { levels, leafLevel });
    for (let i = 0; i < 2; i++) expect(ask(rig, { page })).toMatchObject({ fault: 0, page: 3 * size - 1, pageShift, permissions: Read | Write | Execute, snoop: false, memoryType: 6 });
    expect(rig.iommu.totals).toMatchObject({ iotlbMisses: 1, guestTableReads: levels - leafLevel + 2 });
  });

  test.each([4, 5])("addresses of %i levels are canonical", (levels) => {
    const rig = guestRig({ device: { GuestPagingMode: levels - 4 } });
    const half = 2 ** (9 * levels - 1);
    rig.mapGuest(rig.guest, half - 1, 1, { levels });
    rig.mapGuest(rig.guest, 2 ** 52 - half, 2, { levels });
    expect([half - 1, half, 2 ** 52 - half - 1, 2 ** 52 - half].map((page) => ask(rig, { page }).fault)).toEqual([0, 2, 2, 0]);
    const [first] = rig.events();
    expect(first).toMatchObject({ GN: 1, US: 1 });
    expect(first).not.toHaveProperty("PR");
  });

  test.each([0, 1, 2, 3])("P=0 at place %i", (place) => {
    const rig = guestRig();
    rig.flip(rig.mapGuest(rig.guest, PAGE, TARGET)[place] as number, 0);
    expect(ask(rig, { access: Write })).toMatchObject({ fault: 2, recorded: true });
    expect(rig.events()).toEqual([fault()]);
  });

  test.each([
    [1, 3, [40, 41, 42, 43, 44, 45, 46, 47, 48, 49, 50, 51]],
    [2, 2, [13, 14, 15, 16, 17, 18, 19, 20, 40, 51]],
    [3, 1, [13, 20, 21, 29, 40, 51]],
  ])("reserved bits of a leaf at level %i", (leafLevel, place, reserved) => {
    const rig = guestRig({ physicalAddressWidth: 40, caches: "none" });
    const at = rig.mapGuest(rig.guest, PAGE, 0, { leafLevel })[place] as number;
    for (const bit of reserved) {
      rig.flip(at, bit);
      ask(rig);
      expect([bit, rig.events()]).toEqual([bit, [fault({ PR: 1, RZ: 1 })]]);
      rig.flip(at, bit);
    }
    // G, the AVL bits, PWT, PCD and the PAT bit mean nothing.
    for (const bit of [3, 4, 8, 9, 10, 11, ...(leafLevel > 1 ? [12] : [7]), 52, 62]) {
      rig.flip(at, bit);
      expect([bit, ask(rig).fault]).toEqual([bit, 0]);
      rig.flip(at, bit);
    }
  });

  test.each([4, 5])("there is no page at level %i", (level) => {
    const rig = guestRig({ device: { GuestPagingMode: 1 } });
    rig.flip(rig.mapGuest(rig.guest, PAGE, TARGET, { levels: 5 })[5 - level] as number, 7);
    ask(rig);
    expect(rig.events()).toEqual([fault({ PR: 1, RZ: 1 })]);
  });

  const places = [0, 1, 2, 3];
  test.each(places)("RW=0 at place %i: no writes, for supervisors neither", (place) => {
    for (const caches of ["none", "realistic"] as const) {
      const rig = guestRig({ caches });
      rig.flip(rig.mapGuest(rig.guest, PAGE, TARGET)[place] as number, 1);
      for (const access of [Read, Read | Privileged]) expect(ask(rig, { access })).toMatchObject({ fault: 0, permissions: Read | Execute });
      for (const access of [Write, Write | Privileged]) expect(ask(rig, { access }).fault).toBe(2);
      expect(rig.events()).toEqual([fault({ PR: 1, PE: 1, RW: 1 }), Object.fromEntries(Object.entries(fault({ PR: 1, PE: 1, RW: 1 })).filter(([name]) => name !== "US"))]);
    }
  });

  test.each(places)("US=0 at place %i: nothing for users", (place) => {
    const rig = guestRig();
    rig.flip(rig.mapGuest(rig.guest, PAGE, TARGET)[place] as number, 2);
    for (let i = 0; i < 2; i++) {
      expect(ask(rig).fault).toBe(2);
      expect(ask(rig, { access: Read | Privileged })).toMatchObject({ fault: 0, permissions: Read | Write | Execute });
    }
    expect(rig.events()).toEqual([fault({ PR: 1, PE: 1 }), fault({ PR: 1, PE: 1 })]);
  });

  test.each(places)("NX=1 at place %i: no execution", (place) => {
    const rig = guestRig();
    rig.flip(rig.mapGuest(rig.guest, PAGE, TARGET)[place] as number, 63);
    for (let i = 0; i < 2; i++) expect([ask(rig).permissions, ask(rig, { access: Read | Execute }).fault]).toEqual([Read | Write, 2]);
    expect(rig.events()).toEqual(Array(2).fill(fault({ PR: 1, PE: 1, NX: 1 })));
  });

  test.each([
    ["NXSup", 63, Read | Execute],
    ["USSup", 2, Read],
  ])("without %s bit %i does not count", (feature, bit, access) => {
    const rig = guestRig({ efr: { [feature]: 0 } });
    rig.flip(rig.mapGuest(rig.guest, PAGE, TARGET)[1] as number, bit);
    expect(ask(rig, { access }).fault).toBe(0);
  });

  test("A in every entry, D in the leaf of what is written", () => {
    for (const caches of ["none", "realistic", "adversarial"] as const) {
      const rig = guestRig({ caches });
      const entries = rig.mapGuest(rig.guest, PAGE, TARGET);
      const flags = (): string => entries.map((at) => ((rig.memory.read32(at) >>> 5) & 3).toString()).join("");
      ask(rig);
      expect(flags()).toBe("1111");
      ask(rig, { access: Write });
      expect(flags()).toBe("1113");
      const { guestTableReads } = rig.iommu.totals;
      ask(rig, { access: Write });
      if (caches !== "none") expect(rig.iommu.totals.guestTableReads).toBe(guestTableReads);
    }
  });

  test("GDUpdateDis: D is not written, and nothing waits for it", () => {
    const rig = guestRig({ control: { GDUpdateDis: 1 } });
    const entries = rig.mapGuest(rig.guest, PAGE, TARGET);
    ask(rig);
    ask(rig, { access: Write });
    expect([(rig.memory.read32(entries[3] as number) >>> 5) & 3, rig.iommu.totals.iotlbMisses]).toEqual([1, 1]);
  });

  test("a table where no memory is", () => {
    const rig = guestRig();
    const entries = rig.mapGuest(rig.guest, PAGE, TARGET);
    rig.put(layouts.GUEST_PTE, entries[0] as number, { P: 1, RW: 1, US: 1, Address: RAM / 4096 });
    expect(ask(rig, { access: Write }).fault).toBe(4);
    expect(rig.events()).toEqual([{ name: "PAGE_TAB_HARDWARE_ERROR", DeviceID: DEVICE, DomainIDorPASID: PASID, GN: 1, RW: 1, Type: 2, AddressLow: RAM + ((entries[1] as number) % 4096) }]);
  });
});

describe("GCR3 tables and PASIDs (AMD-Vi §2.2.3)", () => {
  test.each([
    [0, 0x1ff, 1],
    [1, 0x3_ffff, 2],
    [2, 0xf_ffff, 3],
  ])("GLX=%i reaches PASID %d in %i steps", (GLX, pasid, steps) => {
    const rig = new Rig({ control: { GTEn: 1 } });
    const top = rig.page();
    let table = top;
    for (let level = steps; level > 0; level--) {
      const next = rig.page();
      rig.put(layouts.GCR3_ENTRY, table * 4096 + 8 * (Math.floor(pasid / 2 ** (9 * (level - 1))) % 512), { V: 1, Address: next });
      table = next;
    }
    rig.device({ GV: 1, GLX, ...gcr3Fields(top) });
    rig.mapGuest(table, PAGE, TARGET);
    expect(rig.translate(PAGE, { pasid }).page).toBe(TARGET);
    expect(rig.translate(PAGE, { pasid: pasid - 1 }).fault).toBe(2);
    expect(rig.events()).toEqual([fault({ DomainIDorPASID: (pasid - 1) % 0x1_0000, PASIDHigh: Math.floor(pasid / 0x1_0000) || undefined })].map((each) => Object.fromEntries(Object.entries(each).filter(([, value]) => value !== undefined))));
    if (GLX < 2) expect(rig.translate(PAGE, { pasid: 2 * pasid + 1 }).fault).toBe(2);
  });

  test("PASMax limits PASIDs whatever the tables hold", () => {
    const rig = guestRig({ base: ZEN, efr: { PASMax: 7, GLXSup: 0 } });
    rig.put(layouts.GCR3_ENTRY, rig.gcr3 * 4096 + 8 * 256, { V: 1, Address: rig.guest });
    rig.mapGuest(rig.guest, PAGE, TARGET);
    expect([ask(rig).fault, ask(rig, { pasid: 256 }).fault]).toEqual([0, 2]);
  });

  test("V=0 is not present; reserved bits are told", () => {
    const rig = guestRig({ caches: "none" });
    rig.mapGuest(rig.guest, PAGE, TARGET);
    const at = rig.gcr3 * 4096 + 8 * PASID;
    for (const bit of [1, 11, 52, 63]) {
      rig.flip(at, bit);
      ask(rig);
      rig.flip(at, bit);
    }
    rig.flip(at, 0);
    ask(rig);
    expect(rig.events()).toEqual([...Array.from({ length: 4 }, () => fault({ PR: 1, RZ: 1 })), fault()]);
  });

  test("a GCR3 table where no memory is", () => {
    const rig = guestRig();
    rig.device({ GV: 1, ...gcr3Fields(RAM / 4096 + 0x8_1239) });
    expect(ask(rig).fault).toBe(4);
    expect(rig.events()).toMatchObject([{ name: "PAGE_TAB_HARDWARE_ERROR", AddressLow: RAM + 0x8123_9000 + 8 * PASID }]);
  });

  test.each([
    ["GV=0", { GV: 0 }, {}],
    ["GTEn=0", {}, { GTEn: 0 }],
  ])("a request with PASID and %s is a page fault", (_what, device, control) => {
    const rig = guestRig({ device, control });
    rig.mapGuest(rig.guest, PAGE, TARGET);
    expect(ask(rig).fault).toBe(2);
    expect(rig.events()).toEqual([fault()]);
    // Without PASID the host table, here none, translates.
    expect(rig.translate(PAGE).page).toBe(PAGE);
  });

  test.each([0, 1])("GIoV=%i: requests without PASID", (GIoV) => {
    const rig = guestRig({ device: { GIoV } });
    rig.put(layouts.GCR3_ENTRY, rig.gcr3 * 4096, { V: 1, Address: rig.guest });
    rig.mapGuest(rig.guest, PAGE, TARGET);
    for (let i = 0; i < 2; i++) expect(rig.translate(PAGE).page).toBe(GIoV ? TARGET : PAGE);
    rig.control({ GTEn: 0 });
    expect(rig.translate(PAGE).page).toBe(PAGE);
  });

  test("PASIDs of one device, and one PASID of two domains, are kept apart", () => {
    const rig = guestRig();
    const other = rig.page();
    rig.put(layouts.GCR3_ENTRY, rig.gcr3 * 4096 + 8 * 4, { V: 1, Address: other });
    rig.mapGuest(rig.guest, PAGE, TARGET);
    rig.mapGuest(other, PAGE, TARGET + 1);
    for (let i = 0; i < 3; i++) expect([ask(rig).page, ask(rig, { pasid: 4 }).page]).toEqual([TARGET, TARGET + 1]);
    expect(rig.iommu.totals.iotlbMisses).toBe(2);
  });

  test("IR and IW of the device's entry apply", () => {
    const rig = guestRig({ device: { IW: 0 } });
    rig.mapGuest(rig.guest, PAGE, TARGET);
    expect([ask(rig).permissions, ask(rig, { access: Write }).fault]).toEqual([Read | Execute, 2]);
    expect(rig.events()).toEqual([fault({ PR: 1, PE: 1, RW: 1 })]);
  });

  test("a translation request for a PASID", () => {
    const rig = guestRig({ device: { I: 1 } });
    rig.mapGuest(rig.guest, PAGE, TARGET, { leaf: { RW: 0 } });
    for (let i = 0; i < 2; i++) {
      expect(ask(rig, { type: AddressType.TranslationRequest, access: Write })).toMatchObject({ page: TARGET, permissions: Read | Execute, fault: 0 });
      expect(ask(rig, { type: AddressType.TranslationRequest, page: 7 })).toMatchObject({ permissions: 0, fault: 0 });
    }
    expect(rig.events()).toEqual([]);
  });
});

describe("nested translation (AMD-Vi §2.2.3)", () => {
  test("every guest table and the result go through the host table", () => {
    for (const caches of ["none", "realistic", "adversarial"] as const) {
      const rig = guestRig({ caches, nested: true });
      // Guest tables at guest pages from 0x4_0000 on, which the host has elsewhere.
      const host = new Map<number, number>();
      const table = rig.page();
      rig.mapHost(rig.table, 0x4_0000, 0, { steps: [4, 3, 2, 1], leaf: { PR: 0 } });
      const guestPage = (number: number, real: number): void => {
        rig.mapHost(rig.table, number, real);
        host.set(number, real);
      };
      const chain = [0x4_0000, 0x4_0001, 0x4_0002, 0x4_0003];
      for (const [i, number] of chain.entries()) guestPage(number, i === 0 ? table : rig.page());
      for (const [i, number] of chain.entries()) {
        const at = (host.get(number) ?? 0) * 4096 + 8 * (Math.floor(PAGE / 2 ** (9 * (3 - i))) % 512);
        rig.put(layouts.GUEST_PTE, at, { P: 1, RW: 1, US: 1, Address: chain[i + 1] ?? 0x4_0100 });
      }
      guestPage(0x4_0100, TARGET);
      rig.put(layouts.GCR3_ENTRY, rig.gcr3 * 4096 + 8 * PASID, { V: 1, Address: 0x4_0000 });
      for (const access of [Read, Write, Read]) expect(ask(rig, { access })).toMatchObject({ fault: 0, page: TARGET, pageShift: 12, permissions: Read | Write | Execute });
    }
  });

  test("the smaller page decides, and the host's rights and FC count", () => {
    const rig = guestRig({ nested: true });
    rig.mapGuest(rig.guest, 0x400, 0x8_0000 - 0x200, { leafLevel: 2 });
    rig.mapHost(rig.table, 0x7_fe00, TARGET, { steps: [4, 3, 2, 1] });
    const rig2 = guestRig({ nested: true });
    rig2.mapGuest(rig2.guest, 0x400, 0x4_0200, { leafLevel: 2 });
    const entries = rig2.mapHost(rig2.table, 0x4_0205, TARGET, { steps: [4, 3, 2, 1], leaf: { IW: 0, FC: 1 } });
    for (let i = 0; i < 2; i++) expect(ask(rig2, { page: 0x405 })).toMatchObject({ page: TARGET, pageShift: 12, permissions: Read | Execute, snoop: true });
    expect(entries).toHaveLength(4);
  });

  test("a right that the host's page lacks is not there for a translation request either", () => {
    for (const [leaf, permissions] of [[{ IR: 0 }, Write], [{ IW: 0 }, Read | Execute], [{}, Read | Write | Execute]] as const) {
      const rig = guestRig({ nested: true, device: { I: 1 } });
      rig.mapGuest(rig.guest, PAGE, 0x4_0000, { leaf: { A: 1, D: 1 } });
      rig.mapHost(rig.table, 0x4_0000, TARGET, { leaf });
      for (let i = 0; i < 2; i++) expect(ask(rig, { type: AddressType.TranslationRequest })).toMatchObject({ fault: 0, page: TARGET, permissions });
    }
  });

  test("a host fault is told with the guest-physical address and the domain", () => {
    const rig = guestRig({ nested: true });
    rig.mapGuest(rig.guest, PAGE, 0x4_0000);
    expect(ask(rig, { access: Write }).fault).toBe(2);
    expect(rig.events()).toEqual([{ name: "IO_PAGE_FAULT", DeviceID: DEVICE, DomainIDorPASID: DOMAIN, AddressLow: 0x4000_0000 }]);
    rig.mapHost(rig.table, 0x4_0000, TARGET, { leaf: { IW: 0 } });
    rig.invalidatePages({ Address: 0x4_0000 });
    ask(rig, { access: Write });
    expect(rig.events()).toEqual([{ name: "IO_PAGE_FAULT", DeviceID: DEVICE, DomainIDorPASID: DOMAIN, PR: 1, PE: 1, RW: 1, AddressLow: 0x4000_0000 }]);
    rig.mapHost(rig.table, 0x4_0000, TARGET, { leaf: { IR: 0 } });
    rig.invalidatePages({ Address: 0x4_0000 });
    ask(rig, { access: Read | Execute });
    expect(rig.events()).toEqual([{ name: "IO_PAGE_FAULT", DeviceID: DEVICE, DomainIDorPASID: DOMAIN, PR: 1, PE: 1, AddressLow: 0x4000_0000 }]);
  });

  test("setting A needs the right to write the table's page", () => {
    const rig = guestRig({ nested: true });
    rig.mapGuest(rig.guest, PAGE, TARGET);
    rig.put(layouts.HOST_PTE, rig.table * 4096 + 0, { PR: 1, IR: 1, IW: 0, NextLevel: 3, Address: layouts.HOST_PDE.get.Address(rig.words(rig.table * 4096, 2)) });
    expect(ask(rig).fault).toBe(2);
    expect(rig.events()).toEqual([{ name: "IO_PAGE_FAULT", DeviceID: DEVICE, DomainIDorPASID: DOMAIN, PR: 1, PE: 1, RW: 1, AddressLow: rig.guest * 4096 }]);
  });

  test("an unreadable host table is told with the domain", () => {
    const rig = guestRig({ nested: true });
    rig.device({ GV: 1, Mode: 4, HostRoot: RAM / 4096, ...gcr3Fields(rig.gcr3) });
    expect(ask(rig).fault).toBe(4);
    expect(rig.events()).toEqual([{ name: "PAGE_TAB_HARDWARE_ERROR", DeviceID: DEVICE, DomainIDorPASID: DOMAIN, Type: 2, AddressLow: RAM }]);
  });

  test.each([0, 1])("GCR3TRPMode=%i: GCR3 pointers are guest-physical, or not", (GCR3TRPMode) => {
    const rig = guestRig({ nested: true, control: { GCR3TRPMode } });
    rig.mapGuest(rig.guest, PAGE, TARGET);
    // Guest page 0x4_0000 is the GCR3 table.
    rig.mapHost(rig.table, 0x4_0000, rig.gcr3);
    expect(ask(rig).fault).toBe(0);
    rig.device({ GV: 1, Mode: 4, HostRoot: rig.table, ...gcr3Fields(0x4_0000) });
    rig.invalidateDevice();
    expect(ask(rig).fault).toBe(GCR3TRPMode ? 0 : 4);
  });

  test("D of the host is set by a write, after A and D of the guest", () => {
    const rig = guestRig({ nested: true, device: { HAD: 3 } });
    rig.mapGuest(rig.guest, PAGE, 0x4_0000, { leaf: { A: 1, D: 1 } });
    const leaf = rig.mapHost(rig.table, 0x4_0000, TARGET).at(-1) as number;
    ask(rig);
    expect((rig.memory.read32(leaf) >>> 5) & 3).toBe(1);
    ask(rig, { access: Write });
    expect((rig.memory.read32(leaf) >>> 5) & 3).toBe(3);
    const { hostTableReads } = rig.iommu.totals;
    ask(rig, { access: Write });
    expect(rig.iommu.totals.hostTableReads).toBe(hostTableReads);
  });
});

describe("what a guest walk reads and remembers (AMD-Vi §2.2.3, §2.4.3)", () => {
  test.each([
    ["plain", 1],
    ["with accessed and dirty bits to set", 0],
  ])("%s: every entry once, and of a neighbour the last one alone", (_what, bit) => {
    for (const caches of ["realistic", "adversarial"] as const) {
      const rig = guestRig({ caches });
      for (const i of [0, 1]) {
        const entries = rig.mapGuest(rig.guest, PAGE + i, TARGET + i, { leaf: { A: bit, D: bit } });
        if (bit === 1) for (const at of entries) rig.memory.write32(at, rig.memory.read32(at) | (1 << 5));
      }
      const reads = [0, 1].map((i) => {
        expect(rig.translate(PAGE + i, { pasid: PASID, access: Write }).page).toBe(TARGET + i);
        return rig.iommu.totals.guestTableReads;
      });
      // The GCR3 entry and four levels.
      expect(reads).toEqual([5, 6]);
    }
  });
});

test("accessed and dirty bits that are set already are not written, wherever the page is and whoever asks why", () => {
  const rig = guestRig({ nested: true, caches: "none" });
  // The guest's tables may only be read; bit 31 of the last entry is set, so that its low word is no positive int32.
  rig.mapHost(rig.table, 0, 0, { steps: [4, 3], leaf: { IW: 0 } });
  rig.mapHost(rig.table, 0x8_0000, 0x8_0000, { steps: [4, 3] });
  const entries = rig.mapGuest(rig.guest, 0x1_2345, 0x8_2345, { leaf: { A: 1, D: 1 } });
  for (const entry of entries.slice(0, -1)) rig.flip(entry, 5);
  for (const access of [Access.Read, Access.Write]) expect([rig.translate(0x1_2345, { pasid: PASID, access }).fault, rig.translate(0x1_2345, { pasid: PASID, access, explain: [] }).fault]).toEqual([0, 0]);
});
