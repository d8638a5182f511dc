import { readdirSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { SCENARIOS } from "@iommu-lab/hypervisor/scenarios";
import { describe, expect, test } from "vitest";
import { EXAMPLES } from "../src/gallery/gallery.ts";
import { SCENARIO_TITLES } from "../src/text/scenario-titles.ts";
import { LANGUAGES, TABLES, type Entry } from "../src/text/words.ts";

// Tables register themselves when their files are loaded.
const source = fileURLToPath(new URL("../src", import.meta.url));
for (const path of readdirSync(source, { recursive: true, encoding: "utf8" })) if (/\.tsx?$/.test(path) && !/main\.tsx$|worker\.ts$/.test(path)) await import(join(source, path));

const holes = (text: string): string[] => [...text.matchAll(/\{\w+\}/g)].map(([hole]) => hole).toSorted();
const whole = (name: string, entry: Entry): void => {
  expect(entry.map((text) => text.trim() !== ""), name).toEqual(LANGUAGES.map(() => true));
  for (const text of entry) expect(holes(text), `${name}: ${text}`).toEqual(holes(entry[0]));
};

describe("texts", () => {
  test("stand in every language, with the same holes", () => {
    expect(TABLES.length).toBeGreaterThan(3);
    for (const table of TABLES) for (const [key, entry] of Object.entries(table)) whole(key, entry);
    for (const { id, title, about } of EXAMPLES) {
      whole(id, title);
      whole(id, about);
    }
  });
  test("scenarios' titles are the scenarios'", () => {
    expect(Object.entries(SCENARIO_TITLES).map(([name, [english]]) => [name, english])).toEqual(SCENARIOS.map(({ name, title }) => [name, title]));
    for (const [name, entry] of Object.entries(SCENARIO_TITLES)) whole(name, entry);
  });
});
