/** Registers as docs/specs/edu.rst of QEMU has them. */
import { describe, expect, test } from "vitest";
import { EduFunction, type EduOptions } from "../../src/devices/index.ts";
import { Bench, capabilityOf, programMsix } from "./bench.ts";

const Register = { Identification: 0x00, Liveness: 0x04, Factorial: 0x08, Status: 0x20, InterruptStatus: 0x24, Raise: 0x60, Acknowledge: 0x64, Source: 0x80, Destination: 0x88, Count: 0x90, Command: 0x98 } as const;
const BUFFER = 0x4_0000;
const MEMORY = 0x1_0ff0;
const [START, TO_MEMORY, RAISE, REFUSED] = [1, 2, 4, 8];
const ONES = 0xffff_ffff;

interface Rig {
  readonly bench: Bench;
  readonly fn: EduFunction;
  readonly read: (at: number, size?: 1 | 2 | 4) => number;
  readonly write: (at: number, value: number, size?: 1 | 2 | 4) => void;
  readonly transfer: (source: number, destination: number, count: number, command: number) => number;
}

const setUp = (options?: EduOptions): Rig => {
  const bench = new Bench();
  const fn = new EduFunction(options);
  fn.connect(bench);
  const read = (at: number, size: 1 | 2 | 4 = 4): number => fn.bars[0]?.read(at, size) ?? NaN;
  const write = (at: number, value: number, size: 1 | 2 | 4 = 4): void => fn.bars[0]?.write(at, size, value);
  return {
    bench,
    fn,
    read,
    write,
    transfer: (source, destination, count, command) => {
      write(Register.Source, source);
      write(Register.Destination, destination);
      write(Register.Count, count);
      write(Register.Command, command);
      return read(Register.Command);
    },
  };
};

describe("registers", () => {
  test("identification: 1.0", () => {
    const { read, fn } = setUp();
    expect([read(Register.Identification), fn.config.read(0, 4)]).toEqual([0x0100_00ed, 0x11e8_1234]);
  });

  test("liveness inverts", () => {
    const { read, write } = setUp();
    write(Register.Liveness, 0x1234_5678);
    expect(read(Register.Liveness)).toBe(0xedcb_a987);
  });

  test.each([[0, 1], [1, 1], [5, 120], [12, 479_001_600], [13, 1_932_053_504], [33, 2 ** 31], [34, 0], [ONES, 0]])("the factorial of %i, in 32 bits", (n, product) => {
    const { read, write } = setUp();
    write(Register.Factorial, n);
    expect([read(Register.Factorial), read(Register.Status)]).toEqual([product, 0]);
  });

  test("only bit 7 of the status can be written", () => {
    const { read, write } = setUp();
    write(Register.Status, ONES);
    expect(read(Register.Status)).toBe(0x80);
  });

  test.each([Register.Source, Register.Destination, Register.Count, Register.Command])("register %i has 64 bits, at once or in halves", (at) => {
    const { fn, read, write } = setUp();
    const pair = new Uint32Array(2);
    fn.bars[0]?.write64(at, 0x1234_5670, 0x9abc_def0);
    expect([read(at), read(at + 4)]).toEqual([0x1234_5670, 0x9abc_def0]);
    write(at, 0x10);
    fn.bars[0]?.read64(at, pair);
    expect([...pair]).toEqual([0x10, 0x9abc_def0]);
  });

  test.each([1, 2] as const)("accesses of %i bytes are not served", (size) => {
    const { read, write } = setUp();
    write(Register.Liveness, 0x55, size);
    write(Register.Source, 0x55, size);
    expect([read(Register.Liveness), read(Register.Source), read(Register.Identification, size)]).toEqual([0, 0, 2 ** (8 * size) - 1]);
  });

  test("8 bytes are served from 80h on only", () => {
    const { fn, read } = setUp();
    const pair = new Uint32Array(2);
    fn.bars[0]?.read64(Register.Identification, pair);
    fn.bars[0]?.write64(Register.Identification, 0, 7);
    expect([...pair, read(Register.Liveness)]).toEqual([ONES, ONES, 0]);
  });

  test.each([0x0c, 0x1c, 0x28, Register.Raise, Register.Acknowledge, 0xa0, BUFFER])("nothing is read at %i", (at) => {
    expect(setUp().read(at)).toBe(ONES);
  });
});

