import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { ALL_RESOURCES, LEGACY_RESOURCES, VgaArbiterError, VgaResource, type VgaRequest } from "../../src/index.ts";
import { arbiterFor, bridge, command, device, vgaEnable, type FakeDevice } from "../fake-devices.ts";

const { LegacyIo, LegacyMemory, NormalIo, NormalMemory, None } = VgaResource;

const codeOf = (work: () => void): string => {
  try {
    work();
  } catch (error) {
    if (error instanceof VgaArbiterError) return error.code;
    throw error;
  }
  return "";
};

/** Two cards behind ports of their own; the first has the ranges. */
const twoPorts = () => {
  const [p1, p2] = [bridge("00:01.0", true), bridge("00:1c.0", false)];
  const [a, b] = [device("01:00.0", 3, [p1]), device("02:00.0", 3, [p2])];
  return { p1, p2, a, b, ...arbiterFor([a, b]) };
};

/** Two cards on the root bus: only the second keeps "bridge control". */
const rootBus = () => {
  const [a, b] = [device("00:02.0", 7), device("00:03.0", 4)];
  return { a, b, ...arbiterFor([a, b]) };
};

/** Two cards on one conventional bus. */
const oneBus = () => {
  const shared = bridge("00:1e.0", true);
  const [a, b] = [device("01:00.0", 3, [shared]), device("01:01.0", 0, [shared])];
  return { shared, a, b, ...arbiterFor([a, b]) };
};

