import { beforeAll, describe, expect, test } from "vitest";
import { injectFault, INJECTIONS, overflowLog, type InjectedFault, type Injection } from "../../src/faults/index.ts";
import { OWN, SHIFT, type Guest } from "../guest.ts";
import { EDU, eduReads, occasionsBefore, runWithFault, VENDORS, type FaultScript, type Occasions, type Vendor } from "./fault-rig.ts";

const MILLISECOND = 1_000_000;
const PAGES = 4;
const page = (index: number): number => OWN + SHIFT + 0x1000 * index;

/** What came of taking pages away one by one. */
interface Result {
  /** Whether edu still reached each page after its invalidation. */
  readonly stale: boolean[];
  /** Nanoseconds that each invalidation took. */
  readonly took: number[];
}

/** Uses pages, then unmaps them one by one; calls `mark` before. */
const unmapping = (result: Result, mark: () => void = () => undefined): FaultScript =>
  function* (guest) {
    const { cpu: { clock }, iommu } = guest;
    const domain = guest.ownDomain();
    iommu.attach(EDU, domain);
    for (let index = 0; index <= PAGES; index++) expect(eduReads(guest, page(index))).toBe(true);
    mark();
    for (let index = 0; index < PAGES; index++) {
      const start = clock.now;
      domain.unmap(page(index), 0x1000);
      domain.flush();
      result.took.push(clock.now - start);
      result.stale.push(eduReads(guest, page(index)));
      yield;
    }
    expect(eduReads(guest, page(PAGES))).toBe(true);
    iommu.service();
    guest.cpu.print(JSON.stringify([guest.problems, guest.faults.map(({ code }) => code)]));
  };

const run = async (vendor: Vendor, fault: InjectedFault): Promise<Result & { readonly told: readonly string[]; readonly problems: readonly string[]; readonly codes: readonly number[] }> => {
  const result: Result = { stale: [], took: [] };
  const { end, told, console } = await runWithFault(vendor, fault, unmapping(result));
  expect(end).toEqual({ reason: "powered-off" });
  const [problems, codes] = JSON.parse(console) as [string[], number[]];
  return { ...result, told, problems, codes };
};

