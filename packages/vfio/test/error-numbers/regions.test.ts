import { describe, expect, test } from "vitest";
import { RegionIndex } from "../../src/index.ts";
import { codeOf, makeMachine, makeProcess, openNic, type TestMachine } from "../machine.ts";

const { Bar0, Bar1, Bar2, Bar3, Rom, Config, Vga } = RegionIndex;
const IO = 1;
const MEMORY = 2;

/** The NIC with memory and ports on or off. BAR 3 has the MSI-X table from 0x1000 to 0x103f. */
const openWith = (command: number, machine: TestMachine = makeMachine()) => {
  const { device } = openNic(machine);
  device.writeRegion(Config, 4, Uint8Array.of(command, 0));
  return device;
};

/** The display of the machine. */
const openDisplay = (machine: TestMachine = makeMachine()) => {
  for (const each of [machine.graphics, machine.sound]) machine.drivers.detach(machine.address(each));
  const group = machine.kernel.openGroup(machine.idOf(machine.graphics));
  const container = machine.kernel.openContainer(makeProcess().process);
  group.setContainer(container);
  container.setIommu(3);
  return group.getDevice(machine.name(machine.graphics));
};

// Linux drivers/vfio/pci/vfio_pci_core.c: vfio_pci_ioctl_get_region_info.
describe("VFIO_DEVICE_GET_REGION_INFO", () => {
  test("regions are BARs, ROM and configuration; the VGA ranges only of a display", () => {
    const { device } = openNic(makeMachine());
    expect([-1, 0, 5, 6, 7, 8, 9].map((index) => codeOf(() => device.regionInfo(index)))).toEqual(["EINVAL", undefined, undefined, undefined, undefined, "EINVAL", "EINVAL"]);
    expect([8, 9].map((index) => codeOf(() => openDisplay().regionInfo(index)))).toEqual([undefined, "EINVAL"]);
  });
});

// vfio_pci_rw, then drivers/vfio/pci/vfio_pci_rdwr.c: vfio_pci_bar_rw, vfio_pci_vga_rw, vfio_pci_core_do_io_rw, and vfio_pci_config.c: vfio_config_do_rw.
describe("reading and writing regions", () => {
  // Each row with memory and ports off: what comes before that is told first.
  test.each<[string, number, number, number, string | number, string | number]>([
    ["a region that is not there", 9, 0, 4, "EINVAL", "EINVAL"],
    ["the VGA ranges of what is no display", Vga, 0xa_0000, 4, "EINVAL", "EINVAL"],
    ["a BAR that is not there", Bar1, 0, 4, "EINVAL", "EINVAL"],
    ["the end of a BAR", Bar0, 0x1_0000, 4, "EINVAL", "EINVAL"],
    ["memory", Bar0, 0xfffe, 4, "EIO", "EIO"],
    ["memory that ends in the MSI-X table", Bar3, 0xffe, 4, "EIO", "EIO"],
    ["memory that begins in the MSI-X table", Bar3, 0x103c, 8, "EIO", "EIO"],
    ["the MSI-X table", Bar3, 0x1000, 64, 64, 64],
    ["ports", Bar2, 4, 4, 4, 4],
    ["ports up to their end", Bar2, 30, 4, 2, 2],
    ["the end of the ROM", Rom, 0x1000, 4, "EINVAL", "EINVAL"],
    ["the ROM", Rom, 0, 4, "EIO", "EINVAL"],
    ["the end of configuration space", Config, 0x1000, 1, "EFAULT", "EFAULT"],
    ["what reaches past configuration space", Config, 0xffe, 4, "EFAULT", "EFAULT"],
    ["configuration space", Config, 0xffc, 4, 4, 4],
  ])("with nothing on, %s", (_what, index, offset, size, read, write) => {
    const device = openWith(0);
    const outcome = (action: () => number): string | number => {
      let done = 0;
      return codeOf(() => { done = action(); }) ?? done;
    };
    expect([outcome(() => device.readRegion(index, offset, new Uint8Array(size))), outcome(() => device.writeRegion(index, offset, new Uint8Array(size)))]).toEqual([read, write]);
  });
  test.each([9, Config, Bar1, Rom])("no bytes are no access, also of region %d at its end", (index) => {
    const device = openWith(0);
    expect([device.readRegion(index, 0x10_0000, new Uint8Array()), device.writeRegion(index, 0x10_0000, new Uint8Array())]).toEqual([0, 0]);
  });
  test("what a user does not have switched on in the table reads as ones, and what does not decode too", () => {
    const device = openWith(0);
    const bytes = new Uint8Array(4);
    device.readRegion(Bar3, 0x1000, bytes);
    expect([...bytes]).toEqual([0xff, 0xff, 0xff, 0xff]);
    device.readRegion(Bar2, 0, bytes.fill(0));
    expect([...bytes]).toEqual([0xff, 0xff, 0xff, 0xff]);
    const on = openWith(IO);
    on.writeRegion(Bar2, 0, Uint8Array.of(7));
    on.readRegion(Bar2, 0, bytes);
    expect(bytes[0]).toBe(7);
  });
  test("an access ends where its region does", () => {
    const device = openWith(MEMORY);
    const bytes = new Uint8Array(8);
    expect([device.readRegion(Rom, 0xffe, bytes), bytes[0], bytes[1], device.readRegion(Bar0, 0xfffe, bytes)]).toEqual([2, 0xfe, 0xff, 2]);
    expect(codeOf(() => device.writeRegion(Rom, 0x1000, bytes))).toBe("EINVAL");
  });
  test.each<[number, string | number]>([
    [0, "EINVAL"],
    [0x3af, "EINVAL"],
    [0x3b0, 4],
    [0x3ba, 2],
    [0x3be, "EINVAL"],
    [0x3de, 2],
    [0x3e0, "EINVAL"],
    [0x9_fffe, "EINVAL"],
    [0xb_fffe, 2],
    [0xc_0000, "EINVAL"],
  ])("the VGA ranges at %d: an access begins in one and ends with it", (offset, expected) => {
    const display = openDisplay();
    let done = 0;
    expect(codeOf(() => { done = display.writeRegion(Vga, offset, new Uint8Array(4)); }) ?? done).toBe(expected);
  });
});
