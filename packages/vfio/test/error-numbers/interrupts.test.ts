import { describe, expect, test } from "vitest";
import { powerManagement } from "@iommu-lab/pci-bus/capabilities";
import { HostVectorTable, IrqIndex, IrqSetFlag, type IrqSet } from "../../src/index.ts";
import { codeOf, makeMachine, nicDescription, openNic } from "../machine.ts";
import { inOrder } from "./in-order.ts";

const { DataNone, DataBool, DataEventfd, Mask, Unmask, Trigger } = IrqSetFlag;
const { Intx, Msi, Msix, Error: ERROR, Request } = IrqIndex;
const request = (changes: Partial<IrqSet>): IrqSet => ({ flags: DataEventfd | Trigger, index: Msix, start: 0, count: 1, targets: [() => undefined], ...changes });
const unexpress = nicDescription({ capabilities: [powerManagement({})] });

// Linux drivers/vfio/vfio_main.c: vfio_set_irqs_validate_and_prepare, then drivers/vfio/pci/vfio_pci_intrs.c: vfio_pci_set_irqs_ioctl and what it calls.
describe("VFIO_DEVICE_SET_IRQS", () => {
  // INTx is on: whatever concerns messages is refused last for that.
  const withIntx = () => {
    const { device } = openNic(makeMachine());
    device.setIrqs(request({ index: Intx }));
    return device;
  };
  test.each(inOrder<IrqSet>([
    ["an index that is not there", { index: 5 }, "EINVAL"],
    ["more vectors than there are numbers", { index: Msix, count: 0xffff_ffff }, "EINVAL"],
    ["an unknown flag", { flags: Mask | Unmask | 64, count: 2 }, "EINVAL"],
    ["a vector past the end", { flags: Mask | Unmask, start: 4, count: 2 }, "EINVAL"],
    ["vectors that reach past the end", { start: 3, count: 2 }, "EINVAL"],
    ["no kind of data", { start: 0 }, "EINVAL"],
    ["two kinds of data", { flags: DataNone | DataBool | Mask | Unmask }, "EINVAL"],
    ["too little data", { flags: DataEventfd | Mask | Unmask }, "EINVAL"],
    ["two actions", { flags: DataNone | Mask | Unmask, start: 0, count: 2 }, "ENOTTY"],
    ["masking messages", { flags: DataNone | Mask }, "ENOTTY"],
    ["unmasking messages", { flags: DataNone | Unmask }, "ENOTTY"],
    ["no action", { flags: DataNone }, "ENOTTY"],
    ["messages beside INTx", { flags: DataEventfd | Trigger, start: 0, count: 0 }, "EINVAL"],
  ]))("%s is refused before what comes after it", (_rule, changes, code) => {
    expect(codeOf(() => withIntx().setIrqs(request(changes)))).toBe(code);
  });
  // vfio_pci_set_intx_trigger, _mask, _unmask.
  test.each<[string, Partial<IrqSet>, string | undefined]>([
    ["two actions", { flags: DataNone | Trigger | Mask }, "ENOTTY"],
    ["masked by an eventfd, none of them", { flags: DataEventfd | Mask, count: 0 }, "EINVAL"],
    ["masked by an eventfd", { flags: DataEventfd | Mask }, "ENOTTY"],
    ["unmasked, none of them", { flags: DataNone | Unmask, count: 0 }, "EINVAL"],
    ["triggered, none of them by value", { flags: DataBool | Trigger, count: 0 }, "EINVAL"],
    ["pointed at nobody", { targets: [undefined] }, undefined],
    ["switched off", { flags: DataNone | Trigger, count: 0 }, undefined],
  ])("INTx that is on, %s", (_what, changes, code) => {
    expect(codeOf(() => withIntx().setIrqs(request({ index: Intx, ...changes })))).toBe(code);
  });
  test.each<[string, Partial<IrqSet>]>([
    ["masked", { index: Intx, flags: DataNone | Mask }],
    ["masked by an eventfd", { index: Intx, flags: DataEventfd | Mask }],
    ["unmasked", { index: Intx, flags: DataNone | Unmask }],
    ["triggered", { index: Intx, flags: DataNone | Trigger }],
    ["triggered, none of them", { index: Intx, flags: DataNone | Trigger, count: 0 }],
    ["triggered as messages", { flags: DataNone | Trigger }],
    ["triggered as messages, none of them", { flags: DataNone | Trigger, count: 0 }],
  ])("what is off cannot be %s", (_what, changes) => {
    expect(codeOf(() => openNic(makeMachine()).device.setIrqs(request(changes)))).toBe("EINVAL");
  });
  // vfio_pci_set_ctx_trigger_single.
  test.each<[string, Partial<IrqSet>, string | undefined]>([
    ["without anybody who listens, triggered", { flags: DataNone | Trigger }, "EINVAL"],
    ["without anybody who listens, switched off", { flags: DataNone | Trigger, count: 0 }, "EINVAL"],
    ["without anybody who listens, triggered by value", { flags: DataBool | Trigger, values: [true] }, undefined],
    ["triggered by no value", { flags: DataBool | Trigger, count: 0 }, "EINVAL"],
    ["pointed at no target", { count: 0 }, "EINVAL"],
    ["pointed at nobody", { targets: [undefined] }, undefined],
    ["masked", { flags: DataNone | Mask }, "ENOTTY"],
  ])("errors and requests, %s", (_what, changes, code) => {
    const { device } = openNic(makeMachine());
    expect([ERROR, Request].map((index) => codeOf(() => device.setIrqs(request({ index, ...changes }))))).toEqual([code, code]);
  });
  test("a function without PCI Express tells of no errors", () => {
    const { device } = openNic(makeMachine({ nic: unexpress }));
    expect([() => device.setIrqs(request({ index: ERROR, flags: DataNone | Mask, count: 0 })), () => device.irqInfo(ERROR), () => device.irqInfo(Request)].map(codeOf)).toEqual(["EINVAL", "EINVAL", undefined]);
  });
  test("one kind at a time", () => {
    const { device } = openNic(makeMachine());
    device.setIrqs(request({}));
    expect([Msi, Intx].map((index) => codeOf(() => device.setIrqs(request({ index }))))).toEqual(["EINVAL", "EINVAL"]);
    device.setIrqs(request({ flags: DataNone | Trigger, count: 0 }));
    expect(codeOf(() => device.setIrqs(request({ index: Intx })))).toBeUndefined();
    expect(codeOf(() => device.setIrqs(request({ index: Msix })))).toBe("EINVAL");
  });
  // vfio_msi_enable, __pci_enable_msix_range.
  test("no vectors cannot be switched on, and of those that are on none may be pointed anew", () => {
    const { device } = openNic(makeMachine());
    const none = (index: number): string | undefined => codeOf(() => device.setIrqs(request({ index, count: 0, targets: [] })));
    expect([none(Msi), none(Msix), device.interrupts.active]).toEqual(["ERANGE", "ERANGE", undefined]);
    device.setIrqs(request({}));
    expect([none(Msix), device.interrupts.active]).toEqual([undefined, Msix]);
  });
  test("MSI has the vectors that it was switched on with: more are told before, and refused after", () => {
    const machine = makeMachine();
    const { device } = openNic(machine);
    // Multiple Message Capable: 4.
    const at = machine.nic.config.capability(5);
    machine.nic.config.bytes[at + 2] = (machine.nic.config.bytes[at + 2] ?? 0) | 4;
    const two = { index: Msi, count: 2, targets: [() => undefined, () => undefined] };
    expect([device.irqInfo(Msi).count, device.setIrqs(request(two)), device.interrupts.active]).toEqual([4, 1, undefined]);
    device.setIrqs(request({ index: Msi }));
    expect([codeOf(() => device.setIrqs(request(two))), codeOf(() => device.setIrqs(request({ index: Msi, start: 1, targets: [undefined] }))), machine.vectors.used]).toEqual(["EINVAL", undefined, 0]);
  });
  test("without vectors left nothing is switched on", () => {
    const machine = makeMachine({ vectors: { allocate: () => undefined } });
    const { device } = openNic(machine);
    expect([codeOf(() => device.setIrqs(request({}))), device.interrupts.active, machine.nic.msix?.enabled]).toEqual(["ENOSPC", undefined, false]);
  });
  // vfio_msi_set_block.
  test("where vectors run out, those up to the one that failed are off, and those after it keep their targets", () => {
    let left = 3;
    const vectors = new HostVectorTable();
    const machine = makeMachine({ vectors: { allocate: (handler) => (left-- > 0 ? vectors.allocate(handler) : undefined) } });
    const { device } = openNic(machine);
    device.setIrqs(request({ count: 4, targets: [() => undefined, () => undefined, undefined, () => undefined] }));
    expect([vectors.used, codeOf(() => device.setIrqs(request({ start: 1, count: 3, targets: [() => undefined, () => undefined, () => undefined] }))), vectors.used]).toEqual([3, "ENOSPC", 2]);
    expect([0, 1, 2, 3].map((vector) => device.interrupts.entryOf(vector) !== undefined)).toEqual([true, false, false, true]);
  });
});

// Linux drivers/vfio/pci/vfio_pci_core.c, vfio_pci_ioctl_get_irq_info.
test("VFIO_DEVICE_GET_IRQ_INFO knows five indices", () => {
  const { device } = openNic(makeMachine());
  expect([-1, 0, 4, 5].map((index) => codeOf(() => device.irqInfo(index)))).toEqual(["EINVAL", undefined, undefined, "EINVAL"]);
});
