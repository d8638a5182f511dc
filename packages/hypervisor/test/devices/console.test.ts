import { describe, expect, test } from "vitest";
import { VirtioConsole } from "../../src/devices/index.ts";
import { EVENT_INDEX, REQUIRED, Status } from "../virtio-driver.ts";
import { BUFFERS, running, type VirtioRig } from "./virtio-rig.ts";

const [RECEIVE, TRANSMIT] = [0, 1];
const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString("latin1");
const bytes = (from: string): Uint8Array => Uint8Array.from(Buffer.from(from, "latin1"));

const setUp = (features?: bigint): { readonly rig: VirtioRig; readonly said: string[]; readonly console: VirtioConsole; readonly room: (length: number, at?: number) => void; readonly heard: () => string[] } => {
  const said: string[] = [];
  const console = new VirtioConsole((from) => said.push(text(from)));
  const rig = running(console, features === undefined ? {} : { features });
  const places = new Map<number, number>();
  return {
    rig,
    said,
    console,
    room: (length, at = BUFFERS + 0x100 * places.size) => {
      places.set(rig.queues[RECEIVE]?.add([{ address: at, length, write: true }]) ?? 0, at);
      rig.driver.notify(RECEIVE);
    },
    heard: () =>
      (rig.queues[RECEIVE]?.taken() ?? []).map(({ id, length }) => {
        const into = new Uint8Array(length);
        rig.bench.memory.readInto(places.get(id) ?? 0, into);
        return text(into);
      }),
  };
};

describe("from the guest (§5.3.6)", () => {
  test("each request is a piece of text, over as many buffers as there are", () => {
    const { rig, said } = setUp();
    rig.bench.memory.writeFrom(BUFFERS, bytes("hello, world"));
    rig.queues[TRANSMIT]?.add([{ address: BUFFERS, length: 7 }, { address: BUFFERS + 7, length: 5 }]);
    rig.queues[TRANSMIT]?.add([{ address: BUFFERS, length: 5 }]);
    rig.driver.notify(TRANSMIT);
    expect([said, rig.queues[TRANSMIT]?.taken(), rig.bench.pin]).toEqual([["hello, world", "hello"], [{ id: 0, length: 0 }, { id: 2, length: 0 }], true]);
  });

  test("more than anybody writes at once: the device needs a reset", () => {
    const { rig, said } = setUp();
    rig.queues[TRANSMIT]?.add([{ address: BUFFERS, length: 2 ** 20 + 1 }]);
    rig.driver.notify(TRANSMIT);
    expect([said, rig.driver.status & Status.NeedsReset]).toEqual([[], Status.NeedsReset]);
  });
});

describe("to the guest", () => {
  test("what is typed goes into a waiting buffer, with an interrupt", () => {
    const { rig, console, room, heard } = setUp();
    room(16);
    expect([heard(), rig.bench.pin]).toEqual([[], false]);
    console.input(bytes("ls"));
    expect([heard(), rig.bench.pin]).toEqual([["ls"], true]);
  });

  test("it waits for buffers, in order and cut where a buffer ends", () => {
    const { console, room, heard } = setUp();
    console.input(bytes("abcdefg"));
    console.input(bytes("hi"));
    expect(heard()).toEqual([]);
    room(3);
    expect(heard()).toEqual(["abc"]);
    room(3);
    room(3);
    expect(heard()).toEqual(["def", "g"]);
    room(1);
    room(0);
    room(9);
    expect(heard()).toEqual(["h", "", "i"]);
  });

  test("what comes before the guest is there is kept, after a reset too", () => {
    const { rig, console, room, heard } = setUp();
    rig.driver.status = 0;
    console.input(bytes("early"));
    rig.driver.negotiate(REQUIRED);
    for (const [i, queue] of rig.queues.entries()) rig.driver.enable(i, queue);
    rig.driver.go();
    room(8);
    expect(heard()).toEqual(["early"]);
  });

  test("nothing typed takes no buffer", () => {
    const { console, room, heard } = setUp();
    room(4);
    console.input(new Uint8Array());
    expect(heard()).toEqual([]);
  });

  test("with event indexes the device asks for the buffers that it lacks", () => {
    const { rig, console, room } = setUp(REQUIRED | EVENT_INDEX);
    room(2);
    console.input(bytes("abcd"));
    expect(rig.queues[RECEIVE]?.availEvent).toBe(1);
  });

  test("a buffer that may not be written: whoever types hears nothing of it, the driver does", () => {
    const { rig, console, room } = setUp();
    room(4);
    rig.bench.refuses = (address) => address === BUFFERS;
    console.input(bytes("x"));
    expect([rig.driver.status & Status.NeedsReset, rig.bench.pin]).toEqual([Status.NeedsReset, true]);
  });
});
