import { describe, expect, test } from "vitest";
import { EduFunction } from "../../src/devices/index.ts";
import { EDU, eduReads, VENDORS } from "../faults/fault-rig.ts";
import { OWN, runGuest, SHIFT, type Guest } from "../guest.ts";

const PAGE = OWN + SHIFT + 0x3000;
const MILLISECOND = 1_000_000;

describe.each(VENDORS)("an edu device with an address translation cache on %s", (vendor) => {
  const run = async (fn: () => EduFunction, script: (guest: Guest) => Iterable<void>): Promise<unknown> => (await runGuest({ iommu: { vendor }, devices: () => [{ devfn: EDU, fn: fn() }], ats: [EDU] }, script)).end;

  test("keeps translations until they are invalidated", async () => {
    const end = await run(() => new EduFunction({ ats: true }), function* (guest) {
      const domain = guest.ownDomain();
      guest.iommu.attach(EDU, domain);
      guest.enableAts(EDU);
      expect(eduReads(guest, PAGE)).toBe(true);
      const { translations } = guest.board.counters;
      domain.unmap(PAGE, 0x1000);
      expect(eduReads(guest, PAGE)).toBe(true);
      // A translated request is looked up only to see that the function may send such.
      expect(guest.board.counters.translations - translations).toBeLessThanOrEqual(1);
      domain.flush();
      expect(eduReads(guest, PAGE)).toBe(false);
      yield;
    });
    expect(end).toEqual({ reason: "powered-off" });
  });

  test("may answer an invalidation late: the driver waits", async () => {
    const late: (() => void)[] = [];
    const end = await run(() => new EduFunction({ ats: true, invalidated: (complete) => { late.push(complete); } }), function* (guest) {
      const { clock } = guest.cpu;
      const domain = guest.ownDomain();
      const answerAfter = (delay: number): void => { clock.after(delay, () => { for (const complete of late.splice(0)) complete(); }); };
      answerAfter(MILLISECOND);
      guest.iommu.attach(EDU, domain);
      clock.advance(MILLISECOND);
      guest.enableAts(EDU);
      expect(eduReads(guest, PAGE)).toBe(true);
      domain.unmap(PAGE, 0x1000);
      const start = clock.now;
      answerAfter(5 * MILLISECOND);
      domain.flush();
      expect(clock.now - start).toBe(5 * MILLISECOND);
      expect(eduReads(guest, PAGE)).toBe(false);
      yield;
    });
    expect([end, late]).toEqual([{ reason: "powered-off" }, []]);
  });
});
