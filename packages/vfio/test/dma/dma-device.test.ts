import { FrameAllocator, SparseMemory } from "@iommu-lab/memory";
import { Access, IommuDriverError } from "@iommu-lab/pci-bus";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { BouncePool, DmaDevice, FLUSH_QUEUE_SIZE, FLUSH_QUEUE_TIMEOUT, MAPPING_ERROR, type DmaDeviceOptions } from "../../src/dma/index.ts";
import { ManualClock } from "../manual-clock.ts";
import { SoftwareDomain } from "../software-iommu.ts";

const PAGE = 4096;
const GIB = 2 ** 30;
const make = (options: Partial<DmaDeviceOptions> = {}) => {
  const memory = new SparseMemory({ size: 8 * GIB });
  const clock = new ManualClock();
  const domain = new SoftwareDomain(1, { kind: "paging" });
  const bounce = new BouncePool({ memory, start: 0x100_0000, size: 512 * 1024 });
  const frames = new FrameAllocator({ start: 0x1000, count: 1024 });
  const paging = options.mode === "identity" ? {} : { domain };
  const device = new DmaDevice({ mode: "strict", memory, clock, frames, bounce, ...paging, ...options });
  return { memory, clock, domain, bounce, frames, device, counters: device.counters };
};
/** What the device reaches at an address, page tables and stale translations together. */
const reach = (domain: SoftwareDomain, address: number) => domain.reach(Math.floor(address / PAGE));

describe("DMA API, strict", () => {
  test("the address keeps the buffer's offset in its page, and every page is mapped", () => {
    const { device, domain, counters } = make();
    const address = device.map(0x12_3456, 2 * PAGE, "bidirectional");
    expect(address % PAGE).toBe(0x456);
    expect([0, PAGE, 2 * PAGE - 1].map((at) => domain.lookup(address + at))).toEqual([0x12_3456, 0x12_4456, 0x12_5455]);
    expect([counters.maps, counters.liveMappings, counters.livePages, counters.mappedPages]).toEqual([1, 1, 3, 3]);
  });
  test.each([
    ["to-device", Access.Read],
    ["from-device", Access.Write],
    ["bidirectional", Access.Read | Access.Write],
  ] as const)("%s gives just the rights it needs", (direction, access) => {
    const { device, domain } = make();
    expect(reach(domain, device.map(0x1000, PAGE, direction))?.access).toBe(access);
  });
  test("where tables cannot give write alone, read comes with it", () => {
    const { device, domain } = make();
    domain.writeNeedsRead = true;
    expect([device.map(0x1000, PAGE, "from-device"), device.map(0x1000, PAGE, "from-device")].map((at) => reach(domain, at)?.access)).toEqual([3, 3]);
  });
  test("after unmap the device reaches nothing, and one wait was paid", () => {
    const { device, domain, counters } = make();
    const address = device.map(0x5000, PAGE, "to-device");
    device.unmap(address, PAGE, "to-device");
    expect(reach(domain, address)).toBeUndefined();
    expect([counters.unmaps, counters.invalidationWaits, counters.liveMappings, counters.livePages, counters.stalePages]).toEqual([1, 1, 0, 0, 0]);
  });
  test("an address of 32-bit device is below 4 GiB though the memory is not", () => {
    const { device, domain } = make({ maskBits: 32 });
    const address = device.map(6 * GIB, PAGE, "to-device");
    expect(address).toBeLessThan(4 * GIB);
    expect(domain.lookup(address)).toBe(6 * GIB);
    expect(device.counters.bouncedMaps).toBe(0);
  });
  test("a domain that cannot map makes the mapping error and keeps nothing", () => {
    const { device, domain, counters } = make();
    domain.refuse = new IommuDriverError("ENOMEM", "No frame is left for tables.");
    expect(device.map(0x1000, PAGE, "to-device")).toBe(MAPPING_ERROR);
    expect([counters.mappingErrors, counters.maps, counters.liveMappings, domain.pages.size]).toEqual([1, 0, 0, 0]);
  });
  test("an exhausted IOVA space makes the mapping error", () => {
    const { device } = make({ maskBits: 13, reserved: [] });
    expect(device.map(0x1000, PAGE, "to-device")).toBe(PAGE);
    expect(device.map(0x1000, PAGE, "to-device")).toBe(MAPPING_ERROR);
  });
  test("an unmap that does not match its map is misuse", () => {
    const { device } = make();
    const address = device.map(0x1000, PAGE, "to-device");
    expect(() => { device.unmap(address, PAGE, "from-device"); }).toThrow(/to-device; it cannot/);
    expect(() => { device.unmap(address, 2 * PAGE, "to-device"); }).toThrow(RangeError);
    device.unmap(address, PAGE, "to-device");
    expect(() => { device.unmap(address, PAGE, "to-device"); }).toThrow(/Nothing is mapped/);
    expect(() => { device.unmap(MAPPING_ERROR, PAGE, "to-device"); }).toThrow(/check what map gives/);
  });
  test("an address inside a mapping is not the mapping's", () => {
    const { device } = make();
    const address = device.map(0x1000, PAGE, "to-device");
    expect(() => { device.unmap(address + 8, PAGE, "to-device"); }).toThrow(/Nothing is mapped/);
  });
  test.each([[0, 0], [-1, 1], [0.5, 1], [2 ** 52 - 1, 2]])("HPA %d with %d bytes is no buffer", (hpa, size) => {
    expect(() => make().device.map(hpa, size, "to-device")).toThrow(RangeError);
  });
  test.each([
    [{ mode: "strict", domain: undefined }],
    [{ mode: "identity", domain: new SoftwareDomain(2, { kind: "paging" }) }],
    [{ mode: "lazy", untrusted: true }],
    [{ mode: "strict", maskBits: 8 }],
    [{ mode: "strict", maskBits: 65 }],
  ] as [Partial<DmaDeviceOptions>][])("options that do not go together are refused: %o", (options) => {
    expect(() => make(options)).toThrow(RangeError);
  });
});

