import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { gzipSync } from "node:zlib";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { iommu, shareCompiled } from "./run-iommu.ts";

const folder = mkdtempSync(join(tmpdir(), "iommu-lab-replay-"));
const at = (name: string): string => join(folder, name);
const put = (name: string, contents: string | Uint8Array): void => {
  mkdirSync(dirname(at(name)), { recursive: true });
  writeFileSync(at(name), contents);
};

const HEADER = `{"op":"machine","trace":1,"iommu":"intel","ram":"0x10000000","regs":{"base":"0xfed90000","size":"0x1000"}}`;
const MARKED_OTHERWISE = `{"op":"reg_read","off":"0x0","size":4,"value":"0x98","impl":"a reason \\u001b[31m of its own"}`;
const NOTE = `{"op":"note","text":"nothing to do"}`;
const READ = `{"op":"dma_read","bdf":"00:04.0","iova":"0x1000","len":2,"data":"0000"}`;
const MARKED = `{"op":"reg_read","off":"0x0","size":4,"value":"0x99","impl":"an example"}`;
/** Aborted, says the trace; the model, with translation off, reads zeros. The key that nobody knows is meant for terminals. */
const WRONG = `{"op":"dma_read","bdf":"00:04.0","iova":"0x2000","len":2,"data":null,"why":"\u009b31m"}`;
const trace = (...lines: readonly string[]): string => `${[HEADER, ...lines].join("\n")}\n`;

interface Report {
  readonly files: readonly { readonly file: string; readonly compared: number; readonly skipped: number; readonly mismatches: readonly object[] }[];
  readonly totals: object;
  readonly skippedByMark: Readonly<Record<string, number>>;
}

beforeAll(async () => {
  shareCompiled(at("compiled"));
  put("good.jsonl", trace(NOTE, READ, MARKED));
  put("marks.jsonl", trace(MARKED_OTHERWISE, MARKED, MARKED));
  put("all/b.jsonl", trace(READ));
  put("all/below/a.jsonl.gz", gzipSync(trace(READ, READ)));
  put("all/readme.txt", "no trace");
  put("wrong.jsonl.gz", gzipSync(trace(READ, WRONG, MARKED)));
  put("misnamed.jsonl", gzipSync(trace(READ)));
  put("no-end.jsonl", trace(READ).trimEnd());
  put("unknown.jsonl", trace(READ, `{"op":"frobnicate"}`));
  put("cut.jsonl.gz", gzipSync(trace(READ)).subarray(0, 40));
  put("half.jsonl", trace(READ).slice(0, -10));
  put("binary.jsonl", Uint8Array.of(0x7b, 0xff, 0xfe, 0x0a));
  put("via.jsonl", HEADER.replace("intel", "via"));
  put("empty.jsonl", "");
  // 256 MiB of zeros in 256 KiB: one line without an end.
  put("bomb.jsonl.gz", gzipSync(new Uint8Array(2 ** 28), { level: 9 }));
  mkdirSync(at("nothing"));
  await iommu(["replay", at("good.jsonl")]);
});

afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
});

