import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { SECTOR, virtioBlock, VirtioConsole, virtioEntropy, type VirtioDevice } from "../../src/devices/index.ts";
import { EVENT_INDEX, Flag, INDIRECT, Place, REQUIRED, Status } from "../virtio-driver.ts";
import { running } from "./virtio-rig.ts";

const disk = new Uint8Array(256 * SECTOR);
const DEVICES: Readonly<Record<string, () => VirtioDevice>> = {
  block: () => virtioBlock({ sectors: 256, readOnly: false, serial: "s", read: (sector, into) => { into.set(disk.subarray(sector * SECTOR, sector * SECTOR + into.length)); }, write: (sector, from) => { disk.set(from, sector * SECTOR); }, flush: () => undefined }),
  console: () => new VirtioConsole(() => undefined),
  entropy: () => virtioEntropy((into) => into.fill(0x81)),
};

/** Most memory accesses of one notification: rounds of a queue of 8, each with chains of 8, and what is around them. */
const MOST_READS = 64 * 8 * 32;

/** Addresses: often such that a buffer is on top of a ring. */
const address = fc.oneof(fc.integer({ min: 0x1_0000, max: 0x1_6100 }), fc.nat(0x20_0000), fc.constantFrom(0x1_1000, 0x1_1002, 0x1_2002, 0x1_2004, 0xfee0_0000, 0xffff_fff0));
const length = fc.oneof(fc.nat(64), fc.constantFrom(0, 1, 16, 512, 513, 0x1000, 0xffff_ffff));
const small = fc.nat(9);
const descriptor = fc.record({ address, high: fc.constantFrom(0, 0, 0, 0, 1, 0xffff_ffff), length, flags: fc.oneof(fc.nat(7), fc.nat(0xffff)), next: small });
const hostility = fc.record({
  kind: fc.constantFrom(...Object.keys(DEVICES)),
  features: fc.constantFrom(0n, INDIRECT, EVENT_INDEX, INDIRECT | EVENT_INDEX),
  descriptors: fc.array(descriptor, { minLength: 8, maxLength: 8 }),
  heads: fc.array(small, { minLength: 8, maxLength: 8 }),
  available: fc.oneof(fc.nat(8), fc.nat(0xffff)),
  header: fc.record({ at: address, type: fc.constantFrom(0, 1, 4, 8), sector: fc.nat(300) }),
  noise: fc.array(fc.tuple(address, fc.nat(0xffff_ffff)), { maxLength: 8 }),
  again: fc.nat(3),
});

describe("whatever a driver puts into memory", () => {
  test("a device ends, throws nothing, and either serves it or says that it needs a reset", () => {
    fc.assert(
      fc.property(hostility, ({ kind, features, descriptors, heads, available, header, noise, again }) => {
        const device = DEVICES[kind]?.() ?? new VirtioConsole(() => undefined);
        const { bench, driver, queues } = running(device, { features: REQUIRED | features });
        for (const queue of queues) {
          for (const [i, each] of descriptors.entries()) queue.describe(i, (BigInt(each.high) << 32n) | BigInt(each.address), each.length, each.flags, each.next);
          for (const head of heads) queue.offer(head);
          queue.availableIndex = available;
        }
        bench.memory.write32(header.at, header.type);
        bench.memory.write64(header.at + 8, header.sector, 0);
        for (const [at, value] of noise) bench.memory.write32(at, value);
        if (device instanceof VirtioConsole) device.input(Uint8Array.of(1, 2, 3));
        for (let i = 0; i <= again; i++) for (const [index] of queues.entries()) driver.notify(index);
        if (device instanceof VirtioConsole) device.input(new Uint8Array(5000));
        expect(bench.reads.length).toBeLessThan(MOST_READS * queues.length * (again + 2));
        expect(driver.status & ~Status.NeedsReset).toBe(Status.Acknowledge | Status.Driver | Status.FeaturesOk | Status.DriverOk);
        driver.status = 0;
        expect([driver.status, driver.bar.read(Place.Isr, 1), bench.pin]).toEqual([0, 0, false]);
      }),
    );
  });

  test("a queue that feeds itself is no endless queue", () => {
    // Each request reads a sector over the available index and the next request's sector number.
    const { bench, driver, queues: [queue] } = running(virtioBlock({ sectors: 2 ** 20, readOnly: false, serial: "", flush: () => undefined, write: () => undefined, read: (sector, into) => {
      const view = new DataView(into.buffer, into.byteOffset);
      view.setUint16(2, sector + 2, true);
      view.setUint32(0x108, sector + 1, true);
    } }));
    if (!queue) return;
    // The sector lies on the available ring, whose heads stay 0; the header is inside of it.
    queue.describe(0, queue.available + 0x100, 16, Flag.Next, 1);
    queue.describe(1, queue.available, 512, Flag.Next | Flag.Write, 2);
    queue.describe(2, 0x10_0000, 1, Flag.Write);
    queue.offer(0);
    driver.notify(0);
    expect([driver.status & Status.NeedsReset, bench.memory.read16(queue.used + 2)]).toEqual([Status.NeedsReset, 64 * 8]);
  });
});

test("registers of a function take anything at any time", () => {
  const access = fc.record({ at: fc.oneof(fc.nat(0x40), fc.constantFrom(0x1000, 0x2000, 0x3000, 0x3004, 0x4000, 0x400c), fc.nat(0x7fff)), size: fc.constantFrom<1 | 2 | 4>(1, 2, 4), value: fc.oneof(fc.nat(16), fc.integer({ min: 0, max: 0xffff_ffff })), write: fc.boolean() });
  fc.assert(
    fc.property(fc.constantFrom(...Object.keys(DEVICES)), fc.array(access, { maxLength: 60 }), (kind, accesses) => {
      const { driver } = running(DEVICES[kind]?.() ?? new VirtioConsole(() => undefined));
      for (const { at, size, value, write } of accesses) {
        const aligned = at - (at % size);
        if (write) driver.bar.write(aligned, size, value % 2 ** (8 * size));
        else {
          const read = driver.bar.read(aligned, size);
          expect(Number.isInteger(read) && read >= 0 && read < 2 ** (8 * size)).toBe(true);
        }
      }
    }),
  );
});
