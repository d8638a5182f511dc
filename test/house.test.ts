/** Rules of the repository that no tool checks by itself. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";

const root = fileURLToPath(new URL("../", import.meta.url));
const read = (path: string): string => readFileSync(root + path, "utf8");
const rooms = ["packages", "apps"].flatMap((group) => readdirSync(root + group).map((name) => `${group}/${name}`));

describe("the house", () => {
  test("scripts name the package manager that package.json pins", () => {
    const { packageManager, scripts } = JSON.parse(read("package.json")) as { packageManager: string; scripts: Record<string, string> };
    expect(scripts.test).toContain(packageManager);
  });
  test.each(rooms)("%s has a README and a licence in its manifest", (room) => {
    expect(existsSync(`${root}${room}/README.md`)).toBe(true);
    expect((JSON.parse(read(`${room}/package.json`)) as { license?: string }).license).toBe("MIT");
  });
  test("every decision is a numbered page", () => {
    expect(readdirSync(`${root}docs/decisions`).filter((name) => !/^\d{3}-[a-z0-9-]+\.md$/.test(name))).toEqual([]);
  });
  test.each(["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md"])("%s links only to files that exist", (page) => {
    const links = [...read(page).matchAll(/\]\(([^)#:]+)\)/g)].map((match) => match[1] ?? "");
    expect(links.filter((link) => !existsSync(root + link))).toEqual([]);
  });
});
