import axe from "axe-core";
import type { Page } from "playwright-core";

/** What axe finds: rule and the elements that break it. The page's policy lets no script in; the browser's debugger may put it there. */
export const violations = async (page: Page): Promise<string[]> => {
  await page.evaluate(axe.source);
  return page.evaluate(async () => {
    const { violations: found } = await (globalThis as unknown as { readonly axe: { run: (where: Document) => Promise<{ readonly violations: readonly { readonly id: string; readonly nodes: readonly { readonly target: readonly string[] }[] }[] }> } }).axe.run(document);
    return found.flatMap(({ id, nodes }) => nodes.map(({ target }) => `${id}: ${target.join(" ")}`));
  });
};
