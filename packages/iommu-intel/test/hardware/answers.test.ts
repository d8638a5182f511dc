import { Access, AddressType, Completion, MemoryType, type Translation } from "@iommu-lab/pci-bus";
import { describe, expect, test } from "vitest";
import { PMEN_REG } from "../../src/layouts/index.ts";
import { legacyRig, Rig, scalableRig, type RequestOptions } from "./rig.ts";

const PAGE = 0x12345; // arbitrary
const HOST = 0x2345; // arbitrary
const ASK = { type: AddressType.TranslationRequest };
const TRANSLATED = { type: AddressType.Translated };
const ALL = Access.Read | Access.Write | Access.Execute;

/** What a request gets that is let through. */
const granted = (page: number, changes: Partial<Translation> = {}): Translation => ({ page, pageShift: 12, permissions: ALL, global: false, memoryType: MemoryType.WriteBack, snoop: false, fault: 0, recorded: false, completion: Completion.Successful, ...changes });
/** What one gets that is not. */
const refused = (fault: number, changes: Partial<Translation> = {}): Translation => ({ page: 0, pageShift: 12, permissions: 0, global: false, memoryType: MemoryType.Uncacheable, snoop: false, fault, recorded: fault !== 0, completion: Completion.UnsupportedRequest, ...changes });

const mapped = (options: Parameters<typeof legacyRig>[0] = {}, leaf: Record<string, number> = {}): Rig => {
  const rig = legacyRig(options);
  rig.mapSecond(rig.table, PAGE, HOST, { leaf });
  return rig;
};
const first = (options: Parameters<typeof scalableRig>[0] = {}): Rig => {
  const rig = scalableRig({ ...options, pasid: { PGTT: 1, PGSNP: 1, ...options.pasid } });
  rig.mapFirst(rig.first, PAGE, HOST);
  return rig;
};
const protecting = (rig: Rig): Rig => {
  rig.write(PMEN_REG, { EPM: 1 });
  return rig;
};

