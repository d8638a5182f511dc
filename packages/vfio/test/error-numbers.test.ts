import { describe, expect, test } from "vitest";
import { DirtyPagesFlag, DmaMapFlag, DmaUnmapFlag, IrqIndex, IrqSetFlag, VfioError, type DmaMapRequest, type DmaUnmapRequest, type IrqSet } from "../src/index.ts";
import { codeOf, makeMachine, makeProcess, openNic } from "./machine.ts";

const PAGE = 4096;
const RW = DmaMapFlag.Read | DmaMapFlag.Write;
const map = (changes: Partial<DmaMapRequest> = {}): DmaMapRequest => ({ flags: RW, vaddr: 0x1_0000, iova: 0x10_0000, size: 4 * PAGE, ...changes });

describe("VFIO_IOMMU_MAP_DMA", () => {
  // Each request breaks a rule and every later one: what is told is the first. Something is mapped at 0x10_0000 already, and no entry is left.
  test.each<[string, Partial<DmaMapRequest>, string]>([
    ["a short structure", { argsz: 31, flags: 8, size: 0 }, "EINVAL"],
    ["an unknown flag", { flags: 8 | RW, size: 0 }, "EINVAL"],
    ["neither read nor write", { flags: 0 }, "EINVAL"],
    ["an updated vaddr", { flags: 4 }, "EINVAL"],
    ["no bytes", { size: 0 }, "EINVAL"],
    ["a size that is no multiple of a page", { size: PAGE + 1 }, "EINVAL"],
    ["an IOVA that is none", { iova: 0x10_0001 }, "EINVAL"],
    ["a virtual address that is none", { vaddr: 0x10_0001 }, "EINVAL"],
    ["IOVAs that wrap", { iova: 0xffff_ffff_ffff_f000n, size: 2 * PAGE }, "EINVAL"],
    ["virtual addresses that wrap", { vaddr: 0xffff_ffff_ffff_f000n, size: 2 * PAGE }, "EINVAL"],
    ["an overlap, also of reserved IOVAs", { iova: 0x10_3000, size: 0xff00_0000 }, "EEXIST"],
    ["too many ranges, also of reserved IOVAs", { iova: 0xfee0_0000 }, "ENOSPC"],
  ])("%s is refused before anything after it", (_rule, request, code) => {
    const { container } = openNic(makeMachine({ dmaEntryLimit: 1 }), { mayLockAll: true });
    container.mapDma(map());
    expect(codeOf(() => { container.mapDma(map(request)); })).toBe(code);
  });
  test.each<[string, Partial<DmaMapRequest>, string]>([
    ["reserved IOVAs, also of absent memory", { iova: 0xfee0_0000, vaddr: 0x1000_0000 }, "EINVAL"],
    ["IOVAs past the width", { iova: 2 ** 48 }, "EINVAL"],
    ["memory that is not there, also past the limit", { vaddr: 0x1000_0000, size: 16 * PAGE }, "EFAULT"],
    ["more than may be locked", { size: 16 * PAGE }, "ENOMEM"],
  ])("with entries left, %s are refused", (_rule, request, code) => {
    const { container, user } = openNic(makeMachine(), { lockedLimit: 15 * PAGE });
    expect([codeOf(() => { container.mapDma(map(request)); }), user.total, container.iommu?.mappings.length]).toEqual([code, 0, 0]);
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

describe("VFIO_IOMMU_UNMAP_DMA", () => {
  const unmap = (changes: Partial<DmaUnmapRequest> = {}): DmaUnmapRequest => ({ iova: 0x10_0000, size: 4 * PAGE, ...changes });
  test.each<[string, Partial<DmaUnmapRequest>, string]>([
    ["a short structure", { argsz: 23 }, "EINVAL"],
    ["an unknown flag", { flags: 8 }, "EINVAL"],
    ["no bytes", { size: 0 }, "EINVAL"],
    ["a misaligned size", { size: 100 }, "EINVAL"],
    ["a misaligned IOVA", { iova: 0x10_0010 }, "EINVAL"],
    ["a range that wraps", { iova: 0xffff_ffff_ffff_f000n, size: 2 * PAGE }, "EINVAL"],
    ["everything with an address", { flags: DmaUnmapFlag.All }, "EINVAL"],
    ["everything with a bitmap", { flags: DmaUnmapFlag.All | DmaUnmapFlag.GetDirtyBitmap, iova: 0, size: 0 }, "EINVAL"],
    ["a bitmap without tracking", { flags: DmaUnmapFlag.GetDirtyBitmap, pageSize: PAGE }, "EINVAL"],
    ["the front of a mapping", { size: PAGE }, "EINVAL"],
    ["the back of a mapping", { iova: 0x10_1000, size: 3 * PAGE }, "EINVAL"],
    ["the middle of a mapping", { iova: 0x10_1000, size: PAGE }, "EINVAL"],
  ])("%s is refused, and nothing changes", (_rule, request, code) => {
    const { container } = openNic(makeMachine());
    container.mapDma(map());
    expect([codeOf(() => container.unmapDma(unmap(request))), container.iommu?.mappings.length]).toEqual([code, 1]);
  });
  test("a range with several mappings and holes unmaps them all; one with none is no error", () => {
    const { container } = openNic(makeMachine());
    container.mapDma(map());
    container.mapDma(map({ iova: 0x20_0000, size: PAGE }));
    expect(container.unmapDma({ iova: 0, size: 0x100_0000 })).toEqual({ size: 5 * PAGE });
    expect(container.unmapDma({ iova: 0, size: 0x100_0000 })).toEqual({ size: 0 });
  });
  test("the flag ALL takes everything", () => {
    const { container, user } = openNic(makeMachine());
    container.mapDma(map());
    container.mapDma(map({ iova: 0x20_0000 }));
    expect([container.unmapDma({ flags: DmaUnmapFlag.All, iova: 0, size: 0 }).size, user.total]).toEqual([8 * PAGE, 0]);
  });
  test("version 1 unmaps whole what a range begins at, and nothing that it begins in", () => {
    const machine = makeMachine();
    machine.drivers.detach(machine.address(machine.nic));
    const { process } = makeProcess();
    const container = machine.kernel.openContainer(process);
    machine.kernel.openGroup(machine.idOf(machine.nic)).setContainer(container);
    container.setIommu(1);
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

describe("containers and groups", () => {
  test("before a container has groups and an IOMMU, everything is EINVAL", () => {
    const machine = makeMachine();
    const container = machine.kernel.openContainer(makeProcess().process);
    expect([() => { container.setIommu(3); }, () => { container.mapDma(map()); }, () => container.info(), () => container.unmapDma({ iova: 0, size: PAGE })].map(codeOf)).toEqual(["EINVAL", "EINVAL", "EINVAL", "EINVAL"]);
  });
  test("an unknown type is ENODEV, a second VFIO_SET_IOMMU EINVAL", () => {
    const machine = makeMachine();
    machine.drivers.detach(machine.address(machine.nic));
    const container = machine.kernel.openContainer(makeProcess().process);
    machine.kernel.openGroup(machine.idOf(machine.nic)).setContainer(container);
    expect(codeOf(() => { container.setIommu(2); })).toBe("ENODEV");
    container.setIommu(3);
    expect(codeOf(() => { container.setIommu(3); })).toBe("EINVAL");
  });
  test("a group is a file only while a member is bound to vfio-pci", () => {
    const machine = makeMachine();
    expect(codeOf(() => machine.kernel.openGroup(machine.idOf(machine.nic)))).toBe("ENOENT");
    expect(codeOf(() => machine.kernel.openGroup(99))).toBe("ENOENT");
  });
  test("a group with a sibling bound to a host driver is not viable, and the sentence names it", () => {
    const machine = makeMachine();
    machine.drivers.detach(machine.address(machine.graphics));
    const group = machine.kernel.openGroup(machine.idOf(machine.graphics));
    expect([group.functions.length, group.status()]).toEqual([3, { viable: false, containerSet: false }]);
    const container = machine.kernel.openContainer(makeProcess().process);
    expect(() => { group.setContainer(container); }).toThrow(new VfioError("EPERM", `Group ${group.id} is not viable: 0000:02:00.1 is bound to snd_hda_intel.`));
    machine.drivers.unbind("snd_hda_intel", machine.address(machine.sound));
    expect(group.status().viable).toBe(true);
    machine.drivers.detach(machine.address(machine.sound), "pci-stub");
    group.setContainer(container);
    expect(group.status()).toEqual({ viable: true, containerSet: true });
  });
  test("a device needs a container with an IOMMU, and a name that the group has", () => {
    const machine = makeMachine();
    const { nic, kernel, drivers } = machine;
    drivers.detach(machine.address(nic));
    const group = kernel.openGroup(machine.idOf(nic));
    expect(["0000:02:00.0", "nonsense", machine.name(nic)].map((name) => codeOf(() => group.getDevice(name)))).toEqual(["ENODEV", "ENODEV", "EINVAL"]);
    const container = kernel.openContainer(makeProcess().process);
    group.setContainer(container);
    expect(codeOf(() => group.getDevice(machine.name(nic)))).toBe("EINVAL");
    expect(codeOf(() => { group.setContainer(container); })).toBe("EINVAL");
    container.setIommu(3);
    expect(codeOf(() => group.getDevice(machine.name(nic)))).toBeUndefined();
  });
  test("a group leaves its container only when its devices are closed", () => {
    const { group, device, container } = openNic(makeMachine());
    expect(codeOf(() => { group.unsetContainer(); })).toBe("EBUSY");
    device.close();
    group.unsetContainer();
    expect([codeOf(() => { group.unsetContainer(); }), container.iommu]).toEqual(["EINVAL", undefined]);
  });
  test("a device may be opened twice through its group", () => {
    const { group, device } = openNic(makeMachine());
    expect(group.getDevice(device.name)).toBe(device);
    device.close();
    expect(device.info().reset).toBe(true);
    device.close();
    expect(() => { device.reset(); }).toThrow(TypeError);
  });
  test("firmware's 1:1 mappings keep a group from users", () => {
    const machine = makeMachine({ reservedRegions: () => [{ start: 0x8000_0000, size: 0x1000, kind: "direct" }] });
    expect(codeOf(() => openNic(machine))).toBe("EINVAL");
  });
  test("a second group joins only where its reserved ranges are unmapped", () => {
    const machine = makeMachine({ reservedRegions: ({ requester }) => [{ start: requester >> 8 === 2 ? 0x10_0000 : 0x30_0000, size: 0x1000, kind: "reserved" }] });
    const { container } = openNic(machine);
    container.mapDma(map());
    for (const each of [machine.graphics, machine.sound]) machine.drivers.detach(machine.address(each));
    const group = machine.kernel.openGroup(machine.idOf(machine.graphics));
    expect([codeOf(() => { group.setContainer(container); }), machine.kernel.ownership.ownerOf(group.id)]).toEqual(["EINVAL", undefined]);
    container.unmapDma({ iova: 0x10_0000, size: 4 * PAGE });
    group.setContainer(container);
    expect(container.info().iovaRanges.map(({ start }) => start)).toEqual([0n, 0x10_1000n, 0x30_1000n]);
  });
});

describe("dirty pages", () => {
  test.each([0, 3, 4, 8])("flags %d start and stop nothing", (flags) => {
    expect(codeOf(() => { openNic(makeMachine()).container.trackDirty(flags); })).toBe("EINVAL");
  });
  test("a bitmap needs tracking, the page size and whole mappings", () => {
    const { container } = openNic(makeMachine());
    container.mapDma(map());
    expect(codeOf(() => container.dirtyPages(0x10_0000, 4 * PAGE, PAGE))).toBe("EINVAL");
    container.trackDirty(DirtyPagesFlag.Start);
    expect([0x2000, PAGE].map((size) => codeOf(() => container.dirtyPages(0x10_0000, 4 * PAGE, size)))).toEqual(["EINVAL", undefined]);
    expect(codeOf(() => container.dirtyPages(0x10_0000, PAGE, PAGE))).toBe("EINVAL");
    container.trackDirty(DirtyPagesFlag.Stop);
    expect(codeOf(() => container.dirtyPages(0x10_0000, 4 * PAGE, PAGE))).toBe("EINVAL");
  });
  test("everything an IOMMU maps counts as dirty, each time", () => {
    const { container } = openNic(makeMachine());
    container.mapDma(map({ iova: 0x10_1000 }));
    container.trackDirty(DirtyPagesFlag.Start);
    for (let round = 0; round < 2; round++) expect([...container.dirtyPages(0x10_0000, 8 * PAGE, PAGE)]).toEqual([0b11110, 0, 0, 0, 0, 0, 0, 0]);
    expect([...(container.unmapDma({ flags: DmaUnmapFlag.GetDirtyBitmap, iova: 0x10_1000, size: 4 * PAGE, pageSize: PAGE }).bitmap ?? [])][0]).toBe(0b1111);
  });
  test("where devices pin what they write, only that is dirty: while pinned, and once after", () => {
    const { container } = openNic(makeMachine());
    const pins = container.iommu?.pins;
    container.mapDma(map());
    container.trackDirty(DirtyPagesFlag.Start);
    pins?.scope();
    const dirty = (): number | undefined => container.dirtyPages(0x10_0000, 4 * PAGE, PAGE)[0];
    expect(dirty()).toBe(0);
    expect(pins?.pin([0x102], 3)).toEqual([0x101_2000]);
    expect([dirty(), dirty()]).toEqual([4, 4]);
    pins?.unpin([0x102]);
    expect([dirty(), dirty()]).toEqual([4, 0]);
  });
  test("pages that are not mapped, or mapped for less, cannot be pinned", () => {
    const { container, user } = openNic(makeMachine());
    container.mapDma(map({ flags: DmaMapFlag.Read }));
    const pins = container.iommu?.pins;
    expect([codeOf(() => pins?.pin([0x100, 0x200], 1)), codeOf(() => pins?.pin([0x100], 2)), user.total]).toEqual(["EINVAL", "EPERM", 4]);
  });
  test("who holds pages is told before they are unmapped", () => {
    const { container, user } = openNic(makeMachine());
    const pins = container.iommu?.pins;
    container.mapDma(map());
    pins?.pin([0x101, 0x101], 3);
    const stop = pins?.onUnmap((iova, size) => { if (iova === 0x10_0000n && size === 4 * PAGE) pins.unpin([0x101, 0x101]); });
    expect(user.total).toBe(5);
    container.unmapDma({ iova: 0x10_0000, size: 4 * PAGE });
    expect(user.total).toBe(0);
    stop?.();
    container.mapDma(map());
    pins?.pin([0x101], 3);
    expect(() => container.unmapDma({ iova: 0x10_0000, size: 4 * PAGE })).toThrow(/still pinned/);
  });
});

describe("VFIO_DEVICE_SET_IRQS", () => {
  const { DataNone, DataBool, DataEventfd, Mask, Unmask, Trigger } = IrqSetFlag;
  const request = (changes: Partial<IrqSet>): IrqSet => ({ flags: DataEventfd | Trigger, index: IrqIndex.Msix, start: 0, count: 1, targets: [() => undefined], ...changes });
  test.each<[string, Partial<IrqSet>, string]>([
    ["an index that is not there", { index: 5 }, "EINVAL"],
    ["an unknown flag", { flags: DataEventfd | Trigger | 64 }, "EINVAL"],
    ["a vector past the end", { start: 4 }, "EINVAL"],
    ["vectors that reach past the end", { start: 3, count: 2, targets: [undefined, undefined] }, "EINVAL"],
    ["no kind of data", { flags: Trigger }, "EINVAL"],
    ["two kinds of data", { flags: DataNone | DataBool | Trigger }, "EINVAL"],
    ["too little data", { count: 2 }, "EINVAL"],
    ["a wrong range before a wrong action", { flags: DataNone | Mask, start: 9 }, "EINVAL"],
    ["masking MSI-X", { flags: DataNone | Mask }, "ENOTTY"],
    ["unmasking MSI", { index: IrqIndex.Msi, flags: DataNone | Unmask }, "ENOTTY"],
    ["two actions", { flags: DataNone | Trigger | Mask }, "ENOTTY"],
    ["triggering what is off", { flags: DataNone | Trigger }, "EINVAL"],
    ["masking INTx that is off", { index: IrqIndex.Intx, flags: DataNone | Mask }, "EINVAL"],
    ["triggering INTx that is off", { index: IrqIndex.Intx, flags: DataNone | Trigger }, "EINVAL"],
  ])("%s is refused", (_rule, changes, code) => {
    expect(codeOf(() => openNic(makeMachine()).device.setIrqs(request(changes)))).toBe(code);
  });
  test("one kind at a time", () => {
    const { device } = openNic(makeMachine());
    device.setIrqs(request({}));
    expect([IrqIndex.Msi, IrqIndex.Intx].map((index) => codeOf(() => device.setIrqs(request({ index }))))).toEqual(["EINVAL", "EINVAL"]);
    device.setIrqs(request({ flags: DataNone | Trigger, count: 0 }));
    expect(codeOf(() => device.setIrqs(request({ index: IrqIndex.Intx })))).toBeUndefined();
    expect(codeOf(() => device.setIrqs(request({ index: IrqIndex.Msix })))).toBe("EINVAL");
    expect(codeOf(() => device.setIrqs(request({ index: IrqIndex.Intx, flags: DataEventfd | Mask })))).toBe("ENOTTY");
  });
  test("without vectors left nothing is switched on", () => {
    const machine = makeMachine({ vectors: { allocate: () => undefined } });
    const { device } = openNic(machine);
    expect([codeOf(() => device.setIrqs(request({}))), device.interrupts.active, machine.nic.msix?.enabled]).toEqual(["ENOSPC", undefined, false]);
  });
});

describe("the other ioctls of a device", () => {
  test("indices that are not there are EINVAL", () => {
    const { device } = openNic(makeMachine());
    expect([() => device.regionInfo(8), () => device.regionInfo(9), () => device.irqInfo(5), () => device.regionInfo(-1)].map(codeOf)).toEqual(["EINVAL", "EINVAL", "EINVAL", "EINVAL"]);
  });
  test("a plain device cannot be migrated", () => {
    expect(codeOf(() => openNic(makeMachine()).device.migration)).toBe("ENOTTY");
  });
  test.each([
    [1, 0, "EINVAL"],
    [6, 0x1000, "EINVAL"],
    [7, 0x1000, "EFAULT"],
    [7, 0xffe, "EFAULT"],
    [0, 0, "EIO"],
  ])("reading region %d at %d is %s with memory off", (index, offset, code) => {
    const { device } = openNic(makeMachine());
    device.writeRegion(7, 4, Uint8Array.of(0, 0));
    expect(codeOf(() => device.readRegion(index, offset, new Uint8Array(4)))).toBe(code);
  });
  test("the ROM cannot be written, and reads as it is", () => {
    const { device } = openNic(makeMachine());
    expect(codeOf(() => device.writeRegion(6, 0, Uint8Array.of(1)))).toBe("EINVAL");
    const bytes = new Uint8Array(8);
    expect([device.readRegion(6, 0xffe, bytes), bytes[0], bytes[1]]).toEqual([2, 0xfe, 0xff]);
  });
});
