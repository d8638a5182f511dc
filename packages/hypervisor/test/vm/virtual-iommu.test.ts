import { PAGE_SIZE } from "@iommu-lab/memory";
import { Access, type UpstreamPort } from "@iommu-lab/pci-bus";
import { Endpoint } from "@iommu-lab/pci-bus/model";
import { parseMachine } from "@iommu-lab/pci-bus/machine";
import { describe, expect, test } from "vitest";
import { Machine } from "../../src/machine/index.ts";
import { createVms, VirtualMachine } from "../../src/vm/index.ts";
import { twoDevices } from "../machine/two-devices.ts";

const PLAIN = { vendor: 0x1af4, device: 0x10ff, classCode: 0xff_0000, header: 0 } as const;
const MEMORY = 2 ** 24;
/** The guest's kernel keeps its tables in its upper half. */
const TABLES = MEMORY / 2 / PAGE_SIZE;

describe.each(["intel", "amd"] as const)("a guest with an IOMMU of its own (%s)", (vendor) => {
  const guest = (): { readonly vm: VirtualMachine; readonly port: UpstreamPort; readonly device: Endpoint } => {
    const device = new Endpoint(PLAIN);
    const vm = new VirtualMachine(new Machine(twoDevices(vendor)), { name: "guest", memory: MEMORY, iommu: { vendor, cachingMode: true }, devices: [{ devfn: 0x20, fn: device }] });
    vm.boot();
    return { vm, port: device.port, device };
  };

  test("its tables lead the guest's devices to guest-physical memory, wherever that is on the host", () => {
    const { vm, port } = guest();
    const driver = vm.iommu?.driver(vm.iommu.iommu.registers, TABLES, TABLES - 1);
    driver?.start();
    const domain = driver?.createDomain({ kind: "paging" });
    if (!driver || !domain) throw new Error("no driver");
    driver.attach(0x20, domain);
    domain.map(0x4000_0000, 0x5000, PAGE_SIZE, Access.Read | Access.Write);
    port.dmaWrite(0x4000_0123, Uint8Array.of(7));
    expect(vm.memory.read8(0x5123)).toBe(7);
    expect(vm.machine.memory.read8(vm.memory.hpaOf(0x5123))).toBe(7);
  });

  test("what the guest did not map is refused and reported to the guest, not to the host", () => {
    const { vm, port } = guest();
    const faults: bigint[] = [];
    const driver = vm.iommu?.driver(vm.iommu.iommu.registers, TABLES, TABLES - 1);
    driver?.start({ fault: ({ address }) => faults.push(address) });
    const domain = driver?.createDomain({ kind: "paging" });
    if (domain) driver?.attach(0x20, domain);
    port.dmaWrite(0x7000, Uint8Array.of(7));
    driver?.service();
    vm.machine.advance(0);
    expect([vm.memory.read8(0x7000), faults, vm.machine.kernel.faults]).toEqual([0, [0x7000n], []]);
  });

  test("its registers are where the guest's firmware says, and each access is an exit", () => {
    const { vm } = guest();
    const before = vm.exits.of("mmio");
    const [vcpu] = vm.vcpus;
    const first = vcpu?.load(vm.iommu?.base ?? 0, 4);
    const view = new DataView(new ArrayBuffer(4));
    view.setUint32(0, vm.iommu?.iommu.registers.read(0, 4) ?? 0, true);
    expect([first, vm.exits.of("mmio") - before]).toEqual([view.getUint32(0, true), 1]);
  });
});

describe("VMs of a description", () => {
  const machineWith = (vms: object): Machine => new Machine(parseMachine({ ...JSON.parse(JSON.stringify(twoDevices("intel"))) as object, vms }));

  test("memory, processors, emulated devices and functions of the host come as described", () => {
    const machine = machineWith([{ name: "a", memory: 2 ** 21, processors: 2, devices: [{ emulated: "edu" }, { host: "0000:01:00.0" }] }, { name: "b", memory: 2 ** 21, iommu: "intel" }]);
    const [a, b] = createVms(machine);
    expect([a?.vm.vcpus.length, a?.places, a?.passthrough?.functions.size]).toEqual([2, [0x20, 0x28], 1]);
    expect([a?.vm.complex.configRead({ domain: 0, requester: 0x20 }, 0, 4), a?.vm.complex.configRead({ domain: 0, requester: 0x28 }, 0, 4)]).toEqual([0x11e8_1234, 0x1572_8086]);
    expect([b?.vm.iommu?.unit.vendor, b?.passthrough]).toEqual(["intel", undefined]);
  });

  test("a function of the host is refused to a guest with an IOMMU of its own", () => {
    const machine = machineWith([{ name: "a", memory: 2 ** 21, iommu: "intel", devices: [{ host: "0000:01:00.0" }] }]);
    expect(() => createVms(machine)).toThrow("a has an IOMMU of its own, past which 0000:01:00.0 would go");
  });

  test("a function that another VM has is refused", () => {
    const machine = machineWith([{ name: "a", memory: 2 ** 21, devices: [{ host: "0000:08:01.0" }] }, { name: "b", memory: 2 ** 21, devices: [{ host: "0000:08:02.0" }] }]);
    expect(() => createVms(machine)).toThrow(/open already/);
  });
});