describe("an answer says everything, whatever its record held before (VT-d §3, §4.1.3)", () => {
  const cases: readonly (readonly [string, () => Rig, number, RequestOptions, Translation])[] = [
    ["translation off", () => new Rig(), PAGE, {}, granted(PAGE)],
    ["translation off, asked by a device-TLB", () => new Rig(), PAGE, ASK, refused(0)],
    ["translation off, protected memory", () => protecting(new Rig()), 0, {}, refused(0)],
    ["abort-DMA mode", () => new Rig({ ecap: { ADMS: 1 } }).start(3), PAGE, {}, refused(0)],
    ["a reserved mode", () => new Rig({ ecap: { SMTS: 1, SSTS: 1 } }).start(2), PAGE, {}, refused(0x30)],
    ["a second-stage page", () => mapped(), PAGE, {}, granted(HOST, { permissions: Access.Read | Access.Write })],
    ["a second-stage page that snoops", () => mapped({}, { SNP: 1 }), PAGE, { access: Access.Write }, granted(HOST, { permissions: Access.Read | Access.Write, snoop: true })],
    ["SNP where snoop control is not supported is reserved", () => mapped({ ecap: { SC: 0 } }, { SNP: 1 }), PAGE, {}, refused(0x0c)],
    ["a page that is not there", () => mapped(), PAGE + 1, {}, refused(0x06)],
    ["a right that is not there", () => mapped({}, { W: 0 }), PAGE, { access: Access.Write }, refused(0x05)],
    ["a page that is not there, asked by a device-TLB", () => mapped({ context: { TT: 1 } }), PAGE + 1, ASK, granted(PAGE + 1, { permissions: 0 })],
    ["a fault that FPD silences", () => mapped({ context: { FPD: 1 } }), PAGE + 1, {}, refused(0x06, { recorded: false })],
    ["a broken table, asked by a device-TLB", () => mapped({ context: { TT: 1 } }, { TM: 1 }), PAGE, ASK, refused(0x0c, { completion: Completion.CompleterAbort })],
    ["pass-through", () => legacyRig({ context: { TT: 2 } }), PAGE, {}, granted(PAGE)],
    ["pass-through to protected memory", () => protecting(legacyRig({ context: { TT: 2 } })), 0, {}, refused(0)],
    ["pass-through with PGSNP", () => scalableRig({ pasid: { PGTT: 4, PGSNP: 1 } }), PAGE, {}, granted(PAGE, { snoop: true })],
    ["a translated request", () => legacyRig({ context: { TT: 1 } }), PAGE, TRANSLATED, granted(PAGE)],
    ["a translated request of a source whose pages snoop", () => first({ context: { DTE: 1 } }), PAGE, TRANSLATED, granted(PAGE)],
    ["the interrupt range, asked by a device-TLB", () => legacyRig({ context: { TT: 1 } }), 0xf_ee00, ASK, granted(0xf_ee00, { permissions: Access.Write })],
    ["the interrupt range, read", () => legacyRig(), 0xf_ee00, {}, refused(0x29)],
    ["a first-stage page", () => first(), PAGE, {}, granted(HOST, { snoop: true, memoryType: MemoryType.Uncacheable })],
    ["a first-stage page that is not there", () => first(), PAGE + 1, {}, refused(0x71)],
    ["a clean first-stage page, asked by a device-TLB", () => first({ context: { DTE: 1 } }), PAGE, ASK, granted(HOST, { snoop: true, memoryType: MemoryType.Uncacheable, permissions: Access.Read | Access.Execute })],
  ];
  test.each(cases)("%s", (_name, make, page, options, expected) => {
    const rig = make();
    // From the tables, then as the last request again, and once more after another requester's.
    for (let i = 0; i < 2; i++) expect(rig.translate(page, options)).toEqual(expected);
    rig.translate(page, { requester: 0x0200 });
    expect(rig.translate(page, options)).toEqual(expected);
    rig.translate(page, { ...options, explain: [] });
    expect(rig.translate(page, { ...options, explain: [] })).toEqual(expected);
  });
  test("snooping and memory type from the cache are those of the tables", () => {
    const rig = scalableRig({ pasid: { EMTE: 1 } });
    rig.mapSecond(rig.second, PAGE, HOST, { leaf: { EMT: 5, SNP: 1 } });
    rig.mapSecond(rig.second, PAGE + 1, HOST, { leaf: { EMT: 4 } });
    for (let i = 0; i < 3; i++) {
      expect(rig.translate(PAGE)).toEqual(granted(HOST, { permissions: Access.Read | Access.Write, snoop: true, memoryType: MemoryType.WriteProtected }));
      expect(rig.translate(PAGE + 1)).toEqual(granted(HOST, { permissions: Access.Read | Access.Write, memoryType: MemoryType.WriteThrough }));
    }
  });
  test("a page past the nested second stage's rights is answered without them: 75h to 77h are no faults of a translation request (Table 26)", () => {
    for (const [level, leaf] of [[4, { R: 0 }], [3, { R: 0 }], [2, { W: 0 }]] as const) {
      const rig = scalableRig({ context: { DTE: 1 }, pasid: { PGTT: 3 }, caches: "none" });
      const entries = rig.mapFirst(rig.first, PAGE, HOST);
      for (const entry of entries) rig.mapSecond(rig.second, Math.floor(entry / 4096), Math.floor(entry / 4096));
      rig.mapSecond(rig.second, HOST, HOST);
      const table = Math.floor((entries[4 - level] as number) / 4096);
      rig.mapSecond(rig.second, table, table, { leaf });
      expect(rig.translate(PAGE, ASK)).toEqual(granted(PAGE, { permissions: 0 }));
      expect(rig.record()).toBeUndefined();
    }
  });
});
