import { Access, NO_PASID } from "@iommu-lab/pci-bus";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { replayWith, requestsBehind, type ReplayReport } from "../../src/replay/replay.ts";
import { TraceError } from "../../src/replay/trace-fields.ts";
import { FAULTS, HEADER, madeMachines, SENDS, trace } from "./made-machine.ts";

const run = async (...steps: readonly object[]): Promise<ReplayReport> => replayWith(madeMachines().machines, trace(...steps));
const differences = ({ mismatches }: ReplayReport): unknown[] => mismatches.map(({ line, op, expected, actual }) => [line, op, expected, actual]);

const WRITE = { op: "mem_write", addr: "0x11ffe", data: "0102030405060708" };
const SEND = { op: "reg_write", off: `0x${SENDS.toString(16)}`, size: 4, value: "0x33" };
const SENT = { op: "iommu_msi", addr: "0x1fee00000", data: "0x33" };
const BLOCKED = { op: "msi", bdf: "00:04.0", addr: "0xfee00000", data: "0x0", out: null };
const IRQ = { dest: 5, dest_mode: 1, delivery_mode: 1, vector: 0x41, trigger_mode: 1, redir_hint: 1 };
const PASSED = { op: "msi", bdf: "00:04.0", addr: "0xfee0500c", data: "0x8141", out: { addr: "0xfee0500c", data: "0x8141" }, irq: IRQ };

describe("observations that agree", () => {
  test.each<[string, readonly object[], number]>([
    ["memory as written", [WRITE, { op: "mem_read", addr: "0x12000", len: 2, data: "0304" }], 1],
    ["memory where no RAM is: zeros", [{ op: "mem_read", addr: "0xfffffe", len: 4, data: "00000000" }], 1],
    ["a fill whose pattern does not divide it", [{ op: "mem_fill", addr: "0x10", len: 8, data: "010203" }, { op: "mem_read", addr: "0xf", len: 10, data: "00010203010203010200" }], 1],
    ["a fill longer than the pieces it is made of", [{ op: "mem_fill", addr: "0x10", len: 70000, data: "010203" }, { op: "mem_read", addr: "0x10010", len: 6, data: "020301020301" }], 1],
    ["a fill with zeros over what was there", [WRITE, { op: "mem_fill", addr: "0x12000", len: 3, data: "00" }, { op: "mem_read", addr: "0x11ffe", len: 8, data: "0102000000060708" }], 1],
    ["a register in 8 bytes, and its upper half in 4", [{ op: "reg_write", off: "0x20", size: 8, value: "0x123456789abcdef0" }, { op: "reg_read", off: "0x20", size: 8, value: "0x123456789abcdef0" }, { op: "reg_read", off: "0x24", size: 4, value: "0x12345678" }], 2],
    ["the bits of a mask", [{ op: "reg_write", off: "0x20", size: 8, value: "0xff000000000000ff" }, { op: "reg_read", off: "0x20", size: 8, value: "0xf000000000000a0f", mask: "0xf00000000000000f" }], 1],
    ["a DMA read through the IOMMU", [WRITE, { op: "dma_read", bdf: "00:04.0", iova: "0x1ffe", len: 4, parts: [{ iova: "0x1ffe", len: 2, data: "0102" }, { iova: "0x2000", len: 2, data: "0304" }] }], 1],
    ["the same without a list of parts", [WRITE, { op: "dma_read", bdf: "00:04.0", iova: "0x1ffe", len: 4, data: "01020304" }], 1],
    ["a DMA write of which one part is aborted", [{ op: "dma_write", bdf: "00:04.0", iova: "0xffffe", data: "01020304", parts: [{ iova: "0xffffe", len: 2, ok: true }, { iova: "0x100000", len: 2, ok: false }] }, { op: "mem_read", addr: "0x10fffe", len: 4, data: "01020000" }], 2],
    ["a DMA read that is aborted", [{ op: "dma_read", bdf: "00:04.0", iova: "0xfffffffffffff000", len: 4, data: null }], 1],
    ["a zero-length read", [{ op: "dma_read", bdf: "00:04.0", iova: "0x1000", len: 0, data: "" }, { op: "dma_read", bdf: "00:04.0", iova: "0x100000", len: 0, data: null }], 2],
    ["an interrupt that passes, and one that is blocked", [PASSED, BLOCKED], 2],
    ["a message of the IOMMU itself, with a note between", [SEND, { op: "note", text: "here" }, SENT], 1],
    ["numbers that are no strings", [{ op: "reg_write", off: 32, size: 4, value: 7 }, { op: "reg_read", off: 32, size: 4, value: 7 }], 1],
  ])("%s", async (_what, steps, compared) => {
    expect(await run(...steps)).toMatchObject({ compared, skipped: 0, mismatches: [] });
  });
});

