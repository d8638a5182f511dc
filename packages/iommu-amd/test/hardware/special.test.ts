import { Access, AddressType, Completion, NO_PASID, type ExplanationStep } from "@iommu-lab/pci-bus";
import { describe, expect, test } from "vitest";
import type { ReverseMap } from "../../src/hardware/index.ts";
import * as layouts from "../../src/layouts/index.ts";
import { DEVICE, DOMAIN, gcr3Fields, guestRig, hostRig, PASID, Rig, RAM, STORE, type RigOptions } from "./rig.ts";

const { Read, Write } = Access;
const { TranslationRequest, Translated, Untranslated } = AddressType;
const PAGE = 0x12_3456; // arbitrary
const HOST = 0x2_0000; // arbitrary
const pageOf = (address: number): number => Math.floor(address / 4096);
const targetAbort = (rig: Rig): boolean => (rig.iommu.function.config.read(0x06, 2) & 0x0800) !== 0;

describe("the interrupt range (AMD-Vi §2.1.2)", () => {
  test.each([0xfee0_0000, 0xfeef_f000])("%d is never translated, whatever the device's entry says", (address) => {
    for (const V of [0, 1]) {
      const rig = hostRig({ device: { V, I: 1 } });
      rig.mapHost(rig.table, pageOf(address), HOST);
      expect(rig.translate(pageOf(address))).toMatchObject({ fault: 8, recorded: true, completion: Completion.CompleterAbort });
      expect(rig.translate(pageOf(address), { type: TranslationRequest })).toMatchObject({ fault: 8, completion: Completion.UnsupportedRequest });
      expect(rig.events()).toEqual([
        { name: "INVALID_DEVICE_REQUEST", DeviceID: DEVICE, AddressLow: address },
        { name: "INVALID_DEVICE_REQUEST", DeviceID: DEVICE, TR: 1, AddressLow: address },
      ]);
    }
  });
  test.each([0xfedf_f000, 0xfef0_0000, 0x1_fee0_0000])("%d is ordinary", (address) => {
    const rig = hostRig();
    rig.mapHost(rig.table, pageOf(address), HOST);
    expect(rig.translate(pageOf(address)).page).toBe(HOST);
  });
});

describe("HyperTransport ranges (AMD-Vi §2.1.2)", () => {
  /** What each access comes to: "t" translated, "u" untranslated, a type of INVALID_DEVICE_REQUEST, "i" illegal entry. */
  const outcome = (address: number, access: number, fields: Readonly<Record<string, number>>, ignore = 0): string => {
    const rig = hostRig({ efr2: { HTRangeIgnore: ignore }, device: fields });
    rig.mapHost(rig.table, pageOf(address), HOST);
    const out = rig.translate(pageOf(address), { access });
    const [event] = rig.events();
    if (out.fault === 8) return `${(event?.Type as number | undefined) ?? 0}`;
    if (out.fault === 1) return event?.RZ === 1 ? "i" : "?";
    return out.page === HOST ? "t" : out.page === pageOf(address) ? "u" : "?";
  };
  test.each([
    [0xfc_ffff_f000, "t", "t"],
    [0xfd_0000_0000, "5", "5"],
    [0xfd_f7ff_f000, "5", "5"],
    [0xfd_f800_0000, "4", "4"],
    [0xfd_f90f_f000, "4", "4"],
    [0xfd_f910_0000, "6", "3"],
    [0xfd_f91f_f000, "6", "3"],
    [0xfd_f920_0000, "5", "5"],
    [0xfd_fbff_f000, "5", "5"],
    [0xfd_fc00_0000, "2", "2"],
    [0xfd_fdff_f000, "2", "2"],
    [0xfd_fe00_0000, "5", "5"],
    [0xfe_0000_0000, "5", "5"],
    [0xff_ffff_f000, "5", "5"],
    [0x100_0000_0000, "t", "t"],
  ])("%d: read %s, write %s", (address, read, write) => {
    expect([outcome(address, Read, {}), outcome(address, Write, {})]).toEqual([read, write]);
    expect(outcome(address, Read, {}, 1)).toBe("t");
  });
  test.each([
    [0, "6", "3"],
    [1, "6", "u"],
    [2, "6", "3"],
    [3, "t", "t"],
  ])("SysMgt=%i: read %s, write %s", (SysMgt, read, write) => {
    expect([outcome(0xfd_f910_0000, Read, { SysMgt }), outcome(0xfd_f910_0000, Write, { SysMgt })]).toEqual([read, write]);
  });
  test.each([
    [0, "2"],
    [1, "u"],
    [2, "t"],
    [3, "i"],
  ])("IoCtl=%i: %s", (IoCtl, expected) => {
    expect([outcome(0xfd_fc00_0000, Read, { IoCtl }), outcome(0xfd_fc00_0000, Write, { IoCtl })]).toEqual([expected, expected]);
  });
  test("V=0 passes there too; a translation request is refused", () => {
    const rig = new Rig();
    expect(rig.translate(0xfd_0000_0000 / 4096).fault).toBe(0);
    rig.device({ I: 1 }, 9);
    expect(rig.translate(0xfd_f910_0000 / 4096, { device: 9, type: TranslationRequest })).toMatchObject({ fault: 8, completion: Completion.UnsupportedRequest });
    expect(rig.events()).toMatchObject([{ TR: 1, DeviceID: 9 }]);
  });
});

