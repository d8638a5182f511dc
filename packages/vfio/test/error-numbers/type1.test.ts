import { describe, expect, test } from "vitest";
import { DirtyPagesFlag, DmaMapFlag, DmaUnmapFlag, VfioExtension, type Container, type DmaMapRequest, type DmaUnmapRequest } from "../../src/index.ts";
import { codeOf, makeMachine, makeProcess, openNic, type TestMachine } from "../machine.ts";
import { inOrder } from "./in-order.ts";

const PAGE = 4096;
const RW = DmaMapFlag.Read | DmaMapFlag.Write;
const TOP = 0xffff_ffff_ffff_f000n;
const ABSENT = 0x1000_0000;
const map = (changes: Partial<DmaMapRequest> = {}): DmaMapRequest => ({ flags: RW, vaddr: 0x1_0000, iova: 0x10_0000, size: 4 * PAGE, ...changes });
const unmap = (changes: Partial<DmaUnmapRequest> = {}): DmaUnmapRequest => ({ iova: 0x10_0000, size: 4 * PAGE, ...changes });

/** The NIC's group in a container of type 1 version 1. */
const openVersion1 = (machine: TestMachine = makeMachine()): Container => {
  machine.drivers.detach(machine.address(machine.nic));
  const container = machine.kernel.openContainer(makeProcess().process);
  machine.kernel.openGroup(machine.idOf(machine.nic)).setContainer(container);
  container.setIommu(VfioExtension.Type1);
  return container;
};

// Linux drivers/vfio/vfio_iommu_type1.c: vfio_iommu_type1_map_dma, then vfio_dma_do_map, vfio_pin_map_dma and vfio_pin_pages_remote.
describe("VFIO_IOMMU_MAP_DMA", () => {
  // Something is mapped at 0x10_0000 already, and no entry is left.
  test.each(inOrder<DmaMapRequest>([
    ["a short structure", { argsz: 31 }, "EINVAL"],
    ["an unknown flag", { flags: 8 | RW }, "EINVAL"],
    ["no bytes", { size: 0 }, "EINVAL"],
    ["IOVAs that wrap", { iova: TOP + 1n, size: PAGE + 1 }, "EOVERFLOW"],
    ["virtual addresses that wrap", { iova: 0x10_0001, vaddr: TOP + 1n, size: PAGE + 1 }, "EOVERFLOW"],
    ["reading, and a new virtual address", { flags: DmaMapFlag.Read | DmaMapFlag.Vaddr, vaddr: ABSENT + 1 }, "EINVAL"],
    ["neither reading nor writing", { flags: 0 }, "EINVAL"],
    ["a size that is no multiple of a page", { flags: RW, size: 0xff00_0001 }, "EINVAL"],
    ["an IOVA that is none", { iova: 0x10_0001, size: 0xff00_0000 }, "EINVAL"],
    ["a virtual address that is none", { vaddr: ABSENT + 1 }, "EINVAL"],
    ["an overlap", { iova: 0x10_3000, size: 0xff00_0000, vaddr: ABSENT }, "EEXIST"],
    ["too many ranges", { iova: 0xfee0_0000 }, "ENOSPC"],
  ]))("%s is refused before what comes after it", (_rule, request, code) => {
    const { container } = openNic(makeMachine({ dmaEntryLimit: 1 }), { mayLockAll: true });
    container.mapDma(map());
    expect(codeOf(() => { container.mapDma(map(request)); })).toBe(code);
  });
  test.each(inOrder<DmaMapRequest>([
    ["reserved IOVAs", { iova: 0xfee0_0000 }, "EINVAL"],
    ["IOVAs past the width", { iova: 2 ** 48 }, "EINVAL"],
    ["memory that is not there at all", { iova: 0x10_0000, vaddr: ABSENT, size: 16 * PAGE }, "EFAULT"],
  ]))("with an entry left, %s is refused before what comes after it", (_rule, request, code) => {
    const { container, user } = openNic(makeMachine(), { lockedLimit: 15 * PAGE });
    expect([codeOf(() => { container.mapDma(map(request)); }), user.total, container.iommu?.mappings.length]).toEqual([code, 0, 0]);
  });
  // The process has 256 pages.
  test.each<[string, number, number, string]>([
    ["the limit comes first", 240, 20, "ENOMEM"],
    ["the page past the limit is the first that is absent", 241, 20, "EFAULT"],
    ["an absent page comes first", 242, 20, "EFAULT"],
  ])("pinning goes page by page: %s", (_which, page, pages, code) => {
    const { container, user } = openNic(makeMachine(), { lockedLimit: 15 * PAGE + 1 });
    expect([codeOf(() => { container.mapDma(map({ vaddr: page * PAGE, size: pages * PAGE })); }), user.total, container.iommu?.mappings.length]).toEqual([code, 0, 0]);
  });
  test("CAP_IPC_LOCK lifts the limit, and the limit counts each mapping of a page", () => {
    const { container, process } = openNic(makeMachine(), { lockedLimit: 8 * PAGE });
    container.mapDma(map());
    container.mapDma(map({ iova: 0x20_0000 }));
    expect([process.lockedPages, codeOf(() => { container.mapDma(map({ iova: 0x30_0000, size: PAGE })); })]).toEqual([8, "ENOMEM"]);
    const free = openNic(makeMachine(), { lockedLimit: 0, mayLockAll: true });
    expect(codeOf(() => { free.container.mapDma(map()); })).toBeUndefined();
  });
  test("memory that may not be written is not mapped for writing", () => {
    const { container, user } = openNic(makeMachine());
    user.readOnly.add(0x10);
    expect(codeOf(() => { container.mapDma(map()); })).toBe("EFAULT");
    expect(codeOf(() => { container.mapDma(map({ flags: DmaMapFlag.Read })); })).toBeUndefined();
  });
  test("a number that is not exact is misuse", () => {
    const { container } = openNic(makeMachine());
    expect(() => { container.mapDma(map({ iova: 2 ** 60 + 4096 })); }).toThrow(RangeError);
    expect(() => { container.mapDma(map({ iova: -4096 })); }).toThrow(RangeError);
  });
});