describe("vga_tryget (Linux vgaarb.c, __vga_tryget)", () => {
  test("between ports the bridges are switched, and command registers stay", () => {
    const { arbiter, a, b, p1, p2 } = twoPorts();
    arbiter.tryGet(b, LEGACY_RESOURCES);
    expect([vgaEnable(p1), vgaEnable(p2)]).toEqual([false, true]);
    expect([command(a), command(b)]).toEqual([3, 3]);
    expect(arbiter.stateOf(a)).toMatchObject({ owns: 0, locks: 0 });
    expect(arbiter.stateOf(b)).toMatchObject({ owns: 3, locks: 3, ioLocks: 1, memoryLocks: 1 });
  });
  test("on one bus the command registers are switched, and the bridge stays open", () => {
    const { arbiter, a, b, shared } = oneBus();
    arbiter.tryGet(b, LEGACY_RESOURCES);
    expect(vgaEnable(shared)).toBe(true);
    expect([command(a), command(b)]).toEqual([0, 3]);
    expect(arbiter.stateOf(a)?.owns).toBe(0);
  });
  test("one range alone moves one bit of the command registers on one bus", () => {
    const { arbiter, a, b } = oneBus();
    arbiter.tryGet(b, LegacyIo);
    expect([command(a), command(b)]).toEqual([2, 1]);
    expect(arbiter.stateOf(a)?.owns).toBe(LegacyMemory);
    arbiter.tryGet(b, LegacyMemory);
    expect([command(a), command(b)]).toEqual([0, 3]);
  });
  test("across buses one range takes both, for VGA Enable serves both", () => {
    const { arbiter, a, b } = twoPorts();
    arbiter.tryGet(b, LegacyIo);
    expect(arbiter.stateOf(a)?.owns).toBe(0);
    expect(arbiter.stateOf(b)?.owns).toBe(LegacyIo);
  });
  test("a lock on one range across buses is in the way of the other range", () => {
    const { arbiter, a, b } = twoPorts();
    arbiter.tryGet(a, LegacyIo);
    expect(codeOf(() => { arbiter.tryGet(b, LegacyMemory); })).toBe("EBUSY");
  });
  test("on one bus two cards may hold one range each", () => {
    const { arbiter, a, b } = oneBus();
    arbiter.tryGet(a, LegacyIo);
    arbiter.tryGet(b, LegacyMemory);
    expect([command(a), command(b)]).toEqual([1, 2]);
  });
  test("taking a range by the command register also takes the BARs of that kind", () => {
    const { arbiter, a, b } = oneBus();
    arbiter.tryGet(a, NormalMemory);
    arbiter.put(a, NormalMemory);
    expect(arbiter.stateOf(a)?.owns).toBe(LEGACY_RESOURCES | NormalMemory);
    arbiter.tryGet(b, LegacyMemory);
    expect(arbiter.stateOf(a)?.owns).toBe(LegacyIo);
  });
  test("a card that does not decode a range keeps its command register when the range is taken", () => {
    const { arbiter, a, b } = oneBus();
    arbiter.setLegacyDecoding(a, LegacyIo);
    arbiter.tryGet(b, LEGACY_RESOURCES);
    expect(command(a)).toBe(2);
  });
  test("what is owned already is only locked", () => {
    const { arbiter, a, p1 } = twoPorts();
    p1.config.write(0x3e, 2, 0);
    arbiter.tryGet(a, LEGACY_RESOURCES);
    expect(vgaEnable(p1)).toBe(false);
    expect(arbiter.stateOf(a)?.locks).toBe(3);
  });
  test("a normal resource brings the legacy one along while it is decoded", () => {
    const { arbiter, a } = twoPorts();
    arbiter.tryGet(a, NormalIo);
    expect(arbiter.stateOf(a)).toMatchObject({ locks: LegacyIo, ioLocks: 1, normalIoLocks: 1, memoryLocks: 0 });
    arbiter.put(a, NormalIo);
    expect(arbiter.stateOf(a)).toMatchObject({ locks: None, ioLocks: 0, normalIoLocks: 0 });
    arbiter.tryGet(a, NormalMemory);
    expect(arbiter.stateOf(a)).toMatchObject({ locks: LegacyMemory, memoryLocks: 1, normalMemoryLocks: 1, ioLocks: 0 });
    arbiter.put(a, NormalMemory);
    expect(arbiter.stateOf(a)).toMatchObject({ locks: None, memoryLocks: 0, normalMemoryLocks: 0 });
  });
  test("a normal resource that nobody holds takes no legacy lock away", () => {
    const { arbiter, a } = twoPorts();
    arbiter.tryGet(a, LEGACY_RESOURCES);
    arbiter.put(a, NormalIo | NormalMemory);
    expect(arbiter.stateOf(a)).toMatchObject({ ioLocks: 1, memoryLocks: 1, normalIoLocks: 0, normalMemoryLocks: 0 });
  });
  test("without legacy decoding a normal resource leaves others alone", () => {
    const { arbiter, a, b, p1, p2 } = twoPorts();
    arbiter.tryGet(a, LEGACY_RESOURCES);
    arbiter.setLegacyDecoding(b, None);
    arbiter.tryGet(b, NormalMemory);
    expect(arbiter.stateOf(b)).toMatchObject({ owns: NormalMemory, locks: None, normalMemoryLocks: 1 });
    expect([vgaEnable(p1), vgaEnable(p2)]).toEqual([true, false]);
  });
  test("the root bus quirk: the first card is switched by its command register, the last one not at all", () => {
    const { arbiter, a, b } = rootBus();
    arbiter.tryGet(b, LEGACY_RESOURCES);
    expect([command(a), command(b)]).toEqual([4, 4]);
    expect(arbiter.stateOf(b)?.owns).toBe(LEGACY_RESOURCES);
    arbiter.put(b, LEGACY_RESOURCES);
    arbiter.tryGet(a, LEGACY_RESOURCES);
    expect([command(a), command(b)]).toEqual([7, 4]);
  });
  test("who owns nothing is left alone, its open bridge too", () => {
    const { arbiter, a, b } = twoPorts();
    const open = bridge("00:1d.0", true);
    const idle = device("03:00.0", 0, [open]);
    arbiter.add(idle);
    arbiter.tryGet(b, LEGACY_RESOURCES);
    expect([vgaEnable(open), arbiter.ownerChanges]).toEqual([true, 1]);
    arbiter.tryGet(b, LEGACY_RESOURCES);
    arbiter.put(b, LEGACY_RESOURCES);
    arbiter.put(b, LEGACY_RESOURCES);
    expect(arbiter.ownerChanges).toBe(1);
    arbiter.tryGet(a, LEGACY_RESOURCES);
    expect(arbiter.ownerChanges).toBe(2);
  });
  test("ranges that nobody owned change no owner", () => {
    const { arbiter, a } = twoPorts();
    arbiter.tryGet(a, NormalMemory);
    expect(arbiter.ownerChanges).toBe(0);
  });
  test("a bridge that does not keep VGA Enable gives EIO and no ownership", () => {
    const { arbiter, a, b, p1, p2 } = twoPorts();
    p2.config.readOnly.add(0x3e);
    expect(codeOf(() => { arbiter.tryGet(b, LEGACY_RESOURCES); })).toBe("EIO");
    expect(arbiter.stateOf(b)).toMatchObject({ owns: 0, locks: 0, ioLocks: 0 });
    // What was taken from the other is gone all the same.
    expect([vgaEnable(p1), arbiter.stateOf(a)?.owns]).toEqual([false, 0]);
  });
  test("an unknown device gives ENODEV", () => {
    const { arbiter } = twoPorts();
    const stranger = device("05:00.0", 3);
    expect(codeOf(() => { arbiter.tryGet(stranger, LegacyIo); })).toBe("ENODEV");
    expect(codeOf(() => { arbiter.get(stranger, LegacyIo); })).toBe("ENODEV");
    arbiter.put(stranger, LegacyIo);
  });
});

