import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { DeviceMemory, Virtqueue } from "../../src/devices/index.ts";
import { SplitQueue } from "../virtio-driver.ts";
import { Bench } from "./bench.ts";

const PLAIN = { indirect: false, eventIndex: false };
const EVENTS = { indirect: false, eventIndex: true };
const SIZE = 4;

interface Made {
  readonly driver: SplitQueue;
  readonly bench: Bench;
  readonly queue: Virtqueue;
  readonly memory: DeviceMemory;
  /** Offers a request, lets the device take it and give it back. */
  readonly turn: () => void;
}

const setUp = (features = PLAIN): Made => {
  const bench = new Bench();
  const memory = new DeviceMemory(() => bench);
  const driver = new SplitQueue(bench.memory, 0x1_0000, SIZE);
  const queue = new Virtqueue(SIZE);
  for (const [i, area] of driver.areas.entries()) queue.areas[2 * i] = area;
  const turn = (): void => {
    driver.add([{ address: 0x5000, length: 1 }]);
    const chain = queue.take(memory, features);
    if (chain) queue.give(memory, chain.head, 7);
  };
  return { bench, driver, queue, memory, turn };
};

describe("the used ring (§2.7.8)", () => {
  test("head and length of each, then the index", () => {
    const { driver, queue, memory } = setUp();
    queue.give(memory, 3, 512);
    queue.give(memory, 1, 0xffff_ffff);
    expect(driver.taken()).toEqual([{ id: 3, length: 512 }, { id: 1, length: 0xffff_ffff }]);
  });

  test("rings and indexes of 16 bits wrap", () => {
    const { driver, turn } = setUp();
    let taken = 0;
    for (let i = 0; i < 0x1_0008; i++) {
      turn();
      taken += driver.taken().length;
    }
    expect(taken).toBe(0x1_0008);
  });

  test("a reset queue begins anew", () => {
    const { driver, queue, memory, turn } = setUp();
    turn();
    expect(driver.taken()).toHaveLength(1);
    queue.reset();
    for (const [i, area] of driver.areas.entries()) queue.areas[2 * i] = area;
    driver.availableIndex = 1;
    expect(queue.take(memory, PLAIN)).toMatchObject({ head: 0 });
    queue.give(memory, 0, 0);
    expect(driver.taken()).toHaveLength(0); // the index is 1 once more
  });
});

describe("interrupts by the flag (§2.7.7)", () => {
  test("once for all that was given back, unless the driver wants none", () => {
    const { driver, queue, memory, turn } = setUp();
    expect(queue.wantsInterrupt(memory, PLAIN)).toBe(false);
    turn();
    turn();
    expect([queue.wantsInterrupt(memory, PLAIN), queue.wantsInterrupt(memory, PLAIN)]).toEqual([true, false]);
    driver.noInterrupt = true;
    turn();
    expect(queue.wantsInterrupt(memory, PLAIN)).toBe(false);
  });
});

describe("event indexes (§2.7.10)", () => {
  test("the device asks for a notification of the next request when it has taken all", () => {
    const { driver, queue, memory, turn } = setUp(EVENTS);
    for (let i = 0; i < 3; i++) turn();
    expect(driver.availEvent).toBe(0);
    expect(queue.take(memory, EVENTS)).toBeUndefined();
    expect(driver.availEvent).toBe(3);
  });

  test("a request that comes while it asks is not left lying", () => {
    const { bench, driver, queue, memory } = setUp(EVENTS);
    bench.refuses = (address, write) => {
      if (write && address === driver.used + 4 + 8 * SIZE) driver.add([{ address: 0x5000, length: 1 }]);
      return false;
    };
    expect(queue.take(memory, EVENTS)).toMatchObject({ head: 0 });
  });

  test("without the feature the device writes nothing there", () => {
    const { driver, queue, memory, turn } = setUp();
    turn();
    expect([queue.take(memory, PLAIN), driver.availEvent]).toEqual([undefined, 0]);
  });

  test("the driver's flag means nothing", () => {
    const { driver, queue, memory, turn } = setUp(EVENTS);
    driver.noInterrupt = true;
    turn();
    expect(queue.wantsInterrupt(memory, EVENTS)).toBe(true);
  });

  /** Whether going from `old` to `now`, one by one, passes `event`: what the specification's formula means. */
  const passes = (event: number, old: number, now: number): boolean => {
    for (let at = old; at !== now; at = (at + 1) & 0xffff) if (at === event) return true;
    return false;
  };

  test("an interrupt exactly when the index passed the driver's event, across the wrap too", () => {
    const { driver, queue, memory, turn } = setUp(EVENTS);
    let used = 0;
    const run = (count: number): void => {
      for (let i = 0; i < count; i++) turn();
      used = (used + count) & 0xffff;
    };
    driver.usedEvent = 0x8000;
    run(0xfff8);
    queue.wantsInterrupt(memory, EVENTS);
    fc.assert(
      fc.property(fc.nat(6), fc.integer({ min: -8, max: 8 }), (count, near) => {
        const old = used;
        driver.usedEvent = old + near;
        run(count);
        expect(queue.wantsInterrupt(memory, EVENTS)).toBe(passes((old + near) & 0xffff, old, used));
      }),
    );
  });
});
