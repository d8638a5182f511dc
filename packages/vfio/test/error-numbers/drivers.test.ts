import { singleRootIov } from "@iommu-lab/pci-bus/capabilities";
import { describe, expect, test } from "vitest";
import { PciDrivers, VFIO_PCI, type PciDeviceId, type PciDriver, type PciIdentity } from "../../src/index.ts";
import { codeOf, E1000E, makeMachine, nicDescription } from "../machine.ts";

const at = (device: number): PciIdentity["address"] => ({ domain: 0, requester: device << 3 });
const NIC: PciIdentity = { address: at(0), vendor: 0x8086, device: 0x10d3, subsystemVendor: 0x8086, subsystemDevice: 0xa01f, classCode: 0x02_0000, bridge: false };
const MISSING = at(9);
/** A network card without a driver, one with e1000e (device 1), and a bridge (device 2). */
const make = (): PciDrivers => {
  const drivers = new PciDrivers([NIC, { ...NIC, address: at(1) }, { ...NIC, address: at(2), device: 7, classCode: 0x06_0400, bridge: true }]);
  for (const driver of [VFIO_PCI, E1000E]) drivers.register(driver);
  drivers.unbind("e1000e", at(0));
  return drivers;
};
const owned = (drivers: PciDrivers): void => { drivers.guard = (_address, driver) => (driver.managesDma ? undefined : "The group belongs to a user."); };

// Linux drivers/base/bus.c: bind_store, unbind_store; drivers/base/dd.c: __driver_probe_device, really_probe.
describe("bind and unbind", () => {
  test.each<[string, (drivers: PciDrivers) => void, string | undefined]>([
    ["a driver that is not loaded has no files, whatever function is written", (drivers) => { drivers.bind("nouveau", MISSING); }, "ENOENT"],
    ["nor unbinds", (drivers) => { drivers.unbind("nouveau", MISSING); }, "ENOENT"],
    ["a function that is not there", (drivers) => { drivers.bind("e1000e", MISSING); }, "ENODEV"],
    ["nor unbound", (drivers) => { drivers.unbind("e1000e", MISSING); }, "ENODEV"],
    ["no match, before a driver that it has", (drivers) => { drivers.bind("vfio-pci", at(1)); }, "ENODEV"],
    ["a driver that it has, before a user of its group", (drivers) => { owned(drivers); drivers.bind("e1000e", at(1)); }, "EBUSY"],
    ["a user of its group", (drivers) => { owned(drivers); drivers.bind("e1000e", at(0)); }, "EBUSY"],
    ["what the driver says", (drivers) => { drivers.setOverride(at(2), "vfio-pci"); drivers.bind("vfio-pci", at(2)); }, "EINVAL"],
    ["another driver's function", (drivers) => { drivers.unbind("vfio-pci", at(1)); }, "ENODEV"],
    ["no driver's function", (drivers) => { drivers.unbind("e1000e", at(0)); }, "ENODEV"],
    ["a match", (drivers) => { drivers.bind("e1000e", at(0)); }, undefined],
  ])("%s", (_what, act, code) => {
    const drivers = make();
    expect(codeOf(() => { act(drivers); })).toBe(code);
  });
});

// Linux drivers/pci/pci-driver.c: new_id_store, which asks pci_match_device, and remove_id_store.
describe("new_id and remove_id", () => {
  const ID = { vendor: 0x8086, device: 0x10d3 };
  test.each<[string, string, PciDeviceId, string | undefined]>([
    ["a driver that is not loaded, also without numbers", "nouveau", {}, "ENOENT"],
    ["a vendor alone", "e1000e", { vendor: 0x8086 }, "EINVAL"],
    ["an ID of the table", "e1000e", ID, "EEXIST"],
    ["a subsystem of an ID of the table", "e1000e", { ...ID, subsystemVendor: 1 }, "EEXIST"],
    ["an ID of which the table has one subsystem", "narrow", ID, undefined],
    ["that subsystem", "narrow", { ...ID, subsystemVendor: 1 }, "EEXIST"],
    ["another subsystem", "narrow", { ...ID, subsystemVendor: 2 }, undefined],
    ["an ID of a class of which the table has all", "classes", { ...ID, classCode: 0x04_0300 }, "EEXIST"],
    ["an ID without its class", "classes", ID, undefined],
  ])("new_id with %s", (_what, name, id, code) => {
    const drivers = make();
    drivers.register({ name: "narrow", ids: [{ ...ID, subsystemVendor: 1 }] });
    drivers.register({ name: "classes", ids: [{ classCode: 0x04_0300, classMask: 0xff_ff00 }] });
    expect(codeOf(() => { drivers.newId(name, id); })).toBe(code);
  });
  test.each<[string, PciDeviceId, string | undefined]>([
    ["a device alone", { device: 0x10d3 }, "EINVAL"],
    ["another device", { vendor: 0x8086, device: 1 }, "ENODEV"],
    ["another subsystem", { ...ID, subsystemDevice: 6 }, "ENODEV"],
    ["another class", { ...ID, classCode: 0x04_0000 }, "ENODEV"],
    ["another class where the mask has no ones", { ...ID, classCode: 0x02_0080, classMask: 0xff_ff00 }, undefined],
    ["the numbers of the entry", { ...ID, subsystemVendor: 4, subsystemDevice: 5, classCode: 0x02_0000 }, undefined],
    ["no more than the device", ID, undefined],
  ])("remove_id with %s", (_what, id, code) => {
    const drivers = make();
    drivers.newId("vfio-pci", { ...ID, subsystemVendor: 4, subsystemDevice: 5, classCode: 0x02_0000 });
    expect(codeOf(() => { drivers.removeId("vfio-pci", id); })).toBe(code);
  });
  test("remove_id does not know the table", () => {
    expect(codeOf(() => { make().removeId("e1000e", ID); })).toBe("ENODEV");
    expect(codeOf(() => { make().removeId("nouveau", {}); })).toBe("ENOENT");
  });
});