describe("the exclusion range (AMD-Vi §2.2.4)", () => {
  const rigWith = (registers: Readonly<Record<string, number>>, device: Readonly<Record<string, number>> = {}): ReturnType<typeof hostRig> => {
    const rig = hostRig({ device: { I: 1, ...device } });
    rig.write(layouts.EXCL_BASE, { Base: 0x100, ...registers });
    rig.write(layouts.EXCL_LIMIT, { Limit: 0x102 });
    return rig;
  };
  test.each([
    [{ ExEn: 1, Allow: 1 }, {}, true],
    [{ ExEn: 1, Allow: 0 }, { EX: 1 }, true],
    [{ ExEn: 1, Allow: 1 }, { EX: 1, IR: 0, IW: 0 }, true],
    [{ ExEn: 1, Allow: 0 }, { EX: 0 }, false],
    [{ ExEn: 0, Allow: 1 }, { EX: 1 }, false],
    [{ ExEn: 1, Allow: 1 }, { TV: 0 }, false],
  ])("%j with a device's %j: passes %s", (registers, device, passes) => {
    const rig = rigWith(registers, device);
    for (const page of [0x100, 0x102]) {
      const out = rig.translate(page, { access: Write });
      expect([out.fault, out.page, out.permissions]).toEqual(passes ? [0, page, 7] : [2, 0, 0]);
    }
    for (const page of [0xff, 0x103]) expect(rig.translate(page).fault).toBe(2);
    expect(rig.iommu.totals.excluded).toBe(passes ? 2 : 0);
    if (passes) expect(rig.translate(0x101, { type: TranslationRequest })).toMatchObject({ fault: 0, page: 0x101, permissions: 7 });
  });
  test("it wins over the cache, and stops with ExEn", () => {
    const rig = rigWith({ ExEn: 0 });
    rig.mapHost(rig.table, 0x101, HOST);
    expect(rig.translate(0x101).page).toBe(HOST);
    rig.write(layouts.EXCL_BASE, { Base: 0x100, ExEn: 1, Allow: 1 });
    expect(rig.translate(0x101).page).toBe(0x101);
    rig.write(layouts.EXCL_LIMIT, { Limit: 0x100 });
    expect(rig.translate(0x101).page).toBe(HOST);
  });
});

describe("MARC apertures (AMD-Vi §3.4, MMIO 0200h)", () => {
  const marc = (rig: Rig, index: number, base: number, length: number, reloc: number, flags: Readonly<Record<string, number>> = { En: 1 }): void => {
    const [first, second, third] = layouts.MARC_APERTURES[index] ?? [];
    rig.write(first as never, { Base: base });
    rig.write(third as never, { Length: length });
    rig.write(second as never, { Reloc: reloc, ...flags });
  };
  test("an aperture relocates, instead of the page table", () => {
    const rig = hostRig({ control: { MarcEn: 1 } });
    marc(rig, 0, 0x100, 1, 0x9000);
    marc(rig, 3, 0x200, 0, 0xa000, { En: 1, RO: 1 });
    expect([0x100, 0x101].map((page) => rig.translate(page, { access: Write }))).toMatchObject([
      { page: 0x9000, permissions: 3, fault: 0 },
      { page: 0x9001, fault: 0 },
    ]);
    expect([0xff, 0x102].map((page) => rig.translate(page).fault)).toEqual([2, 2]);
    rig.events();
    expect([rig.translate(0x200), rig.translate(0x200, { access: Write })]).toMatchObject([{ page: 0xa000, permissions: 1 }, { fault: 2 }]);
    expect(rig.events()).toEqual([{ name: "IO_PAGE_FAULT", DeviceID: DEVICE, DomainIDorPASID: DOMAIN, PR: 1, PE: 1, RW: 1, AddressLow: 0x20_0000 }]);
  });
  test.each([
    ["MarcEn", 0, 1],
    ["En", 1, 0],
  ])("without %s it does not", (_name, MarcEn, En) => {
    const rig = hostRig({ control: { MarcEn } });
    marc(rig, 0, 0x100, 1, 0x9000, { En });
    expect(rig.translate(0x100).fault).toBe(2);
  });
  test("switching MarcEn on and off takes effect at once", () => {
    const rig = hostRig();
    marc(rig, 1, 0x100, 1, 0x9000);
    expect(rig.translate(0x100).fault).toBe(2);
    rig.control({ MarcEn: 1 });
    expect(rig.translate(0x100).page).toBe(0x9000);
    rig.control({ MarcEn: 0 });
    expect(rig.translate(0x100).fault).toBe(2);
  });
});

