import { IommuDriverError } from "@iommu-lab/pci-bus";
import { describe, expect, test } from "vitest";
import type { HwptRequest, VfioKernelOptions } from "../../src/index.ts";
import { codeOf, makeMachine, makeProcess, type TestMachine } from "../machine.ts";

const PAGE = 4096;
const ABSENT = 0x1000_0000;
const NOBODY = 99;
const RW = { readable: true, writable: true } as const;
const UNFIT = new IommuDriverError("EINVAL", "The function and the domain do not fit together.");

/** The NIC, graphics and sound bound, nothing attached. 8 pages may be locked. */
const open = (machine: TestMachine = makeMachine()) => {
  const { memory: user, process } = makeProcess({ lockedLimit: 8 * PAGE });
  const iommufd = machine.kernel.openIommufd(process);
  const [nic, graphics, sound] = [machine.nic, machine.graphics, machine.sound].map((each) => {
    machine.drivers.detach(machine.address(each));
    return machine.address(each);
  }).map((address) => iommufd.bind(address)) as [number, number, number];
  return { machine, user, iommufd, nic, graphics, sound };
};
type Opened = ReturnType<typeof open>;
/** A space with something mapped. */
const spaceWith = ({ iommufd }: Opened, iova: number, vaddr: number, length: number): number => {
  const ioas = iommufd.allocateIoas();
  iommufd.map(ioas, { iova, vaddr, length, ...RW });
  return ioas;
};

// Linux drivers/iommu/iommufd/device.c: iommufd_device_bind, then drivers/iommu/iommu.c: iommu_device_claim_dma_owner.
describe("VFIO_DEVICE_BIND_IOMMUFD", () => {
  const DIRECT: VfioKernelOptions["reservedRegions"] = () => [{ start: 0, size: PAGE, kind: "direct" }];
  /** The first is bound to vfio-pci, its neighbour to a driver of the host. */
  const bind = (machine: TestMachine): string | undefined => {
    machine.drivers.detach(machine.address(machine.graphics));
    return codeOf(() => machine.kernel.openIommufd(makeProcess().process).bind(machine.address(machine.graphics)));
  };
  const kept = (machine: TestMachine): TestMachine => {
    machine.drivers.unbind("snd_hda_intel", machine.address(machine.sound));
    return machine;
  };
  test("a function that VFIO does not have is ENODEV, also where interrupts are unsafe", () => {
    const machine = makeMachine({ groups: [], remapping: false });
    expect(codeOf(() => machine.kernel.openIommufd(makeProcess().process).bind(machine.address(machine.graphics)))).toBe("ENODEV");
  });
  test("unsafe interrupts come before the group, which stays without an owner", () => {
    const machine = kept(makeMachine({ remapping: false, reservedRegions: DIRECT }));
    expect([bind(machine), machine.kernel.ownership.ownerOf(machine.idOf(machine.graphics))]).toEqual(["EPERM", undefined]);
  });
  test("a group that is not viable comes before 1:1 mappings", () => {
    expect([bind(makeMachine({ reservedRegions: DIRECT })), bind(kept(makeMachine({ reservedRegions: DIRECT }))), bind(kept(makeMachine()))]).toEqual(["EPERM", "EINVAL", undefined]);
  });
});