describe.concurrent("iommu replay", () => {
  test("counts what it compared and what the trace marks", async () => {
    const { code, stdout, stderr } = await iommu(["replay", "--json", at("good.jsonl")]);
    expect([code, stderr]).toEqual([0, ""]);
    expect(JSON.parse(stdout)).toEqual({ files: [{ file: at("good.jsonl"), compared: 1, skipped: 1, mismatches: [] }], totals: { compared: 1, skipped: 1, mismatches: 0 }, skippedByMark: { "an example": 1 } });
  });

  test("says how often each mark of all traces let it skip, the commonest first", async () => {
    const paths = ["marks.jsonl", "good.jsonl", "all"].map(at);
    const { skippedByMark } = JSON.parse((await iommu(["replay", "--json", ...paths])).stdout) as Report;
    expect(Object.entries(skippedByMark)).toEqual([["an example", 3], ["a reason \u001b[31m of its own", 1]]);
    const { stdout } = await iommu(["replay", ...paths]);
    expect(stdout).toMatch(/\n4 traces: 4 compared, 4 skipped, no mismatch\n {2}3 skipped: an example\n {2}1 skipped: a reason \?\[31m of its own\n$/);
  });

  test("one trace needs no sum to tell its marks; one without marks has nothing to tell", async () => {
    expect((await iommu(["replay", at("good.jsonl")])).stdout).toMatch(/: 1 compared, 1 skipped, no mismatch\n {2}1 skipped: an example\n$/);
    expect((await iommu(["replay", at("no-end.jsonl")])).stdout).toMatch(/: 1 compared, 0 skipped, no mismatch\n$/);
  });

  test("goes on after a mismatch, through all files, and ends with 1", async () => {
    const { code, stdout } = await iommu(["replay", "--json", at("wrong.jsonl.gz"), at("good.jsonl")]);
    const { files, totals } = JSON.parse(stdout) as Report;
    expect([code, files.map(({ file }) => file), totals]).toEqual([1, [at("wrong.jsonl.gz"), at("good.jsonl")], { compared: 3, skipped: 2, mismatches: 1 }]);
    expect(files[0]?.mismatches).toEqual([{ line: 3, op: "dma_read", expected: null, actual: "0000" }]);
  });

  test("for people: the step, expected, actual, and how the model decided", async () => {
    const { code, stdout, stderr } = await iommu(["replay", at("wrong.jsonl.gz"), at("good.jsonl")]);
    expect([code, stderr]).toEqual([1, ""]);
    expect(stdout).toMatch(/line 3: \{"op":"dma_read"[^\n]*\n\s+expected\s+null\n\s+actual\s+"0000"\n\s+how the model decided:\n\s+\S/);
    expect(stdout).toContain("2 traces: 3 compared, 2 skipped, 1 mismatch");
    // eslint-disable-next-line no-control-regex -- control characters are what is looked for
    expect(stdout).not.toMatch(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/);
  });

  test.each(["none", "realistic", "adversarial"])("--caches %s", async (policy) => {
    expect((await iommu(["replay", "--caches", policy, at("good.jsonl")])).code).toBe(0);
  });

  test("a folder means all traces below it, in the order of their names", async () => {
    const { code, stdout } = await iommu(["replay", "--json", at("all")]);
    expect([code, (JSON.parse(stdout) as Report).files.map(({ file, compared }) => [file, compared])]).toEqual([0, [[at("all/b.jsonl"), 1], [at("all/below/a.jsonl.gz"), 2]]]);
  });

  test.each(["misnamed.jsonl", "no-end.jsonl"])("%s is read by what is in it", async (name) => {
    expect(JSON.parse((await iommu(["replay", "--json", at(name)])).stdout)).toMatchObject({ totals: { compared: 1, mismatches: 0 } });
  });

  test.each([
    ["missing.jsonl", "missing.jsonl: there is no such file"],
    ["unknown.jsonl", `unknown.jsonl:3: unknown op "frobnicate"`],
    ["half.jsonl", "half.jsonl:2: not JSON"],
    ["binary.jsonl", "binary.jsonl:1: not text"],
    ["empty.jsonl", "empty.jsonl:1: the trace is empty"],
    ["via.jsonl", "via.jsonl:1: machine"],
    ["cut.jsonl.gz", "Cannot read"],
    ["bomb.jsonl.gz", "bomb.jsonl.gz:1: a line of more than"],
    ["nothing", "holds no .jsonl"],
  ])("%s ends with 2 and a sentence, also after a good file", async (name, message) => {
    const { code, stdout, stderr } = await iommu(["replay", "--json", at("good.jsonl"), at(name)]);
    expect([code, stdout]).toEqual([2, ""]);
    expect(stderr).toMatch(/^iommu: [^\n]+\n$/);
    expect(stderr).toContain(message);
  });

  test.each([
    [["replay"], "files"],
    [["replay", "--caches", "some", "x.jsonl"], `"some" is none of them`],
  ])("%j is refused", async (args, message) => {
    const { code, stdout, stderr } = await iommu(args);
    expect([code, stdout]).toEqual([2, ""]);
    expect(stderr).toContain(message);
  });

  test("--help has an example", async () => {
    const { code, stdout } = await iommu(["replay", "--help"]);
    expect([code, stdout]).toEqual([0, expect.stringContaining("$ iommu replay trace.jsonl.gz")]);
  });
});
