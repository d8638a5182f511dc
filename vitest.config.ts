import { existsSync } from "node:fs";
import { availableParallelism } from "node:os";
import { defineConfig } from "vitest/config";

const source = { resolve: { conditions: ["@iommu-lab/source"] }, ssr: { resolve: { conditions: ["@iommu-lab/source"] } } };
const chromium = process.env.CHROMIUM ?? "/usr/bin/chromium";
if (!existsSync(chromium) && process.env.IOMMU_LAB_REQUIRE_TOOLS) throw new Error(`No chromium at ${chromium}; install it or set CHROMIUM.`);

export default defineConfig({
  test: {
    // As many as the machine has processors; by default one stays idle.
    maxWorkers: availableParallelism(),
    coverage: { provider: "v8", include: ["packages/*/src/**"], reporter: ["text", "json-summary"] },
    projects: [
      {
        ...source,
        test: {
          name: "node",
          include: ["{packages,apps}/*/test/**/*.test.ts", "test/**/*.test.ts"],
          exclude: ["**/*.slow.test.ts", "**/*.page.test.ts", "**/*.times.test.ts", "**/heap.test.ts", "**/node_modules/**"],
          isolate: false,
          setupFiles: ["./test/fuzz-budget.ts"],
          testTimeout: process.env.IOMMU_LAB_FULL ? 900_000 : 60_000,
        },
      },
      {
        // The built page in a browser: nothing of it runs in this process.
        ...source,
        test: {
          name: "page",
          include: ["apps/*/test/**/*.page.test.ts"],
          isolate: false,
          testTimeout: 60_000,
        },
      },
      {
        // Stated times, when everything else is through.
        ...source,
        test: {
          name: "times",
          include: ["apps/*/test/**/*.times.test.ts"],
          sequence: { groupOrder: 1 },
          maxWorkers: 1,
          testTimeout: 60_000,
        },
      },
      {
        // Each in a process of its own: what other tests taught the compiler decides whether a number is boxed.
        ...source,
        test: {
          name: "heap",
          include: ["packages/*/test/**/heap.test.ts"],
          isolate: true,
          testTimeout: process.env.IOMMU_LAB_FULL ? 900_000 : 60_000,
        },
      },
      {
        ...source,
        test: {
          name: "slow",
          include: process.env.IOMMU_LAB_SLOW ? ["{packages,apps}/*/test/**/*.slow.test.ts", "test/**/*.slow.test.ts"] : [],
          testTimeout: 600_000,
          hookTimeout: 600_000,
        },
      },
    ],
  },
});