// Linux drivers/iommu/iommufd/device.c: iommufd_device_attach, iommufd_device_change_pt, iommufd_hw_pagetable_attach.
describe("VFIO_DEVICE_ATTACH_IOMMUFD_PT of what is not attached", () => {
  test("objects that are not there, and of another type", () => {
    const { iommufd, nic, graphics } = open();
    const access = iommufd.createAccess(iommufd.allocateIoas(), () => undefined);
    expect([NOBODY, graphics, nic, access].map((to) => codeOf(() => { iommufd.attach(nic, to); }))).toEqual(["ENOENT", "EINVAL", "EINVAL", "EINVAL"]);
  });
  // Each breaks what comes after it, too.
  test.each<[string, boolean, number, boolean, number, number, string | undefined]>([
    ["a sibling that is attached elsewhere", true, 0xfee0_0000, true, ABSENT, 9, "EINVAL"],
    ["reserved IOVAs that are mapped", false, 0xfee0_0000, true, ABSENT, 9, "EADDRINUSE"],
    ["a domain that does not fit", false, 2 ** 48 - PAGE, true, ABSENT, 9, "EINVAL"],
    ["IOVAs past the width that are mapped", false, 2 ** 48 - PAGE, false, ABSENT, 9, "EADDRINUSE"],
    ["memory that is not there", false, 0x10_0000, false, ABSENT, 9, "EFAULT"],
    ["more than may be locked", false, 0x10_0000, false, 0, 9, "ENOMEM"],
    ["nothing", false, 0x10_0000, false, 0, 8, undefined],
  ])("%s", (_rule, sibling, iova, unfit, vaddr, pages, code) => {
    const opened = open();
    const { iommufd, machine, graphics, sound, user } = opened;
    if (sibling) iommufd.attach(graphics, iommufd.allocateIoas());
    const before = machine.iommu.domains.size;
    if (unfit) machine.iommu.refuse = () => UNFIT;
    const ioas = spaceWith(opened, iova, vaddr, pages * PAGE);
    expect([codeOf(() => { iommufd.attach(sound, ioas); }), machine.iommu.domains.size - before, user.total]).toEqual(code ? [code, 0, 0] : [undefined, 1, 8]);
    if (code) expect([codeOf(() => { iommufd.destroy(ioas); }), machine.iommu.attached.size]).toEqual([undefined, sibling ? 3 : 0]);
  });
  test("a page table that was made for the space is tried first; one that does not fit gives way to a new one", () => {
    const { iommufd, machine, nic, graphics } = open();
    const ioas = iommufd.allocateIoas();
    iommufd.attach(nic, ioas);
    const [made] = [...machine.iommu.domains];
    machine.iommu.refuse = (domain) => (domain === made ? UNFIT : undefined);
    iommufd.attach(graphics, ioas);
    expect([machine.iommu.domains.size, machine.iommu.attached.get(machine.graphics.port.requester) === made]).toEqual([2, false]);
  });
  test("other refusals of the driver end the search", () => {
    const { iommufd, machine, nic, graphics } = open();
    const ioas = iommufd.allocateIoas();
    iommufd.attach(nic, ioas);
    const [made] = [...machine.iommu.domains];
    machine.iommu.refuse = (domain) => (domain === made ? new IommuDriverError("ENOMEM", "There is no memory for it.") : undefined);
    expect([codeOf(() => { iommufd.attach(graphics, ioas); }), machine.iommu.domains.size]).toEqual(["ENOMEM", 1]);
  });
});

// Linux drivers/iommu/iommufd/device.c: iommufd_device_replace, iommufd_device_auto_get_domain, iommufd_device_do_replace.
describe("VFIO_DEVICE_ATTACH_IOMMUFD_PT of what is attached", () => {
  // A page table that is made is filled before anything else is looked at.
  test.each<[string, number, boolean, number, number, string | undefined]>([
    ["IOVAs past the width that are mapped", 2 ** 48 - PAGE, true, ABSENT, 9, "EADDRINUSE"],
    ["memory that is not there", 0xfee0_0000, true, ABSENT, 9, "EFAULT"],
    ["more than may be locked", 0xfee0_0000, true, 0, 9, "ENOMEM"],
    ["reserved IOVAs that are mapped", 0xfee0_0000, true, 0, 8, "EADDRINUSE"],
    ["a domain that does not fit", 0x10_0000, true, 0, 8, "EINVAL"],
    ["nothing", 0x10_0000, false, 0, 8, undefined],
  ])("%s", (_rule, iova, unfit, vaddr, pages, code) => {
    const opened = open();
    const { iommufd, machine, graphics, sound, user } = opened;
    const old = iommufd.allocateIoas();
    iommufd.attach(graphics, old);
    iommufd.attach(sound, old);
    const [made] = [...machine.iommu.domains];
    if (unfit) machine.iommu.refuse = (domain) => (domain === made ? undefined : UNFIT);
    const ioas = spaceWith(opened, iova, vaddr, pages * PAGE);
    expect([codeOf(() => { iommufd.attach(sound, ioas); }), machine.iommu.domains.size, user.total]).toEqual([code, 1, code ? 0 : 8]);
    // All of the group stay, or all move.
    const [stays, goes] = code ? [old, ioas] : [ioas, old];
    expect([new Set(machine.iommu.attached.values()).size, machine.iommu.attached.size, codeOf(() => { iommufd.destroy(goes); }), codeOf(() => { iommufd.destroy(stays); })]).toEqual([1, 3, undefined, "EBUSY"]);
  });
  test("what it is attached to already is no change", () => {
    const { iommufd, machine, nic } = open();
    const ioas = iommufd.allocateIoas();
    iommufd.attach(nic, ioas);
    machine.iommu.refuse = () => UNFIT;
    expect([codeOf(() => { iommufd.attach(nic, ioas); }), machine.iommu.domains.size]).toEqual([undefined, 1]);
  });
});

