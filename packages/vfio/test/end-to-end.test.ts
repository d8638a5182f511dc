import { Completion } from "@iommu-lab/pci-bus";
import { describe, expect, test } from "vitest";
import { DmaMapFlag, IrqIndex, IrqSetFlag, RegionIndex } from "../src/index.ts";
import { codeOf, makeMachine, openNic } from "./machine.ts";

const READ_WRITE = DmaMapFlag.Read | DmaMapFlag.Write;
const word = (value: number): Uint8Array => Uint8Array.of(value & 0xff, (value >>> 8) & 0xff, (value >>> 16) & 0xff, value >>> 24);
const enableDevice = (device: ReturnType<typeof openNic>["device"]): void => {
  device.writeRegion(RegionIndex.Config, 4, Uint8Array.of(7, 0));
};

describe("assigning a function from beginning to end", () => {
  test("what the user maps is what the device reaches, and nothing else", () => {
    const machine = makeMachine();
    const { container, device } = openNic(machine);
    enableDevice(device);
    container.mapDma({ flags: READ_WRITE, vaddr: 0x3000, iova: 0x10_0000, size: 0x2000 });
    expect(machine.nic.write(0x10_1ff8, word(0xcafe_f00d))).toBe(Completion.Successful);
    expect(machine.memory.read32(0x100_4ff8)).toBe(0xcafe_f00d);
    expect(machine.nic.write(0x10_2000, word(1))).toBe(Completion.UnsupportedRequest);
    container.unmapDma({ iova: 0x10_0000, size: 0x2000 });
    expect(machine.nic.write(0x10_1000, word(1))).toBe(Completion.UnsupportedRequest);
  });
  test("the group belongs to the user: no second open, no kernel driver, no DMA for one without a container", () => {
    const machine = makeMachine();
    const { group } = openNic(machine);
    expect(codeOf(() => machine.kernel.openGroup(group.id))).toBe("EBUSY");
    const nic = machine.address(machine.nic);
    machine.drivers.setOverride(nic, undefined);
    machine.drivers.unbind("vfio-pci", nic);
    expect(codeOf(() => { machine.drivers.bind("e1000e", nic); })).toBe("EBUSY");
  });
  test("an MSI-X message of the device signals the user's target", () => {
    const machine = makeMachine();
    const { device } = openNic(machine);
    enableDevice(device);
    const seen: number[] = [];
    device.setIrqs({ flags: IrqSetFlag.DataEventfd | IrqSetFlag.Trigger, index: IrqIndex.Msix, start: 0, count: 3, targets: [() => seen.push(0), undefined, () => seen.push(2)] });
    machine.nic.raise(2);
    machine.nic.raise(0);
    machine.nic.raise(1);
    expect([seen, machine.iommu.faults, machine.vectors.spurious]).toEqual([[2, 0], 0, 0]);
  });
  test("a user's writes to the MSI-X table never reach the device", () => {
    const machine = makeMachine();
    const { device } = openNic(machine);
    enableDevice(device);
    const seen: number[] = [];
    device.setIrqs({ flags: IrqSetFlag.DataEventfd | IrqSetFlag.Trigger, index: IrqIndex.Msix, start: 0, count: 1, targets: [() => seen.push(0)] });
    device.writeRegion(3, 0x1000, word(0xfee0_1234));
    device.writeRegion(3, 0x100c, word(1));
    machine.nic.raise(0);
    const read = new Uint8Array(4);
    device.readRegion(3, 0x1000, read);
    expect([seen, [...read]]).toEqual([[0], [0xff, 0xff, 0xff, 0xff]]);
  });
  test("without interrupt remapping the compatible message arrives too, once unsafe interrupts are allowed", () => {
    const refused = makeMachine({ remapping: false });
    expect(codeOf(() => openNic(refused))).toBe("EPERM");
    const machine = makeMachine({ remapping: false, allowUnsafeInterrupts: true });
    let seen = 0;
    openNic(machine).device.setIrqs({ flags: IrqSetFlag.DataEventfd | IrqSetFlag.Trigger, index: IrqIndex.Msi, start: 0, count: 1, targets: [() => seen++] });
    // The double remaps whatever arrives: the message is looked at where it leaves.
    const at = machine.nic.config.capability(5);
    expect([machine.nic.config.read(at + 4, 4), machine.nic.config.read(at + 2, 2) & 1, seen]).toEqual([0xfee0_0000, 1, 0]);
  });
  test("closing takes interrupts, mappings, pins and registers away", () => {
    const machine = makeMachine();
    const { container, device, group, user } = openNic(machine);
    enableDevice(device);
    container.mapDma({ flags: READ_WRITE, vaddr: 0, iova: 0, size: 0x4000 });
    device.setIrqs({ flags: IrqSetFlag.DataEventfd | IrqSetFlag.Trigger, index: IrqIndex.Msix, start: 0, count: 4, targets: Array.from({ length: 4 }, () => () => undefined) });
    expect([user.total, machine.vectors.used, machine.iommu.entries.size]).toEqual([4, 4, 4]);
    device.close();
    group.close();
    container.close();
    expect([user.total, machine.vectors.used, machine.iommu.entries.size, machine.iommu.domains.size]).toEqual([0, 0, 0, 0]);
    expect(machine.nic.config.read(4, 2) & 4).toBe(0);
    expect(machine.nic.write(0, word(1))).toBe(Completion.UnsupportedRequest);
    machine.drivers.reattach(machine.address(machine.nic));
    expect(machine.drivers.driverOf(machine.address(machine.nic))?.name).toBe("e1000e");
  });
  test("devices keep their group when its file is closed first", () => {
    const machine = makeMachine();
    const { device, group } = openNic(machine);
    group.close();
    expect(codeOf(() => machine.kernel.openGroup(group.id))).toBe("EBUSY");
    device.close();
    expect(codeOf(() => machine.kernel.openGroup(group.id))).toBeUndefined();
  });
  test("opening and closing reset the device", () => {
    let resets = 0;
    const machine = makeMachine({ nicOptions: { reset: () => resets++ } });
    const { device } = openNic(machine);
    const opened = resets;
    device.close();
    expect([opened, resets]).toEqual([1, 2]);
  });
});
