import { SparseMemory, type MmioHandler } from "@iommu-lab/memory";
import { expect, test } from "vitest";
import { TraceRecorder } from "../../src/replay/trace-recorder.ts";

const registers: MmioHandler = { read: () => 0, write: () => undefined, read64: (_offset, into) => { into.fill(0); }, write64: () => undefined };

const setUp = (): { readonly memory: SparseMemory; readonly recorder: TraceRecorder; readonly lines: () => unknown[] } => {
  const memory = new SparseMemory({ size: 2 ** 21 });
  const written: string[] = [];
  const recorder = new TraceRecorder(memory, { vendor: "intel", ram: memory.size, registerBase: 0, registerSize: 0x1000, reset: [], hostAddressWidth: 46, source: "a test" }, (line) => written.push(line));
  return { memory, recorder, lines: () => written.splice(0).map((line) => JSON.parse(line) as unknown) };
};

test("what the IOMMU writes is its own doing: a replayed one does it too", () => {
  const { memory, recorder, lines } = setUp();
  const tables = recorder.tableMemory(memory);
  tables.write32(0x1008, 5);
  tables.wordsOf(1);
  expect(lines()).toEqual([]);
  memory.write32(0x100c, 6);
  tables.wordsOf(1);
  tables.wordsOf(1);
  expect(lines()).toEqual([{ op: "mem_write", addr: "0x1000", data: "00000000000000000500000006000000" }]);
});

test("pages that the IOMMU looks at are recorded whole, those of devices as far as they look, in pieces of 16 bytes", () => {
  const { memory, recorder, lines } = setUp();
  for (const at of [0x1002, 0x1014, 0x1040, 0x1fff]) memory.write8(at, 0xaa);
  recorder.deviceMemory(memory).readInto(0x1005, new Uint8Array(2));
  expect(lines()).toEqual([{ op: "mem_write", addr: "0x1000", data: `0000aa${"00".repeat(13)}` }]);
  recorder.tableMemory(memory).wordsOf(1);
  expect(lines()).toMatchObject([{ addr: "0x1010" }, { addr: "0x1040" }, { addr: "0x1ff0" }]);
});

test("a device's read across pages, and past the end of memory", () => {
  const { memory, recorder, lines } = setUp();
  memory.writeFrom(0x1ff8, new Uint8Array(16).fill(1));
  const devices = recorder.deviceMemory(memory);
  devices.readInto(0x1ff8, new Uint8Array(16));
  devices.readInto(memory.size - 8, new Uint8Array(16));
  expect(lines()).toMatchObject([{ addr: "0x1ff0" }, { addr: "0x2000" }]);
});

test("what a device writes over what the processor wrote leaves the rest to be recorded", () => {
  const { memory, recorder, lines } = setUp();
  const devices = recorder.deviceMemory(memory);
  memory.writeFrom(0x1000, new Uint8Array(16).fill(1));
  devices.writeFrom(0x1004, Uint8Array.of(2, 2));
  devices.readInto(0x1000, new Uint8Array(16));
  expect(lines()).toEqual([{ op: "mem_write", addr: "0x1000", data: "01010101020201010101010101010101" }]);
});

test("words are read where they are, also in memory that shows many pages at once", () => {
  const { memory, recorder } = setUp();
  memory.write32(0x3010, 0x1234_5678);
  const tables = recorder.tableMemory(memory);
  const words = tables.wordsOf(3);
  expect(words?.[tables.wordOf(3) + 4]).toBe(0x1234_5678);
  expect(tables.wordsOf(memory.size / 4096)).toBeUndefined();
});

test("registers in 4 and 8 bytes, each with the messages that the IOMMU sent meanwhile", () => {
  const { recorder, lines } = setUp();
  const handler = recorder.registers({ ...registers, write64: () => { recorder.ownMessage(0xfee0_0000, 1, 0x31); } });
  expect(lines()).toMatchObject([{ op: "machine", trace: 1, iommu: "intel", ram: "0x200000", options: { haw: 46 } }]);
  handler.write64(0x88, 0x10, 0x8000_0000);
  handler.read(0x34, 4);
  expect(lines()).toEqual([
    { op: "reg_write", off: "0x88", size: 8, value: "0x8000000000000010" },
    { op: "iommu_msi", addr: "0x1fee00000", data: "0x31" },
    { op: "reg_read", off: "0x34", size: 4, value: "0x0" },
  ]);
});
