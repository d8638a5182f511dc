import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { formatAddress } from "../src/state/address.ts";
import { FIRST } from "../src/state/app-state.ts";
import { PROGRAMS } from "../src/views/code/programs.ts";
import { BROWSER, hasBrowser, openPage, servePage, type Served } from "./page.ts";

const at = (source: string): string => formatAddress({ ...FIRST, language: "en", view: "code", views: { code: { source } } });

describe.skipIf(!hasBrowser)(`experiments in Chromium${hasBrowser ? "" : ` (skipped: no browser at ${BROWSER})`}`, () => {
  let served: Served;
  beforeAll(async () => { served = await servePage(); }, 120_000);
  afterAll(async () => { await served.close(); });

  /** All of them in the full gate; otherwise one, by the seed. */
  const programs = process.env.IOMMU_LAB_FULL ? PROGRAMS : PROGRAMS.filter((_, i) => i === Number(process.env.IOMMU_LAB_SEED ?? 0) % PROGRAMS.length);
  test.each(programs)("$id has no mistakes, runs on both vendors, and its statements hold", async ({ source }) => {
    const { page, problems } = await openPage(served, at(source));
    for (const vendor of ["intel", "amd"]) {
      await page.locator("select[name=experiment-iommu]").selectOption(vendor);
      await page.getByRole("button", { name: "Run", exact: true }).click();
      await page.getByText("Done.", { exact: true }).waitFor({ timeout: 40_000 });
      expect(await page.locator("pre.output").innerText()).not.toBe("");
      const [, ok, count] = /(\d+) of (\d+) statements/.exec(await page.locator("p.hash").innerText()) ?? [];
      expect(ok).toBe(count);
    }
    await page.waitForTimeout(1_500);
    expect(await page.locator(".mistakes li").allInnerTexts()).toEqual([]);
    await page.getByRole("button", { name: "See it as a story" }).click();
    await page.waitForSelector('main[data-view="story"][data-ready] .story li, main[data-view="story"][data-ready] .events li');
    expect(problems).toEqual([]);
    await page.close();
  }, 120_000);

  test.each([
    ["an endless loop", "for (;;) {}", /more than 1024 MiB|longer than 5 seconds/],
    ["endless work inside the language", "'a'.repeat(29).match(/^(a+)+$/); 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab'.match(/^(a+)+$/);", /longer than 5 seconds|Done/],
    ["all the memory", "const all: number[][] = []; for (;;) all.push(new Array<number>(10_000).fill(1));", /more than 1024 MiB/],
    ["endless recursion", "const f = (): number => f() + 1; f();", /RangeError|more than 1024/],
    ["an error", "throw new TypeError('wrong');", /TypeError: wrong/],
    ["a text that is no program", "const = ;", /error/],
    ["the network", "await fetch('https://example.com/');", /TypeError|refused|failed/i],
    ["code from elsewhere", "import('https://example.com/a.js');", /There is no module|Done|error/],
  ])("%s does not take the page down", async (_what, source, outcome) => {
    const { page } = await openPage(served, at(source));
    await page.getByRole("button", { name: "Run", exact: true }).click();
    await page.locator("main p[role=status]").filter({ hasText: /Done|ended/ }).waitFor({ timeout: 40_000 });
    expect(await page.locator("main p[role=status]").innerText()).toMatch(outcome);
    await page.keyboard.press("Escape");
    await page.getByRole("link", { name: "Story" }).click();
    await page.waitForSelector('main[data-view="story"][data-ready] h1');
    await page.close();
  }, 120_000);

  test("what stands after a dot is offered, from the packages' types", async () => {
    const { page } = await openPage(served, at("import { laboratory } from '@iommu-lab/playground';\nlaboratory()."));
    await page.locator(".editor .cm-content").click();
    await page.keyboard.press("Control+End");
    await page.keyboard.press("Control+Space");
    await page.locator(".editor .cm-tooltip-autocomplete").waitFor({ timeout: 40_000 });
    expect(await page.locator(".editor .cm-tooltip-autocomplete").innerText()).toContain("hostBridges");
    await page.close();
  }, 120_000);
});