// vfio_iommu_type1_unmap_dma, then vfio_dma_do_unmap.
describe("VFIO_IOMMU_UNMAP_DMA", () => {
  const { All, GetDirtyBitmap, Vaddr } = DmaUnmapFlag;
  // Tracked, with one mapping, and a device that pins.
  test.each(inOrder<DmaUnmapRequest>([
    ["a short structure", { argsz: 23 }, "EINVAL"],
    ["an unknown flag", { flags: 8 | All | Vaddr }, "EINVAL"],
    ["a structure without room for a bitmap", { argsz: 47, flags: GetDirtyBitmap | All }, "EINVAL"],
    ["a bitmap of everything", { argsz: 48, flags: GetDirtyBitmap | All }, "EINVAL"],
    ["a bitmap of virtual addresses", { flags: GetDirtyBitmap | Vaddr }, "EINVAL"],
    ["virtual addresses while somebody pins", { flags: Vaddr | All, iova: 1, size: 1 }, "EBUSY"],
    ["everything from a misaligned IOVA", { flags: All, iova: 1, size: 1 }, "EINVAL"],
    ["everything from an IOVA", { flags: All, iova: PAGE, size: 1 }, "EINVAL"],
    ["everything of a size", { flags: All, iova: 0, size: 1 }, "EINVAL"],
    ["a misaligned IOVA", { flags: 0, iova: TOP + 1n, size: 2 * PAGE + 1 }, "EINVAL"],
    ["no bytes", { iova: TOP, size: 0 }, "EINVAL"],
    ["a misaligned size", { iova: TOP, size: 2 * PAGE + 1 }, "EINVAL"],
    ["a range that wraps", { iova: TOP, size: 2 * PAGE }, "EOVERFLOW"],
    ["the front of a mapping", { iova: 0x10_0000, size: PAGE }, "EINVAL"],
  ]))("%s is refused before what comes after it, and nothing changes", (_rule, request, code) => {
    const { container } = openNic(makeMachine());
    container.mapDma(map());
    container.trackDirty(DirtyPagesFlag.Start);
    container.iommu?.pins.onUnmap(() => undefined);
    expect([codeOf(() => container.unmapDma(unmap(request))), container.iommu?.mappings.length]).toEqual([code, 1]);
  });
  test.each(inOrder<DmaUnmapRequest>([
    ["no page of a bitmap", { pageSize: 4 * PAGE, size: PAGE }, "EINVAL"],
    ["a bitmap in no units", { pageSize: 0 }, "EINVAL"],
    ["a bitmap of more than 256 MiB, of IOVAs that wrap", { iova: TOP, size: 2n ** 43n + 2n ** 18n, pageSize: PAGE }, "EINVAL"],
    ["IOVAs that wrap", { iova: TOP, size: 2n ** 43n }, "EOVERFLOW"],
    ["other units, of what would be cut", { iova: 0x10_0000, size: 2 * PAGE, pageSize: 2 * PAGE }, "EINVAL"],
  ]))("with a bitmap, %s is refused before what comes after it", (_rule, request, code) => {
    const { container } = openNic(makeMachine());
    container.mapDma(map());
    container.trackDirty(DirtyPagesFlag.Start);
    expect(codeOf(() => container.unmapDma(unmap({ flags: GetDirtyBitmap, ...request })))).toBe(code);
  });
  test.each<[string, Partial<DmaUnmapRequest>]>([
    ["a bitmap without tracking", { flags: GetDirtyBitmap, pageSize: PAGE }],
    ["the back of a mapping", { iova: 0x10_1000, size: 3 * PAGE }],
    ["the middle of a mapping", { iova: 0x10_1000, size: PAGE }],
  ])("%s is refused, and nothing changes", (_rule, request) => {
    const { container } = openNic(makeMachine());
    container.mapDma(map());
    expect([codeOf(() => container.unmapDma(unmap(request))), container.iommu?.mappings.length]).toEqual(["EINVAL", 1]);
  });
  test("a range with several mappings and holes unmaps them all; one with none is no error", () => {
    const { container } = openNic(makeMachine());
    container.mapDma(map());
    container.mapDma(map({ iova: 0x20_0000, size: PAGE }));
    expect(container.unmapDma({ iova: 0, size: 0x100_0000 })).toEqual({ size: 5 * PAGE });
    expect(container.unmapDma({ iova: 0, size: 0x100_0000 })).toEqual({ size: 0 });
  });
  test("a range may end where 64 bits do", () => {
    expect(openNic(makeMachine()).container.unmapDma({ iova: TOP, size: PAGE })).toEqual({ size: 0 });
  });
  test("the flag ALL takes everything", () => {
    const { container, user } = openNic(makeMachine());
    container.mapDma(map());
    container.mapDma(map({ iova: 0x20_0000 }));
    expect([container.unmapDma({ flags: All, iova: 0, size: 0 }).size, user.total]).toEqual([8 * PAGE, 0]);
  });
  test("version 1 unmaps whole what a range begins at, and nothing that it begins in", () => {
    const container = openVersion1();
    container.mapDma(map());
    expect(container.unmapDma(unmap({ iova: 0x10_1000, size: PAGE })).size).toBe(0);
    expect(container.unmapDma(unmap({ size: PAGE })).size).toBe(4 * PAGE);
  });
  test("entries come back", () => {
    const { container } = openNic(makeMachine());
    const { available } = container.info();
    container.mapDma(map());
    expect(container.info().available).toBe(available - 1);
    container.unmapDma(unmap());
    expect([available, container.info().available]).toEqual([65_535, 65_535]);
  });
});

