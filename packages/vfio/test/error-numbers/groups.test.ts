import { describe, expect, test } from "vitest";
import type { ReservedIova } from "../../src/dma/index.ts";
import { VfioError, VfioExtension, type Container, type DmaMapRequest, type VfioKernelOptions } from "../../src/index.ts";
import { codeOf, makeMachine, makeProcess, openNic, type TestMachine } from "../machine.ts";

const PAGE = 4096;
const map = (changes: Partial<DmaMapRequest> = {}): DmaMapRequest => ({ flags: 3, vaddr: 0x1_0000, iova: 0x10_0000, size: 4 * PAGE, ...changes });

// Linux drivers/vfio/container.c: vfio_ioctl_set_iommu, then vfio_iommu_type1.c: vfio_iommu_type1_attach_group.
describe("VFIO_SET_IOMMU", () => {
  /** A container with the NIC's group, without IOMMU. */
  const grouped = (machine: TestMachine): Container => {
    machine.drivers.detach(machine.address(machine.nic));
    const container = machine.kernel.openContainer(makeProcess().process);
    machine.kernel.openGroup(machine.idOf(machine.nic)).setContainer(container);
    return container;
  };
  const ALL_RESERVED: ReservedIova = { start: 0, size: 2 ** 48, kind: "reserved" };
  test.each<[string, Partial<VfioKernelOptions> & { readonly remapping?: boolean }, number, string | undefined]>([
    ["an unknown type, also where interrupts are unsafe", { remapping: false }, 2, "ENODEV"],
    ["nesting, which went with Linux 6.13", {}, VfioExtension.Type1Nesting, "ENODEV"],
    ["no IOMMU, which no module parameter allows", {}, VfioExtension.NoIommu, "ENODEV"],
    ["a group whose IOVAs are all reserved, also where interrupts are unsafe", { remapping: false, reservedRegions: () => [ALL_RESERVED] }, 3, "EINVAL"],
    ["unsafe interrupts", { remapping: false }, 3, "EPERM"],
    ["unsafe interrupts that are allowed", { remapping: false, allowUnsafeInterrupts: true }, 3, undefined],
    ["version 1", {}, VfioExtension.Type1, undefined],
  ])("with %s", (_what, options, type, code) => {
    const machine = makeMachine(options);
    const container = grouped(machine);
    expect([codeOf(() => { container.setIommu(type); }), container.iommu === undefined, machine.iommu.domains.size]).toEqual([code, code !== undefined, code === undefined ? 1 : 0]);
  });
  test("without a group and with an IOMMU it is EINVAL, of whatever type", () => {
    const machine = makeMachine();
    const empty = machine.kernel.openContainer(makeProcess().process);
    const container = grouped(machine);
    container.setIommu(3);
    expect([empty, container].map((each) => codeOf(() => { each.setIommu(2); }))).toEqual(["EINVAL", "EINVAL"]);
  });
  test("before it everything of the IOMMU is EINVAL", () => {
    const container = grouped(makeMachine());
    expect([() => container.info(), () => { container.mapDma(map()); }, () => container.unmapDma({ iova: 0, size: PAGE }), () => { container.trackDirty(1); }, () => container.dirtyPages(0, PAGE, PAGE)].map(codeOf)).toEqual(Array(5).fill("EINVAL"));
  });
});

// Linux drivers/vfio/group.c.
describe("groups", () => {
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
