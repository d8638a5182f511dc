import { Completion } from "@iommu-lab/pci-bus";
import { addressTranslationServices, msi, pciExpress, PcieType, vendorSpecificExtended } from "@iommu-lab/pci-bus/capabilities";
import { describe, expect, test } from "vitest";
import { IrqIndex, IrqSetFlag, RegionIndex, VfioExtension } from "../src/index.ts";
import { codeOf, makeMachine, makeProcess, nicDescription, openNic } from "./machine.ts";

const { DataNone, DataBool, DataEventfd, Trigger } = IrqSetFlag;
const word = Uint8Array.of(1, 2, 3, 4);

describe("a group between the kernel and a user", () => {
  test("from the kernel's domain it is blocked at once, gets the container's, and goes back at the end", () => {
    const machine = makeMachine();
    const kernelDomain = machine.iommu.createDomain({ kind: "identity" });
    const nic = machine.address(machine.nic);
    machine.complex.configWrite(nic, 4, 2, 6);
    machine.iommu.attach(nic.requester, kernelDomain);
    expect(machine.nic.write(0x1000, word)).toBe(Completion.Successful);
    machine.drivers.detach(nic);
    const group = machine.kernel.openGroup(machine.idOf(machine.nic));
    const container = machine.kernel.openContainer(makeProcess().process);
    group.setContainer(container);
    expect(machine.nic.write(0x1000, word)).toBe(Completion.UnsupportedRequest);
    container.setIommu(3);
    expect(machine.iommu.attached.get(nic.requester)?.kind).toBe("paging");
    group.close();
    expect(machine.iommu.attached.has(nic.requester)).toBe(false);
  });
  test("with a kernel domain given, functions return to it", () => {
    const domains: unknown[] = [];
    const machine = makeMachine({ kernelDomain: () => domains[0] as never });
    domains.push(machine.iommu.createDomain({ kind: "identity" }));
    const { device, group } = openNic(machine);
    device.close();
    group.close();
    expect(machine.iommu.attached.get(machine.nic.port.requester)).toBe(domains[0]);
  });
});

describe("containers", () => {
  test("extensions are known by number; coherency and new virtual addresses only with an IOMMU, the latter only while nobody pins", () => {
    const machine = makeMachine();
    const empty = machine.kernel.openContainer(makeProcess().process);
    const known = (container: typeof empty): number[] => Object.values(VfioExtension).filter((each) => container.checkExtension(each));
    for (const each of [machine.graphics, machine.sound]) machine.drivers.detach(machine.address(each));
    const grouped = machine.kernel.openContainer(makeProcess().process);
    machine.kernel.openGroup(machine.idOf(machine.graphics)).setContainer(grouped);
    const { container } = openNic(machine);
    expect([empty.getApiVersion(), known(empty), known(grouped), known(container)]).toEqual([0, [1, 3, 9], [1, 3, 9], [1, 3, 4, 9, 10]]);
    container.iommu?.pins.onUnmap(() => undefined);
    expect(known(container)).toEqual([1, 3, 4, 9]);
  });
  test("a closed container takes no group", () => {
    const machine = makeMachine();
    machine.drivers.detach(machine.address(machine.nic));
    const container = machine.kernel.openContainer(makeProcess().process);
    container.close();
    const group = machine.kernel.openGroup(machine.idOf(machine.nic));
    expect(() => { group.setContainer(container); }).toThrow(TypeError);
    expect(machine.kernel.ownership.ownerOf(group.id)).toBeUndefined();
  });
  test("what it tells of itself: page sizes, ranges without the message window, entries, bitmaps", () => {
    const { container } = openNic(makeMachine());
    expect(container.info()).toEqual({
      pageSizes: 0x20_1000,
      iovaRanges: [{ start: 0n, end: 0xfedf_ffffn }, { start: 0xfef0_0000n, end: 0xffff_ffff_ffffn }],
      available: 65_535,
      dirtyPageSizes: 4096,
      maxDirtyBitmap: 2 ** 28,
    });
  });
});

