import { Access, AddressType, Completion, NO_PASID, PageResponseCode, type PageRequest } from "@iommu-lab/pci-bus";
import { describe, expect, test } from "vitest";
import {
  FIRST_STAGE_ENTRY, PAGE_REQUEST_DESCRIPTOR, PASID_DIRECTORY_ENTRY, PASID_ENTRY, PEADDR_REG, PECTL_REG, PEDATA_REG, PQA_REG, PQH_REG, PQT_REG, PRS_REG, RTADDR_REG, SCALABLE_CONTEXT_ENTRY, SCALABLE_ROOT_ENTRY, SECOND_STAGE_ENTRY,
} from "../../src/layouts/index.ts";
import { BDF, legacyRig, Rig, RAM, ROOT, scalableRig } from "./rig.ts";

const PAGE = 0x12345; // arbitrary
const HOST = 0x2345; // arbitrary
const ASK = { type: AddressType.TranslationRequest };
const TRANSLATED = { type: AddressType.Translated };

describe("translation requests in legacy mode (VT-d §4.1, §7.1.3 Table 26)", () => {
  const rigged = (options: Parameters<typeof legacyRig>[0] = {}): ReturnType<typeof legacyRig> => legacyRig({ ...options, context: { TT: 1, ...options.context } });
  test("they need TT = 1: 0dh, recorded with their address type", () => {
    for (const TT of [0, 2]) {
      const rig = legacyRig({ context: { TT } });
      expect(rig.translate(PAGE, ASK)).toMatchObject({ fault: 0x0d, recorded: true, completion: Completion.UnsupportedRequest });
      expect(rig.record()).toMatchObject({ reason: 0x0d, addressType: 1 });
      expect(rig.fault(PAGE, TRANSLATED)).toBe(0x0d);
      expect(rig.record(1)).toMatchObject({ addressType: 2 });
    }
  });
  test("a completion holds page, size and rights", () => {
    const rig = rigged();
    rig.mapSecond(rig.table, PAGE, HOST, { leaf: { W: 0 } });
    rig.mapSecond(rig.table, 0x200, 0x400, { leafLevel: 2 });
    for (let i = 0; i < 2; i++) {
      expect(rig.translate(PAGE, { ...ASK, access: Access.Write })).toMatchObject({ completion: Completion.Successful, page: HOST, pageShift: 12, permissions: Access.Read, fault: 0 });
      expect(rig.translate(0x234, ASK)).toMatchObject({ page: 0x434, pageShift: 21, permissions: 3 });
    }
  });
  test.each([
    { name: "not mapped", page: PAGE, prepare: (): void => undefined },
    { name: "past the width", page: 2 ** 36, prepare: (): void => undefined },
  ])("$name: success without rights, unrecorded", ({ page, prepare }) => {
    const rig = rigged();
    prepare();
    expect(rig.translate(page, ASK)).toMatchObject({ completion: Completion.Successful, permissions: 0, fault: 0, recorded: false });
    expect(rig.record()).toBeUndefined();
  });
  test("an error in the tables aborts, a missing entry is unsupported; both are recorded", () => {
    const rig = rigged();
    rig.mapSecond(rig.table, PAGE, HOST, { leaf: { TM: 1 } });
    expect(rig.translate(PAGE, ASK)).toMatchObject({ completion: Completion.CompleterAbort, fault: 0x0c, recorded: true });
    expect(rig.translate(PAGE, { ...ASK, requester: BDF + 1 })).toMatchObject({ completion: Completion.UnsupportedRequest, fault: 0x02 });
    rig.mapSecond(rig.table, PAGE + 1, 0xf_ee00);
    expect(rig.translate(PAGE + 1, ASK)).toMatchObject({ completion: Completion.UnsupportedRequest, fault: 0x0e });
  });
  test.each([0x03, 0x07, 0x0a, 0x0b] as const)("reason %i aborts", (reason) => {
    const rig = rigged({ caches: "none" });
    const entries = rig.mapSecond(rig.table, PAGE, HOST);
    if (reason === 0x03) rig.flip(rig.entries.context, 66);
    if (reason === 0x07) rig.putWords(entries[0] as number, [(RAM + 3) >>> 0, 0]);
    if (reason === 0x0a) rig.flip(rig.entries.root, 2);
    if (reason === 0x0b) rig.flip(rig.entries.context, 5);
    expect(rig.translate(PAGE, ASK)).toMatchObject({ completion: Completion.CompleterAbort, fault: reason });
    expect(rig.translate(PAGE)).toMatchObject({ completion: Completion.UnsupportedRequest, fault: reason });
  });
  test("the interrupt range may only be written, and is identity", () => {
    expect(rigged().translate(0xf_ee12, ASK)).toMatchObject({ completion: Completion.Successful, page: 0xf_ee12, permissions: Access.Write, pageShift: 12 });
  });
  test("translated requests pass as they are, below the host width and outside the interrupt range", () => {
    const rig = rigged();
    expect(rig.translate(PAGE, TRANSLATED)).toMatchObject({ completion: Completion.Successful, page: PAGE, permissions: 7 });
    expect([rig.fault(2 ** 34, TRANSLATED), rig.fault(2 ** 34 - 1, TRANSLATED), rig.fault(0xf_ee00, TRANSLATED), rig.fault(0xf_eeff, TRANSLATED), rig.fault(0xf_ef00, TRANSLATED), rig.fault(0xf_edff, TRANSLATED)]).toEqual([0x04, 0, 0x0e, 0x0e, 0, 0]);
  });
});

