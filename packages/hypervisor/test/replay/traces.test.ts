import { readFileSync } from "node:fs";
import { gunzipSync } from "node:zlib";
import type { CachePolicy } from "@iommu-lab/pci-bus";
import { describe, expect, test } from "vitest";
import { listShared, readShared, skippedWithoutShared } from "../../../../test/shared.ts";
import { replay } from "../../src/replay/index.ts";

interface Step {
  readonly op: string;
  readonly impl?: string;
  readonly value?: string;
  readonly data?: string | null;
  readonly ok?: boolean;
  /** Of `msi` a message, of `irqs` a list of interrupts. */
  readonly out?: { readonly addr: string; readonly data: string } | readonly object[] | null;
  readonly parts?: readonly { readonly ok: boolean }[];
}

/** An interrupt as `irqs` steps list them. */
const INTERRUPT = { dest: 9, dest_mode: 0, delivery_mode: 0, vector: 0x99, trigger_mode: 0 };

const interruptsOf = ({ out }: Step): readonly object[] => (Array.isArray(out) ? (out as object[]) : []);

/** The same step, expecting something else. */
const tampered = (step: Step): object => {
  if (step.op === "reg_read") return { ...step, value: step.value === "0x0" ? "0x80000000" : "0x0", mask: undefined };
  if (step.op === "cfg_read") return { ...step, value: "0x0" };
  if (step.op === "irqs") return { ...step, out: [...interruptsOf(step), INTERRUPT] };
  if (step.op === "msi") return { ...step, irq: undefined, out: step.out ? Object.assign({}, step.out, { addr: "0xfeeff000" }) : { addr: "0xfee00000", data: "0x0" } };
  if (step.op === "iommu_msi") return { ...step, data: "0x99" };
  if (step.parts) return { ...step, parts: step.parts.map((part) => ({ ...part, ok: true })) };
  if (step.op === "dma_write") return { ...step, ok: step.ok !== true };
  if (step.data === null) return { ...step, data: "00000000" };
  return { ...step, data: "55".repeat((step.data ?? "").length / 2) };
};

describe.each([
  { vendor: "Intel", name: "legacy-and-interrupts.jsonl", walk: /root.*context.*second-stage/i },
  { vendor: "AMD", name: "host-tables-and-interrupts.jsonl", walk: /device table entry.*host entry, level 3.*host entry, level 1/i },
])("the trace of an $vendor machine written by hand", ({ name, walk }) => {
  const own = readFileSync(new URL(`fixtures/${name}`, import.meta.url), "utf8").trimEnd();
  const lines = own.split("\n");
  const steps = lines.map((text, i) => ({ line: i + 1, step: JSON.parse(text) as Step }));
  const observing = steps.filter(({ step }) => /^(?:mem_read|reg_read|dma_read|dma_write|msi|iommu_msi|cfg_read|irqs)$/.test(step.op));
  const compared = observing.filter(({ step }) => step.impl === undefined);
  const listed = steps.filter(({ step }) => step.op === "irqs");

  test.each(["none", "realistic", "adversarial"] as const)("replays without mismatch, caches: %s", async (caches) => {
    const report = await replay(own, { caches });
    expect(report.mismatches).toEqual([]);
    expect([report.compared, report.skipped]).toEqual([compared.length, observing.length - compared.length]);
  });

  test.each(compared)("line $line ($step.op) would be noticed", async ({ line, step }) => {
    const { mismatches } = await replay(lines.with(line - 1, JSON.stringify(tampered(step))));
    expect(mismatches.map((mismatch) => mismatch.line)).toEqual([line]);
  });

  test.each(steps.filter(({ step }) => step.op === "iommu_msi"))("without line $line the model's message is one too many", async ({ line }) => {
    const { mismatches } = await replay(lines.toSpliced(line - 1, 1));
    expect(mismatches).toMatchObject([{ line: line - 1, op: "iommu_msi", expected: null }]);
  });

  test.each(listed.slice(0, -1).filter(({ step }) => interruptsOf(step).length > 0))("without line $line its interrupts are too many for the next such step", async ({ line }) => {
    const { mismatches } = await replay(lines.toSpliced(line - 1, 1));
    expect(mismatches.map((mismatch) => [mismatch.line, mismatch.op])).toEqual([[(listed.find((next) => next.line > line)?.line ?? 0) - 1, "irqs"]]);
  });

  test("a request is explained from the first structure on", async () => {
    const request = steps.find(({ step }) => step.op === "dma_write" && step.ok === false)?.line ?? 0;
    const { explanations } = await replay(own, { caches: "none", explain: new Set([request]) });
    expect(explanations.get(request)?.map(({ structure }) => structure).join("; ")).toMatch(walk);
  });
});

const recorded = ["intel/qemu-7.2", "intel/qemu-11.1", "amd/qemu-7.2", "amd/qemu-11.1"].flatMap((version) => listShared(`traces/${version}`, ".jsonl.gz").map((name) => `traces/${version}/${name}`));
const seed = Number(process.env.IOMMU_LAB_SEED ?? Date.now() % 1000);

const families = new Map<string, string[]>();
for (const path of recorded) {
  const family = path.replace(/-\d+\.jsonl\.gz$/, "");
  families.set(family, [...(families.get(family) ?? []), path]);
}

/** One trace of each family, another with each seed; all of them in a full run. */
const sample = process.env.IOMMU_LAB_FULL ? recorded : [...families.values()].map((family) => family[seed % family.length] ?? "");

/**
 * The `access` traces give one domain ID to different tables, which software must not do: a cache tagged by domain (VT-d §6.2.1)
 * may then answer for either. QEMU's is tagged by device, and the realistic one of the model tells the tables apart.
 */
const policiesOf = (path: string): readonly CachePolicy[] => (!process.env.IOMMU_LAB_FULL ? ["realistic"] : path.includes("/access-") ? ["none", "realistic"] : ["none", "realistic", "adversarial"]);

describe.skipIf(recorded.length === 0)(`traces recorded from QEMU${skippedWithoutShared}`, () => {
  test.each(sample)("%s", async (path) => {
    const text = gunzipSync(readShared(path)).toString();
    for (const caches of policiesOf(path)) {
      const { compared, skipped, skippedByMark, mismatches } = await replay(text, { caches });
      expect(mismatches).toEqual([]);
      expect([...skippedByMark.values()].reduce((sum, count) => sum + count, 0)).toBe(skipped);
      expect(compared + skipped).toBe(text.match(/"op":"(?:mem_read|reg_read|dma_read|dma_write|msi|iommu_msi|cfg_read|irqs)"/g)?.length);
    }
  });
});