describe("vga_put", () => {
  test("a lock lasts until it is released as often as it was taken, and nothing is routed away", () => {
    const { arbiter, a } = twoPorts();
    arbiter.tryGet(a, LEGACY_RESOURCES);
    arbiter.tryGet(a, LegacyIo);
    arbiter.put(a, LEGACY_RESOURCES);
    expect(arbiter.stateOf(a)).toMatchObject({ locks: LegacyIo, ioLocks: 1, memoryLocks: 0 });
    arbiter.put(a, LegacyIo);
    arbiter.put(a, LegacyIo);
    expect(arbiter.stateOf(a)).toMatchObject({ locks: None, ioLocks: 0, owns: 3 });
  });
});

describe("vga_get: waiting", () => {
  test("who waits is granted in order, one after the other", () => {
    const { arbiter, a, b } = twoPorts();
    const order: string[] = [];
    const name = ({ device: { address } }: VgaRequest): number => order.push((address.requester >> 8).toString());
    arbiter.tryGet(a, LEGACY_RESOURCES);
    const first = arbiter.get(b, LEGACY_RESOURCES, name);
    const second = arbiter.get(b, LegacyMemory, name);
    expect([first.status, second.status, arbiter.waiting.length]).toEqual(["waiting", "waiting", 2]);
    arbiter.put(a, LegacyIo);
    expect(first.status).toBe("waiting");
    arbiter.put(a, LegacyMemory);
    expect([first.status, second.status, arbiter.waiting.length]).toEqual(["granted", "granted", 0]);
    expect(order).toEqual(["2", "2"]);
    expect(arbiter.stateOf(b)).toMatchObject({ ioLocks: 1, memoryLocks: 2 });
  });
  test("whoever is granted may release at once, and the next one follows", () => {
    const { arbiter, a, b } = twoPorts();
    const release = ({ device: card }: VgaRequest): void => { arbiter.put(card, LEGACY_RESOURCES); };
    arbiter.tryGet(a, LEGACY_RESOURCES);
    const waits = [b, a, b].map((card) => arbiter.get(card, LEGACY_RESOURCES, release));
    arbiter.put(a, LEGACY_RESOURCES);
    expect(waits.map(({ status }) => status)).toEqual(["granted", "granted", "granted"]);
    expect(arbiter.states.map(({ locks }) => locks)).toEqual([0, 0]);
  });
  test("a cancelled request is never granted", () => {
    const { arbiter, a, b } = twoPorts();
    arbiter.tryGet(a, LEGACY_RESOURCES);
    const request = arbiter.get(b, LEGACY_RESOURCES);
    request.cancel();
    arbiter.put(a, LEGACY_RESOURCES);
    expect(request.status).toBe("cancelled");
    expect(arbiter.stateOf(b)?.locks).toBe(0);
  });
  test("removing the device ends its waiting with ENODEV; removing the holder grants it", () => {
    const { arbiter, a, b } = twoPorts();
    arbiter.tryGet(a, LEGACY_RESOURCES);
    const request = arbiter.get(b, LEGACY_RESOURCES);
    arbiter.remove(b);
    expect([request.status, request.error?.code]).toEqual(["failed", "ENODEV"]);
    const again = twoPorts();
    again.arbiter.tryGet(again.a, LEGACY_RESOURCES);
    const granted = again.arbiter.get(again.b, LEGACY_RESOURCES);
    again.arbiter.remove(again.a);
    expect(granted.status).toBe("granted");
  });
  test("a request that no bridge can serve fails with EIO", () => {
    const { arbiter, b, p2 } = twoPorts();
    p2.config.readOnly.add(0x3e);
    expect(arbiter.get(b, LegacyIo)).toMatchObject({ status: "failed", error: { code: "EIO" } });
  });
});

