import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { runScenario, scenarioNamed } from "@iommu-lab/hypervisor/scenarios";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { playRun } from "../src/run/play.ts";
import { FIRST } from "../src/state/app-state.ts";
import { formatAddress, parseAddress } from "../src/state/address.ts";
import { importState } from "../src/state/state-file.ts";
import { addressOf, BROWSER, hasBrowser, openPage, type Served, servePage, shown } from "./page.ts";

const hashOf = (name: string, iommu: "intel" | "amd" = "intel"): string => {
  const scenario = scenarioNamed(name);
  if (!scenario) throw new Error(`There is no scenario ${name}.`);
  return runScenario(scenario, { iommu }).result.hash;
};

describe.skipIf(!hasBrowser)(`the built playground in Chromium${hasBrowser ? "" : ` (skipped: no browser at ${BROWSER})`}`, () => {
  let served: Served;
  beforeAll(async () => { served = await servePage(); }, 60_000);
  afterAll(async () => { await served.close(); });

  test("the first screen is a run in the middle of its events, and asks the network for nothing but its own files", async () => {
    const { page, problems, requests } = await openPage(served);
    expect(await page.locator("main").getAttribute("data-hash")).toBe(hashOf("rogue-device"));
    expect(await page.locator(".transport output").innerText()).toBe("Event 260 of 404");
    expect(problems).toEqual([]);
    expect(requests.filter((path) => path !== "/" && path !== "/sw.js" && !path.startsWith("/assets/"))).toEqual([]);
    await page.close();
  });

  test("step, step back, to the end and back by keys; the address keeps the place", async () => {
    const { page } = await openPage(served, "#/run/rogue-device?step=260");
    const at = async (): Promise<string> => page.locator(".transport output").innerText();
    await page.keyboard.press("ArrowRight");
    expect(await at()).toBe("Event 264 of 404");
    await page.keyboard.press("ArrowLeft");
    await page.keyboard.press("ArrowLeft");
    expect(await at()).toBe("Event 136 of 404");
    await page.keyboard.press("End");
    expect(await at()).toMatch(/^Event (\d+) of \1$/);
    const there = await addressOf(page);
    await page.goto("about:blank");
    await page.goto(there);
    await page.waitForSelector("main[data-ready]");
    expect(await at()).toMatch(/^Event (\d+) of \1$/);
    await page.close();
  });

  test("a state too large for an address stays in this browser; it goes elsewhere as a file", async () => {
    const source = `// ${Array.from({ length: 24_000 }, (_, i) => ((i * 2_654_435_761) >>> 7).toString(36)).join("").slice(0, 60_000)}`;
    const { page, problems } = await openPage(served, formatAddress({ ...FIRST, view: "code", views: { code: { source } } }));
    await page.getByRole("button", { name: "Copy the address" }).click();
    expect(await page.locator(".take [role=status]").innerText()).toMatch(/^Too large for an address \(\d\d kB\)/);
    await page.selectOption("select[name=language]", "es");
    await page.waitForFunction(() => /^#kept\.[a-z0-9-]+$/.test(location.hash));
    const there = await page.evaluate(() => location.href);
    const [download] = await Promise.all([page.waitForEvent("download"), page.getByRole("button", { name: "Guardar la página como archivo" }).click()]);
    const file = readFileSync(await download.path(), "utf8");
    expect(importState(file)).toEqual({ ...FIRST, language: "es", view: "code", views: { code: { source } } });

    await page.goto("about:blank");
    await page.goto(there);
    await page.waitForSelector("main[data-view=code][data-ready]");
    expect([await page.locator("html").getAttribute("lang"), page.url()]).toEqual(["es", there]);

    const elsewhere = await served.browser.newContext();
    const other = await elsewhere.newPage();
    await other.goto(there);
    await shown(other);
    expect(await other.locator(".take [role=status]").innerText()).toContain("is kept in another browser");
    await other.locator(".take input[type=file]").setInputFiles({ name: "page.json", mimeType: "application/json", buffer: Buffer.from(file) });
    await other.waitForSelector("main[data-view=code][data-ready]");
    expect(await other.locator("html").getAttribute("lang")).toBe("es");
    await other.locator(".take input[type=file]").setInputFiles({ name: "cat.json", mimeType: "application/json", buffer: Buffer.from("miau") });
    await other.waitForFunction(() => document.querySelector(".take [role=status]")?.textContent.startsWith("cat.json no es el archivo"));
    expect(problems).toEqual([]);
    await elsewhere.close();
    await page.close();
  });

  test("steps come faster than browsers let the address change; it follows", async () => {
    const { page } = await openPage(served, "#/run/rogue-device");
    await page.evaluate(() => {
      const replace = history.replaceState.bind(history);
      history.replaceState = (...given) => { document.body.dataset.written = String(Number(document.body.dataset.written ?? 0) + 1); replace(...given); };
      for (let i = 0; i < 300; i++) document.querySelector<HTMLElement>(".transport button:nth-of-type(4)")?.click();
    });
    await page.waitForFunction(() => document.body.dataset.written !== undefined);
    const there = await page.evaluate(() => location.href);
    expect(await page.locator("body").getAttribute("data-written")).toBe("1");
    const at = await page.locator(".transport output").innerText();
    expect(Number(/\d+/.exec(at)?.[0])).toBeGreaterThan(100);
    await page.goto("about:blank");
    await page.goto(there);
    await shown(page);
    expect(await page.locator(".transport output").innerText()).toBe(at);
    await page.close();
  });

  test("a view that draws nothing is saved as a picture of its text", async () => {
    const { page, problems } = await openPage(served, "#/run/rogue-device?view=story");
    for (const [name, start] of [["Save as SVG", "<svg"], ["Save as PNG", "\u0089PNG"]] as const) {
      const [file] = await Promise.all([page.waitForEvent("download"), page.getByRole("button", { name }).click()]);
      const content = readFileSync(await file.path());
      expect(content.toString("latin1").slice(0, 4)).toBe(start);
      expect(content.length).toBeGreaterThan(1_000);
      expect(file.suggestedFilename()).toBe(`story.${name.slice(-3).toLowerCase()}`);
    }
    expect(problems).toEqual([]);
    await page.close();
  });

  test("a link to another view carries what is shown along, once somebody turns to it", async () => {
    const { page } = await openPage(served, "#/run/rogue-device?step=260&iommu=amd");
    const link = page.locator("nav a:not([aria-current])").first();
    await link.focus();
    const there = parseAddress(await link.getAttribute("href") ?? "");
    expect(there).toMatchObject({ run: { scenario: "rogue-device", iommu: "amd" }, step: 260 });
    expect(there.view).not.toBe("story");
    await page.close();
  });

  test("another IOMMU is another address with the command line's result", async () => {
    const { page } = await openPage(served, "#/run/rogue-device");
    await page.locator("select[name=iommu]").selectOption("amd");
    await page.waitForSelector(`main[data-hash="${hashOf("rogue-device", "amd")}"]`);
    await page.goBack();
    await page.waitForSelector(`main[data-hash="${hashOf("rogue-device")}"]`);
    await page.close();
  });

  test("the palette finds a scenario by typing; help and gallery open and close by keys", async () => {
    const { page } = await openPage(served);
    await page.keyboard.press("/");
    await page.locator("dialog [role=combobox]").waitFor();
    await page.keyboard.type("msi-forgery");
    await page.keyboard.press("Enter");
    await page.waitForSelector(`main[data-hash="${hashOf("msi-forgery")}"]`);
    await page.keyboard.press("?");
    await page.getByRole("dialog").waitFor();
    await page.keyboard.press("Escape");
    await page.getByRole("dialog").waitFor({ state: "detached" });
    await page.close();
  });

  test("course pages get one view without the rest, in their language, and a way out", async () => {
    const { page } = await openPage(served, "?embed=1&lang=es#/run/ats-stale?view=story");
    expect(await page.locator("nav").count()).toBe(0);
    expect(await page.locator("html").getAttribute("lang")).toBe("es");
    const [whole] = await Promise.all([page.context().waitForEvent("page"), page.locator(".home a").click()]);
    await shown(whole);
    expect(await whole.locator("nav").count()).toBe(1);
    expect(await whole.locator("html").getAttribute("lang")).toBe("es");
    await whole.close();
    await page.close();
  });

  test("on a phone one pane is seen at a time: the other one by a button or a swipe; a graph is a tree", async () => {
    const { page, problems } = await openPage(served, "#/run/rogue-device?step=260&view=topology", { width: 360, height: 740 });
    const seen = async (selector: string): Promise<boolean> => page.locator(selector).evaluate((element) => { const { left, right } = element.getBoundingClientRect(); return left > -2 && right < innerWidth + 2; });
    expect(await page.locator("svg.topology").isVisible()).toBe(false);
    await page.locator(".tree button").first().click();
    await page.locator(".panel h2").first().waitFor();
    expect([await seen("#view"), await seen(".panel")]).toEqual([true, false]);
    await page.getByRole("button", { name: "Selection and event" }).click();
    await expect.poll(async () => [await seen("#view"), await seen(".panel")]).toEqual([false, true]);
    // A swipe: browsers keep the pane that it ends nearest to.
    await page.locator(".panes").evaluate((panes) => { panes.scrollBy({ left: -0.7 * panes.clientWidth }); });
    await expect.poll(async () => [await seen("#view"), await seen(".panel")]).toEqual([true, false]);
    await page.getByRole("button", { name: "Selection and event" }).click();
    await page.locator("nav a", { hasText: "Address map" }).click();
    await page.waitForSelector("main[data-view=addresses][data-ready]");
    await expect.poll(async () => seen("#view")).toBe(true);
    await page.goBack();
    await page.waitForSelector("main[data-view=topology][data-ready]");
    const below = page.locator(".tree details details").first();
    expect(await below.locator("ul").first().isVisible()).toBe(true);
    await below.locator("summary").first().click();
    expect(await below.locator("ul").first().isVisible()).toBe(false);
    expect(problems).toEqual([]);
    await page.close();
  });

  test("every language has an address of its own, named in the page's head", async () => {
    const { page } = await openPage(served);
    const links = await page.locator("link[hreflang]").evaluateAll((each) => each.map((link) => [(link as HTMLLinkElement).hreflang, (link as HTMLLinkElement).href] as const));
    expect(links.map(([language]) => language)).toEqual(["x-default", "en", "es", "zh"]);
    for (const [language, address] of links.slice(1)) {
      await page.goto(address);
      await shown(page);
      await expect.poll(async () => page.locator("html").getAttribute("lang")).toBe(language);
    }
    await page.close();
  });

  test("it opens without a network after the first visit, with every view", async () => {
    const { page } = await openPage(served);
    await page.evaluate(async () => { await navigator.serviceWorker.ready; });
    const context = page.context();
    await context.setOffline(true);
    await page.goto("about:blank");
    await page.goto(`${served.url}#/vga`);
    await shown(page);
    for (const link of await page.locator("nav a").all()) {
      await link.click();
      await page.waitForSelector("main[data-ready] h1");
    }
    await page.goto(`${served.url}#/run/ats-stale?iommu=amd`);
    await page.waitForSelector(`main[data-hash="${hashOf("ats-stale", "amd")}"]`);
    await context.setOffline(false);
    await page.close();
  }, 60_000);

  test("the first load is at most 120 kB of compressed code, and its run is the one that is played here", async () => {
    const { page, requests } = await openPage(served);
    const sizes = requests.filter((path) => path.endsWith(".js") && path !== "/sw.js").map((path) => gzipSync(readFileSync(join(served.folder, path))).length);
    expect(sizes.length).toBeGreaterThan(1);
    expect(sizes.reduce((a, b) => a + b)).toBeLessThan(120_000);
    await page.close();
    const shipped = execFileSync(process.execPath, ["--conditions=@iommu-lab/source", fileURLToPath(new URL("../first-run/print-first-run.ts", import.meta.url))], { encoding: "utf8", maxBuffer: 2 ** 26 });
    const { decisions, ...run } = playRun(FIRST.run);
    expect(JSON.parse(shipped)).toEqual(JSON.parse(JSON.stringify({ ...run, decisions: [...decisions] })));
  });
});
