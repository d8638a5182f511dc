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
  test("memory is pinned while a domain shows it or an access holds it, once for all", () => {
    const { machine, iommufd, user, process } = open();
    const ioas = iommufd.allocateIoas();
    iommufd.map(ioas, map());
    iommufd.copy(ioas, ioas, { iova: 0x10_1000, length: 2 * PAGE }, { iova: 0x40_0000, readable: true, writable: true });
    const pins = (): readonly number[] => [user.total, process.lockedPages];
    expect(pins()).toEqual([0, 0]);
    const access = iommufd.createAccess(ioas, () => undefined);
    iommufd.holdPages(access, 0x10_3000, PAGE, true);
    expect(pins()).toEqual([1, 1]);
    const device = iommufd.bind(machine.address(machine.nic));
    iommufd.attach(device, ioas);
    const hwpt = iommufd.allocateHwpt({ kind: "paging", device, ioas });
    expect(pins()).toEqual([4, 4]);
    iommufd.detach(device);
    expect(pins()).toEqual([4, 4]);
    iommufd.destroy(hwpt);
    expect(pins()).toEqual([1, 1]);
    iommufd.letPagesGo(access, 0x10_3000, PAGE);
    expect(pins()).toEqual([0, 0]);
  });
  test("without an IOVA the kernel chooses the lowest free one of those allowed", () => {
    const { iommufd } = open();
    const ioas = iommufd.allocateIoas();
    const chosen = () => iommufd.map(ioas, { vaddr: 0, length: PAGE, readable: true, writable: false });
    expect([chosen(), chosen()]).toEqual([0x1000n, 0x2000n]);
    iommufd.allowIovas(ioas, [{ start: 0x10_0000n, last: 0x10_0fffn }]);
    expect([chosen(), codeOf(chosen)]).toEqual([0x10_0000n, "ENOSPC"]);
  });
  test("a chosen IOVA is aligned as its memory and size are, up to 2 MiB", () => {
    const { iommufd } = open();
    const ioas = iommufd.allocateIoas();
    const chosen = (vaddr: number, length: number) => iommufd.map(ioas, { vaddr, length, readable: true, writable: true });
    expect([chosen(0x40_0000, 2 ** 30), chosen(0x41_0000, 2 ** 30), chosen(0x40_0000, 3 * PAGE), chosen(0x40_1000, 3 * PAGE)]).toEqual([0x20_0000n, 0x4020_0000n, 0x4000n, 0x1000n]);
  });
  test("a space has 64 bits until a domain shows it", () => {
    const { machine, iommufd } = open(makeMachine({ reservedRegions: () => [] }));
    const ioas = iommufd.allocateIoas();
    const device = iommufd.bind(machine.address(machine.nic));
    const ranges = () => iommufd.iovaRanges(ioas);
    expect(ranges()).toEqual([{ start: 0n, last: 2n ** 64n - 1n }]);
    iommufd.attach(device, ioas);
    expect(ranges()).toEqual([{ start: 0n, last: 2n ** 48n - 1n }]);
    iommufd.detach(device);
    expect(iommufd.map(ioas, map({ iova: 2n ** 64n - 4n * 4096n, length: 4 * PAGE }))).toBe(2n ** 64n - 4n * 4096n);
  });
  test("a copy shares the pins and outlives the original", () => {
    const { machine, iommufd, user } = open();
    const [from, to] = [iommufd.allocateIoas(), iommufd.allocateIoas()] as [number, number];
    const device = iommufd.bind(machine.address(machine.nic));
    for (const ioas of [from, to]) iommufd.allocateHwpt({ kind: "paging", device, ioas });
    iommufd.map(from, map());
    expect(iommufd.copy(to, from, { iova: 0x10_1000, length: 2 * PAGE }, { iova: 0x40_0000, readable: true, writable: false })).toBe(0x40_0000n);
    expect([user.total, iommufd.areas(to)]).toEqual([4, [{ iova: 0x40_0000n, length: 2 * PAGE, vaddr: 0x1_1000, access: 1 }]]);
    iommufd.unmap(from, 0x10_0000, 4 * PAGE);
    expect(user.total).toBe(2);
    iommufd.unmap(to, 0x40_0000, 2 * PAGE);
    expect(user.total).toBe(0);
  });
  test("a copy of neighbouring areas is as many areas", () => {
    const { iommufd } = open();
    const [from, to] = [iommufd.allocateIoas(), iommufd.allocateIoas()] as [number, number];
    iommufd.map(from, map());
    iommufd.map(from, map({ iova: 0x10_4000, vaddr: 0 }));
    iommufd.copy(to, from, { iova: 0x10_3000, length: 2 * PAGE }, { iova: 0, readable: true, writable: true });
    expect(iommufd.areas(to)).toEqual([{ iova: 0n, length: PAGE, vaddr: 0x1_3000, access: 3 }, { iova: 0x1000n, length: PAGE, vaddr: 0, access: 3 }]);
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
  test("a function must be bound to vfio-pci, its group viable and no other's", () => {
    const { machine, iommufd, process } = open();
    expect([codeOf(() => machine.kernel.openDeviceFile(machine.address(machine.graphics))), codeOf(() => iommufd.bind(machine.address(machine.graphics)))]).toEqual(["ENOENT", "ENODEV"]);
    machine.drivers.detach(machine.address(machine.graphics));
    expect(() => iommufd.bind(machine.address(machine.graphics))).toThrow(/not viable: 0000:02:00.1 is bound to snd_hda_intel/);
    iommufd.bind(machine.address(machine.nic));
    expect([codeOf(() => iommufd.bind(machine.address(machine.nic))), codeOf(() => machine.kernel.openIommufd(process).bind(machine.address(machine.nic)))]).toEqual(["EINVAL", "EPERM"]);
  });
  test("devices of a group are attached to one page table, and move together", () => {
    const { machine, iommufd } = open();
    for (const each of [machine.graphics, machine.sound]) machine.drivers.detach(machine.address(each));
    const [first, second] = [machine.graphics, machine.sound].map((each) => iommufd.bind(machine.address(each))) as [number, number];
    const [a, b] = [iommufd.allocateIoas(), iommufd.allocateIoas()];
    iommufd.attach(first, a);
    expect(codeOf(() => { iommufd.attach(second, b); })).toBe("EINVAL");
    iommufd.attach(second, a);
    iommufd.attach(first, b);
    expect([machine.iommu.domains.size, codeOf(() => { iommufd.destroy(a); })]).toEqual([1, undefined]);
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
    iommufd.attach(device, plain);
    iommufd.attach(device, nested);
    expect(machine.iommu.attached.get(machine.nic.port.requester)?.kind).toBe("nested");
    expect([plain, parent, nested, ioas].map((id) => codeOf(() => { iommufd.destroy(id); }))).toEqual([undefined, "EBUSY", "EBUSY", "EBUSY"]);
    iommufd.detach(device);
    iommufd.unbind(device);
    for (const id of [nested, parent, ioas]) iommufd.destroy(id);
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
    expect(machine.iommu.domains.size).toBe(0);
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
  test("who holds pages is told to let go, again and again; an unmap does not wait for ever", () => {
    const { iommufd, user } = open();
    const ioas = iommufd.allocateIoas();
    iommufd.map(ioas, map());
    let patience = Infinity;
    const access: number = iommufd.createAccess(ioas, () => { if (patience-- === 0) iommufd.letPagesGo(access, 0x10_1000, 2 * PAGE); });
    expect(iommufd.holdPages(access, 0x10_1000, 2 * PAGE, true)).toEqual([0x101_1000, 0x101_2000]);
    expect([codeOf(() => iommufd.unmap(ioas, 0x10_0000, 4 * PAGE)), codeOf(() => { iommufd.destroy(ioas); }), user.total]).toEqual(["EDEADLK", "EBUSY", 2]);
    patience = 50;
    expect([iommufd.unmap(ioas, 0x10_0000, 4 * PAGE), user.total]).toEqual([4 * PAGE, 0]);
    iommufd.destroyAccess(access);
    iommufd.destroy(ioas);
  });
});