describe("translation requests in scalable mode (VT-d §4.1, §7.1.3 Table 26)", () => {
  test("DTE allows them; pass-through answers with every right", () => {
    const rig = scalableRig({ context: { DTE: 1 }, pasid: { PGTT: 4 } });
    expect(rig.translate(PAGE, ASK)).toMatchObject({ completion: Completion.Successful, page: PAGE, permissions: 7 });
    expect([rig.fault(2 ** 40, TRANSLATED), rig.fault(0xf_ee00, TRANSLATED), rig.fault(PAGE, TRANSLATED)]).toEqual([0x83, 0x87, 0]);
  });
  test.each([
    { name: "PASID entry not present", pasid: { P: 0 }, completion: Completion.UnsupportedRequest, fault: 0x59 },
    { name: "PASID entry reserved", pasid: { PGTT: 4, EMTE: 1 }, ecap: { MTS: 0 }, completion: Completion.CompleterAbort, fault: 0x5a },
    { name: "PASID entry invalid", pasid: { PGTT: 0 }, completion: Completion.CompleterAbort, fault: 0x5b },
    { name: "top table unreadable", pasid: { SSPTPTR: RAM / 4096 }, completion: Completion.CompleterAbort, fault: 0x7b },
  ])("$name", ({ pasid, completion, fault, ...rest }) => {
    const rig = scalableRig({ context: { DTE: 1 }, pasid, ...("ecap" in rest ? { ecap: rest.ecap } : {}) });
    expect(rig.translate(PAGE, ASK)).toMatchObject({ completion, fault, recorded: true });
  });
  test("what aborts, what is unsupported, and what is answered without rights, in the order it is found", () => {
    const rig = scalableRig({ caches: "none", start: false, context: { DTE: 0 }, pasid: { PWSNP: 0, SSADE: 1 } });
    const root = (page: number): void => { rig.write(RTADDR_REG, { RTA: page, TTM: 1 }); rig.command({ SRTP: 1 }); };
    const context = (fields: Record<string, number>): void => { rig.put(SCALABLE_CONTEXT_ENTRY, rig.at.context, { ...SCALABLE_CONTEXT_ENTRY.decode(rig.words(rig.at.context, 8)), ...fields }); };
    const directory = (fields: Record<string, number>): void => { rig.put(PASID_DIRECTORY_ENTRY, rig.at.directory, { ...PASID_DIRECTORY_ENTRY.decode(rig.words(rig.at.directory, 2)), ...fields }); };
    const entry = (fields: Record<string, number>): void => { rig.put(PASID_ENTRY, rig.at.entry, { ...PASID_ENTRY.decode(rig.words(rig.at.entry, 16)), ...fields }); };
    const table = Math.floor(rig.at.entry / 4096);
    const pointers = { root: SCALABLE_ROOT_ENTRY.decode(rig.words(rig.at.root, 4)), directory: SCALABLE_CONTEXT_ENTRY.get.PASIDDIRPTR(rig.words(rig.at.context, 8)) };
    rig.start(1, RAM);
    const { UnsupportedRequest: unsupported, CompleterAbort: abort } = Completion;
    const steps: readonly (readonly [number, Completion, () => void])[] = [
      [0x38, abort, () => { root(ROOT / 4096); rig.put(SCALABLE_ROOT_ENTRY, rig.at.root, {}); }],
      [0x39, unsupported, () => { rig.put(SCALABLE_ROOT_ENTRY, rig.at.root, { LP: 1 }); rig.flip(rig.at.root, 3); }],
      [0x3a, abort, () => { rig.put(SCALABLE_ROOT_ENTRY, rig.at.root, { LP: 1, LCTP: RAM / 4096 }); }],
      [0x40, abort, () => { rig.put(SCALABLE_ROOT_ENTRY, rig.at.root, pointers.root); context({ P: 0 }); }],
      [0x41, unsupported, () => { context({ P: 1 }); rig.flip(rig.at.context, 6); }],
      [0x42, abort, () => { rig.flip(rig.at.context, 6); context({ RID_PASID: 2 ** 13 }); }],
      [0x43, abort, () => { context({ RID_PASID: 0 }); }],
      [0x44, unsupported, () => { context({ DTE: 1, PASIDDIRPTR: RAM / 4096 }); }],
      [0x50, abort, () => { context({ PASIDDIRPTR: pointers.directory }); directory({ P: 0 }); }],
      [0x51, unsupported, () => { directory({ P: 1 }); rig.flip(rig.at.directory, 3); }],
      [0x52, abort, () => { rig.flip(rig.at.directory, 3); directory({ SMPTBLPTR: RAM / 4096 }); }],
      [0x58, abort, () => { directory({ SMPTBLPTR: table }); entry({ P: 0 }); }],
      [0x59, unsupported, () => { entry({ P: 1 }); rig.flip(rig.at.entry, 5); }],
      [0x5a, abort, () => { rig.flip(rig.at.entry, 5); entry({ PGTT: 0 }); }],
      [0x5b, abort, () => { entry({ PGTT: 2, SSPTPTR: RAM / 4096 }); }],
      [0x7b, abort, () => { entry({ SSPTPTR: rig.second }); rig.put(SECOND_STAGE_ENTRY, rig.second * 4096, { R: 1, W: 1, A: 1, ADDR: RAM / 4096 }); }],
      [0x78, abort, () => { rig.put(SECOND_STAGE_ENTRY, rig.second * 4096, { R: 1, W: 1, ADDR: rig.page() }); }],
      [0x7c, abort, () => { rig.flip(rig.second * 4096, 11); }],
      [0x7a, abort, () => { rig.put(SECOND_STAGE_ENTRY, rig.second * 4096, {}); }],
    ];
    for (const [fault, completion, repair] of steps) {
      expect(rig.translate(PAGE, ASK)).toMatchObject({ fault, completion, recorded: true, permissions: 0 });
      // Requests that are not asked for a translation are all told the same.
      if (fault !== 0x44) expect(rig.translate(PAGE)).toMatchObject({ fault, completion: unsupported });
      repair();
    }
    expect([rig.translate(PAGE, ASK), rig.translate(2 ** 36, ASK)]).toMatchObject([{ fault: 0, completion: Completion.Successful, permissions: 0 }, { fault: 0, completion: Completion.Successful, permissions: 0 }]);
  });
  test("the same of first-stage tables", () => {
    const rig = scalableRig({ caches: "none", context: { DTE: 1 }, pasid: { PGTT: 1, PWSNP: 0 } });
    const entry = (fields: Record<string, number>): void => { rig.put(PASID_ENTRY, rig.at.entry, { ...PASID_ENTRY.decode(rig.words(rig.at.entry, 16)), ...fields }); };
    const aborted = (fault: number): object => ({ fault, completion: Completion.CompleterAbort, recorded: true });
    const entries = rig.mapFirst(rig.first, PAGE, HOST);
    expect(rig.translate(PAGE, ASK)).toMatchObject(aborted(0x90));
    rig.flip(entries[0] as number, 48);
    rig.flip(entries[0] as number, 7);
    expect(rig.translate(PAGE, ASK)).toMatchObject(aborted(0x72));
    rig.put(FIRST_STAGE_ENTRY, entries[0] as number, { P: 1, RW: 1, US: 1, A: 1, ADDR: RAM / 4096 });
    expect(rig.translate(PAGE, ASK)).toMatchObject(aborted(0x70));
    entry({ FSPTPTR: RAM / 4096 });
    expect(rig.translate(PAGE, ASK)).toMatchObject(aborted(0x73));
    entry({ PGTT: 3, FSPTPTR: 2 ** 36 });
    expect(rig.translate(PAGE, ASK)).toMatchObject(aborted(0x74));
    expect(rig.translate(PAGE, { ...ASK, pasid: 0, access: Access.Read | Access.Privileged })).toMatchObject({ fault: 0x5d, completion: Completion.UnsupportedRequest });
  });
  test("second-stage dirty bits: writing is granted with D only", () => {
    const rig = scalableRig({ context: { DTE: 1 }, pasid: { SSADE: 1 } });
    const leaf = rig.mapSecond(rig.second, PAGE, HOST).at(-1) as number;
    expect(rig.translate(PAGE, ASK).permissions).toBe(Access.Read);
    expect((rig.memory.read32(leaf) >>> 8) & 3).toBe(1);
    expect(rig.translate(PAGE, { ...ASK, access: Access.Write }).permissions).toBe(3);
    expect((rig.memory.read32(leaf) >>> 8) & 3).toBe(3);
  });
  test("a request with PASID to the interrupt range is no interrupt: 87h", () => {
    expect([scalableRig().fault(0xf_ee00, { pasid: 0 }), scalableRig().fault(0xf_ee00)]).toEqual([0x87, 0x29]);
  });
});

