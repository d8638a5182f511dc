import { powerManagement } from "@iommu-lab/pci-bus/capabilities";
import { describe, expect, test } from "vitest";
import { IrqIndex, IrqInfoFlag, IrqSetFlag, RegionFlag, RegionIndex } from "../src/index.ts";
import { codeOf, makeMachine, makeProcess, nicDescription, openNic, type TestMachine } from "./machine.ts";

const { DataNone, DataBool, DataEventfd, Mask, Unmask, Trigger } = IrqSetFlag;
const READ_WRITE = RegionFlag.Read | RegionFlag.Write;

/** Graphics and sound, two groups' worth of functions in one, opened. */
const openGraphics = (machine: TestMachine = makeMachine()) => {
  for (const each of [machine.graphics, machine.sound]) machine.drivers.detach(machine.address(each));
  const container = machine.kernel.openContainer(makeProcess().process);
  const group = machine.kernel.openGroup(machine.idOf(machine.graphics));
  group.setContainer(container);
  container.setIommu(3);
  const [graphics, sound] = [machine.graphics, machine.sound].map((each) => group.getDevice(machine.name(each)));
  if (!graphics || !sound) throw new Error("not open");
  return { machine, group, container, graphics, sound };
};

describe("regions", () => {
  test.each([
    [0, 0x1_0000, READ_WRITE | RegionFlag.Mmap, [{ offset: 0, size: 0x1_0000 }]],
    [1, 0, 0, []],
    [2, 32, READ_WRITE, []],
    [3, 0x4000, READ_WRITE | RegionFlag.Mmap | RegionFlag.Capabilities, [{ offset: 0, size: 0x1000 }, { offset: 0x2000, size: 0x2000 }]],
    [4, 0, 0, []],
    [6, 0x1000, RegionFlag.Read, []],
    [7, 0x1000, READ_WRITE, []],
  ])("region %d has %d bytes and flags %d; the page of the MSI-X table is not mappable", (index, size, flags, areas) => {
    expect(openNic(makeMachine()).device.regionInfo(index)).toEqual({ index, size, flags, areas });
  });
  test("a display controller has the VGA ranges, and nothing between them", () => {
    const { graphics } = openGraphics();
    expect(graphics.regionInfo(8)).toEqual({ index: 8, size: 0xc_0000, flags: READ_WRITE, areas: [] });
    expect([0xa_0000, 0x3c0, 0x3b0].map((at) => codeOf(() => graphics.readRegion(8, at, new Uint8Array(4))))).toEqual([undefined, undefined, undefined]);
    expect([0, 0x3bc, 0x3be, 0x9_fffe].map((at) => codeOf(() => graphics.writeRegion(8, at, new Uint8Array(4))))).toEqual(["EINVAL", "EINVAL", "EINVAL", "EINVAL"]);
  });
  test("ports are reached like memory, while they are on", () => {
    const machine = makeMachine();
    const { device } = openNic(machine);
    device.writeRegion(RegionIndex.Config, 4, Uint8Array.of(1, 0));
    device.writeRegion(2, 4, Uint8Array.of(1, 2, 3));
    const bytes = new Uint8Array(3);
    device.readRegion(2, 4, bytes);
    expect([machine.nic.bars[2]?.read(4, 4), [...bytes], codeOf(() => device.readRegion(0, 0, bytes))]).toEqual([0x0003_0201, [1, 2, 3], "EIO"]);
  });
  test("an access that runs into the MSI-X table is cut at its border", () => {
    const machine = makeMachine();
    const { device } = openNic(machine);
    device.writeRegion(RegionIndex.Config, 4, Uint8Array.of(2, 0));
    device.writeRegion(3, 0xffe, Uint8Array.of(1, 2, 3, 4));
    const bytes = new Uint8Array(4);
    device.readRegion(3, 0xffe, bytes);
    expect([[...bytes], machine.nic.msix?.table.read(0, 4)]).toEqual([[1, 2, 0xff, 0xff], 0]);
  });
});

