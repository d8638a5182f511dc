import type { CachePolicy } from "@iommu-lab/pci-bus";
import { describe, expect, test } from "vitest";
import type { BoardTaps, IommuChoice } from "../../src/board/index.ts";
import { EduFunction } from "../../src/devices/index.ts";
import { injectFault } from "../../src/faults/index.ts";
import { replay } from "../../src/replay/index.ts";
import { OWN, OWN_SIZE, runGuest, SHIFT, type Guest, type GuestParts, type GuestRun } from "../guest.ts";
import { DATA, DISK, diskSeat, openDisk } from "../scripted-disk.ts";

const VENDORS = ["intel", "amd"] as const;
const POLICIES: readonly CachePolicy[] = ["none", "realistic", "adversarial"];
const CHOICES: readonly IommuChoice[] = [{ vendor: "intel" }, { vendor: "intel", scalable: true, cachingMode: true }, { vendor: "intel", levels: 5, superpages: false, interruptRemapping: true }, { vendor: "amd" }, { vendor: "amd", cachingMode: true }, { vendor: "amd", scalable: true, levels: 5 }];
const EDU = 0x30;

interface Step {
  readonly op: string;
  readonly bdf?: string;
  readonly addr?: string;
  readonly data?: string | null;
  readonly ok?: boolean;
  readonly impl?: string;
  readonly out?: unknown;
  readonly config?: Readonly<Record<string, string>>;
}
const stepsOf = ({ trace }: GuestRun): Step[] => trace.map((line) => JSON.parse(line) as Step);
const devices: GuestParts["devices"] = () => [diskSeat(), { devfn: EDU, fn: new EduFunction() }];

/** Moves `count` bytes by the edu device; whether it went well. */
const edu = ({ cpu }: Guest, toMemory: boolean, address: number, count = 64): boolean => {
  const base = cpu.bar(EDU, 0);
  const [source, destination] = toMemory ? [0x4_0000, address] : [address, 0x4_0000];
  for (const [at, value] of [[0x80, source], [0x88, destination], [0x90, count]] as const) {
    cpu.write(base + at, 4, value % 2 ** 32);
    cpu.write(base + at + 4, 4, Math.floor(value / 2 ** 32));
  }
  cpu.write(base + 0x98, 4, toMemory ? 3 : 1);
  return (cpu.read(base + 0x98, 4) & 8) === 0;
};

/** Disk and edu at work, faults, an unmapping, and memory that the processor changes in between. */
function* busy(guest: Guest): Generator<void> {
  const { cpu, iommu } = guest;
  const domain = guest.ownDomain();
  iommu.attach(DISK, domain);
  iommu.attach(EDU, domain);
  const disk = openDisk(guest);
  for (let round = 0; round < 3; round++) {
    cpu.memory.writeFrom(DATA + 5, new Uint8Array(1024).fill(0x30 + round));
    if (disk.request(1, round, 1024, DATA + 5) !== 0 || disk.request(0, round, 1024, DATA + 0x3000) !== 0) throw new Error("The disk fails.");
    yield;
  }
  if (!edu(guest, false, DATA + SHIFT + 0xff0) || !edu(guest, true, DATA + SHIFT + 0x5ff0)) throw new Error("edu cannot reach memory.");
  if (edu(guest, true, OWN + OWN_SIZE + SHIFT)) throw new Error("edu reaches what is not mapped.");
  domain.unmap(DATA + SHIFT, 0x1000);
  domain.flush();
  if (edu(guest, false, DATA + SHIFT)) throw new Error("edu reaches what is no longer mapped.");
  iommu.service();
  iommu.detach(EDU);
  if (edu(guest, false, DATA + SHIFT + 0x1000)) throw new Error("A function that is detached reaches memory.");
  iommu.service();
}

describe.each(CHOICES)("a trace of %o", (iommu) => {
  test.each(POLICIES)("replays on a machine that caches: %s", async (caches) => {
    const run = await runGuest({ iommu, devices }, busy);
    expect(run.end).toEqual({ reason: "powered-off" });
    const { compared, skipped, mismatches } = await replay(run.trace, { caches });
    expect(mismatches).toEqual([]);
    expect(compared).toBeGreaterThan(100);
    expect(skipped).toBe(0);
  });
});