describe("ATS (AMD-Vi §2.1)", () => {
  test("a translation request gets page, size and rights, those of the device's entry included", () => {
    const rig = hostRig({ device: { I: 1, IW: 0 } });
    rig.mapHost(rig.table, 0x200, 0x400, { steps: [4, 3, 2] });
    for (let i = 0; i < 2; i++) expect(rig.translate(0x203, { type: TranslationRequest, access: Write })).toMatchObject({ page: 0x403, pageShift: 21, permissions: Read, fault: 0, completion: Completion.Successful });
  });
  test("page faults are not logged: the answer has no rights", () => {
    for (const fields of [{}, { TV: 0 }, { Mode: 7 }]) {
      const rig = hostRig({ device: { I: 1, ...fields } });
      expect(rig.translate(PAGE, { type: TranslationRequest })).toMatchObject({ page: PAGE, permissions: 0, fault: 0, recorded: false, completion: Completion.Successful });
      expect([rig.events(), targetAbort(rig)]).toEqual([[], false]);
    }
  });
  test.each([
    ["I=0", { I: 0 }, {}],
    ["V=0", { V: 0, I: 1 }, {}],
    ["no IotlbSup", { I: 1 }, { iotlbSup: false }],
  ])("%s: INVALID_DEVICE_REQUEST, unsupported request", (_what, fields, changes) => {
    const rig = hostRig({ device: fields, ...changes });
    expect(rig.translate(PAGE, { type: TranslationRequest, pasid: 0x1_0002, access: Read | Access.Privileged })).toMatchObject({ fault: 8, recorded: true, completion: Completion.UnsupportedRequest });
    expect(rig.events()).toEqual([{ name: "INVALID_DEVICE_REQUEST", DeviceID: DEVICE, PASIDHigh: 1, PASIDLow: 2, GN: 1, TR: 1, Type: 1, AddressLow: (PAGE * 4096) % 2 ** 32, AddressHigh: 1 }]);
    expect(rig.translate(PAGE, { type: TranslationRequest, pasid: 1 }).fault).toBe(8);
    expect(rig.events()).toMatchObject([{ US: 1 }]);
  });
  test("pretranslated requests pass with I=1, and only there", () => {
    const rig = hostRig({ device: { I: 1, IR: 0, IW: 0 } });
    expect(rig.translate(PAGE, { type: Translated, access: Write })).toMatchObject({ page: PAGE, permissions: 7, fault: 0 });
    expect(rig.iommu.totals.pretranslated).toBe(1);
    rig.device({ I: 0 });
    rig.invalidateDevice();
    expect(rig.translate(PAGE, { type: Translated })).toMatchObject({ fault: 8, completion: Completion.CompleterAbort });
    expect(rig.events()).toMatchObject([{ name: "INVALID_DEVICE_REQUEST", Type: 1 }]);
    rig.device({ V: 0 });
    rig.invalidateDevice();
    expect(rig.translate(PAGE, { type: Translated }).fault).toBe(0);
  });
  test.each([2 ** 36, 0xf_ee00, 0xf_eeff])("a pretranslated request to page %d is refused", (page) => {
    const rig = hostRig({ physicalAddressWidth: 48, device: { I: 1 } });
    expect(rig.translate(page, { type: Translated }).fault).toBe(8);
    expect([rig.translate(2 ** 36 - 1, { type: Translated }).fault, rig.translate(0xf_ef00, { type: Translated }).fault, rig.translate(0xf_edff, { type: Translated }).fault]).toEqual([0, 0, 0]);
  });
});

