import { describe, expect, test } from "vitest";
import { compareFunction, newComparison } from "./lspci-compare.ts";
import { parseLspci } from "./lspci-text.ts";
import { missingLspci, readWithLspci } from "./lspci-tool.ts";
import { hexDump, randomFunction } from "./random-function.ts";
import { random } from "./random.ts";

const missing = missingLspci();
const seed = Number(process.env.IOMMU_LAB_SEED ?? Date.now() % 2 ** 31);
/** As many as one run of lspci takes in a few seconds. */
const FUNCTIONS = 2000;
/** Seeds of the rounds: one in the gate's sample, eight in its full run. */
const rounds = Array.from({ length: process.env.IOMMU_LAB_FULL ? 8 : 1 }, (_, i) => seed + i);

const addressOf = (i: number): string => `${(i >> 8).toString(16).padStart(2, "0")}:${((i >> 3) & 31).toString(16).padStart(2, "0")}.${i & 7}`;

describe.skipIf(missing !== "")(`Random configuration spaces, read by lspci${missing && ` (skipped: ${missing})`}`, () => {
  test.each(rounds)(`lspci and decodeConfig say the same of ${FUNCTIONS} functions (IOMMU_LAB_SEED=%i)`, (round) => {
    const r = random(round);
    const configs = Array.from({ length: FUNCTIONS }, () => randomFunction(r, { density: 0.3 + r.below(8) / 10 }));
    const printed = parseLspci(readWithLspci(configs.map(({ bytes }, i) => hexDump(addressOf(i), bytes)).join("\n")));
    const comparison = newComparison();
    for (const each of printed) compareFunction(each, "dump", comparison);
    console.log(`Seed ${round}: ${comparison.compared} fields of ${printed.length} functions compared.`);
    expect(printed).toHaveLength(FUNCTIONS);
    expect(comparison.problems.slice(0, 20)).toEqual([]);
    expect(comparison.compared).toBeGreaterThan(400 * FUNCTIONS);
  });
});