describe("DMA API, lazy", () => {
  test("what is unmapped stays reachable until 10 ms have passed", () => {
    const { device, domain, clock, counters } = make({ mode: "lazy" });
    const address = device.map(0x5000, PAGE, "from-device");
    device.unmap(address, PAGE, "from-device");
    clock.pass(FLUSH_QUEUE_TIMEOUT - 1);
    expect([reach(domain, address)?.frame, counters.stalePages, counters.invalidationWaits]).toEqual([5, 1, 0]);
    clock.pass(1);
    expect([reach(domain, address), counters.stalePages, counters.stalePagesPeak, counters.timedQueueFlushes]).toEqual([undefined, 0, 1, 1]);
  });
  test("the 256th range flushes all of them with one wait", () => {
    const { device, counters, clock } = make({ mode: "lazy" });
    for (let each = 0; each < FLUSH_QUEUE_SIZE - 1; each++) device.unmap(device.map(0x5000, PAGE, "to-device"), PAGE, "to-device");
    expect([counters.invalidationWaits, counters.stalePages]).toEqual([0, 255]);
    device.unmap(device.map(0x5000, PAGE, "to-device"), PAGE, "to-device");
    expect([counters.invalidationWaits, counters.fullQueueFlushes, counters.stalePages, counters.stalePagesPeak, clock.waiting]).toEqual([1, 1, 0, 256, 0]);
  });
  test("an IOVA is used again only after the flush", () => {
    const { device } = make({ mode: "lazy" });
    const first = device.map(0x5000, PAGE, "to-device");
    device.unmap(first, PAGE, "to-device");
    const second = device.map(0x6000, PAGE, "to-device");
    expect(second).not.toBe(first);
    device.flush();
    expect(device.map(0x7000, PAGE, "to-device")).toBe(first);
  });
  test("coherent memory is flushed before its frames are free", () => {
    const { device, domain, frames } = make({ mode: "lazy" });
    const buffer = device.allocateCoherent(PAGE);
    if (!buffer) throw new Error("no memory");
    device.freeCoherent(buffer);
    expect([reach(domain, buffer.address), frames.counts().free]).toEqual([undefined, 1024]);
  });
});

