import { FlatMemory, FrameAllocator, type MmioHandler } from "@iommu-lab/memory";
import { Access, AddressType, IommuDriverError, newTranslation, NO_PASID, type DownstreamPort, type IommuDriverCallbacks } from "@iommu-lab/pci-bus";
import { describe, expect, test } from "vitest";
import { VtdDriver } from "../src/driver/index.ts";
import { FIRST_STAGE_FORMAT, SECOND_STAGE_FORMAT } from "../src/driver/page-formats.ts";
import { LEGACY, SCALABLE, VtdUnit, withCapabilities, type VtdCapabilities } from "../src/hardware/index.ts";
import { FIRST_STAGE_ENTRY, FSTS_REG, GCMD_REG, GSTS_REG, IQT_REG, PMEN_REG, RTADDR_REG, SECOND_STAGE_ENTRY } from "../src/layouts/index.ts";
import { createVtdRig, profileNamed } from "./driver-rig.ts";

const READ_WRITE = Access.Read | Access.Write;

/** Tells of every register written, in order. */
const recording = (into: { readonly offset: number; readonly low: number }[]) => (registers: MmioHandler): MmioHandler => ({
  read: (offset, size) => registers.read(offset, size),
  read64: (offset, pair) => { registers.read64(offset, pair); },
  write: (offset, size, value) => {
    into.push({ offset, low: value });
    registers.write(offset, size, value);
  },
  write64: (offset, low, high) => {
    into.push({ offset, low });
    registers.write64(offset, low, high);
  },
});

const refusal = (action: () => unknown): string => {
  try {
    action();
  } catch (error) {
    if (error instanceof IommuDriverError) return error.code;
    throw error;
  }
  return "none";
};

const isReached = (unit: VtdUnit, requester: number, page: number): boolean => {
  const out = newTranslation();
  unit.translate({ requester, pasid: NO_PASID, addressType: AddressType.Untranslated, page, access: Access.Read }, out);
  return out.completion === 0;
};

describe("page-table entries as the driver writes them, VT-d §9.7, §9.8", () => {
  test("the hand-written flags are those of the layouts", () => {
    const second = (fields: Partial<Record<"R" | "W", number>>): number => SECOND_STAGE_ENTRY.encode(fields)[0] as number;
    expect(SECOND_STAGE_FORMAT.table).toEqual(new Array(5).fill(second({ R: 1, W: 1 })));
    expect(SECOND_STAGE_FORMAT.page).toEqual([0, second({ R: 1 }), second({ W: 1 }), second({ R: 1, W: 1 })]);
    const first = { P: 1, US: 1, A: 1 };
    expect(FIRST_STAGE_FORMAT.table).toEqual(new Array(5).fill(FIRST_STAGE_ENTRY.encode({ ...first, RW: 1 })[0]));
    expect([FIRST_STAGE_FORMAT.page[1], FIRST_STAGE_FORMAT.page[3]]).toEqual([FIRST_STAGE_ENTRY.encode(first)[0], FIRST_STAGE_ENTRY.encode({ ...first, RW: 1, D: 1 })[0]]);
  });
});

