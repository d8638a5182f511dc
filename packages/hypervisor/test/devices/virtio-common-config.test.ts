import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Common, REQUIRED, Status, SplitQueue } from "../virtio-driver.ts";
import { EchoDevice, plugged, running } from "./virtio-rig.ts";

const rig = (): ReturnType<typeof plugged> => plugged(new EchoDevice());

describe("the common configuration after reset (§4.1.4.3)", () => {
  test.each<[string, number, 1 | 2 | 4, number]>([
    ["device_feature_select", Common.DeviceFeatureSelect, 4, 0],
    ["device_feature", Common.DeviceFeature, 4, 0x3000_0008],
    ["driver_feature_select", Common.DriverFeatureSelect, 4, 0],
    ["driver_feature", Common.DriverFeature, 4, 0],
    ["config_msix_vector", Common.ConfigVector, 2, 0xffff],
    ["num_queues", Common.QueueCount, 2, 2],
    ["device_status", Common.Status, 1, 0],
    ["config_generation", Common.Generation, 1, 0],
    ["queue_select", Common.QueueSelect, 2, 0],
    ["queue_size", Common.QueueSize, 2, 16],
    ["queue_msix_vector", Common.QueueVector, 2, 0xffff],
    ["queue_enable", Common.QueueEnable, 2, 0],
    ["queue_notify_off", Common.QueueNotifyOffset, 2, 0],
    ["queue_desc", Common.Descriptors, 4, 0],
    ["queue_driver, upper half", Common.Driver + 4, 4, 0],
    ["queue_device", Common.Device, 4, 0],
  ])("%s", (_name, at, size, value) => {
    expect(rig().driver.bar.read(at, size)).toBe(value);
  });
});

describe("accesses of other sizes than the fields'", () => {
  test("two fields in one read", () => {
    const { bar } = rig().driver;
    bar.write(Common.QueueSelect, 2, 1);
    bar.write(Common.Status, 1, Status.Acknowledge);
    expect([0x10, 0x14, 0x18, 0x1c].map((at) => bar.read(at, 4).toString(16))).toEqual(["2ffff", "10001", "ffff0008", "10000"]);
    expect([bar.read(0x14, 2), bar.read(Common.QueueSize + 1, 1), bar.read(Common.DeviceFeature + 3, 1), bar.read(Common.DeviceFeature + 2, 2)]).toEqual([1, 0, 0x30, 0x3000]);
  });

  test("8 bytes at a time", () => {
    const { fn } = rig();
    const pair = new Uint32Array(2);
    fn.bars[0]?.write64(Common.Driver, 0x1234_5000, 0xabc);
    fn.bars[0]?.read64(Common.Driver, pair);
    expect([...pair]).toEqual([0x1234_5000, 0xabc]);
    fn.bars[0]?.read64(Common.Status, pair);
    expect([...pair]).toEqual([0, 0xffff_0010]);
  });

  test("any mixture of reads tells the same bytes", () => {
    const { bar } = running(new EchoDevice()).driver;
    const bytes = Array.from({ length: 0x38 }, (_, at) => bar.read(at, 1));
    fc.assert(
      fc.property(fc.nat(0x37), fc.constantFrom<1 | 2 | 4>(1, 2, 4), (at, size) => {
        const aligned = at - (at % size);
        expect(bar.read(aligned, size)).toBe(bytes.slice(aligned, aligned + size).reduceRight((sum, byte) => sum * 256 + byte, 0));
      }),
    );
  });

  test("a write of a part leaves the rest; a write of two fields writes both", () => {
    const { bar } = rig().driver;
    bar.write(Common.Descriptors, 4, 0x1111_1111);
    bar.write(Common.Descriptors + 1, 1, 0x22);
    bar.write(Common.QueueSize, 4, 0x0001_0008);
    expect([bar.read(Common.Descriptors, 4).toString(16), bar.read(Common.QueueSize, 2), bar.read(Common.QueueVector, 2)]).toEqual(["11112211", 8, 1]);
  });
});

