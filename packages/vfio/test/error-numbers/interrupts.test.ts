import { describe, expect, test } from "vitest";
import { IrqIndex, IrqSetFlag, type IrqSet } from "../../src/index.ts";
import { codeOf, makeMachine, openNic } from "../machine.ts";

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
