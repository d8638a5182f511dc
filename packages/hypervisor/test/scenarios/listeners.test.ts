import { describe, expect, test } from "vitest";
import { runScenario, SCENARIOS } from "../../src/scenarios/index.ts";

describe("who listens to a scenario", () => {
  test.each(SCENARIOS.filter(({ long }) => !long))("$name: an IOMMU that is listened to changes nothing of the result", (scenario) => {
    const run = runScenario(scenario, {
      machine: () => ({
        iommu: ({ iommu }) => ({
          registers: iommu.registers,
          translate: (request, out, explain) => { iommu.translate(request, out, explain); },
          remapInterrupt: (message, sink, out, explain) => { iommu.remapInterrupt(message, sink, out, explain); },
          pageRequest: (request) => { iommu.pageRequest(request); },
          connect: (port) => { iommu.connect(port); },
          reset: (kind) => { iommu.reset(kind); },
        }),
      }),
    });
    expect(run.result.hash).toBe(runScenario(scenario).result.hash);
  });
});