describe("observations that differ", () => {
  test.each<[string, readonly object[], readonly unknown[]]>([
    ["memory", [WRITE, { op: "mem_read", addr: "0x12000", len: 2, data: "0305" }], [[3, "mem_read", "0305", "0304"]]],
    ["a register", [{ op: "reg_read", off: "0x20", size: 8, value: "0x100000000" }], [[2, "reg_read", "0x100000000", "0x0"]]],
    ["a register under a mask: only its bits are shown", [{ op: "reg_read", off: "0x20", size: 8, value: "0xff00000000000001", mask: "0xf000000000000000" }], [[2, "reg_read", "0xf000000000000000", "0x0"]]],
    ["DMA that should have been aborted", [{ op: "dma_read", bdf: "00:04.0", iova: "0x1000", len: 2, data: null }], [[2, "dma_read", null, "0000"]]],
    ["DMA that should have gone through", [{ op: "dma_write", bdf: "00:04.0", iova: "0x100000", data: "01", ok: true }], [[2, "dma_write", true, false]]],
    ["one part of a transfer", [{ op: "dma_write", bdf: "00:04.0", iova: "0xfffff", data: "0102", parts: [{ iova: "0xfffff", len: 1, ok: true }, { iova: "0x100000", len: 1, ok: true }] }], [[2, "dma_write", [{ iova: "0xfffff", len: 1, ok: true }, { iova: "0x100000", len: 1, ok: true }], [{ iova: "0xfffff", len: 1, ok: true }, { iova: "0x100000", len: 1, ok: false }]]]],
    ["an interrupt blocked that passes", [{ ...PASSED, out: null, irq: undefined }], [[2, "msi", null, { irq: IRQ }]]],
    ["an interrupt passed that is blocked", [{ ...PASSED, data: "0x0" }], [[2, "msi", { out: PASSED.out, irq: IRQ }, null]]],
    ["the message behind an interrupt", [{ ...PASSED, out: { addr: "0xfee0600c", data: "0x8141" } }], [[2, "msi", { out: { addr: "0xfee0600c", data: "0x8141" }, irq: IRQ }, { irq: IRQ }]]],
    ["a message of the IOMMU", [SEND, { ...SENT, data: "0x34" }], [[3, "iommu_msi", { addr: "0x1fee00000", data: "0x34" }, { addr: "0x1fee00000", data: "0x33" }]]],
    ["a message that the IOMMU did not send", [WRITE, SENT], [[3, "iommu_msi", { addr: "0x1fee00000", data: "0x33" }, null]]],
    ["a message that it should not have sent: at the step that made it", [SEND, WRITE], [[2, "iommu_msi", null, { addr: "0x1fee00000", data: "0x33" }]]],
    ["such a message at the end of the trace", [WRITE, SEND], [[3, "iommu_msi", null, { addr: "0x1fee00000", data: "0x33" }]]],
    ["a second one beside the expected", [{ ...SEND, off: "0x5c", size: 8, value: "0x3300000000" }, SENT, SENT], [[4, "iommu_msi", { addr: "0x1fee00000", data: "0x33" }, null]]],
  ])("%s", async (_what, steps, expected) => {
    expect(differences(await run(...steps))).toEqual(expected);
  });

  test.each(Object.keys(IRQ))("the %s of an interrupt is compared", async (key) => {
    const report = await run({ ...PASSED, irq: { ...IRQ, [key]: 0 } });
    expect(report.mismatches).toHaveLength(1);
  });

  test("a mismatch does not end the replay", async () => {
    const report = await run({ op: "reg_read", off: "0x20", size: 4, value: "0x1" }, WRITE, { op: "mem_read", addr: "0x11ffe", len: 1, data: "01" }, { op: "reg_read", off: "0x24", size: 4, value: "0x1" });
    expect([report.compared, report.mismatches.map(({ line }) => line)]).toEqual([3, [2, 5]]);
  });
});

