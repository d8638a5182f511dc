import { describe, expect, test } from "vitest";
import { DeviceMemory, DmaRefused, QueueBroken, Virtqueue, type Chain } from "../../src/devices/index.ts";
import { Flag, SplitQueue } from "../virtio-driver.ts";
import { Bench } from "./bench.ts";

const PLAIN = { indirect: false, eventIndex: false };
const INDIRECT = { indirect: true, eventIndex: false };
const BASE = 0x1_0000;
const TABLE = 0x2_0000;

const setUp = (size = 8): { readonly bench: Bench; readonly driver: SplitQueue; readonly take: (features?: typeof PLAIN) => Chain | undefined } => {
  const bench = new Bench();
  const memory = new DeviceMemory(() => bench);
  const driver = new SplitQueue(bench.memory, BASE, size);
  const queue = new Virtqueue(size);
  for (const [i, area] of driver.areas.entries()) queue.areas[2 * i] = area;
  return { bench, driver, take: (features = PLAIN) => queue.take(memory, features) };
};

describe("chains of descriptors (§2.7.5)", () => {
  test("readable buffers, then writable ones, of a chain across the table's end", () => {
    const { driver, take } = setUp();
    driver.describe(6, 0x1000, 16, Flag.Next, 7);
    driver.describe(7, 0x2000, 32, Flag.Next, 0);
    driver.describe(0, 0x3000, 64, Flag.Next | Flag.Write, 1);
    driver.describe(1, 0x4000, 1, Flag.Write);
    driver.offer(6);
    expect(take()).toEqual({ head: 6, readable: [{ address: 0x1000, length: 16 }, { address: 0x2000, length: 32 }], writable: [{ address: 0x3000, length: 64 }, { address: 0x4000, length: 1 }] });
    expect(take()).toBeUndefined();
  });

  test("as long as the queue, and in the order of the available ring", () => {
    const { driver, take } = setUp();
    for (let i = 0; i < 8; i++) driver.describe(i, 0x1000 * i, i, i === 7 ? 0 : Flag.Next, i + 1);
    driver.offer(0);
    driver.offer(7);
    expect(take()?.readable).toHaveLength(8);
    expect(take()).toMatchObject({ head: 7, readable: [{ length: 7 }] });
  });

  test("addresses have 64 bits", () => {
    const { driver, take } = setUp();
    driver.describe(0, 0xffff_ffff_ffff_f000n, 16);
    driver.describe(1, 0x1f_ffff_ffff_f000n, 16);
    driver.offer(0);
    driver.offer(1);
    expect(take()?.readable).toEqual([{ address: 0xffff_ffff_ffff_f000n, length: 16 }]);
    expect(take()?.readable).toEqual([{ address: 0x1f_ffff_ffff_f000, length: 16 }]);
  });

  test.each<[string, (driver: SplitQueue) => void]>([
    ["a loop", (driver) => { driver.describe(0, 0, 1, Flag.Next, 1); driver.describe(1, 0, 1, Flag.Next, 0); driver.offer(0); }],
    ["a descriptor that follows itself", (driver) => { driver.describe(0, 0, 1, Flag.Next, 0); driver.offer(0); }],
    ["a head past the table", (driver) => { driver.offer(8); }],
    ["a next past the table", (driver) => { driver.describe(0, 0, 1, Flag.Next, 0xffff); driver.offer(0); }],
    ["a readable buffer after a writable one (§2.7.4.2)", (driver) => { driver.describe(0, 0, 1, Flag.Next | Flag.Write, 1); driver.describe(1, 0, 1); driver.offer(0); }],
    ["an indirect table that was not negotiated", (driver) => { driver.describe(0, TABLE, 16, Flag.Indirect); driver.offer(0); }],
    ["an available index that runs ahead of the queue", (driver) => { driver.availableIndex = 9; }],
    ["an available index that ran backwards", (driver) => { driver.availableIndex = 0xffff; }],
  ])("%s breaks the queue", (_what, make) => {
    const { driver, take } = setUp();
    make(driver);
    expect(() => take()).toThrow(QueueBroken);
  });

  test("an access that is refused is no broken queue", () => {
    const { bench, driver, take } = setUp();
    driver.add([{ address: 0x5000, length: 4 }]);
    bench.refuses = (address) => address === driver.descriptors;
    expect(() => take()).toThrow(DmaRefused);
  });
});

describe("indirect tables (§2.7.5.3)", () => {
  const indirect = (length: number, flags: number = Flag.Indirect, next = 0): ReturnType<typeof setUp> => {
    const made = setUp();
    made.driver.describe(0, TABLE, length, flags, next);
    made.driver.offer(0);
    return made;
  };

  test("a table's chain starts with its first descriptor; the WRITE flag of its own is ignored", () => {
    const { driver, take } = indirect(48, Flag.Indirect | Flag.Write);
    driver.describe(0, 0x1000, 16, Flag.Next, 2, TABLE);
    driver.describe(2, 0x2000, 1, Flag.Write, 0, TABLE);
    expect(take(INDIRECT)).toEqual({ head: 0, readable: [{ address: 0x1000, length: 16 }], writable: [{ address: 0x2000, length: 1 }] });
  });

  test("a table may end a chain of plain descriptors", () => {
    const { driver, take } = setUp();
    driver.describe(3, 0x1000, 16, Flag.Next, 0);
    driver.describe(0, TABLE, 16, Flag.Indirect);
    driver.describe(0, 0x2000, 1, Flag.Write, 0, TABLE);
    driver.offer(3);
    expect(take(INDIRECT)).toEqual({ head: 3, readable: [{ address: 0x1000, length: 16 }], writable: [{ address: 0x2000, length: 1 }] });
  });

  test("a table may hold as many as the queue, beside the descriptor that points to it", () => {
    const { driver, take } = indirect(16 * 8);
    for (let i = 0; i < 8; i++) driver.describe(i, 0x1000, 1, i === 7 ? 0 : Flag.Next, i + 1, TABLE);
    expect(take(INDIRECT)?.readable).toHaveLength(8);
  });

  test.each<[string, number, number, (driver: SplitQueue) => void]>([
    ["no bytes", 0, Flag.Indirect, () => undefined],
    ["half a descriptor", 24, Flag.Indirect, () => undefined],
    ["the NEXT flag", 16, Flag.Indirect | Flag.Next, () => undefined],
    ["another table in it", 16, Flag.Indirect, (driver) => { driver.describe(0, TABLE + 0x1000, 16, Flag.Indirect, 0, TABLE); }],
    ["a next past its end", 32, Flag.Indirect, (driver) => { driver.describe(0, 0, 1, Flag.Next, 2, TABLE); }],
    ["a loop", 32, Flag.Indirect, (driver) => { driver.describe(0, 0, 1, Flag.Next, 1, TABLE); driver.describe(1, 0, 1, Flag.Next, 0, TABLE); }],
    ["a longer chain than the queue", 16 * 9, Flag.Indirect, (driver) => { for (let i = 0; i < 9; i++) driver.describe(i, 0, 1, i === 8 ? 0 : Flag.Next, i + 1, TABLE); }],
    ["a loop in a table as large as can be", 0xffff_fff0, Flag.Indirect, (driver) => { driver.describe(0, 0, 1, Flag.Next, 0, TABLE); }],
  ])("one with %s breaks the queue", (_what, length, flags, make) => {
    const { driver, take } = indirect(length, flags);
    make(driver);
    expect(() => take(INDIRECT)).toThrow(QueueBroken);
  });
});