describe("DMA API, identity", () => {
  test("the address is the memory's, and no wait is paid", () => {
    const { device, counters } = make({ mode: "identity" });
    expect(device.map(6 * GIB + 5, 100, "to-device")).toBe(6 * GIB + 5);
    device.unmap(6 * GIB + 5, 100, "to-device");
    expect([counters.invalidationWaits, counters.livePages, counters.liveMappings]).toEqual([0, 0, 0]);
  });
  test("the same memory can be mapped twice", () => {
    const { device, counters } = make({ mode: "identity" });
    device.map(0x1000, 64, "to-device");
    device.map(0x1000, 64, "to-device");
    device.unmap(0x1000, 64, "to-device");
    expect(counters.liveMappings).toBe(1);
    device.unmap(0x1000, 64, "to-device");
    expect(() => { device.unmap(0x1000, 64, "to-device"); }).toThrow(RangeError);
  });
  test("the last byte decides whether a device reaches a buffer", () => {
    const { device, counters } = make({ mode: "identity", maskBits: 32 });
    expect(device.map(4 * GIB - 64, 64, "to-device")).toBe(4 * GIB - 64);
    expect(device.map(4 * GIB - 64, 65, "to-device")).toBeLessThan(4 * GIB - 65);
    expect(counters.bouncedMaps).toBe(1);
  });
  test("without a bounce pool the mapping fails", () => {
    const { memory, clock } = make();
    const device = new DmaDevice({ mode: "identity", memory, clock, maskBits: 32 });
    expect(device.map(4 * GIB, 64, "to-device")).toBe(MAPPING_ERROR);
  });
  test("a driver that skips the map hands over an address the device cuts off", () => {
    expect(make({ mode: "identity", maskBits: 32 }).device.truncate(6 * GIB + 0x123)).toBe(2 * GIB + 0x123);
  });
  test("coherent memory is in one piece the device reaches", () => {
    const { device, memory, frames } = make({ mode: "identity", maskBits: 32 });
    memory.write32(0x100_0000, 7);
    const buffer = device.allocateCoherent(3 * PAGE);
    expect(buffer?.pages).toEqual([0, 1, 2].map((page) => (buffer?.address ?? 0) + page * PAGE));
    expect([memory.read32(buffer?.address ?? 0), frames.counts().used]).toEqual([0, 4]);
  });
  test("coherent memory that the device cannot reach is not given", () => {
    const { device, frames } = make({ mode: "identity", maskBits: 20 });
    expect([device.allocateCoherent(PAGE), device.counters.mappingErrors, frames.counts().free]).toEqual([undefined, 1, 1024]);
  });
});