describe("steps marked impl", () => {
  test("are not done and not compared; only those that observe are counted", async () => {
    const impl = "not determined";
    expect(await run({ ...WRITE, impl }, { ...SEND, impl }, { op: "reg_read", off: "0x20", size: 4, value: "0x9", impl }, { op: "dma_write", bdf: "00:04.0", iova: "0x1000", data: "ff", ok: true, impl }, { ...PASSED, out: null, impl }, { op: "mem_read", addr: "0x11000", len: 1, data: "00" })).toMatchObject({ compared: 1, skipped: 3, mismatches: [] });
  });

  test("a marked message may be there or not", async () => {
    expect(await run(SEND, { ...SENT, impl: "may be" }, WRITE, { ...SENT, impl: "may be" })).toMatchObject({ compared: 0, skipped: 2, mismatches: [] });
  });
});

describe("requests", () => {
  test("carry what the step says; execute and privileged only with a PASID", async () => {
    const { machines, requests } = madeMachines();
    const dma = { op: "dma_read", bdf: "01:02.3", iova: "0x1000", len: 1, data: "00" };
    await replayWith(machines, trace(dma, { ...dma, pasid: 7 }, { ...dma, pasid: "0xfffff", priv: true, exec: true }, { ...dma, priv: true, exec: true }, { op: "dma_write", bdf: "01:02.3", iova: "0x1000", data: "00", ok: true, pasid: 1, priv: true, exec: true }));
    expect(requests().map(({ requester, pasid, access }) => [requester, pasid, access])).toEqual([
      [0x113, NO_PASID, Access.Read],
      [0x113, 7, Access.Read],
      [0x113, 0xf_ffff, Access.Read | Access.Execute | Access.Privileged],
      [0x113, NO_PASID, Access.Read],
      [0x113, 1, Access.Write | Access.Privileged],
    ]);
  });

  test("are explained when asked for, in a replay of their own", async () => {
    const text = trace({ op: "dma_read", bdf: "00:04.0", iova: "0x100000", len: 1, data: null }, { op: "dma_read", bdf: "00:04.0", iova: "0x1000", len: 1, data: "00" }, { op: "reg_read", off: `0x${FAULTS.toString(16)}`, size: 4, value: "0x2" }, { op: "reg_read", off: "0x20", size: 4, value: "0x2" });
    const { mismatches, explanations } = await replayWith(madeMachines().machines, text);
    expect([mismatches.map(({ request }) => request), explanations.size]).toEqual([[3, undefined], 0]);
    const second = await replayWith(madeMachines().machines, text, { explain: requestsBehind(mismatches) });
    expect([...second.explanations].map(([line, steps]) => [line, steps.map(({ outcome }) => outcome)])).toEqual([[3, ["translated"]]]);
  });
});

const MEM = { op: "mem_read", addr: "0x0", len: 1, data: "00" };
const READ = { op: "dma_read", bdf: "00:04.0", iova: "0x0", len: 2, data: "0000" };

