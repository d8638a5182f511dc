import { FlatMemory } from "@iommu-lab/memory";
import { describe, expect, test } from "vitest";
import { IommuDriverError, type Iommu, type IommuDomain, type IommuDriver } from "../../src/index.ts";
import { firstViolation, iommuDriverContract, RandomSource, type DriverRig } from "../../src/testing/index.ts";
import { PlainMap } from "../../src/testing/plain-map.ts";

const cases = iommuDriverContract({ seeds: [1], steps: 50 });

/** Hardware that lets everything pass, and a driver that does nothing. */
const createIdleRig = (): DriverRig => {
  const iommu: Iommu = {
    registers: { read: () => 0, write: () => undefined, read64: () => undefined, write64: () => undefined },
    translate: ({ page }, out) => { Object.assign(out, { page, completion: 0, fault: 0, permissions: 3 }); },
    remapInterrupt: (_message, _sink, out) => { out.fault = 0; },
    pageRequest: () => undefined,
    connect: () => undefined,
    reset: () => undefined,
  };
  const domain: IommuDomain = { id: 1, kind: "paging", pageSizes: [4096], map: () => undefined, unmap: () => 0, flush: () => undefined, lookup: () => undefined };
  const driver: IommuDriver = {
    start: () => undefined,
    stop: () => undefined,
    createDomain: () => domain,
    destroyDomain: () => undefined,
    attach: () => undefined,
    detach: () => undefined,
    allocateInterrupt: () => { throw new IommuDriverError("EOPNOTSUPP", "none"); },
    service: () => undefined,
  };
  return {
    driver,
    iommu,
    memory: new FlatMemory(0x2_0000),
    requesters: [8, 16, 24],
    features: { addressWidth: 48, writeOnly: true, pasids: undefined, absentAccess: true, faults: 1, interrupts: true, posting: undefined, deviceTlb: true, pageRequests: true, nesting: false },
    scratch: 0x1_0000,
    framesInUse: () => 0,
  };
};

describe("the driver contract", () => {
  test("its cases have names of their own", () => {
    expect(new Set(cases.map(({ name }) => name)).size).toBe(cases.length);
  });
  test("a driver that does nothing breaks nearly every case", () => {
    const { features } = createIdleRig();
    const applying = cases.filter(({ applies }) => applies(features));
    const kept = applying.filter((one) => firstViolation([one], createIdleRig) === undefined).map(({ name }) => name);
    // It holds no frames, and has no large pages.
    expect(kept).toEqual(["frames of tables come back when domains go", "a gigabyte is mapped and split like less", "large pages need no more than one entry"]);
  });
  test("cases for what a rig lacks do not apply to it", () => {
    const { features } = createIdleRig();
    expect(cases.filter(({ applies }) => applies(features)).length).toBeLessThan(cases.length);
  });
});

describe("what the contract compares with", () => {
  test("a seed repeats its numbers, and another seed has others", () => {
    const draw = (seed: number): readonly number[] => {
      const random = new RandomSource(seed);
      return Array.from({ length: 20 }, () => random.below(1000));
    };
    expect(draw(7)).toEqual(draw(7));
    expect(draw(7)).not.toEqual(draw(8));
    expect(draw(0).some((value) => value !== 0)).toBe(true);
  });
  test("a plain map refuses overlaps as a whole and remembers what was unmapped until it is flushed", () => {
    const plain = new PlainMap();
    expect(plain.map(10, 100, 4, 1)).toBe(true);
    expect(plain.map(8, 200, 3, 1)).toBe(false);
    expect(plain.pages.has(8)).toBe(false);
    expect(plain.unmap(9, 3)).toBe(2);
    expect(plain.stale.get(10)).toEqual([{ frame: 100, access: 1 }]);
    expect(plain.map(10, 300, 1, 3)).toBe(true);
    expect(plain.stale.has(10)).toBe(false);
    plain.flush();
    expect(plain.stale.size).toBe(0);
  });
});
