import { Access } from "@iommu-lab/pci-bus";
import { describe, expect, test } from "vitest";
import { BDF, DID, invalidateContext, invalidateIotlb, invalidatePasidCache, invalidatePasidIotlb, legacyRig, type Rig, scalableRig } from "./rig.ts";

const PAGE = 0x12345; // arbitrary
const HOST = 0x2345; // arbitrary
type Legacy = ReturnType<typeof legacyRig>;
type Scalable = ReturnType<typeof scalableRig>;

describe("caching mode (VT-d §6.1)", () => {
  test.each([
    { CM: 0, caches: "adversarial", stale: false },
    { CM: 1, caches: "realistic", stale: false },
    { CM: 1, caches: "adversarial", stale: true },
  ] as const)("CM=$CM, $caches: entries that were not present are cached: $stale", ({ CM, caches, stale }) => {
    const rig = legacyRig({ caches, cap: { CM } }).queue();
    expect(rig.fault(PAGE)).toBe(0x06);
    rig.mapSecond(rig.table, PAGE, HOST);
    expect(rig.fault(PAGE)).toBe(stale ? 0x06 : 0);
    rig.submit(invalidateIotlb({ G: 3, DID, ADDR: PAGE }));
    expect(rig.fault(PAGE)).toBe(0);

    rig.context({ P: 0, SSPTPTR: rig.table }, BDF + 1);
    expect(rig.fault(PAGE, { requester: BDF + 1 })).toBe(0x02);
    rig.context({ SSPTPTR: rig.table }, BDF + 1);
    expect(rig.fault(PAGE, { requester: BDF + 1 })).toBe(stale ? 0x02 : 0);
    rig.submit(invalidateContext({ G: 3, DID, SID: BDF + 1 }));
    expect(rig.fault(PAGE, { requester: BDF + 1 })).toBe(stale ? 0x02 : 0);
    rig.submit(invalidateContext({ G: 3, DID: 0, SID: BDF + 1 }));
    expect(rig.fault(PAGE, { requester: BDF + 1 })).toBe(0);
  });
  test("a cached fault is recorded each time, and silenced when its context entry said so", () => {
    const rig = legacyRig({ caches: "adversarial", cap: { CM: 1 }, context: { FPD: 1 } });
    for (let i = 0; i < 2; i++) expect(rig.translate(PAGE)).toMatchObject({ fault: 0x06, recorded: false });
    const told = legacyRig({ caches: "adversarial", cap: { CM: 1 } });
    told.translate(PAGE);
    told.translate(PAGE);
    expect([told.record(0)?.reason, told.record(1)?.reason]).toEqual([0x06, 0x06]);
  });
  test("a cached fault is the source's own, whatever others had meanwhile", () => {
    const rig = legacyRig({ caches: "adversarial", cap: { CM: 1 } });
    rig.context({ P: 0 }, BDF + 1);
    rig.context({ P: 0, FPD: 1 }, BDF + 2);
    rig.context({ TT: 3 }, BDF + 3);
    for (let i = 0; i < 2; i++) expect([1, 2, 3, 0].map((at) => rig.translate(PAGE, { requester: BDF + at }))).toMatchObject([{ fault: 0x02, recorded: true }, { fault: 0x02, recorded: false }, { fault: 0x03, recorded: true }, { fault: 0x06 }]);
    const scalable = scalableRig({ caches: "adversarial", cap: { CM: 1 } });
    scalable.scalableContext({ P: 0 }, BDF + 1);
    scalable.scalableContext({ RID_PASID: 2 ** 19, FPD: 1 }, BDF + 2);
    scalable.pasid(scalable.at.directory, 3, { P: 0 });
    scalable.pasid(scalable.at.directory, 4, { PGTT: 0, FPD: 1 });
    for (let i = 0; i < 2; i++)
      expect([{ requester: BDF + 1 }, { pasid: 3 }, { requester: BDF + 2 }, { pasid: 4 }, { pasid: 64 }].map((options) => scalable.translate(PAGE, options))).toMatchObject([{ fault: 0x41, recorded: true }, { fault: 0x59, recorded: true }, { fault: 0x43, recorded: false }, { fault: 0x5b, recorded: false }, { fault: 0x51, recorded: true }]);
  });
  test.each([
    { name: "legacy second stage, not present", PGTT: 0, leaf: { R: 0, W: 0 }, fault: 0x06 },
    { name: "legacy second stage, reserved", PGTT: 0, leaf: { TM: 1 }, fault: 0x0c },
    { name: "second stage, not present", PGTT: 2, leaf: { R: 0, W: 0 }, fault: 0x79 },
    { name: "second stage, reserved", PGTT: 2, leaf: { TM: 1 }, fault: 0x7a },
    { name: "first stage, not present", PGTT: 1, leaf: { P: 0 }, fault: 0x71 },
    { name: "first stage, reserved", PGTT: 1, leaf: { ADDR: 2 ** 39 }, fault: 0x72 },
    { name: "nested, not present below", PGTT: 3, leaf: { R: 0, W: 0 }, fault: 0x79 },
    { name: "nested, reserved below", PGTT: 3, leaf: { TM: 1 }, fault: 0x7a },
  ])("what is not present or reserved is cached, what lacks a right is not: $name", ({ PGTT, leaf, fault }) => {
    const make = (): { rig: Rig; map: (fields: Record<string, number>) => void } => {
      if (PGTT === 0) {
        const rig = legacyRig({ caches: "adversarial", cap: { CM: 1 } });
        return { rig, map: (fields) => { rig.mapSecond(rig.table, PAGE, HOST, { leaf: fields }); } };
      }
      const rig = scalableRig({ caches: "adversarial", cap: { CM: 1 }, hostAddressWidth: 46, pasid: { PGTT } });
      if (PGTT === 3) {
        rig.mapSecond(rig.second, 0, 0, { leafLevel: 2 });
        rig.mapFirst(rig.first, PAGE, HOST);
      }
      return { rig, map: (fields) => { if (PGTT === 1) rig.mapFirst(rig.first, PAGE, HOST, { leaf: fields }); else rig.mapSecond(rig.second, PGTT === 3 ? HOST : PAGE, HOST, { leaf: fields }); } };
    };
    const { rig, map } = make();
    map(leaf);
    expect(rig.fault(PAGE)).toBe(fault);
    map({});
    for (const page of PGTT === 3 ? [] : [PAGE - 1, PAGE ^ 2, PAGE ^ 8]) {
      // Its neighbours are looked up.
      if (PGTT === 1) rig.mapFirst((rig as Scalable).first, page, HOST);
      else rig.mapSecond(PGTT === 0 ? (rig as Legacy).table : (rig as Scalable).second, page, HOST);
      expect(rig.fault(page)).toBe(0);
    }
    expect([rig.fault(PAGE), rig.fault(PAGE, { access: Access.Write }), rig.fault(PAGE)]).toEqual([fault, fault === 0x06 ? 0x05 : fault, fault]);
    const other = make();
    other.map(PGTT === 1 ? { RW: 0 } : { W: 0 });
    expect(other.rig.fault(PAGE, { access: Access.Write })).toBe(PGTT === 0 ? 0x05 : 0x85);
    other.map({});
    expect(other.rig.fault(PAGE, { access: Access.Write })).toBe(0);
  });
  test("scalable mode: context, PASID and first-stage entries likewise", () => {
    const rig = scalableRig({ caches: "adversarial", cap: { CM: 1 }, pasid: { PGTT: 1 } }).queue({ wide: true });
    expect([rig.fault(PAGE), rig.fault(PAGE, { pasid: 5 }), rig.fault(PAGE, { requester: BDF + 1 })]).toEqual([0x71, 0x59, 0x41]);
    rig.mapFirst(rig.first, PAGE, HOST);
    rig.pasid(rig.at.directory, 5, { PGTT: 4 });
    rig.scalableContext({}, BDF + 1);
    expect([rig.fault(PAGE), rig.fault(PAGE, { pasid: 5 }), rig.fault(PAGE, { requester: BDF + 1 })]).toEqual([0x71, 0x59, 0x41]);
    rig.submit(invalidatePasidIotlb({ G: 3, DID, PASID: 0, ADDR: PAGE }), invalidatePasidCache({ G: 1, DID, PASID: 5 }), invalidateContext({ G: 3, SID: BDF + 1 }));
    // The second time from what is cached now.
    for (let i = 0; i < 2; i++) expect([rig.fault(PAGE), rig.fault(PAGE, { pasid: 5 }), rig.fault(PAGE, { requester: BDF + 1 })]).toEqual([0, 0, 0x51]);
  });
});
