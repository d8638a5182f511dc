import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { hasShared, listShared, readFromSnapshot, skippedWithoutShared } from "../../../../test/shared.ts";
import { CAPABILITY_DEFINITIONS } from "../../src/capabilities/index.ts";
import { compareFunction, newComparison, type Comparison } from "./lspci-compare.ts";
import type { Origin } from "./lspci-header.ts";
import { parseLspci } from "./lspci-text.ts";

const compareText = (text: string, origin: Origin): Comparison & { functions: number } => {
  const comparison = newComparison();
  const functions = parseLspci(text);
  for (const each of functions) compareFunction(each, origin, comparison);
  return { ...comparison, functions: functions.length };
};

const latin1 = (bytes: Uint8Array): string => new TextDecoder("latin1").decode(bytes);

/** Capabilities that this text has no instance of: VPD (lspci reads the device), and VC with MFVC, which no builder makes. */
const NOT_IN_FIXTURE = ["03", "0x09"];

describe("lspci's reading of functions made with our builders (fixture)", () => {
  const comparison = compareText(readFileSync(new URL("../fixtures/lspci-random-functions.txt", import.meta.url), "latin1"), "dump");

  test("every field lspci prints is decoded to the same value, and nothing it prints goes unexplained", () => {
    expect(comparison.problems).toEqual([]);
    expect(comparison.functions).toBe(5);
  });

  test("every capability that is read register by register is compared", () => {
    const keys = CAPABILITY_DEFINITIONS.map(({ id, extended }) => (extended ? "0x" : "") + id.toString(16).padStart(2, "0"));
    expect(keys.filter((key) => !comparison.byCapability.has(key))).toEqual(NOT_IN_FIXTURE);
  });

  test("a single wrong bit is noticed", () => {
    const text = readFileSync(new URL("../fixtures/lspci-random-functions.txt", import.meta.url), "latin1");
    const flipped = text.replace(/SrcValid([+-])/, (_, sign: string) => `SrcValid${sign === "+" ? "-" : "+"}`);
    expect(compareText(flipped, "dump").problems).toHaveLength(1);
  });

  test("a token that no rule explains is noticed", () => {
    const text = readFileSync(new URL("../fixtures/lspci-random-functions.txt", import.meta.url), "latin1");
    expect(compareText(text.replace("ACSCap:\t", "ACSCap:\tNovel+ "), "dump").problems).toHaveLength(1);
  });
});

describe.skipIf(!hasShared())(`lspci's reading of recorded hosts${skippedWithoutShared}`, () => {
  test.each(listShared("snapshots", ".tar.gz"))("%s: every field is decoded to the same value", async (archive) => {
    const comparison = compareText(latin1(await readFromSnapshot(archive, "lspci-vvv-nn-xxxx.txt")), "live");
    expect(comparison.problems).toEqual([]);
    expect(comparison.compared).toBeGreaterThan(50 * comparison.functions);
  });
});
