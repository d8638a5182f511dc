import { FrameAllocator, SparseMemory } from "@iommu-lab/memory";
import { describe, expect, test } from "vitest";
import { DmaDevice } from "../../src/dma/index.ts";
import { ManualClock } from "../manual-clock.ts";
import { SoftwareDomain } from "../software-iommu.ts";

const PAGE = 4096;
const make = (mode: "strict" | "identity", frames = new FrameAllocator({ start: 0x1000, count: 256 })) => {
  const domain = new SoftwareDomain(1, { kind: "paging" });
  const device = new DmaDevice({ mode, memory: new SparseMemory({ size: 2 ** 30 }), clock: new ManualClock(), frames, ...(mode === "strict" ? { domain } : {}) });
  return { device, domain, frames };
};
/** Leaves only single frames free: every second one is taken. */
const scatterFrames = (frames: FrameAllocator): void => {
  const all: number[] = [];
  for (let frame = frames.allocate(); frame >= 0; frame = frames.allocate()) all.push(frame);
  for (const frame of all.filter((each) => each % 2 === 0)) frames.free(frame);
};

describe("coherent memory", () => {
  test("behind an IOMMU single frames make one range", () => {
    const { device, domain, frames } = make("strict");
    scatterFrames(frames);
    const buffer = device.allocateCoherent(8 * PAGE);
    expect(buffer?.pages.map((_, page) => domain.lookup((buffer.address) + page * PAGE))).toEqual(buffer?.pages);
    expect([buffer?.pages.length, new Set(buffer?.pages).size, domain.pages.size, device.counters.liveMappings, device.counters.livePages]).toEqual([8, 8, 8, 1, 8]);
  });
  test("without one it must be in one piece, and fragmented memory has none", () => {
    const { device, frames } = make("identity");
    scatterFrames(frames);
    expect([device.allocateCoherent(2 * PAGE), device.allocateCoherent(PAGE)?.pages.length, device.counters.mappingErrors]).toEqual([undefined, 1, 1]);
  });
  test("what is freed is free, and free once", () => {
    const { device, domain, frames } = make("strict");
    const buffer = device.allocateCoherent(5 * PAGE + 1);
    if (!buffer) throw new Error("no memory");
    expect([buffer.pages.length, frames.counts().used]).toEqual([6, 6]);
    device.freeCoherent(buffer);
    expect([frames.counts().free, domain.pages.size, domain.stale.size, device.counters.liveMappings]).toEqual([256, 0, 0, 0]);
    expect(() => { device.freeCoherent(buffer); }).toThrow(RangeError);
  });
  test("too large a piece is not given, and nothing is kept", () => {
    const { device, frames } = make("strict");
    expect([device.allocateCoherent(257 * PAGE), frames.counts().free]).toEqual([undefined, 256]);
    const alone = make("identity");
    expect(alone.device.allocateCoherent(2 ** 30)).toBeUndefined();
  });
  test("without frames, or for no bytes, it is misuse", () => {
    const device = new DmaDevice({ mode: "identity", memory: new SparseMemory({ size: 2 ** 30 }), clock: new ManualClock() });
    expect(() => device.allocateCoherent(1)).toThrow(RangeError);
    expect(() => make("strict").device.allocateCoherent(0)).toThrow(RangeError);
  });
});
