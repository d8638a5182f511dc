import { Completion } from "@iommu-lab/pci-bus";
import { describe, expect, test } from "vitest";
import type { IoasMapRequest } from "../src/index.ts";
import { codeOf, makeMachine, makeProcess, type TestMachine } from "./machine.ts";

const PAGE = 4096;
const map = (changes: Partial<IoasMapRequest> = {}): IoasMapRequest => ({ iova: 0x10_0000, vaddr: 0x1_0000, length: 4 * PAGE, readable: true, writable: true, ...changes });
const open = (machine: TestMachine = makeMachine(), limits: Parameters<typeof makeProcess>[0] = {}) => {
  const { memory: user, process } = makeProcess(limits);
  machine.drivers.detach(machine.address(machine.nic));
  return { machine, user, process, iommufd: machine.kernel.openIommufd(process) };
};
const word = Uint8Array.of(1, 2, 3, 4);

describe("IOMMU_IOAS", () => {
  test.each<[string, Partial<IoasMapRequest>, string]>([
    ["a range that wraps, also without rights", { iova: 0xffff_ffff_ffff_f000n, readable: false, writable: false }, "EOVERFLOW"],
    ["no bytes", { length: 0 }, "EINVAL"],
    ["no rights", { readable: false, writable: false }, "EINVAL"],
    ["a misaligned IOVA", { iova: 1 }, "EINVAL"],
    ["a misaligned address", { vaddr: 1 }, "EINVAL"],
    ["IOVAs past the width", { iova: 2 ** 48 }, "EINVAL"],
    ["an overlap, also of absent memory", { iova: 0x20_1000, vaddr: 0x1000_0000 }, "EEXIST"],
    ["memory that is not there", { vaddr: 0x1000_0000, length: 99 * PAGE }, "EFAULT"],
    ["more than may be locked", { length: 5 * PAGE }, "ENOMEM"],
  ])("%s is refused", (_rule, request, code) => {
    const { iommufd, user } = open(undefined, { lockedLimit: 8 * PAGE });
    const ioas = iommufd.allocateIoas();
    iommufd.map(ioas, map({ iova: 0x20_0000 }));
    expect([codeOf(() => iommufd.map(ioas, map(request))), user.total, iommufd.areas(ioas).length]).toEqual([code, 4, 1]);
  });
  test("without an IOVA the kernel chooses the lowest free one of those allowed", () => {
    const { iommufd } = open();
    const ioas = iommufd.allocateIoas();
    const chosen = () => iommufd.map(ioas, { vaddr: 0, length: PAGE, readable: true, writable: false });
    expect([chosen(), chosen()]).toEqual([0x1000n, 0x2000n]);
    iommufd.allowIovas(ioas, [{ start: 0x10_0000n, last: 0x10_0fffn }]);
    expect([chosen(), codeOf(chosen)]).toEqual([0x10_0000n, "ENOSPC"]);
  });
  test("allowed ranges are whole pages without overlap", () => {
    const { iommufd } = open();
    const ioas = iommufd.allocateIoas();
    expect([[{ start: 1n, last: 0xfffn }], [{ start: 0n, last: 0x1000n }], [{ start: 0n, last: 0x1fffn }, { start: 0x1000n, last: 0x2fffn }]].map((ranges) => codeOf(() => { iommufd.allowIovas(ioas, ranges); }))).toEqual(["EINVAL", "EINVAL", "EINVAL"]);
    expect(codeOf(() => { iommufd.allowIovas(ioas, [{ start: 0n, last: 2n ** 50n - 1n }]); })).toBe("EADDRINUSE");
  });
  test("unmapping takes whole areas, any number; where nothing is it is ENOENT", () => {
    const { iommufd, user } = open();
    const ioas = iommufd.allocateIoas();
    iommufd.map(ioas, map());
    iommufd.map(ioas, map({ iova: 0x20_0000 }));
    expect([() => iommufd.unmap(ioas, 0x10_0000, PAGE), () => iommufd.unmap(ioas, 0x10_1000, 3 * PAGE), () => iommufd.unmap(ioas, 0x30_0000, PAGE), () => iommufd.unmap(ioas, 0, 0), () => iommufd.unmap(ioas, PAGE, 2n ** 64n - 1n), () => iommufd.unmap(99, 0, PAGE)].map(codeOf)).toEqual(["ENOENT", "ENOENT", "ENOENT", "EINVAL", "EOVERFLOW", "ENOENT"]);
    expect([iommufd.unmap(ioas, 0, 0x100_0000), user.total]).toEqual([8 * PAGE, 0]);
    expect(iommufd.unmap(ioas, 0, 2n ** 64n - 1n)).toBe(0);
  });
  test("a copy shares the pins and outlives the original", () => {
    const { iommufd, user } = open();
    const [from, to] = [iommufd.allocateIoas(), iommufd.allocateIoas()] as [number, number];
    iommufd.map(from, map());
    expect(iommufd.copy(to, from, { iova: 0x10_1000, length: 2 * PAGE }, { iova: 0x40_0000, readable: true, writable: false })).toBe(0x40_0000n);
    expect([user.total, iommufd.areas(to)]).toEqual([4, [{ iova: 0x40_0000n, length: 2 * PAGE, vaddr: 0x1_1000, access: 1 }]]);
    iommufd.unmap(from, 0x10_0000, 4 * PAGE);
    expect(user.total).toBe(4);
    iommufd.unmap(to, 0x40_0000, 2 * PAGE);
    expect(user.total).toBe(0);
  });
  test("a copy cannot reach past an area or allow more", () => {
    const { iommufd } = open();
    const ioas = iommufd.allocateIoas();
    iommufd.map(ioas, map({ writable: false }));
    const copy = (iova: number, length: number, writable: boolean) => codeOf(() => iommufd.copy(ioas, ioas, { iova, length }, { readable: true, writable }));
    expect([copy(0x10_0000, 5 * PAGE, false), copy(0x10_0000, PAGE, true), copy(1, PAGE, false), copy(0x10_0000, PAGE, false)]).toEqual(["ENOENT", "EPERM", "EINVAL", undefined]);
  });
});