describe("interrupts", () => {
  test.each([
    [IrqIndex.Intx, 1, IrqInfoFlag.Eventfd | IrqInfoFlag.Maskable | IrqInfoFlag.Automasked],
    [IrqIndex.Msi, 1, IrqInfoFlag.Eventfd | IrqInfoFlag.NoResize],
    [IrqIndex.Msix, 4, IrqInfoFlag.Eventfd],
    [IrqIndex.Error, 1, IrqInfoFlag.Eventfd | IrqInfoFlag.NoResize],
    [IrqIndex.Request, 1, IrqInfoFlag.Eventfd | IrqInfoFlag.NoResize],
  ])("index %d has %d vectors and flags %d", (index, count, flags) => {
    expect(openNic(makeMachine()).device.irqInfo(index)).toEqual({ index, count, flags });
  });
  const withIntx = () => {
    const machine = makeMachine();
    const { device } = openNic(machine);
    const seen: number[] = [];
    device.setIrqs({ flags: DataEventfd | Trigger, index: IrqIndex.Intx, start: 0, count: 1, targets: [() => seen.push(1)] });
    const set = (flags: number, values?: readonly boolean[]): number => device.setIrqs({ flags, index: IrqIndex.Intx, start: 0, count: 1, ...(values ? { values } : {}) });
    const disabled = (): boolean => (machine.nic.config.read(4, 2) & 0x400) !== 0;
    return { machine, device, seen, set, disabled };
  };
  test("INTx masks itself; unmasked while still asserted it comes again, else it waits", () => {
    const { machine, seen, set, disabled } = withIntx();
    machine.nic.raise();
    expect([seen.length, disabled()]).toEqual([1, true]);
    set(DataNone | Unmask);
    expect([seen.length, disabled()]).toEqual([2, true]);
    machine.nic.lower();
    set(DataNone | Unmask);
    expect([seen.length, disabled()]).toEqual([2, false]);
    machine.nic.raise();
    expect(seen.length).toBe(3);
  });
  test("a masked INTx says nothing until it is unmasked", () => {
    const { machine, seen, set } = withIntx();
    set(DataNone | Mask);
    machine.nic.raise();
    expect(seen.length).toBe(0);
    set(DataBool | Unmask, [false]);
    expect(seen.length).toBe(0);
    set(DataBool | Unmask, [true]);
    expect(seen.length).toBe(1);
  });
  test("a resampler unmasks INTx from the other side", () => {
    const { machine, device, seen } = withIntx();
    let resample = (): void => undefined;
    device.setIrqs({ flags: DataEventfd | Unmask, index: IrqIndex.Intx, start: 0, count: 1, unmasker: (unmask) => { resample = unmask; } });
    machine.nic.raise();
    resample();
    expect(seen.length).toBe(2);
    device.setIrqs({ flags: DataNone | Trigger, index: IrqIndex.Intx, start: 0, count: 0 });
    resample();
    expect(seen.length).toBe(2);
  });
  test("the user's Interrupt Disable masks, and clearing it lets through", () => {
    const { machine, device, seen } = withIntx();
    device.writeRegion(RegionIndex.Config, 4, Uint8Array.of(0, 4));
    machine.nic.raise();
    expect(seen.length).toBe(0);
    device.writeRegion(RegionIndex.Config, 4, Uint8Array.of(0, 0));
    expect(seen.length).toBe(1);
  });
  test("INTx that is switched off leaves the pin disabled", () => {
    const { machine, device, seen, disabled } = withIntx();
    device.setIrqs({ flags: DataNone | Trigger, index: IrqIndex.Intx, start: 0, count: 0 });
    machine.nic.raise();
    expect([seen.length, disabled(), device.interrupts.active]).toEqual([0, true, undefined]);
  });
  test("one function's interrupt does not signal another's", () => {
    const machine = makeMachine();
    const { graphics, sound } = openGraphics(machine);
    const seen: string[] = [];
    graphics.setIrqs({ flags: DataEventfd | Trigger, index: IrqIndex.Intx, start: 0, count: 1, targets: [() => seen.push("graphics")] });
    sound.setIrqs({ flags: DataEventfd | Trigger, index: IrqIndex.Intx, start: 0, count: 1, targets: [() => seen.push("sound")] });
    machine.sound.raise();
    expect(seen).toEqual(["sound"]);
  });
  test("software raises any of them: loopback", () => {
    const { device } = openNic(makeMachine());
    const seen: number[] = [];
    device.setIrqs({ flags: DataEventfd | Trigger, index: IrqIndex.Msix, start: 1, count: 2, targets: [() => seen.push(1), () => seen.push(2)] });
    device.setIrqs({ flags: DataNone | Trigger, index: IrqIndex.Msix, start: 0, count: 3 });
    device.setIrqs({ flags: DataBool | Trigger, index: IrqIndex.Msix, start: 0, count: 3, values: [true, false, true] });
    expect(seen).toEqual([1, 2, 2]);
  });
  test("a vector changes its target without being programmed anew, and one taken away is masked in the device", () => {
    const machine = makeMachine();
    const { device } = openNic(machine);
    device.writeRegion(RegionIndex.Config, 4, Uint8Array.of(6, 0));
    const seen: string[] = [];
    const point = (target: (() => void) | undefined): void => { device.setIrqs({ flags: DataEventfd | Trigger, index: IrqIndex.Msix, start: 0, count: 1, targets: [target] }); };
    point(() => seen.push("first"));
    point(() => seen.push("second"));
    machine.nic.raise(0);
    point(undefined);
    machine.nic.raise(0);
    expect([seen, machine.nic.msix?.isPending(0), machine.vectors.used, machine.iommu.entries.size]).toEqual([["second"], true, 0, 0]);
  });
  test("MSI gives one vector; more are told, and nothing is on", () => {
    const machine = makeMachine({ nic: nicDescription() });
    const { device } = openNic(machine);
    device.writeRegion(RegionIndex.Config, 4, Uint8Array.of(6, 0));
    let seen = 0;
    expect(device.setIrqs({ flags: DataEventfd | Trigger, index: IrqIndex.Msi, start: 0, count: 1, targets: [() => seen++] })).toBe(0);
    machine.nic.raise(0);
    expect([seen, machine.nic.config.read(4, 2) & 0x400]).toEqual([1, 0x400]);
    device.setIrqs({ flags: DataNone | Trigger, index: IrqIndex.Msi, start: 0, count: 0 });
    expect([device.interrupts.active, machine.vectors.used]).toEqual([undefined, 0]);
  });
  test("a hypervisor gets at the remapping entry of a vector and points it past the target", () => {
    const machine = makeMachine();
    const { device } = openNic(machine);
    device.writeRegion(RegionIndex.Config, 4, Uint8Array.of(6, 0));
    expect(device.interrupts.entryOf(0)).toBeUndefined();
    let seen = 0;
    device.setIrqs({ flags: DataEventfd | Trigger, index: IrqIndex.Msix, start: 0, count: 1, targets: [() => seen++] });
    expect(device.interrupts.entryOf(1)).toBeUndefined();
    device.interrupts.entryOf(0)?.retarget({ vector: 0x20, deliveryMode: 0, destination: 5, destinationMode: "physical", trigger: "edge", redirectionHint: false });
    machine.nic.raise(0);
    expect([seen, machine.vectors.spurious]).toEqual([0, 1]);
  });
  test("errors and requests to give back have one target each", () => {
    const { device } = openNic(makeMachine());
    const seen: string[] = [];
    expect(device.interrupts.signal(IrqIndex.Request)).toBe(false);
    device.setIrqs({ flags: DataEventfd | Trigger, index: IrqIndex.Request, start: 0, count: 1, targets: [() => seen.push("request")] });
    device.setIrqs({ flags: DataEventfd | Trigger, index: IrqIndex.Error, start: 0, count: 1, targets: [() => seen.push("error")] });
    device.setIrqs({ flags: DataNone | Trigger, index: IrqIndex.Error, start: 0, count: 1 });
    expect([device.interrupts.signal(IrqIndex.Request), seen]).toEqual([true, ["error", "request"]]);
    device.setIrqs({ flags: DataNone | Trigger, index: IrqIndex.Error, start: 0, count: 0 });
    device.setIrqs({ flags: DataEventfd | Trigger, index: IrqIndex.Request, start: 0, count: 1, targets: [undefined] });
    expect([IrqIndex.Error, IrqIndex.Request].map((index) => device.interrupts.signal(index))).toEqual([false, false]);
  });
});