describe("bounce buffers", () => {
  const bouncing = () => make({ mode: "identity", maskBits: 32 });
  test("a buffer for the device is copied once, in", () => {
    const { device, memory, counters } = bouncing();
    memory.write32(5 * GIB, 0x1234_5678);
    const address = device.map(5 * GIB, 1500, "to-device");
    expect(memory.read32(address)).toBe(0x1234_5678);
    device.unmap(address, 1500, "to-device");
    expect([counters.copiesIn, counters.bytesCopiedIn, counters.copiesOut, counters.bouncedBytes]).toEqual([1, 1500, 0, 1500]);
  });
  test("a buffer from the device is copied in too, so that unwritten bytes survive, and out at unmap", () => {
    const { device, memory, counters } = bouncing();
    memory.write32(5 * GIB + 4, 0xaaaa_aaaa);
    const address = device.map(5 * GIB, 8, "from-device");
    memory.write32(address, 0xbbbb_bbbb);
    device.unmap(address, 8, "from-device");
    expect([memory.read32(5 * GIB), memory.read32(5 * GIB + 4), counters.copiesIn, counters.copiesOut, counters.bytesCopiedOut]).toEqual([0xbbbb_bbbb, 0xaaaa_aaaa, 1, 1, 8]);
  });
  test("sync copies a part while the mapping stays", () => {
    const { device, memory } = bouncing();
    const address = device.map(5 * GIB, 64, "bidirectional");
    memory.write32(address + 8, 0x11);
    device.syncForCpu(address, 8, 4);
    expect(memory.read32(5 * GIB + 8)).toBe(0x11);
    memory.write32(5 * GIB + 12, 0x22);
    device.syncForDevice(address, 12);
    expect(memory.read32(address + 12)).toBe(0x22);
    expect(() => { device.syncForCpu(address, 60, 8); }).toThrow(RangeError);
  });
  test("sync copies only in the mapping's direction", () => {
    const { device, counters } = bouncing();
    const into = device.map(5 * GIB, 64, "to-device");
    const out = device.map(5 * GIB, 64, "from-device");
    device.syncForCpu(into);
    device.syncForDevice(out);
    expect([counters.copiesIn, counters.copiesOut]).toEqual([2, 0]);
    device.syncForDevice(into);
    device.syncForCpu(out);
    expect([counters.copiesIn, counters.copiesOut]).toEqual([3, 1]);
  });
  test("256 KiB is the largest piece; an exhausted pool makes the mapping error", () => {
    const { device, bounce } = bouncing();
    expect(device.map(5 * GIB, 256 * 1024 + 1, "to-device")).toBe(MAPPING_ERROR);
    const both = [device.map(5 * GIB, 256 * 1024, "to-device"), device.map(5 * GIB, 256 * 1024, "to-device")];
    expect(both).not.toContain(MAPPING_ERROR);
    expect([device.map(5 * GIB, 1, "to-device"), bounce.used, bounce.peak]).toEqual([MAPPING_ERROR, 256, 256]);
    device.unmap(both[0] as number, 256 * 1024, "to-device");
    expect([device.map(5 * GIB, 1, "to-device") === MAPPING_ERROR, bounce.used, bounce.peak]).toEqual([false, 129, 256]);
  });
  test("no buffer crosses a border of 256 KiB", () => {
    const { device } = bouncing();
    device.map(5 * GIB, 200 * 1024, "to-device");
    expect(device.map(5 * GIB, 100 * 1024, "to-device")).toBe(0x104_0000);
  });
  test("an untrusted device sees nothing of a page beside its buffer", () => {
    const { device, memory, domain, counters } = make({ untrusted: true });
    memory.write32(0x20_0000, 0x5ec2_e700);
    memory.write32(0x20_0100, 0x1234);
    const address = device.map(0x20_0100, 64, "bidirectional");
    const seen = domain.lookup(address) ?? 0;
    expect([seen === 0x20_0100, address % PAGE, memory.read32(seen), memory.read32(seen - 0x100)]).toEqual([false, 0x100, 0x1234, 0]);
    expect(counters.bouncedMaps).toBe(1);
  });
  test("whole pages of an untrusted device are mapped as they are", () => {
    const { device, domain } = make({ untrusted: true });
    expect(domain.lookup(device.map(0x20_0000, PAGE, "bidirectional"))).toBe(0x20_0000);
  });
  test("the untrusted device has lost the page before its data is taken over", () => {
    const { device, domain, bounce } = make({ untrusted: true });
    const address = device.map(0x20_0100, 64, "from-device");
    device.unmap(address, 64, "from-device");
    expect([reach(domain, address), bounce.used]).toEqual([undefined, 0]);
  });
  test("a failed map gives the slots back", () => {
    const { device, domain, bounce } = make({ untrusted: true });
    domain.refuse = new IommuDriverError("ENOMEM", "No frame is left for tables.");
    expect([device.map(0x20_0100, 64, "from-device"), bounce.used]).toEqual([MAPPING_ERROR, 0]);
  });
  test.each([[0x1001, 0x4_0000], [0x1000, 0], [0x1000, 0x1_0000]])("no pool is at HPA %d with %d bytes", (start, size) => {
    expect(() => new BouncePool({ memory: new SparseMemory({ size: GIB }), start, size })).toThrow(RangeError);
  });
});