describe("SNP (EFR.SNPSup)", () => {
  const snp = (device: Readonly<Record<string, number>>, SNPSup = 1): Rig => {
    const rig = new Rig({ efr: { SNPSup }, policy: { snp: true } });
    rig.device(device);
    return rig;
  };
  test.each([{ V: 0 }, { Mode: 0 }])("DMA without a host table (%j) is an illegal entry", (fields) => {
    const rig = snp(fields);
    expect(rig.translate(PAGE).fault).toBe(1);
    expect(rig.events()).toMatchObject([{ name: "ILLEGAL_DEV_TABLE_ENTRY" }]);
    expect(snp(fields, 0).translate(PAGE).fault).toBe(0);
  });
  test("so is a guest's table without a host table; TV=0 blocks as ever", () => {
    const changes = { efr: { SNPSup: 1 }, policy: { snp: true } } as const;
    const rig = guestRig(changes);
    rig.mapGuest(rig.guest, PAGE, HOST);
    expect([rig.translate(PAGE, { pasid: PASID }).fault, rig.events()]).toMatchObject([1, [{ name: "ILLEGAL_DEV_TABLE_ENTRY", GN: 1 }]]);
    expect([snp({ TV: 0 }).translate(PAGE).fault, guestRig({ ...changes, nested: true }).translate(PAGE, { pasid: PASID }).fault]).toEqual([2, 2]);
  });
  describe("the RMP (AMD-Vi §2.5.13, §2.5.14)", () => {
    const asked: [page: number, write: boolean][] = [];
    const owned = (verdict: "allowed" | "denied" | "unreadable", options: RigOptions & { readonly device?: Readonly<Record<string, number>> } = {}): ReturnType<typeof hostRig> => {
      asked.length = 0;
      const rmp: ReverseMap = (page, write) => {
        asked.push([page, write]);
        return verdict;
      };
      const rig = hostRig({ efr: { SNPSup: 1 }, ...options, policy: { snp: true, rmp } });
      rig.mapHost(rig.table, 0x12_3400, HOST, { steps: [4, 3, 2] });
      return rig;
    };
    test.each(["none", "realistic", "adversarial"] as const)("is asked of every access, hits of the %s cache too, with the page and whether it is written", (caches) => {
      const rig = owned("allowed", { caches });
      expect([rig.translate(PAGE), rig.translate(PAGE, { access: Write }), rig.translate(PAGE)]).toMatchObject([{ fault: 0, page: 0x2_0056, pageShift: 12 }, { fault: 0, pageShift: 12 }, { fault: 0, pageShift: 12 }]);
      expect(asked).toEqual([[0x2_0056, false], [0x2_0056, true], [0x2_0056, false]]);
    });
    test("a page of somebody else: RMP_PAGE_FAULT with the address asked for", () => {
      const rig = owned("denied");
      expect(rig.translate(PAGE, { access: Write })).toMatchObject({ fault: 13, recorded: true, page: 0, permissions: 0, completion: Completion.CompleterAbort });
      expect(rig.events()).toEqual([{ name: "RMP_PAGE_FAULT", DeviceID: DEVICE, Flags: 0x20, AddressLow: (PAGE * 4096) % 2 ** 32, AddressHigh: 1 }]);
      expect(targetAbort(rig)).toBe(true);
    });
    test("an entry of it that cannot be read: RMP_HARDWARE_ERROR with the page", () => {
      const rig = owned("unreadable");
      expect(rig.translate(PAGE)).toMatchObject({ fault: 14, completion: Completion.CompleterAbort });
      expect(rig.events()).toEqual([{ name: "RMP_HARDWARE_ERROR", DeviceID: DEVICE, AddressLow: 0x2_0056 * 4096 }]);
    });
    test("a translation request hears of no rights, and pretranslated requests are judged as well", () => {
      const rig = owned("denied", { device: { I: 1 } });
      expect([rig.translate(PAGE, { type: TranslationRequest }), rig.translate(PAGE, { type: Translated })]).toMatchObject([{ fault: 0, permissions: 0, completion: Completion.Successful }, { fault: 13 }]);
      expect(asked).toEqual([[0x2_0056, false], [PAGE, false]]);
    });
    test("nobody asks it after a fault, with IommuEn=0, or without SNP", () => {
      const rig = owned("denied");
      expect(rig.translate(0).fault).toBe(2);
      rig.control({ IommuEn: 0 });
      expect([rig.translate(PAGE).fault, owned("denied", { efr: { SNPSup: 0 } }).translate(PAGE).fault, asked]).toEqual([0, 0, []]);
    });
    test("an explanation says what it said", () => {
      const steps: ExplanationStep[] = [];
      owned("denied").translate(PAGE, { explain: steps });
      expect(steps.at(-1)).toMatchObject({ structure: "reverse map table", outcome: "denied" });
    });
  });
  test.each([
    [STORE / 4096, STORE / 4096, true],
    [STORE / 4096 - 1, STORE / 4096 + 1, true],
    [STORE / 4096 + 1, STORE / 4096 + 1, false],
    [0, STORE / 4096 - 1, false],
  ])("completion stores go to pages %d to %d", (Base, Limit, stored) => {
    const rig = snp({});
    rig.write(layouts.EXCL_BASE, { Base, ExEn: 1, Allow: 1 });
    rig.write(layouts.EXCL_LIMIT, { Limit });
    rig.submit(rig.wait());
    expect([rig.waited, rig.status.CmdBufRun]).toEqual([stored, stored ? 1 : 0]);
    expect(rig.events()).toMatchObject(stored ? [] : [{ name: "COMMAND_HARDWARE_ERROR", Type: 2 }]);
    // And it is no exclusion range.
    expect(rig.translate(Base).fault).toBe(1);
  });
});

