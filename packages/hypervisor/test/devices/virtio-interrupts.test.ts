import { describe, expect, test } from "vitest";
import { Common, EVENT_INDEX, Place, REQUIRED, Status } from "../virtio-driver.ts";
import { capabilityOf } from "./bench.ts";
import { BUFFERS, EchoDevice, running, type VirtioRig } from "./virtio-rig.ts";

/** Lets the device serve one request of a queue. */
const serve = ({ driver, queues }: VirtioRig, queue: number): void => {
  queues[queue]?.add([{ address: BUFFERS, length: 1, write: true }]);
  driver.notify(queue);
};

describe("MSI-X (§4.1.5.1.2)", () => {
  test("each queue's vector, and the configuration's", () => {
    const rig = running(new EchoDevice(), { msix: true });
    serve(rig, 1);
    serve(rig, 0);
    rig.fn.configChanged();
    expect(rig.bench.messages).toEqual([[0xfee0_1000, 0x42], [0xfee0_1000, 0x41], [0xfee0_1000, 0x40]]);
    expect(rig.bench.pin).toBe(false);
  });

  test("NO_VECTOR is silence", () => {
    const rig = running(new EchoDevice(), { msix: true });
    rig.driver.bar.write(Common.ConfigVector, 2, 0xffff);
    rig.driver.bar.write(Common.QueueSelect, 2, 0);
    rig.driver.bar.write(Common.QueueVector, 2, 0xffff);
    serve(rig, 0);
    rig.fn.configChanged();
    expect([rig.bench.messages, rig.bench.pin, rig.queues[0]?.taken().length]).toEqual([[], false, 1]);
  });

  test("the interrupt status tells of the configuration all the same, and not of queues (§4.1.4.5.1)", () => {
    const rig = running(new EchoDevice(), { msix: true });
    serve(rig, 0);
    expect(rig.driver.bar.read(Place.Isr, 1)).toBe(0);
    rig.fn.configChanged();
    expect(rig.driver.bar.read(Place.Isr, 1)).toBe(2);
  });

  test("a masked vector waits", () => {
    const rig = running(new EchoDevice(), { msix: true });
    rig.driver.bar.write(Place.MsixTable + 16 + 12, 4, 1);
    serve(rig, 0);
    expect([rig.bench.messages.length, rig.driver.bar.read(0x5000, 4)]).toEqual([0, 2]);
    rig.driver.bar.write(Place.MsixTable + 16 + 12, 4, 0);
    expect(rig.bench.messages).toEqual([[0xfee0_1000, 0x41]]);
  });
});

describe("the pin and the interrupt status (§4.1.4.5)", () => {
  test("reasons add up, and reading takes them and the pin back", () => {
    const rig = running(new EchoDevice());
    serve(rig, 0);
    rig.fn.configChanged();
    expect([rig.bench.pin, rig.driver.bar.read(Place.Isr, 1), rig.bench.pin, rig.driver.bar.read(Place.Isr, 1)]).toEqual([true, 3, false, 0]);
    expect(rig.bench.messages).toEqual([]);
  });

  test("a byte beside it takes nothing back", () => {
    const rig = running(new EchoDevice());
    serve(rig, 0);
    expect([rig.driver.bar.read(Place.Isr + 1, 1), rig.bench.pin, rig.driver.bar.read(Place.Isr, 4), rig.bench.pin]).toEqual([0, true, 1, false]);
  });

  test("the pin is low while MSI-X is on, and follows the status when it is switched off", () => {
    const rig = running(new EchoDevice());
    serve(rig, 0);
    const control = capabilityOf(rig.fn, 0x11) + 2;
    rig.fn.config.write(control, 2, 0x8000);
    expect(rig.bench.pin).toBe(false);
    rig.fn.config.write(control, 2, 0);
    expect(rig.bench.pin).toBe(true);
  });
});

describe("whether an interrupt is wanted", () => {
  test("the available ring's flag", () => {
    const rig = running(new EchoDevice());
    for (const queue of rig.queues) queue.noInterrupt = true;
    serve(rig, 0);
    expect([rig.bench.pin, rig.queues[0]?.taken().length]).toEqual([false, 1]);
  });

  test("the used event, where it was agreed on", () => {
    const rig = running(new EchoDevice(), { features: REQUIRED | EVENT_INDEX });
    const [queue] = rig.queues;
    if (queue) queue.usedEvent = 1;
    serve(rig, 0);
    expect(rig.bench.pin).toBe(false);
    serve(rig, 0);
    expect(rig.bench.pin).toBe(true);
  });
});

describe("changes of the configuration (§2.5)", () => {
  test("each has its generation", () => {
    const { fn, driver } = running(new EchoDevice());
    const before = driver.bar.read(Common.Generation, 1);
    for (let i = 0; i < 256; i++) {
      fn.configChanged();
      expect(driver.bar.read(Common.Generation, 1)).toBe((before + i + 1) & 0xff);
    }
  });
});

describe("DEVICE_NEEDS_RESET (§2.1.2)", () => {
  test.each<[string, (rig: VirtioRig) => void]>([
    ["a refused read of the rings", ({ bench, queues: [queue] }) => { bench.refuses = (address) => address === (queue?.available ?? 0) + 2; }],
    ["a refused read of a descriptor", ({ bench, queues: [queue] }) => { bench.refuses = (address) => address === queue?.descriptors; }],
    ["a refused write of a buffer", ({ bench }) => { bench.refuses = (address, write) => write && address === BUFFERS; }],
    ["a refused write of the used ring", ({ bench, queues: [queue] }) => { bench.refuses = (address, write) => write && address >= (queue?.used ?? 0); }],
    ["a queue that makes no sense", ({ queues: [queue] }) => { queue?.offer(0xffff); }],
  ])("after %s: the device says so, and does nothing until it is reset", (_what, spoil) => {
    const device = new EchoDevice();
    const rig = running(device, { msix: true });
    rig.queues[0]?.add([{ address: BUFFERS, length: 1, write: true }]);
    spoil(rig);
    rig.driver.notify(0);
    expect(rig.driver.status & Status.NeedsReset).toBe(Status.NeedsReset);
    expect(rig.bench.messages.at(-1)).toEqual([0xfee0_1000, 0x40]);
    const count = rig.bench.messages.length;
    rig.bench.refuses = () => false;
    rig.driver.notify(1);
    rig.driver.status |= Status.DriverOk;
    expect([device.notifications, rig.bench.messages.length, rig.driver.status & Status.NeedsReset]).toEqual([[0], count, Status.NeedsReset]);
    rig.driver.status = 0;
    expect(rig.driver.status).toBe(0);
  });

  test("without MSI-X the interrupt status tells that there is something to look at", () => {
    const rig = running(new EchoDevice());
    rig.queues[0]?.offer(0xffff);
    rig.driver.notify(0);
    expect([rig.bench.pin, rig.driver.bar.read(Place.Isr, 1) & 2]).toEqual([true, 2]);
  });

  test("a queue that was never enabled offers nothing", () => {
    const device = new EchoDevice();
    const rig = running(device);
    rig.driver.negotiate(REQUIRED);
    rig.driver.go();
    rig.driver.notify(0);
    rig.fn.give(0, 0, 0);
    expect([device.notifications, rig.bench.reads.length, rig.driver.status & Status.NeedsReset]).toEqual([[0], 0, 0]);
  });
});