const QUEUE = 0x30_0000;
const request = (changes: Partial<PageRequest> = {}): PageRequest => ({ requester: BDF, pasid: NO_PASID, page: PAGE, access: Access.Read, group: 3, last: true, ...changes });
const pageRequests = (options: Parameters<typeof scalableRig>[0] = {}, size = 0): ReturnType<typeof scalableRig> => {
  const rig = scalableRig({ ...options, context: { PASIDE: 1, DTE: 1, PRE: 1, ...options.context } });
  if (rig.capabilities.ecap.PRS) {
    rig.write(PQA_REG, { PQA: QUEUE / 4096, PQS: size });
    rig.write(PEADDR_REG, { MA: 0xfee0_3000 / 4 });
    rig.write(PEDATA_REG, { IMD: 0x77 });
    rig.write(PECTL_REG, { IM: 0 });
  }
  return rig;
};
const queued = (rig: Rig, index: number): Record<string, number> => PAGE_REQUEST_DESCRIPTOR.decode(rig.words(QUEUE + 32 * index, 8));

describe("page requests (VT-d §7.4)", () => {
  test("a descriptor holds what was asked", () => {
    const rig = pageRequests();
    rig.unit.pageRequest(request({ pasid: 0x1234, page: 2 ** 45 + 0x777, access: Access.Write | Access.Privileged, group: 0x1ff, last: false }));
    rig.unit.pageRequest(request({ access: Access.Read | Access.Execute | Access.Privileged }));
    expect([queued(rig, 0), queued(rig, 1)]).toEqual([
      { TYPE: 1, PP: 1, RID: BDF, PASID: 0x1234, EXE: 0, PRIV: 1, R: 0, W: 1, LPIG: 0, PRGI: 0x1ff, ADDR: 2 ** 45 + 0x777 },
      { TYPE: 1, PP: 0, RID: BDF, PASID: 0, EXE: 0, PRIV: 0, R: 1, W: 0, LPIG: 1, PRGI: 3, ADDR: PAGE },
    ]);
    expect([rig.read(PQT_REG).PQT, rig.read(PRS_REG), rig.responses]).toEqual([2, { PPR: 1, PRO: 0 }, []]);
  });
  test("nothing but its place in the queue is written", () => {
    const rig = pageRequests();
    const places = Array.from({ length: 3 * 8 }, (_, i) => QUEUE + 32 * 126 + 4 * i);
    for (const at of places) rig.memory.write32(at, 0x5555_5555);
    rig.write(PQH_REG, { PQH: 126 });
    for (let i = 0; i < 127; i++) rig.unit.pageRequest(request());
    expect(places.map((at) => rig.memory.read32(at) === 0x5555_5555)).toEqual(places.map(() => true));
    rig.write(PRS_REG, { PRO: 1 });
    rig.write(PQH_REG, { PQH: 1 });
    for (let i = 0; i < 3; i++) rig.unit.pageRequest(request());
    expect(places.map((at) => rig.memory.read32(at) === 0x5555_5555)).toEqual(places.map((_, i) => i >= 16));
  });
  test("the first pending request raises the event once", () => {
    const rig = pageRequests();
    for (let i = 0; i < 3; i++) rig.unit.pageRequest(request());
    expect(rig.messages).toEqual([{ address: 0xfee0_3000, upper: 0, data: 0x77 }]);
    rig.write(PRS_REG, { PPR: 1 });
    rig.unit.pageRequest(request());
    expect(rig.messages.length).toBe(2);
  });
  test("masked, the event is pending until the status is cleared", () => {
    const rig = pageRequests();
    rig.write(PECTL_REG, { IM: 1 });
    rig.unit.pageRequest(request());
    expect(rig.read(PECTL_REG)).toEqual({ IM: 1, IP: 1 });
    rig.write(PRS_REG, { PRO: 1 });
    expect(rig.read(PECTL_REG).IP).toBe(1);
    rig.write(PRS_REG, { PPR: 1 });
    expect(rig.read(PECTL_REG).IP).toBe(0);
    rig.unit.pageRequest(request());
    rig.write(PECTL_REG, { IM: 0 });
    expect(rig.messages.length).toBe(1);
  });
  test.each([0, 1])("a queue of 2^%i pages wraps, and is full one before its head: PRO, and the last of a group may try again", (size) => {
    const rig = pageRequests({}, size);
    const places = 128 * 2 ** size;
    for (let i = 0; i < places - 1; i++) rig.unit.pageRequest(request({ page: i }));
    expect([rig.read(PQT_REG).PQT, rig.read(PRS_REG).PRO]).toEqual([places - 1, 0]);
    rig.unit.pageRequest(request({ last: false }));
    rig.unit.pageRequest(request({ group: 9, pasid: 4 }));
    expect([rig.read(PRS_REG).PRO, rig.responses]).toEqual([1, [{ requester: BDF, response: { pasid: 4, group: 9, code: PageResponseCode.Success } }]]);
    rig.write(PQH_REG, { PQH: 10 });
    rig.unit.pageRequest(request({ last: false }));
    expect(rig.read(PQT_REG).PQT).toBe(places - 1);
    rig.write(PRS_REG, { PRO: 1 });
    rig.unit.pageRequest(request({ page: 0x999 }));
    expect([rig.read(PQT_REG).PQT, queued(rig, places - 1).ADDR]).toEqual([0, 0x999]);
  });
  test.each([
    { name: "PRE clear", options: { context: { PRE: 0 } }, changes: {}, reason: 0x47 },
    { name: "PASIDE clear", options: { context: { PASIDE: 0 } }, changes: { pasid: 1 }, reason: 0x45 },
    { name: "a PASID past the directory", options: {}, changes: { pasid: 2 ** 13 }, reason: 0x46 },
    { name: "no context entry", options: {}, changes: { requester: BDF + 1 }, reason: 0x41 },
  ])("$name: $reason, recorded as a page request and answered as invalid", ({ options, changes, reason }) => {
    const rig = pageRequests(options);
    const asked = request(changes);
    rig.unit.pageRequest(asked);
    expect(rig.record()).toMatchObject({ reason, type: "page-request", sid: asked.requester, pasid: asked.pasid === NO_PASID ? undefined : asked.pasid, page: PAGE });
    expect(rig.responses).toEqual([{ requester: asked.requester, response: { pasid: asked.pasid, group: 3, code: PageResponseCode.InvalidRequest } }]);
    expect(rig.read(PQT_REG).PQT).toBe(0);
  });
  test("the last PASID of the directory is fine; FPD silences what is qualified", () => {
    const rig = pageRequests();
    rig.unit.pageRequest(request({ pasid: 2 ** 13 - 1 }));
    expect(rig.read(PQT_REG).PQT).toBe(1);
    const silent = pageRequests({ context: { PRE: 0, FPD: 1 } });
    silent.unit.pageRequest(request());
    expect([silent.record(), silent.responses.length]).toEqual([undefined, 1]);
  });
  test("in legacy mode: 32h; in a reserved mode: 30h", () => {
    const ecap = { PRS: 1, SMTS: 1, SSTS: 1 };
    const legacy = legacyRig({ ecap });
    legacy.unit.pageRequest(request());
    expect(legacy.record()).toMatchObject({ reason: 0x32, type: "page-request" });
    const reserved = new Rig({ ecap }).start(2);
    reserved.unit.pageRequest(request());
    expect(reserved.record()?.reason).toBe(0x30);
  });
  test("in abort-DMA mode they fail, and nothing is recorded", () => {
    const rig = pageRequests({ start: false });
    rig.start(3);
    rig.unit.pageRequest(request());
    expect([rig.record(), rig.responses.map(({ response }) => response.code)]).toEqual([undefined, [PageResponseCode.ResponseFailure]]);
    const without = pageRequests({ start: false, ecap: { ADMS: 0 } });
    without.start(3);
    without.unit.pageRequest(request());
    expect(without.record()?.reason).toBe(0x30);
  });
  test("without page requests, or with translation off, they fail at once", () => {
    const without = pageRequests({ ecap: { PRS: 0, PDS: 0 }, context: { PRE: 0 } });
    without.unit.pageRequest(request());
    without.unit.pageRequest(request({ last: false }));
    const off = pageRequests({ start: false });
    off.unit.pageRequest(request());
    for (const rig of [without, off]) expect(rig.responses).toEqual([{ requester: BDF, response: { pasid: NO_PASID, group: 3, code: PageResponseCode.ResponseFailure } }]);
  });
});