describe("what is no trace is refused with its line", () => {
  test.each<[string, string, number, string]>([
    ["nothing", "", 1, "empty"],
    ["no machine", JSON.stringify(MEM), 1, `begins with the op "machine"`],
    ["another version", `{"op":"machine","trace":2}`, 1, `"trace" is 2`],
    ["another vendor", `{"op":"machine","trace":1,"iommu":"arm"}`, 1, `"iommu" is "arm"`],
    ["a vendor without a model", `{"op":"machine","trace":1,"iommu":"amd","ram":"0x1000","regs":{}}`, 1, "cannot be replayed yet"],
    ["no size of RAM", `{"op":"machine","trace":1,"iommu":"intel","regs":{}}`, 1, `"ram" is missing`],
    ["no registers", `{"op":"machine","trace":1,"iommu":"intel","ram":"0x1000"}`, 1, `"regs" is missing`],
    ["a broken RAM map", `{"op":"machine","trace":1,"iommu":"intel","ram":"0x1000","regs":{},"ram_map":[["0x0"]]}`, 1, "ram_map"],
    ["a broken reset value", `{"op":"machine","trace":1,"iommu":"intel","ram":"0x1000","regs":{},"reset":{"x":{"size":4,"value":"0x0"}}}`, 1, "machine.reset"],
    ["half a line", `${HEADER}\n{"op":"mem_re`, 2, "not JSON"],
    ["a list", `${HEADER}\n\n[]`, 3, "no JSON object"],
    ["no op", `${HEADER}\n{}`, 2, `no "op"`],
    ["an unknown op", `${HEADER}\n{"op":"cfg_read"}`, 2, `unknown op "cfg_read"`],
    ["an op that every object has", `${HEADER}\n{"op":"constructor"}`, 2, `unknown op "constructor"`],
    ["an unknown op even when marked", `${HEADER}\n{"op":"irqs","impl":"x"}`, 2, `unknown op "irqs"`],
    ["a second machine", `${HEADER}\n${HEADER}`, 2, `unknown op "machine"`],
    ["a mark that is no text", trace({ ...MEM, impl: false }), 2, `"impl" is false`],
  ])("%s", async (_what, text, line, message) => {
    await expect(replayWith(madeMachines().machines, text)).rejects.toMatchObject({ name: "TraceError", line, message: expect.stringContaining(message) as string });
  });

  test.each<[object, string]>([
    [{ ...MEM, len: 2 }, "disagree"],
    [{ ...MEM, addr: "0x10000000000001" }, `"addr" is "0x10000000000001"`],
    [{ ...MEM, addr: -1 }, `"addr" is -1`],
    [{ ...MEM, addr: "12" }, `"addr" is "12"`],
    [{ ...MEM, data: "0" }, `"data" is "0"`],
    [{ ...MEM, data: "0g" }, `"data" is "0g"`],
    [{ ...MEM, data: undefined }, `"data" is missing`],
    [{ op: "mem_fill", addr: "0x0", len: 4, data: "" }, "empty"],
    [{ op: "reg_read", off: "0x0", size: 2, value: "0x0" }, `"size" is 2`],
    [{ op: "reg_read", off: "0x0", size: 4, value: "0x100000000" }, "more than 32 bits"],
    [{ op: "reg_read", off: "0x0", size: 8, value: "0x10000000000000000" }, `"value" is "0x10000000000000000"`],
    [{ ...READ, bdf: "00:20.0" }, `"bdf" is "00:20.0"`],
    [{ ...READ, pasid: "0x100000" }, "pasid"],
    [{ ...READ, priv: 1 }, "priv"],
    [{ ...READ, parts: {} }, "parts"],
    [{ ...READ, parts: [{ iova: "0x0", len: 1, data: null }] }, "1 bytes together"],
    [{ ...READ, parts: [{ iova: "0x0", len: 1, data: null }, { iova: "0x2", len: 1, data: null }] }, "follow each other"],
    [{ op: "dma_write", bdf: "00:04.0", iova: "0x0", data: "00" }, `"ok" is missing`],
    [{ op: "msi", bdf: "00:04.0", addr: "0xfee00000", data: "0x0" }, `"out" is missing`],
    [{ ...PASSED, irq: { ...IRQ, vector: 256 } }, "vector"],
    [{ op: "iommu_msi", addr: "0xfee00000", data: "0x100000000" }, "data"],
  ])("%j", async (step, message) => {
    await expect(run(MEM, step)).rejects.toMatchObject({ name: "TraceError", line: 3, message: expect.stringContaining(message) as string });
  });

  test("a trace that fills more memory than there is to use", async () => {
    await expect(replayWith(madeMachines().machines, `{"op":"machine","trace":1,"iommu":"intel","ram":"0x100000000","regs":{}}\n{"op":"mem_fill","addr":"0x0","len":"0x100000000","data":"01"}`)).rejects.toMatchObject({ name: "TraceError", line: 2, message: expect.stringContaining("budget") as string });
  });

  test("whatever is done to a line: an answer or a TraceError, nothing else", async () => {
    const good = [MEM, READ, WRITE, SEND, SENT, PASSED, BLOCKED, { op: "mem_fill", addr: "0x0", len: 4, data: "00" }, { op: "reg_read", off: "0x20", size: 8, value: "0x0", mask: "0xff" }];
    const values = fc.oneof(fc.jsonValue(), fc.constantFrom("0x0", "0xffffffffffffffff", "", null, [], {}, [{ iova: "0x0", len: 1, data: null }]));
    const damaged = fc.tuple(fc.constantFrom(...good), fc.dictionary(fc.constantFrom("op", "addr", "len", "data", "off", "size", "value", "mask", "bdf", "iova", "parts", "out", "irq", "ok", "pasid", "impl"), values)).map(([step, changes]) => JSON.stringify({ ...step, ...changes }));
    const lines = fc.array(fc.oneof(damaged, fc.string(), fc.constantFrom(...good).map((step) => JSON.stringify(step)).chain((text) => fc.nat(text.length).map((at) => text.slice(0, at)))), { maxLength: 6 });
    await fc.assert(
      fc.asyncProperty(lines, async (steps) => {
        const outcome: unknown = await replayWith(madeMachines().machines, [HEADER, ...steps]).catch((error: unknown) => error);
        if (outcome instanceof TraceError) expect(outcome.line).toBeLessThanOrEqual(steps.length + 1);
        else expect(outcome).not.toBeInstanceOf(Error);
      }),
    );
  });
});