// Linux drivers/iommu/iommufd/hw_pagetable.c: iommufd_hwpt_alloc.
describe("IOMMU_HWPT_ALLOC", () => {
  type Objects = Record<"nic" | "ioas" | "parent" | "plain" | "broken", number>;
  test.each<[string, (objects: Objects) => HwptRequest, string | undefined]>([
    ["no such device, whatever it is on", () => ({ kind: "paging", device: NOBODY, ioas: NOBODY }), "ENOENT"],
    ["no device", ({ ioas }) => ({ kind: "paging", device: ioas, ioas }), "ENOENT"],
    ["nothing to build on", ({ nic }) => ({ kind: "paging", device: nic, ioas: NOBODY }), "EINVAL"],
    ["a device to build on", ({ nic }) => ({ kind: "nested", device: nic, parent: nic, table: 0, levels: 4 }), "EINVAL"],
    ["a space on a page table", ({ nic, plain }) => ({ kind: "paging", device: nic, ioas: plain }), "EOPNOTSUPP"],
    ["a guest's own tables on a space", ({ nic, ioas }) => ({ kind: "nested", device: nic, parent: ioas, table: 0, levels: 4 }), "EOPNOTSUPP"],
    ["a guest's own tables on what is no parent", ({ nic, plain }) => ({ kind: "nested", device: nic, parent: plain, table: 0, levels: 4 }), "EINVAL"],
    ["a space whose memory is not there", ({ nic, broken }) => ({ kind: "paging", device: nic, ioas: broken }), "EFAULT"],
    ["a guest's own tables", ({ nic, parent }) => ({ kind: "nested", device: nic, parent, table: 0, levels: 4 }), undefined],
    ["a space", ({ nic, ioas }) => ({ kind: "paging", device: nic, ioas }), undefined],
  ])("%s", (_what, request, code) => {
    const opened = open();
    const { iommufd, nic, machine } = opened;
    const ioas = iommufd.allocateIoas();
    const plain = iommufd.allocateHwpt({ kind: "paging", device: nic, ioas });
    const parent = iommufd.allocateHwpt({ kind: "paging", device: nic, ioas, nestParent: true });
    const broken = spaceWith(opened, 0, ABSENT, PAGE);
    const before = machine.iommu.domains.size;
    expect([codeOf(() => iommufd.allocateHwpt(request({ nic, ioas, parent, plain, broken }))), machine.iommu.domains.size - before]).toEqual([code, code ? 0 : 1]);
  });
});

// Linux drivers/iommu/iommufd/main.c: iommufd_destroy, iommufd_object_remove.
test("IOMMU_DESTROY: what others use stays, and a driver uses its device or access until it lets it go", () => {
  const { iommufd, nic } = open();
  const ioas = iommufd.allocateIoas();
  const hwpt = iommufd.allocateHwpt({ kind: "paging", device: nic, ioas, nestParent: true });
  const nested = iommufd.allocateHwpt({ kind: "nested", device: nic, parent: hwpt, table: 0, levels: 4 });
  const access = iommufd.createAccess(iommufd.allocateIoas(), () => undefined);
  const destroy = (id: number): string | undefined => codeOf(() => { iommufd.destroy(id); });
  expect([NOBODY, ioas, hwpt, nic, access].map(destroy)).toEqual(["ENOENT", "EBUSY", "EBUSY", "EBUSY", "EBUSY"]);
  iommufd.attach(nic, nested);
  expect(destroy(nested)).toBe("EBUSY");
  iommufd.unbind(nic);
  iommufd.destroyAccess(access);
  expect([nic, access, nested, hwpt, ioas].map(destroy)).toEqual(["ENOENT", "ENOENT", undefined, undefined, undefined]);
});
