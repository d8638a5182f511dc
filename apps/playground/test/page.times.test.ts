/** How long the page takes. Each stated limit fails at three times; in a run of everything these come last, with nothing beside them. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { BROWSER, hasBrowser, openPage, type Served, servePage } from "./page.ts";

/** In the page, before its own code: presses a key at every frame until the page shows another event, and tells when that was. */
const pressUntilAnswered = (): void => {
  let first: string | undefined;
  const press = (): void => {
    const shownNow = document.querySelector("main[data-ready]") && document.querySelector(".transport output")?.textContent;
    if (shownNow) {
      first ??= shownNow;
      if (shownNow !== first) {
        console.debug(`answered ${performance.now()}`);
        return;
      }
      document.dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowRight", bubbles: true }));
    }
    requestAnimationFrame(press);
  };
  requestAnimationFrame(press);
};

describe.skipIf(!hasBrowser)(`the built playground's times in Chromium${hasBrowser ? "" : ` (skipped: no browser at ${BROWSER})`}`, () => {
  let served: Served;
  beforeAll(async () => { served = await servePage(); }, 60_000);
  afterAll(async () => { await served.close(); });

  test("on a processor four times slower it answers a key within two seconds", async () => {
    const times: number[] = [];
    for (let visit = 0; visit < 5; visit++) {
      // Each the first visit: a context of its own has nothing stored.
      const context = await served.browser.newContext();
      const page = await context.newPage();
      await page.addInitScript(pressUntilAnswered);
      const session = await context.newCDPSession(page);
      await session.send("Emulation.setCPUThrottlingRate", { rate: 4 });
      // Nothing is asked of the page before it tells: a browser's driver would take the slow processor's time.
      const told = page.waitForEvent("console", { predicate: (message) => message.text().startsWith("answered "), timeout: 60_000 });
      await page.goto(served.url, { waitUntil: "commit" });
      times.push(Number((await told).text().split(" ")[1]));
      await context.close();
    }
    const middle = times.toSorted((a, b) => a - b)[2] as number; // of five
    console.log(`It answers after ${Math.round(middle)} ms on a processor four times slower, the middle of ${times.map(Math.round).join(", ")} (2000 are wanted; 6000 fail).`);
    // A stated limit fails at three times: the machine may be busy with other things.
    expect(middle).toBeLessThan(3 * 2_000);
  });

  test("a step of a run of more than ten thousand events takes the page little time", async () => {
    const { page } = await openPage(served, "#/run/strict-lazy-pt?step=9000");
    const session = await page.context().newCDPSession(page);
    // The processor's time of the page's thread: other programs do not count.
    await session.send("Performance.enable", { timeDomain: "threadTicks" });
    const spent = async (): Promise<number> => (await session.send("Performance.getMetrics")).metrics.find(({ name }) => name === "TaskDuration")?.value ?? 0;
    const [steps, before] = [40, await spent()];
    for (let i = 0; i < steps; i++) {
      await page.evaluate(() => new Promise<void>((done) => {
        document.querySelector<HTMLElement>(".transport button:nth-of-type(4)")?.click();
        requestAnimationFrame(() => { requestAnimationFrame(() => { done(); }); });
      }));
    }
    const each = (1_000 * ((await spent()) - before)) / steps;
    console.log(`A step takes ${each.toFixed(1)} ms of the page's thread (16 are wanted; 48 fail).`);
    expect(each).toBeLessThan(3 * 16);
    await page.close();
  });
});