describe("queues (§4.1.4.3.2)", () => {
  test("one that is not there has no size and takes nothing", () => {
    const { bar } = rig().driver;
    bar.write(Common.QueueSelect, 2, 2);
    for (const at of [Common.QueueSize, Common.QueueVector, Common.QueueEnable]) bar.write(at, 2, 1);
    bar.write(Common.Descriptors, 4, 0x1000);
    expect([Common.QueueSize, Common.QueueVector, Common.QueueEnable, Common.QueueNotifyOffset].map((at) => bar.read(at, 2))).toEqual([0, 0xffff, 0, 0]);
    expect(bar.read(Common.Descriptors, 4)).toBe(0);
  });

  test.each([[8, 8], [1, 1], [16, 16], [32, 16], [0, 16], [12, 16], [0x8000, 16]])("size %i written, %i read: powers of two up to the maximum", (written, read) => {
    const { bar } = rig().driver;
    bar.write(Common.QueueSize, 2, written);
    expect(bar.read(Common.QueueSize, 2)).toBe(read);
  });

  test("an enabled one keeps size and places, and is not disabled by a zero", () => {
    const { bench, driver } = rig();
    driver.enable(0, new SplitQueue(bench.memory, 0x1_0000, 8));
    driver.bar.write(Common.QueueSize, 2, 4);
    driver.bar.write(Common.Descriptors, 4, 0);
    driver.bar.write(Common.QueueEnable, 2, 0);
    expect([driver.bar.read(Common.QueueSize, 2), driver.bar.read(Common.Descriptors, 4), driver.bar.read(Common.QueueEnable, 2)]).toEqual([8, 0x1_0000, 1]);
  });

  test("each has its own fields", () => {
    const { bar } = rig().driver;
    bar.write(Common.QueueSelect, 2, 1);
    bar.write(Common.QueueSize, 2, 2);
    bar.write(Common.Device + 4, 4, 7);
    expect([bar.read(Common.QueueNotifyOffset, 2), bar.read(Common.Device + 4, 4)]).toEqual([1, 7]);
    bar.write(Common.QueueSelect, 2, 0);
    expect([bar.read(Common.QueueSize, 2), bar.read(Common.Device + 4, 4)]).toEqual([16, 0]);
  });

  test.each([[0, 0], [2, 2], [3, 0xffff], [0x7ff, 0xffff], [0xffff, 0xffff]])("vector %i written, %i read, for the configuration too (§4.1.5.1.2.1)", (written, read) => {
    const { bar } = rig().driver;
    for (const at of [Common.ConfigVector, Common.QueueVector]) {
      bar.write(at, 2, 1);
      bar.write(at, 2, written);
      expect(bar.read(at, 2)).toBe(read);
    }
  });
});

describe("reset by writing 0 (§2.4)", () => {
  test("brings everything back but MSI-X and the generation, and tells the device", () => {
    const device = new EchoDevice();
    const { driver, fn } = running(device, { msix: true });
    const table = driver.bar.read(0x4008, 4);
    driver.bar.write(Common.QueueSelect, 2, 1);
    driver.status = 0;
    expect(driver.status).toBe(0);
    expect([Common.QueueSelect, Common.QueueSize, Common.QueueEnable, Common.ConfigVector, Common.QueueVector].map((at) => driver.bar.read(at, 2))).toEqual([0, 16, 0, 0xffff, 0xffff]);
    expect([driver.bar.read(Common.DriverFeature, 4), driver.bar.read(Common.Descriptors, 4), driver.bar.read(0x4008, 4), fn.running]).toEqual([0, 0, table, false]);
    expect(device.resets).toBe(2);
  });

  test("takes a pending interrupt back", () => {
    const { bench, driver, fn } = running(new EchoDevice());
    fn.configChanged();
    expect(bench.pin).toBe(true);
    driver.status = 0;
    expect([bench.pin, driver.bar.read(0x1000, 1)]).toEqual([false, 0]);
  });

  test.each(["function", "bus", "cold"] as const)("a %s reset does it too", (kind) => {
    const { fn, driver } = running(new EchoDevice(), { msix: true });
    fn.fabric.reset(kind);
    expect([driver.status, driver.bar.read(Common.QueueEnable, 2), driver.bar.read(0x400c, 4)]).toEqual([0, 0, 1]);
  });
});

test("reserved space reads as zero, and writes to read-only fields change nothing", () => {
  const { bar } = running(new EchoDevice(), { features: REQUIRED }).driver;
  for (const [at, size] of [[Common.DeviceFeature, 4], [Common.QueueCount, 2], [Common.Generation, 1], [Common.QueueNotifyOffset, 2], [0x38, 4], [0x2000, 4], [0x1000, 4]] as const) {
    const before = bar.read(at, size);
    bar.write(at, size, 2 ** (8 * size) - 1);
    expect(bar.read(at, size)).toBe(before);
  }
  expect([bar.read(0x38, 4), bar.read(0xffc, 4), bar.read(0x1004, 4), bar.read(0x3000, 4)]).toEqual([0, 0, 0, 0]);
});