describe("devices of an iommufd", () => {
  test("bound and attached, the device reaches what the space maps, before and after", () => {
    const { machine, iommufd } = open();
    const ioas = iommufd.allocateIoas();
    iommufd.map(ioas, map());
    const file = machine.kernel.openDeviceFile(machine.address(machine.nic));
    expect(codeOf(() => { file.attach(ioas); })).toBe("EINVAL");
    const id = file.bind(iommufd);
    file.device.writeRegion(7, 4, Uint8Array.of(7, 0));
    expect(machine.nic.write(0x10_0000, word)).toBe(Completion.UnsupportedRequest);
    file.attach(ioas);
    iommufd.map(ioas, map({ iova: 0x20_0000, vaddr: 0 }));
    expect([machine.nic.write(0x10_0000, word), machine.nic.write(0x20_0000, word), machine.memory.read32(0x100_0000)]).toEqual([0, 0, 0x0403_0201]);
    expect([codeOf(() => file.bind(iommufd)), codeOf(() => { iommufd.destroy(ioas); }), codeOf(() => { iommufd.destroy(id); })]).toEqual(["EINVAL", "EBUSY", "EBUSY"]);
    file.detach();
    expect(machine.nic.write(0x10_0000, word)).toBe(Completion.UnsupportedRequest);
    iommufd.destroy(ioas);
    file.close();
    expect([iommufd.size, machine.iommu.domains.size]).toEqual([0, 0]);
  });
  test("group file and device file exclude each other", () => {
    const { machine, iommufd } = open();
    const group = machine.kernel.openGroup(machine.idOf(machine.nic));
    const file = machine.kernel.openDeviceFile(machine.address(machine.nic));
    expect(codeOf(() => file.bind(iommufd))).toBe("EBUSY");
    group.close();
    file.bind(iommufd);
    expect(codeOf(() => machine.kernel.openGroup(group.id))).toBe("EBUSY");
    file.close();
    expect(codeOf(() => machine.kernel.openGroup(group.id))).toBeUndefined();
  });
  test("a function must be bound to vfio-pci, its group viable and no other's, interrupts isolated", () => {
    const { machine, iommufd, process } = open();
    expect([codeOf(() => machine.kernel.openDeviceFile(machine.address(machine.graphics))), codeOf(() => iommufd.bind(machine.address(machine.graphics)))]).toEqual(["ENOENT", "ENODEV"]);
    machine.drivers.detach(machine.address(machine.graphics));
    expect(() => iommufd.bind(machine.address(machine.graphics))).toThrow(/not viable: 0000:02:00.1 is bound to snd_hda_intel/);
    iommufd.bind(machine.address(machine.nic));
    expect([codeOf(() => iommufd.bind(machine.address(machine.nic))), codeOf(() => machine.kernel.openIommufd(process).bind(machine.address(machine.nic)))]).toEqual(["EINVAL", "EPERM"]);
    const unsafe = open(makeMachine({ remapping: false }));
    expect([codeOf(() => unsafe.iommufd.bind(unsafe.machine.address(unsafe.machine.nic))), unsafe.machine.kernel.ownership.ownerOf(unsafe.machine.idOf(unsafe.machine.nic))]).toEqual(["EPERM", undefined]);
  });
  test("devices of a group are attached to one page table", () => {
    const { machine, iommufd } = open();
    for (const each of [machine.graphics, machine.sound]) machine.drivers.detach(machine.address(each));
    const [first, second] = [machine.graphics, machine.sound].map((each) => iommufd.bind(machine.address(each))) as [number, number];
    const [a, b] = [iommufd.allocateIoas(), iommufd.allocateIoas()];
    iommufd.attach(first, a);
    expect(codeOf(() => { iommufd.attach(second, b); })).toBe("EINVAL");
    iommufd.attach(second, a);
    iommufd.detach(first);
    expect(machine.iommu.attached.size).toBe(3);
    iommufd.detach(second);
    expect([machine.iommu.attached.size, machine.iommu.domains.size]).toEqual([0, 0]);
  });
  test("page tables: paging on a space, nested on a parent, replaced at once, busy while used", () => {
    const { machine, iommufd } = open();
    const device = iommufd.bind(machine.address(machine.nic));
    const ioas = iommufd.allocateIoas();
    iommufd.map(ioas, map());
    const plain = iommufd.allocateHwpt({ kind: "paging", device, ioas });
    const parent = iommufd.allocateHwpt({ kind: "paging", device, ioas, nestParent: true });
    const nested = iommufd.allocateHwpt({ kind: "nested", device, parent, table: 0x1000, levels: 4 });
    expect([() => iommufd.allocateHwpt({ kind: "nested", device, parent: plain, table: 0, levels: 4 }), () => iommufd.allocateHwpt({ kind: "nested", device, parent: ioas, table: 0, levels: 4 }), () => iommufd.allocateHwpt({ kind: "paging", device: 99, ioas }), () => { iommufd.attach(device, device); }, () => { iommufd.attach(device, 99); }].map(codeOf)).toEqual(["EINVAL", "ENOENT", "ENOENT", "EINVAL", "ENOENT"]);
    iommufd.attach(device, plain);
    iommufd.attach(device, nested);
    expect(machine.iommu.attached.get(machine.nic.port.requester)?.kind).toBe("nested");
    expect([plain, parent, nested, ioas].map((id) => codeOf(() => { iommufd.destroy(id); }))).toEqual([undefined, "EBUSY", "EBUSY", "EBUSY"]);
    iommufd.detach(device);
    for (const id of [nested, parent, device, ioas]) iommufd.destroy(id);
    expect([iommufd.size, machine.iommu.domains.size]).toEqual([0, 0]);
  });
  test("reserved IOVAs of a device keep it from a space that maps or promises them", () => {
    const machine = makeMachine({ reservedRegions: () => [{ start: 0x10_0000, size: 0x1000, kind: "reserved" }] });
    const { iommufd } = open(machine);
    const device = iommufd.bind(machine.address(machine.nic));
    const mapped = iommufd.allocateIoas();
    iommufd.map(mapped, map());
    const promised = iommufd.allocateIoas();
    iommufd.allowIovas(promised, [{ start: 0n, last: 0xff_ffffn }]);
    expect([mapped, promised].map((ioas) => codeOf(() => { iommufd.attach(device, ioas); }))).toEqual(["EADDRINUSE", "EADDRINUSE"]);
    const free = iommufd.allocateIoas();
    iommufd.attach(device, free);
    expect([iommufd.iovaRanges(free)[0], codeOf(() => iommufd.map(free, map())), codeOf(() => { iommufd.allowIovas(free, [{ start: 0n, last: 0xff_ffffn }]); })]).toEqual([{ start: 0n, last: 0xf_ffffn }, "EINVAL", "EADDRINUSE"]);
  });
  test("closing takes everything", () => {
    const { machine, iommufd, user } = open();
    const device = iommufd.bind(machine.address(machine.nic));
    const ioas = iommufd.allocateIoas();
    iommufd.map(ioas, map());
    const parent = iommufd.allocateHwpt({ kind: "paging", device, ioas, nestParent: true });
    iommufd.attach(device, iommufd.allocateHwpt({ kind: "nested", device, parent, table: 0x1000, levels: 4 }));
    iommufd.createAccess(ioas, () => undefined);
    iommufd.close();
    expect([iommufd.size, user.total, machine.iommu.domains.size, machine.iommu.attached.size, machine.kernel.ownership.ownerOf(machine.idOf(machine.nic))]).toEqual([0, 0, 0, 0, undefined]);
  });
});

