import { describe, expect, test } from "vitest";
import { PciDrivers, VFIO_PCI, type PciDriver, type PciIdentity } from "../src/index.ts";
import { codeOf, E1000E, makeMachine, SOUND } from "./machine.ts";

const at = (device: number): PciIdentity["address"] => ({ domain: 0, requester: 0x100 | (device << 3) });
const identity = (device: number, changes: Partial<PciIdentity> = {}): PciIdentity => ({ address: at(device), vendor: 0x8086, device: 0x10d3, subsystemVendor: 0x8086, subsystemDevice: 0, classCode: 0x02_0000, bridge: false, ...changes });
const make = (...functions: readonly PciIdentity[]): PciDrivers => {
  const drivers = new PciDrivers(functions);
  for (const driver of [VFIO_PCI, E1000E, SOUND]) drivers.register(driver);
  return drivers;
};
const nameAt = (drivers: PciDrivers, device: number): string | undefined => drivers.driverOf(at(device))?.name;

describe("PCI drivers as sysfs shows them", () => {
  test("a driver takes what its table has, when it is loaded or the function appears", () => {
    const drivers = make(identity(0), identity(1, { device: 1, classCode: 0x04_0300 }), identity(2, { device: 2 }));
    drivers.add(identity(3));
    expect([0, 1, 2, 3].map((device) => nameAt(drivers, device))).toEqual(["e1000e", "snd_hda_intel", undefined, "e1000e"]);
  });
  test("vfio-pci takes nothing by itself", () => {
    expect(nameAt(make(identity(2, { device: 2 })), 2)).toBeUndefined();
  });
  test("bind wants a match and a free function, unbind the right driver", () => {
    const drivers = make(identity(0));
    expect([() => { drivers.bind("vfio-pci", at(0)); }, () => { drivers.bind("e1000e", at(0)); }, () => { drivers.unbind("vfio-pci", at(0)); }, () => { drivers.bind("nouveau", at(0)); }, () => { drivers.bind("e1000e", at(9)); }].map(codeOf)).toEqual(["ENODEV", "EBUSY", "ENODEV", "ENOENT", "ENODEV"]);
    drivers.unbind("e1000e", at(0));
    expect(nameAt(drivers, 0)).toBeUndefined();
    drivers.bind("e1000e", at(0));
    expect(nameAt(drivers, 0)).toBe("e1000e");
  });
  test("new_id takes every free function of the ID, and what is bound stays bound", () => {
    const drivers = make(identity(0), identity(1));
    drivers.unbind("e1000e", at(0));
    drivers.newId("vfio-pci", { vendor: 0x8086, device: 0x10d3 });
    expect([nameAt(drivers, 0), nameAt(drivers, 1)]).toEqual(["vfio-pci", "e1000e"]);
    expect([() => { drivers.newId("vfio-pci", { vendor: 0x8086, device: 0x10d3 }); }, () => { drivers.newId("e1000e", { vendor: 0x8086, device: 0x10d3 }); }, () => { drivers.newId("vfio-pci", { vendor: 1 }); }].map(codeOf)).toEqual(["EEXIST", "EEXIST", "EINVAL"]);
  });
  test("remove_id knows what new_id added, and unbinds nothing", () => {
    const drivers = make(identity(0));
    drivers.unbind("e1000e", at(0));
    const id = { vendor: 0x8086, device: 0x10d3 };
    drivers.newId("vfio-pci", id);
    drivers.removeId("vfio-pci", id);
    expect([nameAt(drivers, 0), codeOf(() => { drivers.removeId("vfio-pci", id); }), codeOf(() => { drivers.removeId("e1000e", id); }), codeOf(() => { drivers.removeId("vfio-pci", {}); })]).toEqual(["vfio-pci", "ENODEV", "ENODEV", "EINVAL"]);
    drivers.unbind("vfio-pci", at(0));
    drivers.driversProbe(at(0));
    expect(nameAt(drivers, 0)).toBe("e1000e");
  });
  test("driver_override lets one driver only, whatever its table says, and acts at the next probe", () => {
    const drivers = make(identity(0));
    drivers.setOverride(at(0), "vfio-pci");
    expect(nameAt(drivers, 0)).toBe("e1000e");
    drivers.unbind("e1000e", at(0));
    expect(codeOf(() => { drivers.bind("e1000e", at(0)); })).toBe("ENODEV");
    drivers.driversProbe(at(0));
    expect([nameAt(drivers, 0), drivers.overrideOf(at(0))]).toEqual(["vfio-pci", "vfio-pci"]);
  });
  test("managed: detach moves a function to vfio-pci, reattach gives it back", () => {
    const drivers = make(identity(0));
    drivers.detach(at(0));
    drivers.detach(at(0));
    expect(nameAt(drivers, 0)).toBe("vfio-pci");
    drivers.reattach(at(0));
    expect([nameAt(drivers, 0), drivers.overrideOf(at(0))]).toEqual(["e1000e", undefined]);
  });
  test("a detach that fails leaves the function with its driver", () => {
    const port: PciDriver = { name: "pcieport", ids: [{ classCode: 0x06_0400 }], managesDma: true };
    const drivers = make(identity(0, { bridge: true, classCode: 0x06_0400, device: 7 }));
    drivers.register(port);
    expect([codeOf(() => { drivers.detach(at(0)); }), nameAt(drivers, 0), drivers.overrideOf(at(0)), codeOf(() => { drivers.detach(at(0), "none"); })]).toEqual(["EINVAL", "pcieport", undefined, "ENOENT"]);
  });
  test("a driver that goes lets its functions go, and is told of each", () => {
    const gone: number[] = [];
    const drivers = new PciDrivers([identity(0), identity(1)]);
    const driver: PciDriver = { ...E1000E, remove: ({ requester }) => { gone.push(requester); } };
    drivers.register(driver);
    expect(codeOf(() => { drivers.register(driver); })).toBe("EBUSY");
    drivers.remove(at(1));
    drivers.unregister("e1000e");
    expect([gone, nameAt(drivers, 0), codeOf(() => drivers.driverOf(at(1)))]).toEqual([[0x108, 0x100], undefined, "ENODEV"]);
  });
  test("subsystem IDs and masked classes narrow a match", () => {
    const drivers = new PciDrivers([identity(0, { subsystemDevice: 5 }), identity(1, { subsystemDevice: 6 }), identity(2, { classCode: 0x0c_0330 })]);
    drivers.register({ name: "narrow", ids: [{ vendor: 0x8086, subsystemDevice: 5, classCode: 0x02_0000 }, { classCode: 0x0c_0300, classMask: 0xff_ff00 }] });
    expect([0, 1, 2].map((device) => nameAt(drivers, device))).toEqual(["narrow", undefined, "narrow"]);
  });
  test("ports below which functions are assigned stay with pcieport, and leave the group viable", () => {
    const machine = makeMachine();
    for (const each of [machine.graphics, machine.sound]) machine.drivers.detach(machine.address(each));
    const { members } = machine.kernel.ownership.group(machine.idOf(machine.graphics));
    expect(members.map((address) => machine.drivers.driverOf(address)?.name)).toEqual(["pcieport", "vfio-pci", "vfio-pci"]);
    expect(machine.kernel.ownership.blockers(machine.idOf(machine.graphics))).toEqual([]);
  });
});
