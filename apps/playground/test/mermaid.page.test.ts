/** Graphs as Mermaid's text, read and drawn by Mermaid itself. */
import { createRequire } from "node:module";
import { bundledHosts, readBundled } from "@iommu-lab/host/bundled";
import { chromium, type Browser, type Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { flowchart } from "../src/ui/mermaid.ts";
import { LANGUAGES } from "../src/text/words.ts";
import { mermaidOf as ofTopology } from "../src/views/topology/mermaid.ts";
import { readTopology } from "../src/views/topology/settings.ts";
import { buildTopology } from "../src/views/topology/topology.ts";
import { runWalk } from "../src/views/walk/lab.ts";
import { mermaidOf as ofWalk } from "../src/views/walk/mermaid.ts";
import { MODE_IDS } from "../src/views/walk/modes.ts";
import { readWalk } from "../src/views/walk/settings.ts";
import { BROWSER, hasBrowser } from "./page.ts";

const require = createRequire(import.meta.url);

interface Drawn {
  readonly boxes: readonly string[];
  readonly edges: number;
  readonly frames: readonly string[];
}
declare const mermaid: { readonly initialize: (options: object) => void; readonly render: (id: string, text: string) => Promise<{ readonly svg: string }> };

describe.skipIf(!hasBrowser)(`Mermaid reads what is copied for it${hasBrowser ? "" : ` (skipped: no browser at ${BROWSER})`}`, () => {
  let browser: Browser;
  let page: Page;
  beforeAll(async () => {
    browser = await chromium.launch({ executablePath: BROWSER, args: ["--no-sandbox", "--disable-gpu"] });
    page = await browser.newPage();
    await page.addScriptTag({ path: require.resolve("mermaid/dist/mermaid.min.js") });
    await page.evaluate(() => { mermaid.initialize({ startOnLoad: false, maxTextSize: 1_000_000, maxEdges: 5_000 }); });
  }, 60_000);
  afterAll(async () => { await browser.close(); });

  const draw = async (text: string): Promise<Drawn> => page.evaluate(async (source) => {
    const { svg } = await mermaid.render("drawn", source);
    const holder = document.createElement("div");
    holder.innerHTML = svg;
    const texts = (selector: string): string[] => [...holder.querySelectorAll(selector)].map(({ textContent }) => textContent.trim());
    return { boxes: texts("g.node"), edges: holder.querySelectorAll("path.flowchart-link").length, frames: texts("g.cluster") };
  }, text);

  test("every bundled host's functions and groups, in each language", async () => {
    for (const [i, { name }] of bundledHosts.entries()) {
      const topology = buildTopology(readBundled(name), readTopology({}));
      const { boxes, edges, frames } = await draw(ofTopology(topology, LANGUAGES[i % LANGUAGES.length]!));
      const functions = topology.edited.facts.length;
      expect(boxes, name).toHaveLength(functions + topology.roots.length);
      expect(edges, name).toBe(functions);
      expect(frames, name).toHaveLength(topology.groups.filter(({ members }) => members.length > 1).length);
    }
  }, 120_000);

  test.each(MODE_IDS)("a walk: %s", async (mode) => {
    const { steps } = runWalk(readWalk({ mode }));
    const { boxes } = await draw(ofWalk(steps, "en"));
    expect(boxes).toHaveLength(steps.length);
    expect(boxes[0]).toContain(steps[0]?.step.structure ?? "?");
  });

  test("what a paste may hold is text and nothing else", async () => {
    const hostile = ['"] --> x["', "end", "%% off", "<script>alert(1)</script>", "a#quot;b", "click n0 call alert()", "`**bold**`", "line\nbreak", "显卡 ☃"];
    const { boxes } = await draw(flowchart({ direction: "LR", nodes: hostile.map((line, i) => ({ id: `n${i}`, lines: [line] })), edges: [] }));
    expect(boxes).toEqual(hostile.map((line) => line.replace("\n", " ")));
  });
});
