import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { addressOf, BROWSER, hasBrowser, openPage, type Served, servePage } from "./page.ts";

const VIEWS = ["walk", "caches", "faults", "interrupts"] as const;

describe.skipIf(!hasBrowser)(`views of the models in Chromium${hasBrowser ? "" : ` (skipped: no browser at ${BROWSER})`}`, () => {
  let served: Served;
  beforeAll(async () => { served = await servePage(); }, 60_000);
  afterAll(async () => { await served.close(); });

  test.each(VIEWS.flatMap((view) => (["en", "es", "zh"] as const).map((language) => [view, language] as const)))("%s stands in %s, wide and narrow", async (view, language) => {
    for (const width of [1440, 360]) {
      const { page, problems } = await openPage(served, `#/${view}?lang=${language}`, { width, height: 900 });
      expect(await page.locator("main h1").count()).toBe(1);
      expect(await page.locator("main svg.drawing[role=img] > title").count()).toBeGreaterThan(0);
      expect(await page.evaluate(() => document.documentElement.scrollWidth <= document.documentElement.clientWidth), `${width} px`).toBe(true);
      expect(problems).toEqual([]);
      await page.close();
    }
  });

  test("walk: a bit that is turned over stops the request, and its record leads to the faults", async () => {
    const { page, problems } = await openPage(served, "#/walk");
    const verdict = page.locator(".walk [role=status]");
    expect(await verdict.innerText()).toContain("0x152345678");
    await page.getByRole("button", { name: /^6\. second-stage entry, level 1/ }).first().click();
    await page.getByRole("button", { name: / bit 0 of R$/ }).click();
    await page.getByRole("button", { name: / bit 1 of W$/ }).click();
    expect(await verdict.innerText()).toContain("0x6");
    expect(await verdict.getByRole("link").count()).toBe(1);
    const there = await addressOf(page);
    await page.goto("about:blank");
    await page.goto(there);
    await page.waitForSelector("main[data-ready]");
    expect(await verdict.innerText()).toContain("0x6");
    expect(problems).toEqual([]);
    await page.close();
  });

  test("faults: a storm fills the ring; a pasted line finds its record", async () => {
    const { page, problems } = await openPage(served, "#/faults");
    await page.getByRole("button", { name: "300 at once" }).click();
    expect(await page.locator(".faults p[role=status]").innerText()).toContain("298 faults were lost");
    await page.locator("select[name=tab]").selectOption("line");
    await page.locator("textarea[name=line]").fill("AMD-Vi: Event logged [IO_PAGE_FAULT device=0000:01:00.0 domain=0x0011 address=0xfffc0000 flags=0x0070]");
    expect(await page.locator(".faults p[role=status]").innerText()).toContain("1");
    expect(await page.locator(".faults .bits").innerText()).toContain("DomainIDorPASID");
    expect(problems).toEqual([]);
    await page.close();
  });

  test("caches: an invalidation ends the stale hit", async () => {
    const { page, problems } = await openPage(served, "#/caches");
    expect(await page.locator(".caches p[role=status]").innerText()).toContain("Accesses that did not go as the tables in memory say: 1.");
    await page.getByRole("button", { name: "Everything", exact: true }).click();
    await page.getByRole("button", { name: "Read page 0", exact: true }).click();
    expect(await page.locator(".caches ol li").last().innerText()).toContain("refused");
    expect(problems).toEqual([]);
    await page.close();
  });

  test("interrupts: a forged message is blocked; migration moves the interrupt", async () => {
    const { page, problems } = await openPage(served, "#/interrupts");
    const status = page.locator(".interrupts p[role=status]");
    await page.getByRole("button", { name: "Migrate to the next processor" }).click();
    expect(await status.innerText()).toContain("APIC 2");
    await page.getByRole("button", { name: "Forge it in compatibility format" }).click();
    expect(await status.innerText()).toContain("fault 25h");
    expect(problems).toEqual([]);
    await page.close();
  });
});
