/** The differential fuzzer (scripts/fuzz-qemu.ts) on the QEMU that is installed: it agrees with the models, and not with a model that has a bug. */
import { spawnSync } from "node:child_process";
import { EventCode } from "@iommu-lab/iommu-amd/layouts";
import { Access, Completion, DeliveryMode, newTranslation, type Translation, type TranslationRequest } from "@iommu-lab/pci-bus";
import { beforeAll, describe, expect, test } from "vitest";
import { programOf, vendorOf } from "../../../../scripts/fuzz-qemu/families.ts";
import { record } from "../../../../scripts/fuzz-qemu/record.ts";
import { amdMachine } from "../../src/replay/amd-machine.ts";
import { intelMachine } from "../../src/replay/intel-machine.ts";
import { replayWith } from "../../src/replay/replay.ts";
import type { MachineBuilder, TracedMachine } from "../../src/replay/traced-machine.ts";

const installed = spawnSync("qemu-system-x86_64", ["--version"]).status === 0;
if (!installed && process.env.IOMMU_LAB_REQUIRE_TOOLS) throw new Error("qemu-system-x86_64 (qemu-system-x86) is not installed.");

type Vendor = ReturnType<typeof vendorOf>;
type Plant = (machine: TracedMachine) => void;
const MACHINES: Readonly<Record<Vendor, MachineBuilder>> = { intel: intelMachine, amd: amdMachine };

const seed = Number(process.env.IOMMU_LAB_SEED ?? Date.now()) % 2 ** 31;
/** As many of each vendor. */
const seeds = Array.from({ length: 36 }, (_, i) => seed + i);
const traces = new Map<number, readonly string[]>();

/** A machine whose unit has one thing wrong. */
const withBug = (build: MachineBuilder, plant: Plant): MachineBuilder => (...built) => {
  const machine = build(...built);
  plant(machine);
  return machine;
};

const mistranslating =
  (spoil: (request: Readonly<TranslationRequest>, out: Translation) => void): Plant =>
  ({ iommu }) => {
    const translate = iommu.translate.bind(iommu);
    iommu.translate = (request, out, explain) => {
      translate(request, out, explain);
      spoil(request, out);
    };
  };

/** A translation once found is given for ever, whatever is invalidated. */
const neverForgetting: Plant = (machine) => {
  const known = new Map<string, Translation>();
  mistranslating(({ requester, page }, out) => {
    const key = `${requester} ${page}`;
    const kept = known.get(key);
    if (kept !== undefined) Object.assign(out, kept);
    else if (out.completion === Completion.Successful) known.set(key, Object.assign(newTranslation(), out));
  })(machine);
};

const everyInterruptFromOne: Plant = ({ iommu }) => {
  const remap = iommu.remapInterrupt.bind(iommu);
  iommu.remapInterrupt = (message, sink, out, explain) => { remap({ ...message, requester: 0x20 }, sink, out, explain); };
};

const losingMessages: Plant = ({ messages }) => { messages.push = () => 0; };

/** Programs more that are tried when none of the sample asks for what is wrong. */
const MOST_MORE = 150;

const differing = async (vendor: Vendor, plant: Plant): Promise<number> => {
  const mismatches = async (lines: readonly string[]): Promise<number> => (await replayWith({ [vendor]: withBug(MACHINES[vendor], plant) }, lines)).mismatches.length;
  let count = 0;
  for (const [each, lines] of traces) if (vendorOf(each) === vendor) count += await mismatches(lines);
  for (let each = seed + seeds.length; count === 0 && each < seed + seeds.length + 2 * MOST_MORE; each++) if (vendorOf(each) === vendor) count += await mismatches(await record(programOf(each)));
  return count;
};

describe.skipIf(!installed)(`random programs on QEMU, seeds from ${seed}${installed ? "" : " (skipped: qemu-system-x86_64 is not installed)"}`, () => {
  beforeAll(async () => {
    for (const each of seeds) traces.set(each, await record(programOf(each)));
  });

  test.each(["none", "realistic", "adversarial"] as const)("agree with the models, caches: %s", async (caches) => {
    for (const [each, lines] of traces) {
      const { compared, mismatches } = await replayWith(MACHINES, lines, { caches });
      expect(mismatches, `seed ${each}`).toEqual([]);
      expect(compared).toBeGreaterThan(0);
    }
  });

  test.each<[string, Plant]>([
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
    ["every interrupt comes from 00:04.0", everyInterruptFromOne],
    ["the unit's own messages are lost", losingMessages],
    ["translations are never forgotten", neverForgetting],
  ])("a bug is found in Intel's: %s", async (_what, plant) => {
    expect(await differing("intel", plant)).toBeGreaterThan(0);
  });

  test.each<[string, Plant]>([
    ["a write that faults goes through", mistranslating(({ access }, out) => { if (out.fault === EventCode.IoPageFault && (access & Access.Write) !== 0) out.completion = Completion.Successful; })],
    ["the lowest zero of a size code does not count", mistranslating((_request, out) => {
      const half = 2 ** (out.pageShift - 13);
      if ((out.pageShift - 12) % 9 !== 0 && Math.floor(out.page / half) % 2 === 1) out.page -= half;
    })],
    ["translations are never forgotten", neverForgetting],
    ["a completion store has four bytes", ({ memory }) => {
      const write32 = memory.write32.bind(memory);
      memory.write32 = (address, value) => { if (address % 8 === 0) write32(address, value); };
    }],
    ["the command head stays below the last command", ({ iommu: { registers } }) => {
      const read = registers.read.bind(registers);
      registers.read = (offset, size) => (offset === 0x2000 ? Math.max(read(offset, size) - 16, 0) : read(offset, size));
    }],
    ["arbitrated interrupts arrive as fixed ones", ({ iommu }) => {
      const remap = iommu.remapInterrupt.bind(iommu);
      iommu.remapInterrupt = (message, sink, out, explain) => {
        remap(message, { deliver: (interrupt) => { sink.deliver({ ...interrupt, deliveryMode: DeliveryMode.Fixed }); }, post: (posting) => { sink.post(posting); } }, out, explain);
      };
    }],
    ["every interrupt comes from 00:04.0", everyInterruptFromOne],
    ["the unit's own interrupts are lost", losingMessages],
  ])("a bug is found in AMD's: %s", async (_what, plant) => {
    expect(await differing("amd", plant)).toBeGreaterThan(0);
  });
});