describe("tables of five levels, VT-d §3.6, §3.7", () => {
  /** Page numbers: near 2^47, 2^48, and the last of so many bits. */
  const pagesOf = (bits: number): number[] => [1, 2 ** 35 - 1, 2 ** 36 - 1, ...(bits > 48 ? [2 ** 36, 2 ** 40 + 0x12345] : []), 2 ** (bits - 12) - 1].filter((page, i, pages) => page < 2 ** (bits - 12) && pages.indexOf(page) === i);
  test.each([
    { name: "scalable, second stage", addressWidth: 57 },
    { name: "scalable, second stage", addressWidth: 49 },
    { name: "scalable, first stage", addressWidth: 56 },
    { name: "scalable, first stage", addressWidth: 48 },
  ])("$name: a domain of $addressWidth bits is mapped, found, forgotten and freed", ({ name, addressWidth }) => {
    const { driver, unit, frames } = createVtdRig(profileNamed(name));
    driver.start();
    const before = frames.counts().free;
    const domain = driver.createDomain({ kind: "paging", addressWidth });
    driver.attach(0x0018, domain);
    const pages = pagesOf(addressWidth);
    for (const [i, page] of pages.entries()) domain.map(BigInt(page) << 12n, 0x10_0000 + 4096 * i, 4096, READ_WRITE);
    expect(pages.map((page) => isReached(unit, 0x0018, page))).toEqual(pages.map(() => true));
    expect(domain.lookup(BigInt(pages.at(-1) as number) << 12n)).toBe(0x10_0000 + 4096 * (pages.length - 1));
    expect(refusal(() => { domain.map(1n << BigInt(addressWidth), 0x10_0000, 4096, READ_WRITE); })).toBe("ERANGE");
    for (const page of pages) expect(domain.unmap(BigInt(page) << 12n, 4096)).toBe(4096);
    domain.flush();
    expect(pages.map((page) => isReached(unit, 0x0018, page))).toEqual(pages.map(() => false));
    driver.detach(0x0018);
    driver.destroyDomain(domain);
    const again = driver.createDomain({ kind: "paging", addressWidth });
    driver.destroyDomain(again);
    // The function's bus keeps its context table.
    expect(before - frames.counts().free).toBe(1);
  });
  test("units without them refuse such domains", () => {
    const { driver } = createVtdRig(profileNamed("scalable, first stage only, no RID_PASID, small PASIDs"));
    expect(refusal(() => { driver.createDomain({ kind: "paging", addressWidth: 48 }); })).toBe("EINVAL");
  });
});

describe("starting, VT-d §11.4.4", () => {
  test("GCMD gives one command at a time and never repeats a one-shot one", () => {
    const writes: { offset: number; low: number }[] = [];
    const { driver } = createVtdRig(profileNamed("legacy"), { between: recording(writes) });
    driver.start();
    driver.stop();
    driver.start();
    let status = 0;
    for (const { low } of writes.filter(({ offset }) => offset === GCMD_REG.offset)) {
      const changed = (low ^ status) >>> 0;
      expect(changed.toString(2).replaceAll("0", "")).toBe("1");
      status = (low & ~0x6900_0000) >>> 0;
    }
  });
  test("translation goes on after the root table and before protected memory is released", () => {
    const writes: { offset: number; low: number }[] = [];
    const { driver } = createVtdRig(profileNamed("legacy"), { between: recording(writes) });
    driver.start();
    const at = (found: (write: { offset: number; low: number }) => boolean): number => writes.findIndex(found);
    const root = at(({ offset }) => offset === RTADDR_REG.offset);
    const queued = at(({ offset, low }) => offset === IQT_REG.offset && low !== 0);
    const on = at(({ offset, low }) => offset === GCMD_REG.offset && low >= 0x8000_0000);
    const released = at(({ offset }) => offset === PMEN_REG.offset);
    expect(root).toBeGreaterThan(0);
    expect([root, queued, on, released]).toEqual([root, queued, on, released].toSorted((a, b) => a - b));
  });
  test("what firmware left on is taken over: translation, the queue and protected memory", () => {
    const { driver, unit } = createVtdRig(profileNamed("legacy"));
    unit.registers.write(PMEN_REG.offset, 4, 0x8000_0000);
    unit.registers.write64(0x90, 0x5000, 0);
    unit.registers.write(GCMD_REG.offset, 4, 0x8400_0000);
    driver.start();
    expect(unit.registers.read(PMEN_REG.offset, 4) & 1).toBe(0);
    expect(unit.registers.read(GSTS_REG.offset, 4) >>> 31).toBe(1);
    driver.attach(8, driver.createDomain({ kind: "identity" }));
    expect(isReached(unit, 8, 0x10)).toBe(true);
  });
  test("hardware that does not follow is an error with an end", () => {
    const dead: MmioHandler = { read: () => 0, write: () => undefined, read64: (offset, into) => { into.set(offset === 8 ? [0x8d2_0602, 0] : [0xf00, 0]); }, write64: () => undefined };
    const driver = new VtdDriver({ memory: new FlatMemory(0x40_0000), frames: new FrameAllocator({ start: 0x10, count: 0x300 }), hostAddressWidth: 40, units: [{ registers: dead }], polls: 10 });
    expect(refusal(() => { driver.start(); })).toBe("EIO");
  });
});