test("the header of an AMD machine tells what its registers do not: NpCache and physical address bits", async () => {
  const [header] = stepsOf(await runGuest({ iommu: { vendor: "amd", cachingMode: true }, devices }, busy));
  const dword = (offset: string): number => Number(header?.config?.[offset]);
  expect([(dword("0x40") >>> 26) & 1, (dword("0x50") >>> 8) & 0x7f]).toEqual([1, 48]);
});

describe.each(VENDORS)("what is recorded on %s", (vendor) => {
  test("reads, writes, refusals, messages and register accesses", async () => {
    const steps = stepsOf(await runGuest({ iommu: { vendor }, devices }, busy));
    const count = (test: (step: Step) => boolean): number => steps.filter(test).length;
    expect(steps[0]).toMatchObject({ op: "machine", trace: 1, iommu: vendor });
    expect(steps.slice(1).some(({ op }) => op === "machine")).toBe(false);
    expect(count(({ op, data }) => op === "dma_read" && data === null)).toBe(2);
    expect(count(({ op, ok }) => op === "dma_write" && ok === false)).toBe(1);
    expect(count(({ op, out }) => op === "msi" && out !== null)).toBe(6);
    for (const op of ["reg_read", "reg_write", "dma_read", "dma_write", "mem_write"]) expect(count((step) => step.op === op)).toBeGreaterThan(0);
  });

  test("what the processor writes stands before the step that reads it, and only what changed", async () => {
    const steps = stepsOf(
      await runGuest({ iommu: { vendor }, devices }, function* (guest) {
        guest.iommu.attach(EDU, guest.ownDomain());
        guest.cpu.memory.writeFrom(DATA, new Uint8Array(64).fill(0x11));
        edu(guest, false, DATA + SHIFT);
        guest.cpu.memory.write8(DATA + 33, 0x22);
        edu(guest, false, DATA + SHIFT);
        edu(guest, false, DATA + SHIFT);
        yield;
      }),
    );
    const first = steps.findIndex(({ op }) => op === "dma_read");
    expect(steps.slice(first - 1).map(({ op, addr, data }) => [op, addr, data?.length])).toEqual([
      ["mem_write", `0x${DATA.toString(16)}`, 128],
      ["dma_read", undefined, 128],
      ["mem_write", `0x${(DATA + 32).toString(16)}`, 32],
      ["dma_read", undefined, 128],
      ["dma_read", undefined, 128],
    ]);
  });

  test("what a device writes is not recorded as the processor's", async () => {
    const steps = stepsOf(
      await runGuest({ iommu: { vendor }, devices }, function* (guest) {
        guest.iommu.attach(EDU, guest.ownDomain());
        guest.cpu.memory.writeFrom(DATA, new Uint8Array(64).fill(0x11));
        edu(guest, false, DATA + SHIFT);
        edu(guest, true, DATA + SHIFT + 0x100);
        edu(guest, false, DATA + SHIFT + 0x100);
        yield;
      }),
    );
    expect(steps.slice(-2).map(({ op, data }) => [op, data])).toEqual([["dma_write", "11".repeat(64)], ["dma_read", "11".repeat(64)]]);
  });

  test("a transfer across pages is a step for each", async () => {
    const steps = stepsOf(
      await runGuest({ iommu: { vendor }, devices }, function* (guest) {
        guest.iommu.attach(EDU, guest.ownDomain());
        edu(guest, false, DATA + SHIFT + 0xff0, 32);
        edu(guest, false, OWN + OWN_SIZE + SHIFT - 16, 32);
        yield;
      }),
    );
    expect(steps.filter(({ op }) => op === "dma_read").map(({ data }) => data?.length)).toEqual([32, 32, 32, undefined]);
  });

  test("DMA that ends in no memory is marked: a replayed machine has nobody else there", async () => {
    const run = await runGuest({ iommu: { vendor }, devices }, function* (guest) {
      const domain = guest.ownDomain();
      domain.map(0x7000_0000, guest.cpu.bar(EDU, 0) + 0x8_0000, 0x1000, 3);
      domain.map(0x7100_0000, guest.cpu.memory.size, 0x1000, 3);
      guest.iommu.attach(EDU, domain);
      edu(guest, false, 0x7000_0000, 4);
      edu(guest, false, 0x7100_0000, 4);
      yield;
    });
    expect(stepsOf(run).filter(({ op }) => op === "dma_read").map(({ impl }) => typeof impl)).toEqual(["string", "string"]);
    expect(await replay(run.trace)).toMatchObject({ mismatches: [], skipped: 2 });
  });

  test("a DMA write into the interrupt range is a message", async () => {
    const run = await runGuest({ iommu: { vendor }, devices }, function* (guest) {
      guest.iommu.attach(EDU, guest.ownDomain());
      edu(guest, true, 0xfee0_0000, 4);
      edu(guest, true, 0xfee0_0000, 8);
      edu(guest, false, 0xfee0_0000, 4);
      yield;
    });
    expect(stepsOf(run).filter(({ op }) => op === "msi" || op.startsWith("dma_"))).toMatchObject([{ op: "msi", addr: "0xfee00000", data: "0x0", out: null }]);
    expect(await replay(run.trace)).toMatchObject({ mismatches: [] });
  });
});