// VFIO_UPDATE_VADDR: vfio_dma_do_unmap takes addresses back, vfio_dma_do_map gives new ones.
describe("virtual addresses that change", () => {
  const moved = (changes: Partial<DmaMapRequest> = {}): DmaMapRequest => map({ flags: DmaMapFlag.Vaddr, vaddr: 0x2_0000, ...changes });
  const { Vaddr, All } = DmaUnmapFlag;
  test("a mapping stays for the device while the process moves it", () => {
    const { container, user } = openNic(makeMachine());
    container.mapDma(map());
    expect(container.unmapDma(unmap({ flags: Vaddr }))).toEqual({ size: 4 * PAGE });
    expect([user.total, container.iommu?.mappings[0]?.vaddr]).toEqual([4, undefined]);
    container.mapDma(moved());
    expect([user.total, container.iommu?.mappings[0]?.vaddr]).toEqual([4, 0x2_0000]);
  });
  test.each<[string, Partial<DmaMapRequest>, string]>([
    ["where nothing is mapped", { iova: 0x20_0000 }, "ENOENT"],
    ["for a part of a mapping", { size: PAGE }, "EINVAL"],
    ["for more than a mapping", { size: 8 * PAGE }, "EINVAL"],
    ["to an address that is no multiple of a page", { vaddr: 1 }, "EINVAL"],
  ])("no new address is given %s", (_where, changes, code) => {
    const { container } = openNic(makeMachine({ dmaEntryLimit: 1 }));
    container.mapDma(map());
    container.unmapDma(unmap({ flags: Vaddr }));
    expect(codeOf(() => { container.mapDma(moved(changes)); })).toBe(code);
  });
  test("none is given to a mapping that has one", () => {
    const { container } = openNic(makeMachine());
    container.mapDma(map());
    expect(codeOf(() => { container.mapDma(moved()); })).toBe("EINVAL");
  });
  test("what is taken back is not taken back again, and nothing else of the range is", () => {
    const { container } = openNic(makeMachine());
    container.mapDma(map());
    container.mapDma(map({ iova: 0x20_0000 }));
    container.unmapDma(unmap({ iova: 0x20_0000, flags: Vaddr }));
    expect([codeOf(() => container.unmapDma({ flags: Vaddr | All, iova: 0, size: 0 })), container.iommu?.mappings.map(({ vaddr }) => vaddr)]).toEqual(["EINVAL", [0x1_0000, undefined]]);
  });
  test("meanwhile no group joins, and the next unmap ends it", () => {
    const machine = makeMachine();
    const { container } = openNic(machine);
    container.mapDma(map());
    container.unmapDma(unmap({ flags: Vaddr }));
    for (const each of [machine.graphics, machine.sound]) machine.drivers.detach(machine.address(each));
    const group = machine.kernel.openGroup(machine.idOf(machine.graphics));
    const join = (): string | undefined => codeOf(() => { group.setContainer(container); });
    expect(join()).toBe("EBUSY");
    container.unmapDma(unmap());
    expect(join()).toBeUndefined();
  });
});

