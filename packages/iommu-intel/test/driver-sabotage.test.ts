/** The contract must notice a driver that forgets an invalidation: here its descriptors are lost on their way. */
import type { FlatMemory, MmioHandler } from "@iommu-lab/memory";
import { firstViolation, iommuDriverContract } from "@iommu-lab/pci-bus/testing";
import { describe, expect, test } from "vitest";
import { CCMD_REG, IOTLB_REG, IQA_REG, IQT_REG } from "../src/layouts/index.ts";
import { createVtdRig, profileNamed } from "./driver-rig.ts";

const cases = iommuDriverContract({ seeds: [1], steps: 200 });

/** Turns queued descriptors of one type into waits that do nothing, before hardware is told of them. */
const without = (type: number, granularity?: number) => (registers: MmioHandler, memory: FlatMemory): MmioHandler => {
  let done = 0;
  const pair = new Uint32Array(2);
  return {
    read: (offset, size) => registers.read(offset, size),
    read64: (offset, into) => { registers.read64(offset, into); },
    write: (offset, size, value) => { registers.write(offset, size, value); },
    write64: (offset, low, high) => {
      if (offset === IQA_REG.offset) done = 0;
      if (offset === IQT_REG.offset && low !== 0) {
        registers.read64(IQA_REG.offset, pair);
        const step = (pair[0]! & 0x800) !== 0 ? 32 : 16;
        const base = pair[0]! & ~0xfff;
        for (; done !== low; done = (done + step) % (4096 * 2 ** (pair[0]! & 7))) {
          const word = memory.read32(base + done);
          if ((word & 0xf) !== type || (granularity !== undefined && ((word >>> 4) & 3) !== granularity)) continue;
          for (let i = 0; i < step; i += 4) memory.write32(base + done + i, i === 0 ? 5 : 0);
        }
      } else if (offset === IQT_REG.offset) done = 0;
      registers.write64(offset, low, high);
    },
  };
};

/** Drops a command of 8 bytes that has its busy bit set. */
const withoutCommand = (at: number) => (registers: MmioHandler): MmioHandler => ({
  read: (offset, size) => registers.read(offset, size),
  read64: (offset, into) => {
    registers.read64(offset, into);
    // The driver is told that it was done.
    if (offset === at) into[1] = (into[1]! & 0x1fff_ffff) | (1 << 25) | (1 << 27);
  },
  write: (offset, size, value) => { registers.write(offset, size, value); },
  write64: (offset, low, high) => {
    if (offset !== at || high < 0x8000_0000) registers.write64(offset, low, high);
  },
});

describe("a driver that forgets invalidations breaks the contract", () => {
  test.each([
    { forgets: "context-cache", type: 1, profile: "legacy" },
    { forgets: "context-cache, in caching mode", type: 1, profile: "legacy, caching mode" },
    { forgets: "IOTLB", type: 2, profile: "legacy" },
    { forgets: "IOTLB by pages", type: 2, granularity: 3, profile: "legacy" },
    { forgets: "IOTLB by domain", type: 2, granularity: 2, profile: "legacy" },
    { forgets: "device-TLB", type: 3, profile: "legacy" },
    { forgets: "interrupt entry cache", type: 4, profile: "legacy" },
    { forgets: "PASID-based IOTLB", type: 6, profile: "scalable, first stage" },
    { forgets: "PASID-based IOTLB by pages", type: 6, granularity: 3, profile: "scalable, first stage" },
    { forgets: "PASID-cache", type: 7, profile: "scalable, second stage" },
    { forgets: "PASID-based device-TLB", type: 8, profile: "scalable, second stage" },
    { forgets: "scalable-mode context-cache", type: 1, profile: "scalable, second stage, caching mode" },
    { forgets: "IOTLB, in scalable mode", type: 2, profile: "scalable, second stage, caching mode" },
  ])("$forgets ($profile)", ({ type, granularity, profile }) => {
    expect(firstViolation(cases, () => createVtdRig(profileNamed(profile), { between: without(type, granularity) }))).toBeDefined();
  });
  test.each([
    { forgets: "CCMD_REG", at: CCMD_REG.offset },
    { forgets: "IOTLB_REG", at: 0x500 + IOTLB_REG.offset },
  ])("$forgets (registers)", ({ at }) => {
    expect(firstViolation(cases, () => createVtdRig(profileNamed("legacy, registers"), { between: withoutCommand(at) }))).toBeDefined();
  });
  test("what passes everything through breaks nothing", () => {
    expect(firstViolation(cases, () => createVtdRig(profileNamed("scalable, first stage"), { between: without(15) }))).toBeUndefined();
  });
});