describe("what aborts a request", () => {
  test("sets Signaled Target Abort, which software clears", () => {
    const rig = hostRig();
    expect(targetAbort(rig)).toBe(false);
    rig.translate(PAGE);
    expect([targetAbort(rig), rig.iommu.totals.aborted]).toEqual([true, 1]);
    rig.iommu.function.config.write(0x06, 2, 0x0800);
    expect(targetAbort(rig)).toBe(false);
  });
  test("not so an illegal command", () => {
    const rig = new Rig();
    rig.submit(Uint32Array.of(0, 0, 0, 0));
    expect(targetAbort(rig)).toBe(false);
  });
});

describe("explanations", () => {
  const explain = (rig: Rig, page: number, options: object = {}): string[] => {
    const steps: { structure: string; outcome: string }[] = [];
    rig.translate(page, { ...options, explain: steps as never });
    return steps.map(({ structure, outcome }) => `${structure}: ${outcome}`);
  };
  test("a walk names every entry, a hit the cache", () => {
    const rig = hostRig();
    rig.mapHost(rig.table, PAGE, HOST);
    expect(explain(rig, PAGE)).toEqual(["device table entry: continue", "host entry, level 4: next level", "host entry, level 3: next level", "host entry, level 2: next level", "host entry, level 1: page"]);
    expect(explain(rig, PAGE)).toEqual(["device table entry cache: hit", "IOTLB: hit"]);
  });
  test.each([
    ["an entry that is not present", {}, ["device table entry: continue", "host entry, level 4: IO_PAGE_FAULT, not present"]],
    ["TV=0", { TV: 0 }, ["device table entry: continue", "device table entry: IO_PAGE_FAULT, not present"]],
    ["no right", { IR: 0 }, ["device table entry: continue", "device table entry: IO_PAGE_FAULT, no permission"]],
    ["Mode 7", { Mode: 7 }, ["device table entry: continue", "device table entry: IO_PAGE_FAULT, bad level"]],
    ["Mode 0", { Mode: 0 }, ["device table entry: continue", "device table entry: untranslated"]],
    ["V=0", { V: 0 }, ["device table entry: continue", "device table entry: untranslated"]],
    ["a table that is not there", { HostRoot: RAM / 4096 }, ["device table entry: continue", "host entry, level 4: PAGE_TAB_HARDWARE_ERROR"]],
  ])("%s", (_what, fields, expected) => {
    expect(explain(hostRig({ device: fields }), PAGE)).toEqual(expected);
  });
  test.each([
    ["the interrupt range", 0xf_ee00, {}, ["request: INVALID_DEVICE_REQUEST, type 0"]],
    ["no ATS", PAGE, { type: TranslationRequest }, ["device table entry: continue", "request: INVALID_DEVICE_REQUEST, type 1"]],
    ["a PASID without GV", PAGE, { pasid: 1 }, ["device table entry: continue", "device table entry: IO_PAGE_FAULT, not present"]],
  ])("%s", (_what, page, options, expected) => {
    expect(explain(hostRig(), page, options)).toEqual(expected);
  });
  test("IommuEn=0", () => {
    const rig = hostRig({ control: { IommuEn: 0 } });
    expect([explain(rig, PAGE), explain(rig, PAGE, { type: Translated })]).toEqual([["CONTROL: untranslated"], ["CONTROL: unsupported request"]]);
  });
  test("explained and unexplained requests end the same", () => {
    const rig = hostRig({ device: { HAD: 3 } });
    rig.mapHost(rig.table, PAGE, HOST, { leaf: { FC: 1 } });
    for (const access of [Read, Write, Read, 0]) expect(rig.translate(PAGE, { access })).toEqual(rig.translate(PAGE, { access, explain: [] }));
    expect([NO_PASID, Untranslated, gcr3Fields(8).GCR3Mid]).toEqual([-1, 0, 1]);
  });
});
