import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { chromium, type Browser, type BrowserContext, type Page } from "playwright-core";
import { preview } from "vite";

export const BROWSER = process.env.CHROMIUM ?? "/usr/bin/chromium";
const dist = fileURLToPath(new URL("../dist", import.meta.url));
/** Whether there is a browser, and a built page for it. */
export const hasBrowser = existsSync(BROWSER) && existsSync(dist);
const root = fileURLToPath(new URL("..", import.meta.url));

/** The built page, served and open in a browser. */
export interface Served {
  readonly url: string;
  readonly folder: string;
  readonly browser: Browser;
  /** Pages share what they have loaded. */
  readonly context: BrowserContext;
  readonly close: () => Promise<void>;
}

/** Serves what `pnpm build` has built. */
export const servePage = async (): Promise<Served> => {
  const server = await preview({ root, logLevel: "error", preview: { port: 0, host: "127.0.0.1" } });
  const browser = await chromium.launch({ executablePath: BROWSER, args: ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync"] });
  const context = await browser.newContext();
  return {
    url: server.resolvedUrls?.local[0] ?? "",
    folder: dist,
    browser,
    context,
    close: async () => {
      await browser.close();
      await server.close();
    },
  };
};

/** A page with what went wrong in it and what it asked the network for. */
export const openPage = async ({ context, url }: Served, hash = "", size = { width: 1440, height: 900 }): Promise<{ readonly page: Page; readonly problems: string[]; readonly requests: string[] }> => {
  const page = await context.newPage();
  await page.setViewportSize(size);
  const problems: string[] = [];
  const requests: string[] = [];
  page.on("pageerror", (error) => problems.push(error.message));
  page.on("console", (message) => { if (message.type() === "error") problems.push(message.text()); });
  page.on("request", (request) => { if (/^https?:/.test(request.url())) requests.push(new URL(request.url()).pathname); });
  await page.goto(url + hash);
  await shown(page);
  return { page, problems, requests };
};

/** Waits until the view is there. */
export const shown = async (page: Page): Promise<void> => { await page.waitForSelector("main[data-ready]", { timeout: 20_000 }); };

/** The page's address, brought up to its state as it is when somebody leaves the page. */
export const addressOf = async (page: Page): Promise<string> => page.evaluate(() => {
  dispatchEvent(new PageTransitionEvent("pagehide"));
  return location.href;
});
