/** What Linux's own drivers did to the models, once, replayed without QEMU: its registers, tables, queues, DMA and interrupts. */
import { readFileSync } from "node:fs";
import { gunzipSync } from "node:zlib";
import { describe, expect, test } from "vitest";
import { replay } from "../../src/replay/index.ts";

const linesOf = (vendor: string): string[] => gunzipSync(readFileSync(new URL(`fixtures/linux-6.1-${vendor}.jsonl.gz`, import.meta.url))).toString("utf8").trimEnd().split("\n");
const opsOf = (lines: readonly string[]): Set<string> => new Set(lines.map((line) => (JSON.parse(line) as { op: string }).op));

describe.each(["intel", "amd"])("Linux 6.1 on %s", (vendor) => {
  const lines = linesOf(vendor);
  test("the trace holds what a driver does", () => {
    expect([...opsOf(lines)]).toEqual(expect.arrayContaining(["machine", "reg_read", "reg_write", "mem_write", "dma_read", "dma_write", "msi"]));
  });
  test.each(["none", "realistic", "adversarial"] as const)("every observation agrees with caches %s: the driver invalidates what it must", async (caches) => {
    const { compared, skipped, mismatches } = await replay(lines, { caches });
    expect({ skipped, mismatches }).toEqual({ skipped: 0, mismatches: [] });
    expect(compared).toBeGreaterThan(500);
  });
  test("interrupts came out of remapping entries", () => {
    const messages = lines.map((line) => JSON.parse(line) as { op: string; addr: string; out: { addr: string } | null }).filter(({ op }) => op === "msi");
    expect(messages.length).toBeGreaterThan(0);
    for (const { addr, out } of messages) expect(out?.addr).not.toBe(addr);
  });
});
