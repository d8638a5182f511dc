import { runScenario, SCENARIOS } from "@iommu-lab/hypervisor/scenarios";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { EXAMPLES } from "../src/gallery/gallery.ts";
import { LANGUAGES } from "../src/text/words.ts";
import { violations } from "./axe.ts";
import { BROWSER, hasBrowser, openPage, servePage, type Served } from "./page.ts";

const seed = Number(process.env.IOMMU_LAB_SEED ?? 0);
/** Every language in the full gate; otherwise every third, by the seed, in one of them. */
const cases = <T>(all: readonly T[]): (readonly [T, (typeof LANGUAGES)[number]])[] => all.flatMap((each, i) => (process.env.IOMMU_LAB_FULL ? LANGUAGES.map((language) => [each, language] as const) : i % 3 === seed % 3 ? [[each, LANGUAGES[Math.floor(i / 3) % LANGUAGES.length]!] as const] : []));

describe.skipIf(!hasBrowser)(`permalinks in Chromium${hasBrowser ? "" : ` (skipped: no browser at ${BROWSER})`}`, () => {
  let served: Served;
  beforeAll(async () => { served = await servePage(); });
  afterAll(async () => { await served.close(); });

  test.each(cases(SCENARIOS).map(([scenario, language]) => ({ scenario, name: scenario.name, language })))("$name in $language: both vendors give the command line's result", async ({ scenario, language }) => {
    for (const iommu of ["intel", "amd"] as const) {
      const { page, problems } = await openPage(served, `#/run/${scenario.name}?iommu=${iommu}&lang=${language}`);
      expect(await page.locator("main").getAttribute("data-hash")).toBe(runScenario(scenario, { iommu }).result.hash);
      expect(await page.locator("html").getAttribute("lang")).toBe(language);
      if (language !== "en") expect(await page.locator("ol.story [lang=en]").count()).toBe(0);
      expect(await page.locator("main").innerText()).not.toMatch(/undefined|\{\w+\}/);
      expect(await violations(page)).toEqual([]);
      await page.keyboard.press("End");
      expect((await page.locator(".transport output").innerText()).match(/\d+/g)?.length).toBe(2);
      expect(new Set((await page.locator(".transport output").innerText()).match(/\d+/g)).size).toBe(1);
      await page.keyboard.press("Home");
      expect((await page.locator(".transport output").innerText()).match(/\d+/g)?.[0]).toBe("0");
      expect(problems).toEqual([]);
      await page.close();
    }
  });

  test.each(cases(EXAMPLES).map(([{ id, state }, language]) => ({ id, state, language })))("example $id in $language shows its view", async ({ id, state, language }) => {
    const { page, problems } = await openPage(served, `#/example/${id}?lang=${language}`);
    await page.waitForSelector(`main[data-view="${state.view ?? "story"}"] h1`);
    expect(await page.locator("main").innerText()).not.toMatch(/\{[a-z]\w*\}/);
    expect(await page.locator("html").getAttribute("lang")).toBe(language);
    expect(await violations(page)).toEqual([]);
    await page.setViewportSize({ width: 360, height: 740 });
    expect(await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth)).toBeLessThanOrEqual(0);
    expect(problems).toEqual([]);
    await page.close();
  });
});
