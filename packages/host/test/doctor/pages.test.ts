import { readdirSync, readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { doctorPages } from "./pages.ts";
import { PAGE_TEXTS } from "./page-texts.ts";

const folder = new URL("../../../../docs/doctor/", import.meta.url);

describe("the doctor's pages", () => {
  test("there is one for every rule, as the rules and their tests make it; scripts/doctor-pages.ts writes them", () => {
    const pages = doctorPages();
    expect(readdirSync(folder).sort()).toEqual([...pages.keys()].sort());
    for (const [name, text] of pages) expect(readFileSync(new URL(name, folder), "utf8")).toBe(text);
  });

  test("every text belongs to a rule, and every rule has one", () => {
    expect([...doctorPages().keys()].filter((name) => name !== "README.md").map((name) => name.replace(".md", ""))).toEqual(Object.keys(PAGE_TEXTS).sort());
  });
});