describe("accesses", () => {
  test("who holds pages is told to let go, and an unmap waits for nobody who does not", () => {
    const { iommufd, user } = open();
    const ioas = iommufd.allocateIoas();
    iommufd.map(ioas, map());
    let obeys = false;
    const access: number = iommufd.createAccess(ioas, () => { if (obeys) iommufd.letPagesGo(access, 0x10_1000, 2 * PAGE); });
    expect(iommufd.holdPages(access, 0x10_1000, 2 * PAGE, true)).toEqual([0x101_1000, 0x101_2000]);
    expect([codeOf(() => iommufd.unmap(ioas, 0x10_0000, 4 * PAGE)), codeOf(() => { iommufd.destroy(ioas); }), user.total]).toEqual(["EBUSY", "EBUSY", 4]);
    obeys = true;
    expect([iommufd.unmap(ioas, 0x10_0000, 4 * PAGE), user.total]).toEqual([4 * PAGE, 0]);
    iommufd.destroy(access);
    iommufd.destroy(ioas);
  });
  test("what is not mapped, or not for writing, cannot be held", () => {
    const { iommufd } = open();
    const ioas = iommufd.allocateIoas();
    iommufd.map(ioas, map({ writable: false }));
    const access = iommufd.createAccess(ioas, () => undefined);
    expect([() => iommufd.holdPages(access, 0x10_3000, 2 * PAGE, false), () => iommufd.holdPages(access, 0x10_0000, PAGE, true), () => { iommufd.destroy(99); }].map(codeOf)).toEqual(["ENOENT", "EPERM", "ENOENT"]);
  });
});
