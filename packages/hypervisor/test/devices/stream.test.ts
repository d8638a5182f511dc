import { Completion, type Clock } from "@iommu-lab/pci-bus";
import { msix } from "@iommu-lab/pci-bus/capabilities";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { EventClock } from "../../src/engines/scripted/event-clock.ts";
import { StreamDriver } from "../../src/devices/stream-driver.ts";
import { STREAM_DESCRIPTOR, StreamControl, StreamDevice, StreamFlag, StreamInterrupt, StreamRegister, type StreamOptions } from "../../src/devices/stream.ts";
import { Bench, programMsix } from "./bench.ts";

const RING = 0x1000;
const ENTRIES = 4;
const DATA = 0x2_0000;
const MSIX_TABLE = 0x1000;

interface Rig {
  readonly bench: Bench;
  readonly clock: EventClock;
  readonly device: StreamDevice;
  readonly driver: StreamDriver;
  readonly register: (offset: number, value?: number) => number;
}

const rig = (options: Partial<Omit<StreamOptions, "clock">> = {}, entries = ENTRIES): Rig => {
  const bench = new Bench();
  const clock = new EventClock();
  const counted: Clock = clock;
  const device = new StreamDevice(
    { vendor: 0x1af4, device: 0x10f0, classCode: 0x02_0000, header: 0, interruptPin: 1, bars: [{ index: 0, kind: "memory32", size: 0x4000 }], capabilities: [msix({ vectors: 1, table: { bar: 0, offset: MSIX_TABLE }, pendingBits: { bar: 0, offset: 0x2000 } })] },
    { clock: counted, ...options },
  );
  device.connect(bench);
  const bar = device.bars[0];
  const register = (offset: number, value?: number): number => {
    if (value !== undefined) bar?.write(offset, 4, value);
    return bar?.read(offset, 4) ?? -1;
  };
  const driver = new StreamDriver(
    {
      readRegister: (offset) => register(offset),
      writeRegister: (offset, value) => void register(offset, value),
      writeRing: (offset, bytes) => { bench.memory.writeFrom(RING + offset, bytes); },
      readRing: (offset, bytes) => { bench.memory.readInto(RING + offset, bytes); },
    },
    RING,
    entries,
  );
  return { bench, clock, device, driver, register };
};

const settle = ({ clock }: Rig): void => {
  while (clock.skip());
};
const read = ({ bench }: Rig, at: number, length: number): Uint8Array => {
  const bytes = new Uint8Array(length);
  bench.memory.readInto(at, bytes);
  return bytes;
};