// Linux drivers/base/bus.c: drivers_probe_store; drivers/base/dd.c: __device_attach_driver.
describe("drivers_probe and driver_override", () => {
  test("a function that is not there has no directory, and is not probed", () => {
    const drivers = make();
    expect([() => { drivers.setOverride(MISSING, "vfio-pci"); }, () => { drivers.driversProbe(MISSING); }].map(codeOf)).toEqual(["ENOENT", "ENODEV"]);
  });
  test("a driver that says no is no error, and the next one is tried", () => {
    const drivers = make();
    const picky: PciDriver = { name: "picky", ids: [{ vendor: 0x8086, device: 7 }], probe: () => ({ code: "EIO", text: "it does not answer" }) };
    drivers.register(picky);
    drivers.register({ name: "modest", ids: picky.ids, managesDma: true });
    expect([codeOf(() => { drivers.driversProbe(at(2)); }), drivers.driverOf(at(2))?.name]).toEqual([undefined, "modest"]);
  });
  test("a group that belongs to a user stops the search: EINVAL, though bind says EBUSY", () => {
    const drivers = make();
    owned(drivers);
    expect([codeOf(() => { drivers.driversProbe(at(0)); }), codeOf(() => { drivers.bind("e1000e", at(0)); }), drivers.driverOf(at(0))]).toEqual(["EINVAL", "EBUSY", undefined]);
    expect([codeOf(() => { drivers.driversProbe(at(1)); }), codeOf(() => { drivers.driversProbe(at(2)); })]).toEqual([undefined, undefined]);
  });
});

// Linux drivers/vfio/pci/vfio_pci_core.c: vfio_pci_core_register_device; drivers/vfio/group.c: vfio_group_find_or_alloc.
describe("what vfio-pci takes", () => {
  const bind = (machine: ReturnType<typeof makeMachine>, address: PciIdentity["address"]): string | undefined => codeOf(() => { machine.drivers.detach(address); });
  test("no bridge, whether it has a group or not", () => {
    const machine = makeMachine({ groups: [] });
    expect(bind(machine, { domain: 0, requester: 8 })).toBe("EINVAL");
  });
  test("nothing whose virtual functions are switched on, whether it has a group or not", () => {
    const nic = nicDescription({}, [singleRootIov({ totalVfs: 2, firstVfOffset: 1, vfStride: 1, vfDevice: 0x10ca, vfBars: [{ index: 0, kind: "memory64", size: 0x4000 }] })]);
    const machine = makeMachine({ nic, groups: [] });
    const address = machine.address(machine.nic);
    const at = machine.nic.config.extendedCapability(0x10);
    machine.complex.configWrite(address, at + 0x10, 2, 2);
    machine.complex.configWrite(address, at + 8, 2, 9);
    expect(bind(machine, address)).toBe("EBUSY");
    machine.complex.configWrite(address, at + 8, 2, 0);
    expect([bind(machine, address), machine.drivers.driverOf(address)?.name]).toEqual(["EINVAL", "e1000e"]);
  });
  test("what has a group", () => {
    const machine = makeMachine();
    expect(bind(machine, machine.address(machine.nic))).toBeUndefined();
  });
});

// Linux drivers/base/driver.c: driver_register.
test("a driver is loaded once, and unloaded while it is there", () => {
  const drivers = make();
  expect([() => { drivers.register(E1000E); }, () => { drivers.unregister("nouveau"); }, () => { drivers.unregister("e1000e"); }].map(codeOf)).toEqual(["EBUSY", "ENOENT", undefined]);
});