describe("errors of the invalidation queue, VT-d §6.5.2.9, §6.5.2.10", () => {
  /** Spoils the descriptor at the old tail, once, when the tail moves. */
  const spoiling = (state: { armed: boolean }) => (registers: MmioHandler, memory: FlatMemory): MmioHandler => {
    const pair = new Uint32Array(2);
    let done = 0;
    return {
      ...recording([])(registers),
      write64: (offset, low, high) => {
        if (offset === IQT_REG.offset) {
          registers.read64(0x90, pair);
          if (state.armed && low !== done) {
            memory.write32((pair[0]! & ~0xfff) + done, 0xf);
            state.armed = false;
          }
          done = low;
        }
        registers.write64(offset, low, high);
      },
    };
  };
  test.each(["legacy", "scalable, second stage"])("a descriptor that hardware refuses is reported, and invalidates all the same (%s)", (name) => {
    const state = { armed: false };
    const problems: string[] = [];
    const { driver, unit } = createVtdRig(profileNamed(name), { between: spoiling(state) });
    driver.start({ problem: (text) => problems.push(text) });
    const domain = driver.createDomain({ kind: "paging" });
    driver.attach(8, domain);
    domain.map(0x1000, 0x5000, 4096, READ_WRITE);
    expect(isReached(unit, 8, 1)).toBe(true);
    domain.unmap(0x1000, 4096);
    state.armed = true;
    domain.flush();
    expect(isReached(unit, 8, 1)).toBe(false);
    expect(problems).toHaveLength(1);
    expect(unit.registers.read(FSTS_REG.offset, 4) & 0x70).toBe(0);
  });
  test("a device-TLB that does not answer is reported, and the flush ends", () => {
    const problems: string[] = [];
    const { driver, unit, requesters } = createVtdRig(profileNamed("legacy"));
    const port: DownstreamPort = { invalidateDeviceTlb: (_requester, _invalidation, _timeout, complete) => { complete("timed-out"); }, respondToPage: () => undefined };
    unit.connect(port);
    driver.start({ problem: (text) => problems.push(text) });
    const domain = driver.createDomain({ kind: "paging" });
    driver.attach(requesters[0], domain);
    domain.map(0x1000, 0x5000, 4096, READ_WRITE);
    expect(isReached(unit, requesters[0], 1)).toBe(true);
    domain.unmap(0x1000, 4096);
    domain.flush();
    expect(isReached(unit, requesters[0], 1)).toBe(false);
    expect(problems).toEqual([expect.stringContaining("timed out")]);
  });
  test("a device-TLB that answers later is waited for while time passes", () => {
    const later: (() => void)[] = [];
    const { driver, unit, requesters } = createVtdRig(profileNamed("scalable, second stage"), { options: { relax: () => later.shift()?.() } });
    unit.connect({ invalidateDeviceTlb: (_requester, _invalidation, _timeout, complete) => later.push(() => undefined, () => { complete("completed"); }), respondToPage: () => undefined });
    driver.start();
    const domain = driver.createDomain({ kind: "paging" });
    driver.attach(requesters[0], domain);
    domain.map(0x1000, 0x5000, 4096, READ_WRITE);
    domain.unmap(0x1000, 4096);
    domain.flush();
    expect(later).toEqual([]);
  });
  test("a device-TLB that never answers ends in an error, and its domain is not given up", () => {
    const { driver, unit, requesters } = createVtdRig(profileNamed("legacy"), { options: { polls: 5 } });
    unit.connect({ invalidateDeviceTlb: () => undefined, respondToPage: () => undefined });
    driver.start();
    const domain = driver.createDomain({ kind: "paging" });
    driver.attach(requesters[0], domain);
    expect(refusal(() => { driver.detach(requesters[0]); })).toBe("EIO");
    expect(refusal(() => { driver.destroyDomain(domain); })).toBe("EBUSY");
  });
});