test.each(VENDORS)("translated requests are in no trace; what they write is, when somebody reads it (%s)", async (vendor) => {
  const run = await runGuest({ iommu: { vendor }, devices: () => [diskSeat(), { devfn: EDU, fn: new EduFunction({ ats: true }) }], ats: [EDU] }, function* (guest) {
    const domain = guest.ownDomain();
    guest.iommu.attach(EDU, domain);
    guest.iommu.attach(DISK, domain);
    guest.enableAts(EDU);
    guest.cpu.memory.writeFrom(DATA, new Uint8Array(64).fill(0x77));
    if (!edu(guest, false, DATA + SHIFT) || !edu(guest, true, DATA + SHIFT + 0x200)) throw new Error("edu cannot reach memory.");
    if (openDisk(guest).request(1, 0, 512, DATA + 0x200) !== 0) throw new Error("The disk fails.");
    domain.unmap(DATA + SHIFT, 0x1000);
    domain.flush();
    yield;
  });
  expect(run.end).toEqual({ reason: "powered-off" });
  expect(stepsOf(run).filter(({ op, bdf }) => op.startsWith("dma_") && bdf === "00:06.0")).toEqual([]);
  expect(stepsOf(run).filter(({ op, data }) => op === "mem_write" && data === "77".repeat(64))).toHaveLength(2);
  expect(await replay(run.trace)).toMatchObject({ mismatches: [] });
});

describe.each(VENDORS)("an injected fault in a trace of %s", (vendor) => {
  test.each(["drop-invalidation", "corrupt-descriptor"] as const)("%s stands in it, and replays", async (kind) => {
    const told: string[] = [];
    const run = await runGuest({ iommu: { vendor }, devices, taps: (session) => [injectFault({ kind, after: 0, count: 1 }, { vendor, memory: session.memory, clock: session.clock, happened: (text) => told.push(text) })] }, function* (guest) {
      guest.iommu.attach(EDU, guest.ownDomain());
      yield;
    });
    const became = (told[0]?.split("became ")[1] ?? "").split(" ").map((word) => (word.match(/../g) ?? []).reverse().join("")).join("");
    expect(told.length).toBe(1);
    expect(stepsOf(run).some(({ op, data }) => op === "mem_write" && data?.includes(became))).toBe(true);
    expect(await replay(run.trace)).toMatchObject({ mismatches: [] });
  });

  test("fail-fetch is not the architecture's doing: a replay shows where it struck", async () => {
    let fetches = 0;
    let before = 0;
    const counting: BoardTaps = { tableMemory: (memory) => ({ wordsOf: (pfn) => { fetches++; return memory.wordsOf(pfn); }, wordOf: (pfn) => memory.wordOf(pfn), write32: (at, value) => { memory.write32(at, value); } }) };
    const said: string[] = [];
    // The first request puts the tables into the trace.
    const script = function* (guest: Guest): Generator<void> {
      guest.iommu.attach(EDU, guest.ownDomain());
      edu(guest, false, DATA + SHIFT);
      before = fetches;
      said.push(`${edu(guest, false, DATA + SHIFT + 0x1000)} ${edu(guest, false, DATA + SHIFT + 0x1000)}`);
      yield;
    };
    await runGuest({ iommu: { vendor }, devices, taps: () => [counting] }, script);
    const run = await runGuest({ iommu: { vendor }, devices, taps: (session) => [injectFault({ kind: "fail-fetch", after: before }, { vendor, memory: session.memory, clock: session.clock })] }, script);
    expect([run.end, said]).toEqual([{ reason: "powered-off" }, ["true true", "false true"]]);
    expect((await replay(run.trace)).mismatches[0]).toMatchObject({ op: "dma_read", expected: null });
  });
});
