import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { VIEWS } from "../src/state/app-state.ts";
import { LANGUAGES } from "../src/text/words.ts";
import { REGISTRY } from "../src/views/registry.ts";
import { violations } from "./axe.ts";
import { BROWSER, hasBrowser, openPage, servePage, shown, type Served } from "./page.ts";

const shownViews = VIEWS.filter((view) => REGISTRY[view]);

describe.skipIf(!hasBrowser)(`the page for everybody${hasBrowser ? "" : ` (skipped: no browser at ${BROWSER})`}`, () => {
  let served: Served;
  beforeAll(async () => { served = await servePage(); }, 60_000);
  afterAll(async () => { await served.close(); });

  test.each(shownViews.map((view, i) => ({ view, language: LANGUAGES[i % LANGUAGES.length]! })))("axe finds nothing in $view ($language), and the page is in that language", async ({ view, language }) => {
    const { page, problems } = await openPage(served, `#/run/rogue-device?view=${view}&lang=${language}&step=260`);
    await page.waitForSelector("main h1");
    expect(await violations(page)).toEqual([]);
    expect(await page.locator("html").getAttribute("lang")).toBe(language);
    expect(problems).toEqual([]);
    await page.close();
  }, 60_000);

  test("dark colours have contrast too", async () => {
    const { page } = await openPage(served);
    // Without motion: colours on their way from one to the other have any contrast.
    await page.emulateMedia({ colorScheme: "dark", reducedMotion: "reduce" });
    expect(await violations(page)).toEqual([]);
    await page.close();
  }, 60_000);

  test.each([["story", ".pane-switch"], ["topology", ".tree"]] as const)("axe finds nothing on a phone: %s", async (view, part) => {
    const { page } = await openPage(served, `#/run/rogue-device?view=${view}&step=260`, { width: 360, height: 740 });
    await page.locator(part).waitFor();
    expect(await violations(page)).toEqual([]);
    await page.close();
  }, 60_000);

  // A window of 1440 pixels has 720 at 200 %.
  test.each([[360, 1], [720, 1], [768, 1], [1440, 1], [1440, 2]])("nothing is wider than a window of %i pixels with text of %i times its size, in any view", async (width, scale) => {
    const { page } = await openPage(served, "", { width, height: 800 });
    if (scale !== 1) await page.evaluate((factor) => { document.documentElement.style.fontSize = `${100 * factor}%`; }, scale);
    for (const view of shownViews) {
      await page.goto(`${served.url}#/${view}`);
      await shown(page);
      await page.waitForSelector(`main[data-view="${view}"] h1`);
      expect(await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth), view).toBeLessThanOrEqual(0);
    }
    await page.close();
  }, 60_000);

  // As in a pseudo-locale: every text of the page's own longer by half, and with accents.
  test.each([360, 768, 1440])("nothing is wider than a window of %i pixels when every text is half as long again", async (width) => {
    const { page } = await openPage(served, "", { width, height: 800 });
    for (const view of shownViews) {
      await page.goto(`${served.url}#/${view}`);
      await shown(page);
      await page.waitForSelector(`main[data-view="${view}"] h1`);
      const wider = await page.evaluate(() => {
        const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
        for (let node = texts.nextNode(); node; node = texts.nextNode()) {
          const text = node.nodeValue ?? "";
          if (text.trim() !== "" && !node.parentElement?.closest("code, pre, kbd, textarea, .mono, .hex, .hash, svg, script, style")) node.nodeValue = `${text.replace(/[aeiou]/g, (vowel) => `${vowel}\u0301`)} ${"xenon ".repeat(Math.ceil(text.length / 12))}`;
        }
        return document.documentElement.scrollWidth - document.documentElement.clientWidth;
      });
      expect(wider, view).toBeLessThanOrEqual(0);
      await page.goto("about:blank");
    }
    await page.close();
  }, 60_000);

  test.each([[360, 740], [768, 1024], [1440, 900]])("in a window of %i by %i pixels the header leaves the view its place, and the link to it is seen", async (width, height) => {
    const { page } = await openPage(served, "#/inspector", { width, height });
    const header = await page.locator("header").first().boundingBox();
    expect(header?.height).toBeLessThan(height / 4);
    const here = await page.locator("nav [aria-current]").boundingBox();
    expect(here && here.x >= 0 && here.x + here.width <= width).toBe(true);
    await page.close();
  });

  test("by keyboard alone: past the navigation, to each view by its letter, and into every control", async () => {
    const { page } = await openPage(served);
    await page.keyboard.press("Tab");
    await page.keyboard.press("Enter");
    expect(await page.evaluate(() => document.activeElement?.id)).toBe("view");
    for (const view of shownViews) {
      await page.keyboard.press("g");
      await page.keyboard.press(REGISTRY[view]?.key ?? "");
      await page.waitForSelector(`main[data-view="${view}"][data-ready] h1`);
      const unreachable = await page.evaluate(() => [...document.querySelectorAll<HTMLElement>("main button, main a, main select, main input, main textarea")].filter((each) => each.tabIndex < 0 && each.closest("[role=tree], [role=grid], [role=tablist], [role=radiogroup], [inert]") === null).map(({ outerHTML }) => outerHTML.slice(0, 80)));
      expect(unreachable).toEqual([]);
    }
    await page.close();
  }, 60_000);
});