describe("several units", () => {
  const createMachine = (kinds: readonly VtdCapabilities[], callbacks: IommuDriverCallbacks = {}): { readonly units: readonly VtdUnit[]; readonly driver: VtdDriver } => {
    const memory = new FlatMemory(0x80_0000);
    const units = kinds.map((capabilities) => new VtdUnit({ memory, capabilities, caches: "adversarial" }));
    const driver = new VtdDriver({
      memory,
      frames: new FrameAllocator({ start: 0x10, count: 0x7f0 }),
      hostAddressWidth: 46,
      interruptEntries: 256,
      units: units.map(({ registers }, i) => ({ registers, ...(i < units.length - 1 ? { covers: (requester: number) => requester >>> 8 === i } : {}) })),
    });
    driver.start(callbacks);
    return { units, driver };
  };
  test("a domain on both is flushed on both, and has what both can", () => {
    const { units: [first, second], driver } = createMachine([LEGACY, withCapabilities(LEGACY, { cap: { SSLPS: 1, CM: 1, MGAW: 38, SAGAW: 2 } })]);
    const domain = driver.createDomain({ kind: "paging" });
    expect(domain.pageSizes).toEqual([4096, 2 ** 21]);
    driver.attach(0x0010, domain);
    driver.attach(0x0310, domain);
    expect(isReached(second!, 0x0310, 1)).toBe(false);
    domain.map(0x1000, 0x5000, 4096, READ_WRITE);
    expect([isReached(first!, 0x0010, 1), isReached(second!, 0x0310, 1), isReached(first!, 0x0310, 1)]).toEqual([true, true, false]);
    domain.unmap(0x1000, 4096);
    domain.flush();
    expect([isReached(first!, 0x0010, 1), isReached(second!, 0x0310, 1)]).toEqual([false, false]);
    expect(refusal(() => { domain.map(2 ** 39, 0x5000, 4096, READ_WRITE); })).toBe("ERANGE");
  });
  test("faults of both are told of", () => {
    const told: number[] = [];
    const { units: [first, second], driver } = createMachine([SCALABLE, SCALABLE], { fault: ({ requester }) => told.push(requester) });
    isReached(first!, 0x0010, 1);
    isReached(second!, 0x0310, 1);
    driver.service();
    expect(told).toEqual([0x0010, 0x0310]);
  });
  test("a scalable and a legacy unit are both used in legacy mode", () => {
    const { units, driver } = createMachine([SCALABLE, LEGACY]);
    expect(driver.units.map(({ scalable }) => scalable)).toEqual([false, false]);
    driver.attach(0x0010, driver.createDomain({ kind: "identity" }));
    expect(isReached(units[0]!, 0x0010, 7)).toBe(true);
  });
});

describe("what runs out", () => {
  test("domain identifiers: ENOSPC, and they come back", () => {
    const { driver } = createVtdRig({ name: "few domains", capabilities: withCapabilities(LEGACY, { cap: { ND: 0 } }) });
    driver.start();
    const domains = Array.from({ length: 16 }, () => driver.createDomain({ kind: "paging" }));
    for (let i = 0; i < 15; i++) driver.attach(i, domains[i]!);
    expect(refusal(() => { driver.attach(15, domains[15]!); })).toBe("ENOSPC");
    driver.detach(3);
    driver.attach(15, domains[15]!);
  });
  test("interrupt entries: ENOSPC, and they come back", () => {
    const { driver } = createVtdRig(profileNamed("legacy"), { options: { interruptEntries: 2 } });
    driver.start();
    const wanted = { vector: 0x40, deliveryMode: 0, destination: 1, destinationMode: "physical", trigger: "edge", redirectionHint: false } as const;
    const [one] = [driver.allocateInterrupt(8, wanted), driver.allocateInterrupt(8, wanted)];
    expect(refusal(() => driver.allocateInterrupt(8, wanted))).toBe("ENOSPC");
    one.free();
    expect(refusal(() => driver.allocateInterrupt(8, wanted))).toBe("none");
  });
  test("frames: ENOMEM, and nothing is left mapped", () => {
    const { driver, frames } = createVtdRig(profileNamed("legacy"));
    driver.start();
    const domain = driver.createDomain({ kind: "paging" });
    while (frames.counts().free > 2) frames.allocate();
    expect(refusal(() => { domain.map(0x1000, 0x1000, 0x40_0000, READ_WRITE); })).toBe("ENOMEM");
    expect(domain.lookup(0x1000)).toBeUndefined();
  });
});
