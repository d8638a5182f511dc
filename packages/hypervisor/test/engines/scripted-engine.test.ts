import { describe, expect, test } from "vitest";
import { Board } from "../../src/board/index.ts";
import { EduFunction } from "../../src/devices/index.ts";
import { ScriptedEngine, type ScriptedProgram, type ScriptedSession } from "../../src/engines/index.ts";

const EDU = 0x30;
const MIB = 2 ** 20;

const open = (): { readonly session: ScriptedSession; readonly said: string[]; readonly start: (program: ScriptedProgram) => Promise<void> } => {
  const said: string[] = [];
  const session = new ScriptedEngine().open({ ram: MIB, console: (bytes) => said.push(Buffer.from(bytes).toString("latin1")) });
  const make = (windows: readonly number[]): Board =>
    new Board({ memory: session.memory, message: (address, data) => { session.message(address, data); }, clock: session.clock, iommu: { vendor: "intel" }, devices: [{ devfn: EDU, fn: new EduFunction() }], registerBase: windows[0] ?? 0 });
  return { session, said, start: (program) => session.start(program, make) };
};

describe("a scripted processor", () => {
  test("reads and writes RAM, BARs and register windows by their addresses", async () => {
    const { session, said, start } = open();
    await start(function* ({ read, write, bar, windows: [window = 0], print, memory }) {
      write(0x1000, 4, 0x1122_3344);
      write(0x1001, 1, 0xff);
      print(`${read(0x1000, 4).toString(16)} ${memory.read16(0x1002).toString(16)}\n`);
      print(`${read(bar(EDU, 0), 4).toString(16)} ${read(window, 4).toString(16)}\n`);
      write(bar(EDU, 0) + 4, 4, 1);
      print(`${read(bar(EDU, 0) + 4, 4).toString(16)} ${read(0xe000_0000, 4).toString(16)}`);
      yield;
    });
    expect([await session.ended, said]).toEqual([{ reason: "powered-off" }, ["1122ff44 1122\n", "10000ed 10\n", "fffffffe ffffffff"]]);
  });

  test("firmware has placed BARs at multiples of their sizes and switched functions on", async () => {
    const { session, start } = open();
    await start(function* ({ bar, bus }) {
      expect(bar(EDU, 0) % MIB).toBe(0);
      expect(bus.configRead(EDU, 4, 2) & 6).toBe(6);
      expect(() => bar(EDU, 1)).toThrow(RangeError);
      yield;
    });
    expect(await session.ended).toEqual({ reason: "powered-off" });
  });

  test("each yield lets time pass to the next event", async () => {
    const { session, said, start } = open();
    await start(function* ({ clock, print }) {
      clock.after(500, () => { print(`${clock.now} `); });
      clock.after(900, () => { print(`${clock.now} `); });
      yield;
      print("then ");
      yield;
      yield;
      print(String(clock.now));
    });
    expect([await session.ended, said.join("")]).toEqual([{ reason: "powered-off" }, "500 then 900 900"]);
  });

  test("interrupts are kept until they are asked for", async () => {
    const { session, start } = open();
    session.message(0xfee0_0000, 0x40);
    await start(function* ({ interrupts }) {
      expect([interrupts(), interrupts()]).toEqual([[{ kind: "message", address: 0xfee0_0000, data: 0x40 }], []]);
      yield;
    });
    expect(await session.ended).toEqual({ reason: "powered-off" });
  });
});

describe("how a guest ends", () => {
  test("a script that throws has failed", async () => {
    const { session, start } = open();
    await start(function* () {
      yield;
      throw new RangeError("no more");
    });
    expect(await session.ended).toEqual({ reason: "failed", text: "no more" });
  });

  test("one that is stopped runs no further", async () => {
    const { session, said, start } = open();
    await start(function* ({ print }) {
      print("one");
      void session.stop();
      yield;
      print("two");
    });
    expect([await session.ended, said]).toEqual([{ reason: "stopped" }, ["one"]]);
    expect(await session.stop()).toEqual({ reason: "stopped" });
  });

  test("one that was stopped before it started does not start", async () => {
    const { session, said, start } = open();
    await session.stop();
    await start(function* ({ print }) {
      print("never");
      yield;
    });
    expect(said).toEqual([]);
  });

  test("a board that cannot be made is a refusal", async () => {
    const { session } = open();
    await expect(
      session.start(function* () { yield; }, () => { throw new RangeError("impossible"); }),
    ).rejects.toThrow("impossible");
  });
});