describe("scatter and gather", () => {
  const fragments = Array.from({ length: 256 }, (_, index) => ({ hpa: 0x1000_0000 + index * 3 * PAGE, size: PAGE }));
  test("1 MiB in 256 fragments is one IOVA range; segments are as large as the device takes", () => {
    const { device, domain, counters } = make({ segments: { maxSize: 2 ** 20, boundary: 2 ** 32 } });
    const mapping = device.mapScatter(fragments, "to-device");
    expect(mapping?.segments).toEqual([{ address: mapping?.segments[0]?.address, size: 2 ** 20 }]);
    expect([counters.scatterEntries, counters.scatterSegments, counters.livePages]).toEqual([256, 1, 256]);
    const start = mapping?.segments[0]?.address ?? 0;
    expect(fragments.every(({ hpa }, index) => domain.lookup(start + index * PAGE) === hpa)).toBe(true);
  });
  test("the default limit makes 16 segments of 64 KiB", () => {
    expect(make().device.mapScatter(fragments, "to-device")?.segments.map(({ size }) => size)).toEqual(new Array(16).fill(0x1_0000));
  });
  test("an entry that starts or ends inside a page is a segment border", () => {
    const { device } = make();
    const mapping = device.mapScatter([{ hpa: 0x1_0000, size: 100 }, { hpa: 0x2_0000, size: PAGE }, { hpa: 0x3_0000, size: PAGE }, { hpa: 0x4_0010, size: 16 }], "to-device");
    const start = mapping?.segments[0]?.address ?? 0;
    expect(mapping?.segments.map(({ address, size }) => [address - start, size])).toEqual([[0, 100], [PAGE, 2 * PAGE], [3 * PAGE + 16, 16]]);
  });
  test("no segment crosses the boundary, even when pages are left out for it", () => {
    const boundary = 4 * PAGE;
    const { device } = make({ segments: { maxSize: 2 ** 20, boundary } });
    const mapping = device.mapScatter([{ hpa: 0x1_0000, size: 3 * PAGE }, { hpa: 0x2_0000, size: 2 * PAGE }, { hpa: 0x3_0000, size: 3 * PAGE }], "to-device");
    const crossing = mapping?.segments.filter(({ address, size }) => Math.floor(address / boundary) !== Math.floor((address + size - 1) / boundary));
    expect([mapping?.segments.length, crossing]).toEqual([3, []]);
  });
  test("unmapping takes the whole range away", () => {
    const { device, domain, counters } = make();
    const mapping = device.mapScatter(fragments, "to-device");
    if (!mapping) throw new Error("not mapped");
    device.unmapScatter(mapping);
    expect([domain.pages.size, domain.stale.size, counters.liveMappings, counters.livePages, counters.invalidationWaits]).toEqual([0, 0, 0, 0, 1]);
    expect(() => { device.unmapScatter(mapping); }).toThrow(RangeError);
  });
  test("without an IOMMU each piece stays a piece, and what fails is undone", () => {
    const { device, counters, bounce } = make({ mode: "identity", maskBits: 32 });
    const mapping = device.mapScatter([{ hpa: 0x1000, size: 64 }, { hpa: 5 * GIB, size: 64 }], "to-device");
    expect([mapping?.segments.length, counters.bouncedMaps]).toEqual([2, 1]);
    if (mapping) device.unmapScatter(mapping);
    expect(device.mapScatter([{ hpa: 5 * GIB, size: 64 }, { hpa: 5 * GIB, size: 2 ** 20 }], "to-device")).toBeUndefined();
    expect([counters.liveMappings, bounce.used, counters.mappingErrors]).toEqual([0, 0, 1]);
  });
  test("a map that fails half-way leaves no page behind", () => {
    const { device, domain } = make();
    const mapping = device.mapScatter([{ hpa: 0x1000, size: PAGE }], "to-device");
    const at = mapping?.segments[0]?.address ?? 0;
    // The next range of two pages lies below; its second page is taken behind the API's back.
    domain.map(at - 2 * PAGE, 0x9000, PAGE, Access.Read);
    const failed = device.mapScatter([{ hpa: 0x1000, size: PAGE }, { hpa: 0x8000, size: PAGE }], "to-device");
    expect([failed === undefined, domain.stale.size]).toEqual([true, 0]);
  });
  test("an empty list is misuse", () => {
    expect(() => make().device.mapScatter([], "to-device")).toThrow(RangeError);
  });
});

describe("DMA API, whatever is mapped and unmapped", () => {
  test.each(["strict", "lazy"] as const)("%s: each live mapping reaches its own memory, and the counters add up", (mode) => {
    const step = fc.record({ page: fc.nat(1000), offset: fc.nat(4095), size: fc.integer({ min: 1, max: 20_000 }), unmap: fc.option(fc.nat(20)), pass: fc.nat(3_000_000) });
    fc.assert(fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const { device, domain, clock, counters } = make({ mode });
      const live: { address: number; hpa: number; size: number }[] = [];
      for (const { page, offset, size, unmap, pass } of steps) {
        const [gone] = unmap === null ? [] : live.splice(unmap, 1);
        if (gone) device.unmap(gone.address, gone.size, "bidirectional");
        clock.pass(pass);
        const hpa = page * PAGE + offset;
        live.push({ address: device.map(hpa, size, "bidirectional"), hpa, size });
        expect(live.every((each) => domain.lookup(each.address) === each.hpa && domain.lookup(each.address + each.size - 1) === each.hpa + each.size - 1)).toBe(true);
        expect([counters.liveMappings, counters.livePages, counters.stalePages]).toEqual([live.length, domain.pages.size, domain.stale.size]);
        expect(counters.maps - counters.unmaps).toBe(live.length);
      }
    }));
  });
});
