import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { reportGroups } from "@iommu-lab/host";
import { bundledHosts, readBundled } from "@iommu-lab/host/bundled";
import { runScenario, scenarioNamed } from "@iommu-lab/hypervisor/scenarios";
import { chromium } from "playwright-core";
import { build, preview } from "vite";
import { describe, expect, test } from "vitest";

const browserPath = process.env.CHROMIUM ?? "/usr/bin/chromium";
const root = fileURLToPath(new URL("..", import.meta.url));

describe.skipIf(!existsSync(browserPath))(`the built playground in Chromium${existsSync(browserPath) ? "" : ` (skipped: no browser at ${browserPath})`}`, () => {
  test("opens, shows the bundled host's groups, and asks the network for nothing else", async () => {
    const outDir = "dist-test";
    await build({ root, logLevel: "error", build: { outDir, emptyOutDir: true } });
    const server = await preview({ root, logLevel: "error", build: { outDir }, preview: { port: 0, host: "127.0.0.1" } });
    const browser = await chromium.launch({ executablePath: browserPath, args: ["--no-sandbox", "--disable-gpu", "--disable-background-networking"] });
    try {
      const page = await browser.newPage();
      const problems: string[] = [];
      const requests: string[] = [];
      page.on("pageerror", (error) => problems.push(error.message));
      page.on("console", (message) => { if (message.type() === "error") problems.push(message.text()); });
      page.on("request", (request) => { if (!request.url().startsWith("data:")) requests.push(new URL(request.url()).pathname); });
      await page.goto(server.resolvedUrls?.local[0] ?? "");
      const report = reportGroups(readBundled(bundledHosts[0].name));
      await page.waitForSelector(".group");
      expect(await page.locator(".group").count()).toBe(report.groups.length);
      expect(await page.locator("main").innerText()).toContain("0000:01:00.0");
      expect(problems).toEqual([]);
      expect(requests.filter((path) => path !== "/" && !path.startsWith("/assets/"))).toEqual([]);
      await page.screenshot({ path: `${root}${outDir}/page.png`, fullPage: true });
      await page.getByRole("link", { name: "Scenarios" }).click();
      await page.waitForSelector(".story");
      const scenario = scenarioNamed("rogue-device");
      if (!scenario) throw new Error("no scenario");
      expect(await page.locator(".hash code").innerText()).toBe(runScenario(scenario).result.hash);
      await page.getByLabel("IOMMU").selectOption("amd");
      await page.waitForURL(/iommu=amd/);
      await page.waitForFunction((hash) => document.querySelector(".hash code")?.textContent === hash, runScenario(scenario, { iommu: "amd" }).result.hash);
      await page.screenshot({ path: `${root}${outDir}/scenario.png`, fullPage: true });
      expect(problems).toEqual([]);
      expect(requests.filter((path) => path !== "/" && !path.startsWith("/assets/"))).toEqual([]);
    } finally {
      await browser.close();
      await server.close();
    }
  }, 60_000);
});