// vfio_iommu_type1_dirty_pages, vfio_iova_dirty_bitmap.
describe("VFIO_IOMMU_DIRTY_PAGES", () => {
  test.each([0, 3, 4, 8])("flags %d start and stop nothing", (flags) => {
    expect(codeOf(() => { openNic(makeMachine()).container.trackDirty(flags); })).toBe("EINVAL");
  });
  test("either may come twice", () => {
    const { container } = openNic(makeMachine());
    expect([1, 1, 2, 2].map((flags) => codeOf(() => { container.trackDirty(flags); }))).toEqual([undefined, undefined, undefined, undefined]);
  });
  test("version 1 has none of it, whatever else is wrong", () => {
    const container = openVersion1();
    expect([() => { container.trackDirty(8); }, () => container.dirtyPages(1, 0, 7)].map(codeOf)).toEqual(["EACCES", "EACCES"]);
  });
  interface Bitmap {
    readonly iova: number | bigint;
    readonly size: number | bigint;
    readonly pageSize: number;
  }
  test.each(inOrder<Bitmap>([
    ["no bytes", { size: 0 }, "EINVAL"],
    ["a range that wraps", { iova: TOP + 1n, size: 2n ** 44n + 1n }, "EOVERFLOW"],
    ["a bitmap of more than 256 MiB", { iova: 1, pageSize: PAGE }, "EINVAL"],
    ["other units", { size: 2 * PAGE + 1, pageSize: 2 * PAGE }, "EINVAL"],
    ["a misaligned IOVA", { pageSize: PAGE }, "EINVAL"],
    ["a misaligned size", { iova: 0x10_0000 }, "EINVAL"],
    ["a cut", { size: PAGE }, "EINVAL"],
  ]))("%s is refused before what comes after it", (_rule, changes, code) => {
    const { container } = openNic(makeMachine());
    container.mapDma(map());
    container.trackDirty(DirtyPagesFlag.Start);
    const { iova, size, pageSize } = { iova: 0x10_0000, size: 4 * PAGE, pageSize: PAGE, ...changes };
    expect(codeOf(() => container.dirtyPages(iova, size, pageSize))).toBe(code);
  });
  test("a bitmap needs tracking", () => {
    const { container } = openNic(makeMachine());
    container.mapDma(map());
    const bitmap = (): string | undefined => codeOf(() => container.dirtyPages(0x10_0000, 4 * PAGE, PAGE));
    expect(bitmap()).toBe("EINVAL");
    container.trackDirty(DirtyPagesFlag.Start);
    expect(bitmap()).toBeUndefined();
    container.trackDirty(DirtyPagesFlag.Stop);
    expect(bitmap()).toBe("EINVAL");
  });
});

// vfio_iommu_type1_pin_pages.
describe("pages that software pins", () => {
  test.each<[string, number, 1 | 2 | 3, string]>([
    ["where nothing is mapped", 0x200, 1, "EINVAL"],
    ["for more than is mapped", 0x100, 2, "EPERM"],
  ])("none is pinned %s", (_where, page, access, code) => {
    const { container, user } = openNic(makeMachine());
    container.mapDma(map({ flags: DmaMapFlag.Read }));
    const pins = container.iommu?.pins;
    pins?.onUnmap(() => undefined);
    expect([codeOf(() => pins?.pin([0x101, page], access)), user.total]).toEqual([code, 4]);
  });
  test("none is pinned by version 1, while a virtual address is taken back, and by one who is not told when to let go", () => {
    expect(codeOf(() => openVersion1().iommu?.pins.pin([0x200], 1))).toBe("EACCES");
    const { container } = openNic(makeMachine());
    container.mapDma(map());
    const pin = (): string | undefined => codeOf(() => container.iommu?.pins.pin([0x200], 1));
    expect(pin()).toBe("EINVAL");
    container.unmapDma(unmap({ flags: DmaUnmapFlag.Vaddr }));
    expect(pin()).toBe("EBUSY");
  });
});
