import { describe, expect, test } from "vitest";
import { Common, Place } from "../virtio-driver.ts";
import { capabilityOf } from "./bench.ts";
import { EchoDevice, plugged } from "./virtio-rig.ts";

/** All virtio_pci_cap of a function: where it is, and its fields. §4.1.4. */
const structures = (): readonly { readonly at: number; readonly length: number; readonly type: number; readonly bar: number; readonly id: number; readonly offset: number; readonly size: number }[] => {
  const { config } = plugged(new EchoDevice()).fn;
  const found = [];
  for (let at = config.read(0x34, 1); at !== 0; at = config.read(at + 1, 1))
    if (config.read(at, 1) === 0x09)
      found.push({ at, length: config.read(at + 2, 1), type: config.read(at + 3, 1), bar: config.read(at + 4, 1), id: config.read(at + 5, 1), offset: config.read(at + 8, 4), size: config.read(at + 12, 4) });
  return found;
};

describe("a virtio function's configuration space (§4.1.2, §4.1.4)", () => {
  test("is that of a device without legacy", () => {
    const { config } = plugged(new EchoDevice()).fn;
    expect([config.read(0, 4).toString(16), config.read(8, 1), config.read(0x2e, 2) >= 0x40, config.read(0x3d, 1)]).toEqual(["10601af4", 1, true, 1]);
  });

  test("has each structure once, in the driver's order of preference", () => {
    expect(structures().map(({ type, length, bar, id, offset, size }) => ({ type, length, bar, id, offset, size }))).toEqual([
      { type: 1, length: 16, bar: 0, id: 0, offset: Place.Common, size: 0x38 },
      { type: 3, length: 16, bar: 0, id: 0, offset: Place.Isr, size: 1 },
      { type: 4, length: 16, bar: 0, id: 0, offset: Place.Device, size: 9 },
      { type: 2, length: 20, bar: 0, id: 0, offset: Place.Notify, size: 8 },
      { type: 5, length: 20, bar: 0, id: 0, offset: 0, size: 0 },
    ]);
  });

  test("every structure is aligned, and the last queue's notification is inside its own (§4.1.4.4.1)", () => {
    const notify = structures().find(({ type }) => type === 2);
    const { fn, driver } = plugged(new EchoDevice());
    const multiplier = fn.config.read((notify?.at ?? 0) + 16, 4);
    driver.bar.write(Common.QueueSelect, 2, 1);
    expect([structures().every(({ offset }) => offset % 4 === 0), multiplier, driver.bar.read(Common.QueueNotifyOffset, 2) * multiplier + 2 <= (notify?.size ?? 0)]).toEqual([true, 4, true]);
  });

  test("MSI-X has a vector for each queue and one for the configuration, in memory of its own", () => {
    const { fn } = plugged(new EchoDevice());
    const at = capabilityOf(fn, 0x11);
    expect([fn.config.read(at + 2, 2) & 0x7ff, fn.config.read(at + 4, 4), fn.config.read(at + 8, 4)]).toEqual([2, Place.MsixTable, 0x5000]);
  });
});

describe("the window on the BAR (§4.1.4.9)", () => {
  const open = (): { readonly data: number; readonly aim: (bar: number, offset: number, length: number) => void } & ReturnType<typeof plugged> => {
    const made = plugged(new EchoDevice());
    const at = structures().find(({ type }) => type === 5)?.at ?? 0;
    const { config } = made.fn;
    return { ...made, data: at + 16, aim: (bar, offset, length) => { config.write(at + 4, 1, bar); config.write(at + 8, 4, offset); config.write(at + 12, 4, length); } };
  };

  test.each([[1, 0x01], [2, 0x0201], [4, 0x0403_0201]] as const)("reads %i bytes", (length, value) => {
    const { fn, data, aim } = open();
    aim(0, Place.Device, length);
    expect(fn.config.read(data, 4)).toBe(value);
  });

  test("a part of the data is a part of what was read", () => {
    const { fn, data, aim } = open();
    aim(0, Place.Device, 4);
    expect([fn.config.read(data + 2, 2), fn.config.read(data + 1, 1), fn.config.read(data, 1)]).toEqual([0x0403, 0x02, 0x01]);
  });

  test("what is shorter than the data leaves the rest of it", () => {
    const { fn, data, aim } = open();
    aim(0, Place.Device, 4);
    fn.config.read(data, 4);
    aim(0, Place.Device + 8, 1);
    expect(fn.config.read(data, 4)).toBe(0x0403_0209);
  });

  test("writes as many bytes as the length says", () => {
    const { fn, driver, data, aim } = open();
    aim(0, Common.QueueSelect, 2);
    fn.config.write(data, 4, 0x1234_0001);
    expect([driver.bar.read(Common.QueueSelect, 2), driver.bar.read(Common.QueueSize, 2)]).toEqual([1, 8]);
  });

  test.each([["of 3 bytes", 0, Place.Device, 3], ["of 0 bytes", 0, Place.Device, 0], ["not aligned", 0, Place.Device + 1, 2], ["past the BAR", 0, 0x8000, 4], ["of a BAR that is not there", 1, Place.Device, 4]] as const)("one %s leads nowhere", (_what, bar, offset, length) => {
    const { fn, data, aim } = open();
    aim(bar, offset, length);
    fn.config.write(data, 4, 0x55);
    expect(fn.config.read(data, 4)).toBe(0x55);
  });

  test("reads what reading changes: the interrupt status is zero afterwards", () => {
    const { bench, fn, driver, data, aim } = open();
    driver.negotiate(3n << 32n);
    driver.go();
    fn.configChanged();
    aim(0, Place.Isr, 1);
    expect([bench.pin, fn.config.read(data, 1), bench.pin, fn.config.read(data, 1)]).toEqual([true, 2, false, 0]);
  });
});
