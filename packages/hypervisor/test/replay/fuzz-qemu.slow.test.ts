/** The differential fuzzer (scripts/fuzz-qemu.ts) on the QEMU that is installed: it agrees with the model, and not with a model that has a bug. */
import { spawnSync } from "node:child_process";
import type { Translation, TranslationRequest } from "@iommu-lab/pci-bus";
import { beforeAll, describe, expect, test } from "vitest";
import { programOf } from "../../../../scripts/fuzz-qemu/families.ts";
import { record } from "../../../../scripts/fuzz-qemu/record.ts";
import { intelMachine } from "../../src/replay/intel-machine.ts";
import { replayWith } from "../../src/replay/replay.ts";
import type { TracedMachine } from "../../src/replay/traced-machine.ts";

const installed = spawnSync("qemu-system-x86_64", ["--version"]).status === 0;
if (!installed && process.env.IOMMU_LAB_REQUIRE_TOOLS) throw new Error("qemu-system-x86_64 (qemu-system-x86) is not installed.");

const seed = Number(process.env.IOMMU_LAB_SEED ?? Date.now()) % 2 ** 31;
const programs = Array.from({ length: 18 }, (_, i) => programOf(seed + i));
const traces: (readonly string[])[] = [];

/** A machine whose unit has one thing wrong. */
const withBug = (plant: (machine: TracedMachine) => void) => ({
  intel: (...built: Parameters<typeof intelMachine>): TracedMachine => {
    const machine = intelMachine(...built);
    plant(machine);
    return machine;
  },
});

const mistranslating =
  (spoil: (request: Readonly<TranslationRequest>, out: Translation) => void) =>
  ({ iommu }: TracedMachine): void => {
    const translate = iommu.translate.bind(iommu);
    iommu.translate = (request, out, explain) => {
      translate(request, out, explain);
      spoil(request, out);
    };
  };

const differing = async (plant: (machine: TracedMachine) => void): Promise<number> => {
  let count = 0;
  for (const lines of traces) count += (await replayWith(withBug(plant), lines)).mismatches.length;
  return count;
};

describe.skipIf(!installed)(`random programs on QEMU, seeds from ${seed}${installed ? "" : " (skipped: qemu-system-x86_64 is not installed)"}`, () => {
  beforeAll(async () => {
    for (const program of programs) traces.push(await record(program));
  });

  test.each(["none", "realistic", "adversarial"] as const)("agree with the model, caches: %s", async (caches) => {
    for (const [i, lines] of traces.entries()) {
      const { compared, mismatches } = await replayWith({ intel: intelMachine }, lines, { caches });
      expect(mismatches, `seed ${seed + i}`).toEqual([]);
      expect(compared).toBeGreaterThan(0);
    }
  });

  test.each<[string, (machine: TracedMachine) => void]>([
    ["a write without right goes through", mistranslating((_request, out) => { if (out.fault === 5) out.completion = 0; })],
    ["large pages lead to their first 4 KiB", mistranslating((request, out) => { if (out.pageShift > 12) out.page -= request.page % 2 ** (out.pageShift - 12); })],
    ["FECTL shows what was written, not what is pending", ({ iommu: { registers } }) => {
      const { write, read } = { write: registers.write.bind(registers), read: registers.read.bind(registers) };
      let kept = 0;
      registers.write = (offset, size, value) => { if (offset === 0x38) kept = value; write(offset, size, value); };
      registers.read = (offset, size) => (offset === 0x38 ? kept : read(offset, size));
    }],
    ["global IOTLB invalidation by register does nothing", ({ iommu: { registers } }) => {
      const write64 = registers.write64.bind(registers);
      registers.write64 = (offset, low, high) => { if (offset !== 0xf8) write64(offset, low, high); };
    }],
    ["every interrupt comes from 00:04.0", ({ iommu }) => {
      const remap = iommu.remapInterrupt.bind(iommu);
      iommu.remapInterrupt = (message, sink, out, explain) => { remap({ ...message, requester: 0x20 }, sink, out, explain); };
    }],
    ["the unit's own messages are lost", ({ messages }) => { messages.push = () => 0; }],
  ])("a bug is found: %s", async (_what, plant) => {
    expect(await differing(plant)).toBeGreaterThan(0);
  });
});
