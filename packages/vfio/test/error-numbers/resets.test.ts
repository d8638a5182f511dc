import { describe, expect, test } from "vitest";
import { powerManagement } from "@iommu-lab/pci-bus/capabilities";
import { codeOf, makeMachine, makeProcess, nicDescription, openNic, type TestMachine } from "../machine.ts";

/** The display and its sound, of which each was bound to a driver, opened through their group. */
const openDisplay = (machine: TestMachine, sound = "vfio-pci") => {
  machine.drivers.detach(machine.address(machine.graphics));
  machine.drivers.detach(machine.address(machine.sound), sound);
  const group = machine.kernel.openGroup(machine.idOf(machine.graphics));
  const container = machine.kernel.openContainer(makeProcess().process);
  group.setContainer(container);
  container.setIommu(3);
  return { group, device: group.getDevice(machine.name(machine.graphics)) };
};

/** The display, opened by its own file, and its sound, which is bound to a driver. */
const openFiles = (machine: TestMachine, sound = "vfio-pci") => {
  machine.drivers.detach(machine.address(machine.graphics));
  machine.drivers.detach(machine.address(machine.sound), sound);
  const iommufd = machine.kernel.openIommufd(makeProcess().process);
  const file = machine.kernel.openDeviceFile(machine.address(machine.graphics));
  file.bind(iommufd);
  return { iommufd, file };
};

const noBusReset = { quirks: () => ({ noBusReset: true }) };

// Linux drivers/vfio/pci/vfio_pci_core.c: vfio_pci_ioctl_reset.
test("VFIO_DEVICE_RESET without a way to reset the function alone is EINVAL", () => {
  const nic = nicDescription({ capabilities: [powerManagement({ PMCSR: { NoSoftReset: 1 } })] });
  expect(codeOf(() => { openNic(makeMachine({ nic, ...noBusReset })).device.reset(); })).toBe("EINVAL");
});

// vfio_pci_ioctl_get_pci_hot_reset_info.
describe("VFIO_DEVICE_GET_PCI_HOT_RESET_INFO", () => {
  /** A machine in which the NIC's group is known, and the display's sound has none. */
  const soundWithoutGroup = () => {
    const all = makeMachine();
    const id = all.idOf(all.graphics);
    const sound = all.address(all.sound).requester;
    const groups = [{ id, members: all.kernel.ownership.group(id).members.filter(({ requester }) => requester !== sound) }];
    return makeMachine({ groups });
  };
  test.each<[string, () => TestMachine, number, string | undefined]>([
    ["a bus that cannot be reset, without room", () => makeMachine(noBusReset), 0, "ENODEV"],
    ["something in no group, without room", soundWithoutGroup, 0, "EPERM"],
    ["too little room", () => makeMachine(), 1, "ENOSPC"],
    ["room for all", () => makeMachine(), 2, undefined],
  ])("with %s", (_what, make, room, code) => {
    const { device } = openDisplay(make(), "pci-stub");
    expect(codeOf(() => device.hotResetInfo(room))).toBe(code);
  });
  test("opened by its own file, a device's siblings need no group", () => {
    const machine = soundWithoutGroup();
    expect(openFiles(machine, "pci-stub").file.device.hotResetInfo().map(({ group }) => group)).toEqual([machine.idOf(machine.graphics), undefined]);
  });
});

// vfio_pci_ioctl_pci_hot_reset, vfio_pci_ioctl_pci_hot_reset_groups, vfio_pci_dev_set_hot_reset.
describe("VFIO_DEVICE_PCI_HOT_RESET", () => {
  test.each<[string, Parameters<typeof makeMachine>[0], number, string | undefined]>([
    ["no group, on a bus that cannot be reset", noBusReset, 0, "EINVAL"],
    ["too many groups, on a bus that cannot be reset", noBusReset, 3, "ENODEV"],
    ["more groups than functions", {}, 3, "EINVAL"],
    ["the group, twice", {}, 2, undefined],
  ])("with %s", (_what, options, count, code) => {
    const { device, group } = openDisplay(makeMachine(options));
    expect(codeOf(() => { device.hotReset(Array.from({ length: count }, () => group)); })).toBe(code);
  });
  test("another's group and a sibling that no VFIO driver has are EINVAL", () => {
    const machine = makeMachine();
    const nic = openNic(machine);
    const { device } = openDisplay(machine);
    expect(codeOf(() => { device.hotReset([nic.group]); })).toBe("EINVAL");
    const stub = openDisplay(makeMachine(), "pci-stub");
    expect(codeOf(() => { stub.device.hotReset([stub.group]); })).toBe("EINVAL");
  });
  test("opened by its own file, a device shows no groups: its iommufd has them", () => {
    const machine = makeMachine();
    const { file } = openFiles(machine);
    const { group } = openNic(machine);
    expect([[group], []].map((groups) => codeOf(() => { file.device.hotReset(groups); }))).toEqual(["EINVAL", undefined]);
    const unable = openFiles(makeMachine(noBusReset)).file;
    expect(codeOf(() => { unable.device.hotReset([]); })).toBe("ENODEV");
  });
});