describe("interrupts", () => {
  test("raising adds reasons, acknowledging takes them away; the pin is high in between", () => {
    const { bench, read, write } = setUp({ interrupts: "intx" });
    write(Register.Raise, 0x5);
    write(Register.Raise, 0x8000_0002);
    expect([read(Register.InterruptStatus), bench.pin]).toEqual([0x8000_0007, true]);
    write(Register.Acknowledge, 0x3);
    expect([read(Register.InterruptStatus), bench.pin]).toEqual([0x8000_0004, true]);
    write(Register.Acknowledge, ONES);
    expect([read(Register.InterruptStatus), bench.pin]).toEqual([0, false]);
  });

  test("raising nothing while nothing is pending is no interrupt", () => {
    const { bench, write } = setUp({ interrupts: "intx" });
    write(Register.Raise, 0);
    expect(bench.pin).toBe(false);
  });

  test("the factorial's, where the status asks for it", () => {
    const { bench, read, write } = setUp({ interrupts: "intx" });
    write(Register.Factorial, 3);
    expect(bench.pin).toBe(false);
    write(Register.Status, 0x80);
    write(Register.Factorial, 3);
    expect([read(Register.InterruptStatus), bench.pin]).toEqual([1, true]);
  });

  test("by MSI", () => {
    const { bench, fn, write } = setUp();
    const at = capabilityOf(fn, 0x05);
    const wide = (fn.config.read(at + 2, 2) & 0x80) !== 0;
    fn.config.write(at + 4, 4, 0xfee0_2000);
    fn.config.write(at + (wide ? 12 : 8), 2, 0x51);
    fn.config.write(at + 2, 2, 1);
    write(Register.Raise, 1);
    expect([bench.messages, bench.pin]).toEqual([[[0xfee0_2000, 0x51]], false]);
  });

  test("by MSI-X", () => {
    const { bench, fn, write } = setUp({ interrupts: "msix" });
    programMsix(fn, 0x8_0000, 1);
    write(Register.Raise, 1);
    expect([bench.messages, bench.pin]).toEqual([[[0xfee0_1000, 0x40]], false]);
  });

  test("by the pin while neither is switched on", () => {
    for (const interrupts of ["msi", "msix"] as const) {
      const { bench, write } = setUp({ interrupts });
      write(Register.Raise, 1);
      expect([bench.messages, bench.pin]).toEqual([[], true]);
    }
  });
});

describe("DMA", () => {
  const data = Uint8Array.from({ length: 64 }, (_, i) => i + 1);

  test("from memory into the buffer, across a page, and back elsewhere", () => {
    const { bench, fn, transfer } = setUp();
    bench.memory.writeFrom(MEMORY, data);
    expect(transfer(MEMORY, BUFFER + 8, 64, START)).toBe(0);
    expect(fn.buffer.slice(8, 72)).toEqual(data);
    expect(transfer(BUFFER + 8, 0x2_0000, 64, START | TO_MEMORY)).toBe(TO_MEMORY);
    const back = new Uint8Array(64);
    bench.memory.readInto(0x2_0000, back);
    expect(back).toEqual(data);
  });

  test("without the start bit nothing moves", () => {
    const { bench, transfer } = setUp();
    expect([transfer(MEMORY, BUFFER, 64, TO_MEMORY), bench.reads.length]).toEqual([TO_MEMORY, 0]);
  });

  test("an interrupt at the end, where it is asked for", () => {
    const { bench, read, transfer } = setUp();
    transfer(MEMORY, BUFFER, 4, START);
    expect(bench.pin).toBe(false);
    transfer(MEMORY, BUFFER, 4, START | RAISE);
    expect([read(Register.InterruptStatus), bench.pin]).toEqual([0x100, true]);
  });

  test("addresses have 64 bits", () => {
    const { bench, fn, transfer, write } = setUp();
    write(Register.Source + 4, 0xffff_ffff);
    expect([transfer(0xffff_f000, BUFFER, 4, START), bench.reads]).toEqual([REFUSED, [[0xffff_ffff_ffff_f000n, 4]]]);
    expect(fn.buffer.every((byte) => byte === 0)).toBe(true);
  });

  test("a refused transfer says so, with its interrupt, and the next one that goes well takes that back", () => {
    const { bench, read, transfer } = setUp();
    bench.refuses = () => true;
    expect([transfer(MEMORY, BUFFER, 4, START | RAISE), read(Register.InterruptStatus)]).toEqual([RAISE | REFUSED, 0x100]);
    expect(transfer(BUFFER, MEMORY, 4, START | TO_MEMORY)).toBe(TO_MEMORY | REFUSED);
    bench.refuses = () => false;
    expect(transfer(MEMORY, BUFFER, 4, START)).toBe(0);
  });

  test.each<[string, number, number]>([["before", BUFFER - 4, 4], ["past the end", BUFFER + 4092, 8], ["longer than the whole", BUFFER, 4097], ["as long as can be", BUFFER, ONES]])("a range %s of the buffer is refused, and memory left alone", (_what, at, count) => {
    const { bench, transfer } = setUp();
    expect([transfer(MEMORY, at, count, START), transfer(at, MEMORY, count, START | TO_MEMORY) & REFUSED, bench.reads.length]).toEqual([REFUSED, REFUSED, 0]);
  });

  test("the whole buffer can be moved", () => {
    expect(setUp().transfer(0x2_0000, BUFFER, 4096, START)).toBe(0);
  });
});

test("a reset brings everything back", () => {
  const { bench, fn, read, write, transfer } = setUp();
  write(Register.Liveness, 1);
  write(Register.Factorial, 4);
  write(Register.Status, 0x80);
  write(Register.Raise, 1);
  transfer(0x2_0000, BUFFER, 4, START);
  fn.buffer.fill(1);
  fn.fabric.reset("function");
  expect([Register.Liveness, Register.Factorial, Register.Status, Register.InterruptStatus, Register.Destination, Register.Count].map((at) => read(at))).toEqual([0, 0, 0, 0, 0, 0]);
  expect([bench.pin, fn.buffer[0]]).toEqual([false, 0]);
});
