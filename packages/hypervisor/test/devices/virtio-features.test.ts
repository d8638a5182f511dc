import { describe, expect, test } from "vitest";
import { ACCESS_PLATFORM, Common, EVENT_INDEX, INDIRECT, REQUIRED, Status, VERSION_1 } from "../virtio-driver.ts";
import { BUFFERS, EchoDevice, plugged, running } from "./virtio-rig.ts";

describe("feature negotiation (§2.2, §3.1.1)", () => {
  test("the device's own bits and the common ones are offered", () => {
    expect(plugged(new EchoDevice()).driver.offered).toBe(REQUIRED | INDIRECT | EVENT_INDEX | (1n << 3n) | (1n << 40n));
  });

  test.each<[string, bigint, boolean]>([
    ["all that is offered", REQUIRED | INDIRECT | EVENT_INDEX | (1n << 3n) | (1n << 40n), true],
    ["what is required", REQUIRED, true],
    ["no VERSION_1 (§6.2)", ACCESS_PLATFORM, false],
    ["no ACCESS_PLATFORM (§6.2)", VERSION_1, false],
    ["nothing", 0n, false],
    ["a bit of the low half that was not offered", REQUIRED | (1n << 5n), false],
    ["a bit of the high half that was not offered", REQUIRED | (1n << 63n), false],
  ])("a driver that accepts %s", (_what, features, agreed) => {
    const { driver } = plugged(new EchoDevice());
    expect(driver.negotiate(features)).toBe(agreed);
    expect(driver.status).toBe(Status.Acknowledge | Status.Driver | (agreed ? Status.FeaturesOk : 0));
  });

  test("words past 64 bits are offered by nobody and hold nothing", () => {
    const { bar } = plugged(new EchoDevice()).driver;
    for (const at of [Common.DeviceFeatureSelect, Common.DriverFeatureSelect]) bar.write(at, 4, 2);
    bar.write(Common.DriverFeature, 4, 1);
    expect([bar.read(Common.DeviceFeature, 4), bar.read(Common.DriverFeature, 4)]).toEqual([0, 0]);
  });

  test("features stay as they are after FEATURES_OK", () => {
    const { driver, fn } = plugged(new EchoDevice());
    driver.negotiate(REQUIRED);
    driver.bar.write(Common.DriverFeature, 4, 0);
    expect([fn.accepted(33), fn.accepted(28)]).toEqual([true, false]);
  });

  test("refused features can be chosen anew", () => {
    const { driver } = plugged(new EchoDevice());
    driver.negotiate(VERSION_1);
    driver.bar.write(Common.DriverFeature, 4, 3);
    driver.status |= Status.FeaturesOk;
    expect(driver.status & Status.FeaturesOk).toBe(Status.FeaturesOk);
  });

  test("a driver that goes on without FEATURES_OK gets no service", () => {
    const device = new EchoDevice();
    const { driver } = running(device, { features: VERSION_1 });
    expect(driver.status & Status.DriverOk).toBe(Status.DriverOk);
    driver.notify(0);
    expect(device.notifications).toEqual([]);
  });
});

describe("before DRIVER_OK (§2.1.2)", () => {
  test("notifications are not heard and no buffer is touched", () => {
    const device = new EchoDevice();
    const { driver, fn, bench, queues } = running(device);
    driver.status = Status.Acknowledge | Status.Driver | Status.FeaturesOk;
    queues[0]?.add([{ address: BUFFERS, length: 4, write: true }]);
    driver.notify(0);
    fn.flush(0);
    fn.configChanged();
    expect([device.notifications, bench.reads.length, bench.pin]).toEqual([[], 0, false]);
    driver.go();
    driver.notify(0);
    expect(queues[0]?.taken()).toEqual([{ id: 0, length: 4 }]);
  });

  test("NEEDS_RESET is not the driver's to set", () => {
    const { driver } = running(new EchoDevice());
    driver.status |= Status.NeedsReset;
    expect(driver.status & Status.NeedsReset).toBe(0);
  });

  test("a driver may give up: FAILED", () => {
    const { driver } = running(new EchoDevice());
    driver.status |= Status.Failed;
    expect(driver.status & Status.Failed).toBe(Status.Failed);
  });
});
