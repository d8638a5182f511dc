import { describe, expect, test } from "vitest";
import { hex, pageOf } from "../src/index.ts";

describe("hex", () => {
  test.each([
    [0, "0x0"],
    [0xfee0_0000, "0xfee0_0000"],
    [2 ** 32, "0x1_0000_0000"],
    [2n ** 64n - 1n, "0xffff_ffff_ffff_ffff"],
  ])("%s is written %s", (value, text) => {
    expect(hex(value)).toBe(text);
  });
});

describe("pageOf", () => {
  test("is exact up to 2^52", () => {
    expect(pageOf(2 ** 52 - 1)).toBe(2 ** 40 - 1);
    expect(pageOf(0xfff)).toBe(0);
  });
});