describe.each(VENDORS)("on %s", (vendor) => {
  let before: Occasions = { invalidations: 0, tails: 0, fetches: 0 };
  beforeAll(async () => {
    before = await occasionsBefore(vendor, (mark) => unmapping({ stale: [], took: [] }, mark));
  });
  const inject = async (kind: Injection, changes: Partial<InjectedFault> = {}): ReturnType<typeof run> => run(vendor, { kind, after: kind === "delay-invalidation" ? before.tails : before.invalidations, ...changes });

  test("without a fault no page is reached after its invalidation", async () => {
    expect(await inject("drop-invalidation", { count: 0 })).toMatchObject({ stale: [false, false, false, false], problems: [], told: [] });
  });

  test("drop-invalidation: the stale translation stays, and nobody complains", async () => {
    const { stale, problems, told } = await inject("drop-invalidation");
    expect([stale, problems, told.length]).toEqual([[true, false, false, false], [], 1]);
    expect(told[0]).toMatch(/^drop-invalidation: (?:[0-9a-f]{8} ){4}became /);
  });

  test("corrupt-descriptor: the queue stops at it", async () => {
    const { problems, told } = await inject("corrupt-descriptor");
    expect(problems.join(" ")).toMatch(vendor === "intel" ? /queue stopped at a descriptor: invalid descriptor type/ : /command is illegal/i);
    expect(told).toHaveLength(1);
  });

  test("device-tlb-timeout: somebody does not answer", async () => {
    const { problems, told } = await inject("device-tlb-timeout");
    expect(problems.join(" ")).toMatch(vendor === "intel" ? /device-TLB invalidation of 0xfff8 timed out/ : /device-TLB did not answer/);
    expect(told).toHaveLength(1);
  });

  test("delay-invalidation: the hardware hears of it later, by the clock", async () => {
    const { took, stale, told } = await inject("delay-invalidation");
    expect([took, stale, told]).toEqual([[50 * MILLISECOND, 0, 0, 0], [false, false, false, false], ["delay-invalidation: a tail waits 50 ms"]]);
    expect((await inject("delay-invalidation", { delay: 7 })).took[0]).toBe(7 * MILLISECOND);
  });

  test("delay-invalidation: until then the translation is still used", async () => {
    const seen: boolean[] = [];
    const script: FaultScript = function* (guest: Guest) {
      const domain = guest.ownDomain();
      guest.iommu.attach(EDU, domain);
      for (let index = 0; index <= PAGES; index++) eduReads(guest, page(index));
      domain.unmap(page(0), 0x1000);
      for (const at of [49, 51]) guest.cpu.clock.after(at * MILLISECOND, () => seen.push(eduReads(guest, page(0))));
      domain.flush();
      yield;
    };
    await runWithFault(vendor, { kind: "delay-invalidation", after: before.tails }, script);
    expect(seen).toEqual([true, false]);
  });

  test.each([
    [1, 2, [false, true, true, false]],
    [2, 9, [false, false, true, true]],
    [9, 1, [false, false, false, false]],
  ])("%i occasions go well, then %i wrong", async (after, count, pattern) => {
    expect((await inject("drop-invalidation", { after: before.invalidations + after, count })).stale).toEqual(pattern);
    expect((await inject("delay-invalidation", { after: before.tails + after, count })).took).toEqual(pattern.map((late) => (late ? 50 * MILLISECOND : 0)));
  });

  test("fail-fetch: a request whose tables cannot be read faults, the next one does not", async () => {
    const script = (mark: () => void): FaultScript =>
      function* (guest) {
        guest.iommu.attach(EDU, guest.ownDomain());
        expect(eduReads(guest, page(0))).toBe(true);
        mark();
        guest.cpu.print(`${eduReads(guest, page(1))} ${eduReads(guest, page(1))}`);
        yield;
        guest.iommu.service();
        guest.cpu.print(` ${guest.faults.map(({ code, requester }) => `${code} of ${requester}`).join()}`);
      };
    const { fetches } = await occasionsBefore(vendor, script);
    const { console, told } = await runWithFault(vendor, { kind: "fail-fetch", after: fetches }, script(() => undefined));
    // VT-d: an access to second-stage tables failed (07h). AMD: PAGE_TAB_HARDWARE_ERROR (4).
    expect([console, told.length]).toEqual([`false true ${vendor === "intel" ? 7 : 4} of ${EDU}`, 1]);
    expect(told[0]).toMatch(/^fail-fetch: page 0x[0-9a-f]+ cannot be read$/);
  });

  test("overflow-log: more faults than there is room for", async () => {
    const overflow = vendor === "intel" ? { at: 0x34, bit: 0 } : { at: 0x2020, bit: 0 };
    const { end } = await runWithFault(vendor, undefined, function* (guest) {
      const registers = guest.cpu.bus.windows[0]?.handler;
      const overflown = (): number => ((registers?.read(overflow.at, 4) ?? 0) >>> overflow.bit) & 1;
      const { faults } = guest.board.counters;
      overflowLog(guest.board.iommu, 1);
      expect([overflown(), guest.board.counters.faults - faults]).toEqual([0, 1]);
      overflowLog(guest.board.iommu);
      expect([overflown(), guest.board.counters.faults - faults]).toEqual([1, 1025]);
      yield;
      guest.iommu.service();
      expect([guest.faults.length > 0, guest.faults.every(({ requester }) => requester === 0x00e7)]).toEqual([true, true]);
    });
    expect(end).toEqual({ reason: "powered-off" });
  });
});

test("overflow-log needs nothing between the parts of a board; every kind is told in a sentence", () => {
  const site = { vendor: "intel", memory: undefined as never, clock: undefined as never } as const;
  expect(injectFault({ kind: "overflow-log" }, site)).toEqual({});
  expect(Object.keys(INJECTIONS)).toEqual(["drop-invalidation", "delay-invalidation", "corrupt-descriptor", "device-tlb-timeout", "fail-fetch", "overflow-log"]);
});