describe("a stream device", () => {
  test("fills buffers in order, marks each and counts up from the number of the descriptor", () => {
    const r = rig();
    const [a, b] = [r.driver.queue(DATA, 5), r.driver.queue(DATA + 0x100, 3)];
    r.driver.kick();
    expect(r.device.count).toBe(0);
    settle(r);
    expect([[...read(r, DATA, 6)], [...read(r, DATA + 0x100, 4)]]).toEqual([[0, 1, 2, 3, 4, 0], [1, 2, 3, 0]]);
    expect([r.driver.flags(a), r.driver.flags(b), r.device.count, r.register(StreamRegister.Head), r.driver.errors]).toEqual([StreamFlag.Done, StreamFlag.Done, 2, 2, 0]);
  });

  test("reads buffers where the descriptor says so, and leaves them as they are", () => {
    const seen: number[][] = [];
    const r = rig({ consume: (bytes, count) => void seen.push([count, ...bytes]) });
    r.bench.memory.writeFrom(DATA, Uint8Array.of(9, 8, 7));
    const index = r.driver.queue(DATA, 3, true);
    r.driver.kick();
    settle(r);
    expect([seen, r.driver.flags(index), [...read(r, DATA, 3)]]).toEqual([[[0, 9, 8, 7]], StreamFlag.FromMemory | StreamFlag.Done, [9, 8, 7]]);
  });

  test("one descriptor takes the latency, the next another", () => {
    const r = rig({ latency: 500 });
    r.driver.queue(DATA, 1);
    r.driver.queue(DATA, 1);
    r.driver.kick();
    const counts = [499, 1, 499, 1].map((step) => {
      r.clock.advance(step);
      return r.device.count;
    });
    expect(counts).toEqual([0, 1, 1, 2]);
  });

  test("goes round the ring as often as it is asked", () => {
    const r = rig();
    for (let i = 0; i < 3 * ENTRIES + 1; i++) {
      expect(r.driver.queue(DATA + i, 1)).toBe(i % ENTRIES);
      r.driver.kick();
      settle(r);
      expect(r.register(StreamRegister.Head)).toBe((i + 1) % ENTRIES);
    }
    expect([...read(r, DATA, 3 * ENTRIES + 1)]).toEqual(Array.from({ length: 3 * ENTRIES + 1 }, (_, i) => i));
  });

  test("does nothing while it is disabled, and what waits when it is enabled", () => {
    const r = rig();
    r.register(StreamRegister.Control, 0);
    r.driver.queue(DATA, 4);
    r.driver.kick();
    settle(r);
    expect(r.device.count).toBe(0);
    r.register(StreamRegister.Control, StreamControl.Enable);
    settle(r);
    expect(r.device.count).toBe(1);
  });

  test("stops when it is disabled in between", () => {
    const r = rig();
    for (let i = 0; i < 3; i++) r.driver.queue(DATA, 4);
    r.driver.kick();
    r.clock.advance(1000);
    r.register(StreamRegister.Control, 0);
    settle(r);
    expect(r.device.count).toBe(1);
  });

  test.each<readonly [string, (r: Rig) => void, errors: number, done: boolean]>([
    ["a buffer that cannot be written", (r) => { r.bench.refuses = (at, write) => write && at === DATA; }, 1, true],
    ["a ring that cannot be read", (r) => { r.bench.refuses = (at) => at === RING; }, 1, false],
  ])("%s is an error, told in the count, the status and, where it can be, the descriptor; the next goes on", (_what, refuse, errors, done) => {
    const r = rig();
    refuse(r);
    const [bad, good] = [r.driver.queue(DATA, 4), r.driver.queue(DATA + 0x100, 4)];
    r.driver.kick();
    settle(r);
    expect([r.driver.errors, r.driver.flags(bad), r.driver.flags(good), r.register(StreamRegister.InterruptStatus)]).toEqual([errors, done ? StreamFlag.Done | StreamFlag.Error : 0, StreamFlag.Done, StreamInterrupt.Done | StreamInterrupt.Error]);
  });

  test("more than 1 MiB in one descriptor is an error, and moves nothing", () => {
    const r = rig();
    const index = r.driver.queue(DATA, 0x10_0001);
    r.driver.kick();
    settle(r);
    expect([r.driver.flags(index) & StreamFlag.Error, read(r, DATA, 1)[0]]).toEqual([StreamFlag.Error, 0]);
    expect(r.bench.reads.map(([, length]) => length)).toEqual([STREAM_DESCRIPTOR]);
  });

  test("raises its pin until the status is taken back, each bit by itself", () => {
    const r = rig();
    r.driver.queue(DATA, 1);
    r.driver.kick();
    settle(r);
    expect(r.bench.pin).toBe(true);
    r.register(StreamRegister.InterruptStatus, StreamInterrupt.Error);
    expect(r.bench.pin).toBe(true);
    expect([r.driver.acknowledge(), r.bench.pin, r.driver.acknowledge()]).toEqual([StreamInterrupt.Done, false, 0]);
  });

  test("with MSI-X sends vector 0, once a descriptor, and leaves the pin alone", () => {
    const r = rig();
    programMsix(r.device, MSIX_TABLE, 1);
    r.driver.queue(DATA, 1);
    r.driver.queue(DATA, 1);
    r.driver.kick();
    settle(r);
    expect([r.bench.messages, r.bench.pin]).toEqual([[[0xfee0_1000, 0x40], [0xfee0_1000, 0x40]], false]);
  });

  test("head and errors are the device's: writing them changes nothing", () => {
    const r = rig();
    r.register(StreamRegister.Head, 3);
    r.register(StreamRegister.Errors, 3);
    expect([r.register(StreamRegister.Head), r.register(StreamRegister.Errors)]).toEqual([0, 0]);
  });

  test("after a reset it is off and empty, and works again when it is set up anew", () => {
    const r = rig();
    r.driver.queue(DATA, 1);
    r.driver.kick();
    r.device.fabric.reset("function");
    settle(r);
    expect([r.device.count, r.register(StreamRegister.RingLow), r.register(StreamRegister.Control)]).toEqual([0, 0, 0]);
    r.register(StreamRegister.RingLow, RING);
    r.register(StreamRegister.Entries, ENTRIES);
    r.register(StreamRegister.Control, StreamControl.Enable);
    r.register(StreamRegister.Tail, 1);
    settle(r);
    expect(r.device.count).toBe(1);
  });

  test("a ring at the end of the address space goes on at its beginning", () => {
    const r = rig();
    r.register(StreamRegister.RingHigh, 0xffff_ffff);
    r.register(StreamRegister.RingLow, 0xffff_fff0);
    r.register(StreamRegister.Tail, 2);
    settle(r);
    expect([r.bench.reads.map(([at]) => at), r.driver.errors]).toEqual([[0xffff_ffff_ffff_fff0n, 0n], 1]);
  });

  test("buffers above 4 GiB are asked for by their whole address", () => {
    const r = rig();
    r.driver.queue(0x12_3456_7000, 4, true);
    r.driver.kick();
    settle(r);
    expect(r.bench.reads.at(-1)).toEqual([0x12_3456_7000n, 4]);
  });

  test("any writes to its registers leave it alive and within its memory", () => {
    const write = fc.tuple(fc.constantFrom(...Object.values(StreamRegister), 0x20, 0x3ffc, 2), fc.oneof(fc.nat(5), fc.constantFrom(RING, 0xffff_ffff, 0x8000_0000), fc.nat(0xffff_ffff)), fc.constantFrom(1, 2, 4));
    fc.assert(
      fc.property(fc.array(write, { maxLength: 30 }), (writes) => {
        const r = rig();
        for (const [offset, value, size] of writes) r.device.bars[0]?.write(offset, size, value);
        for (let i = 0; i < 20; i++) r.clock.skip();
        expect(r.device.read(0, new Uint8Array(1))).toBe(Completion.Successful);
        expect(r.register(StreamRegister.Head)).toBeLessThanOrEqual(0xffff_ffff);
      }),
    );
  });
});