describe("vga_set_legacy_decoding", () => {
  test.each([
    ["6.1", "changed VGA decodes"],
    ["6.12", "VGA decodes changed"],
    ["7.2", "VGA decodes changed"],
  ])("%s tells it as \"%s\", and the count follows", (kernel, text) => {
    const card = device("01:00.0", 3, [bridge("00:01.0", true)], { driver: "vfio-pci" });
    const { arbiter, log } = arbiterFor([card], { kernel });
    arbiter.setLegacyDecoding(card, None);
    expect(log.at(-1)).toBe(`vfio-pci 0000:01:00.0: vgaarb: ${text}: olddecodes=io+mem,decodes=none:owns=io+mem`);
    expect(arbiter.decodeCount).toBe(0);
    arbiter.setLegacyDecoding(card, LegacyIo | NormalIo);
    expect(arbiter.decodeCount).toBe(1);
    expect(arbiter.stateOf(card)?.decodes).toBe(LegacyIo);
  });
  test("giving up decoding drops the locks on it, and others go on", () => {
    const { arbiter, a, b } = twoPorts();
    arbiter.tryGet(a, LEGACY_RESOURCES);
    arbiter.tryGet(a, LEGACY_RESOURCES);
    const request = arbiter.get(b, LEGACY_RESOURCES);
    arbiter.setLegacyDecoding(a, None);
    expect(arbiter.stateOf(a)).toMatchObject({ locks: 0, ioLocks: 0, memoryLocks: 0 });
    expect(request.status).toBe("granted");
  });
  test.each([
    [LegacyIo, { locks: LegacyIo, ioLocks: 2, memoryLocks: 0 }],
    [LegacyMemory, { locks: LegacyMemory, ioLocks: 0, memoryLocks: 2 }],
    [LEGACY_RESOURCES, { locks: LEGACY_RESOURCES, ioLocks: 2, memoryLocks: 2 }],
  ])("giving up all but %i keeps the locks on what is still decoded", (decodes, expected) => {
    const { arbiter, a } = twoPorts();
    for (let i = 0; i < 2; i++) arbiter.tryGet(a, LEGACY_RESOURCES);
    arbiter.setLegacyDecoding(a, decodes);
    expect(arbiter.stateOf(a)).toMatchObject(expected);
    expect(arbiter.decodeCount).toBe(2);
  });
  test("user space is ignored where a driver can be asked", () => {
    const { arbiter, a, b } = twoPorts();
    arbiter.register(a, () => ALL_RESOURCES);
    arbiter.setLegacyDecodingByUser(a, None);
    arbiter.setLegacyDecodingByUser(b, None);
    expect(arbiter.states.map(({ decodes }) => decodes)).toEqual([ALL_RESOURCES, None]);
  });
});

describe("drivers' callbacks", () => {
  const asked = (arbiter: ReturnType<typeof twoPorts>["arbiter"], card: FakeDevice): boolean[] => {
    const calls: boolean[] = [];
    arbiter.register(card, (legacy) => {
      calls.push(legacy);
      return legacy ? ALL_RESOURCES : NormalIo | NormalMemory;
    });
    return calls;
  };

  test("nobody is asked before the arbiter is used for the first time", () => {
    const { arbiter, a, b } = twoPorts();
    const calls = asked(arbiter, a);
    arbiter.add(device("03:00.0", 3, [bridge("00:1d.0")]));
    expect(calls).toEqual([]);
    arbiter.tryGet(b, LegacyIo);
    expect(calls).toEqual([false]);
    expect(arbiter.stateOf(a)?.decodes).toBe(NormalIo | NormalMemory);
    arbiter.tryGet(b, LegacyIo);
    expect(calls).toEqual([false]);
  });
  test("after each device that comes or goes they are asked; alone, a device may decode again", () => {
    const { arbiter, a, b } = twoPorts();
    const calls = asked(arbiter, a);
    arbiter.tryGet(a, LegacyIo);
    arbiter.remove(b);
    arbiter.add(b);
    expect(calls).toEqual([false, true, false]);
    expect(arbiter.decodeCount).toBe(1);
  });
  test("the console leaves the default device only", () => {
    const { arbiter, a, b, log } = twoPorts();
    arbiter.removeConsole(b);
    arbiter.removeConsole(a);
    expect(log.filter((line) => line.includes("console"))).toEqual(["pci 0000:01:00.0: vgaarb: deactivate vga console"]);
  });
});

describe("exclusiveness", () => {
  test("whatever is asked in whatever order, two devices never hold a lock on one range, and who holds it is the only one it is routed to", () => {
    const steps = fc.array(fc.tuple(fc.integer({ min: 0, max: 3 }), fc.integer({ min: 1, max: 3 }), fc.boolean()), { maxLength: 40 });
    fc.assert(
      fc.property(steps, (list) => {
        const [p1, p2, p3] = [bridge("00:01.0", true), bridge("00:1c.0"), bridge("03:00.0")];
        const cards = [device("01:00.0", 3, [p1]), device("02:00.0", 3, [p2]), device("02:01.0", 0, [p2]), device("04:00.0", 3, [p3, p2])];
        const { arbiter } = arbiterFor(cards);
        for (const [which, resources, take] of list) {
          const card = cards[which] as FakeDevice;
          if (take) codeOf(() => { arbiter.tryGet(card, resources); });
          else arbiter.put(card, resources);
          for (const range of [LegacyIo, LegacyMemory]) {
            const holders = arbiter.states.filter(({ locks }) => locks & range);
            expect(holders.length).toBeLessThanOrEqual(1);
            if (holders[0]) expect(arbiter.states.filter(({ owns }) => owns & range)).toEqual(holders);
          }
        }
      }),
    );
  });
});