describe("what a reset must not lose", () => {
  test("control registers of PCI Express and ATS are put back", () => {
    const machine = makeMachine({ nic: nicDescription({}, [addressTranslationServices()]) });
    const { device } = openNic(machine);
    const express = machine.nic.config.capability(0x10);
    const ats = machine.nic.config.extendedCapability(0x0f);
    const nic = machine.address(machine.nic);
    machine.complex.configWrite(nic, express + 8, 2, 0x5000 | 0xf);
    machine.complex.configWrite(nic, express + 0x10, 2, 0x40);
    machine.complex.configWrite(nic, ats + 6, 2, 0x8003);
    const registers = (): number[] => [express + 8, express + 0x10, ats + 6].map((at) => machine.nic.config.read(at, 2));
    const before = registers();
    expect(before[2]).toBe(0x8003);
    device.reset();
    expect(registers()).toEqual(before);
  });
  test("message interrupts of a 32-bit MSI capability, too", () => {
    const machine = makeMachine({ nic: nicDescription({ capabilities: [msi({ address64: false }), pciExpress({ type: PcieType.Endpoint, deviceCapabilities: { FunctionLevelResetCapability: 1 } })] }) });
    const { device } = openNic(machine);
    device.writeRegion(RegionIndex.Config, 4, Uint8Array.of(6, 0));
    let seen = 0;
    device.setIrqs({ flags: DataEventfd | Trigger, index: IrqIndex.Msi, start: 0, count: 1, targets: [() => seen++] });
    machine.nic.raise(0);
    device.reset();
    machine.nic.raise(0);
    const at = machine.nic.config.capability(5);
    expect([seen, machine.nic.config.read(at + 8, 2), machine.iommu.faults]).toEqual([2, 0, 0]);
    device.setIrqs({ flags: DataNone | Trigger, index: IrqIndex.Msi, start: 0, count: 0 });
    expect(machine.nic.config.read(at + 2, 2) & 1).toBe(0);
  });
});

describe("a user's view of capabilities", () => {
  test("an MSI that the host has on follows the user's enable bit, never his address", () => {
    const machine = makeMachine();
    const { device } = openNic(machine);
    device.setIrqs({ flags: DataEventfd | Trigger, index: IrqIndex.Msi, start: 0, count: 1, targets: [() => undefined] });
    const at = machine.nic.config.capability(5);
    const message = machine.nic.config.read(at + 4, 4);
    const enabled: number[] = [];
    for (const on of [1, 0, 1]) {
      device.writeRegion(RegionIndex.Config, at + 2, Uint8Array.of(on | 0x70));
      enabled.push(machine.nic.config.read(at + 2, 1) & 1);
    }
    const bytes = new Uint8Array(1);
    device.readRegion(RegionIndex.Config, at + 2, bytes);
    expect([enabled, machine.nic.config.read(at + 4, 4), (bytes[0] ?? 0) & 0x71]).toEqual([[1, 0, 1], message, 1]);
  });
  test("a vendor's own extended capability is let through up to its length", () => {
    const machine = makeMachine({ nic: nicDescription({}, [{ ...vendorSpecificExtended({ id: 7, contents: Uint8Array.of(0, 0, 0, 0) }), writable: new Uint8Array(12).fill(0xff, 8) }]) });
    const { device } = openNic(machine);
    const at = machine.nic.config.extendedCapability(0x0b);
    device.writeRegion(RegionIndex.Config, at, new Uint8Array(12).fill(0xff));
    const bytes = new Uint8Array(12);
    device.readRegion(RegionIndex.Config, at, bytes);
    expect([machine.nic.config.read(at + 8, 4), bytes[0], [...bytes.subarray(8)]]).toEqual([0xffff_ffff, 0x0b, [0xff, 0xff, 0xff, 0xff]]);
  });
  test("INTx is one interrupt, however many are given", () => {
    const { device } = openNic(makeMachine());
    expect([0, 1].map((count) => codeOf(() => device.setIrqs({ flags: DataEventfd | Trigger, index: IrqIndex.Intx, start: 0, count, targets: [() => undefined] })))).toEqual(["EINVAL", undefined]);
    expect(codeOf(() => device.setIrqs({ flags: DataBool | Trigger, index: IrqIndex.Intx, start: 0, count: 1, values: [false] }))).toBeUndefined();
  });
});