describe("resets", () => {
  test.each([
    [{}, nicDescription(), ["flr", "pm", "bus"]],
    [{ noFlr: true }, nicDescription(), ["pm", "bus"]],
    [{ reset: () => undefined }, nicDescription(), ["device_specific", "flr", "pm", "bus"]],
    [{ noBusReset: true }, nicDescription({}, [], 0), ["pm"]],
    [{ noBusReset: true }, nicDescription({ capabilities: [powerManagement({ PMCSR: { NoSoftReset: 1 } })] }), []],
  ])("with quirks %o the methods are those that the function has", (quirks, nic, methods) => {
    const { device } = openNic(makeMachine({ nic, quirks: () => quirks }));
    expect([device.resetMethods, device.info().reset, codeOf(() => { device.reset(); })]).toEqual([methods, methods.length > 0, methods.length > 0 ? undefined : "EINVAL"]);
  });
  test.each([
    ["flr", {}, nicDescription(), "function"],
    ["pm", {}, nicDescription({}, [], 0), "function"],
    ["bus", { noFlr: true }, nicDescription({ capabilities: [] }), "bus"],
  ] as const)("%s resets the function and keeps what the host put there", (method, quirks, nic, kind) => {
    const kinds: string[] = [];
    const machine = makeMachine({ nic, quirks: () => quirks, nicOptions: { reset: (each) => kinds.push(each) } });
    const { device } = openNic(machine);
    device.writeRegion(RegionIndex.Config, 4, Uint8Array.of(6, 0));
    const bar = machine.nic.config.read(0x10, 4);
    kinds.length = 0;
    device.reset();
    expect([device.resetMethods[0], kinds, machine.nic.config.read(0x10, 4), machine.nic.config.read(4, 2) & 6]).toEqual([method, [kind], bar, 6]);
  });
  test("interrupts stay programmed over a reset", () => {
    const machine = makeMachine();
    const { device } = openNic(machine);
    let seen = 0;
    device.writeRegion(RegionIndex.Config, 4, Uint8Array.of(6, 0));
    device.setIrqs({ flags: DataEventfd | Trigger, index: IrqIndex.Msix, start: 1, count: 1, targets: [() => seen++] });
    device.reset();
    machine.nic.raise(1);
    expect(seen).toBe(1);
  });
  test("a bus with two functions is reset only by whoever owns both, and both keep their configuration", () => {
    const { machine, graphics, sound, group } = openGraphics();
    expect(graphics.resetMethods).toEqual(["pm"]);
    const info = graphics.hotResetInfo();
    expect(info).toEqual([machine.graphics, machine.sound].map((each) => ({ address: machine.address(each), group: group.id })));
    const nic = openNic(machine);
    expect([[], [nic.group], [group, group, group]].map((groups) => codeOf(() => { graphics.hotReset(groups); }))).toEqual(["EINVAL", "EINVAL", "EINVAL"]);
    sound.writeRegion(RegionIndex.Config, 4, Uint8Array.of(6, 0));
    const bar = machine.sound.config.read(0x10, 4);
    graphics.hotReset([group]);
    expect([machine.sound.config.read(0x10, 4), machine.sound.config.read(4, 2) & 6]).toEqual([bar, 6]);
  });
  test("a sibling that no VFIO driver has keeps the bus from being reset", () => {
    const machine = makeMachine();
    machine.drivers.detach(machine.address(machine.graphics));
    machine.drivers.detach(machine.address(machine.sound), "pci-stub");
    const container = machine.kernel.openContainer(makeProcess().process);
    const group = machine.kernel.openGroup(machine.idOf(machine.graphics));
    group.setContainer(container);
    container.setIommu(3);
    const device = group.getDevice(machine.name(machine.graphics));
    expect(() => { device.hotReset([group]); }).toThrow(/0000:02:00.1 would be reset too, and is bound to no VFIO driver/);
  });
});
