/**
 * A differential fuzzer: random programs run on Debian's QEMU and on the model, and whatever differs is a finding.
 *
 *   pnpm fuzz:qemu --seconds 60               fresh seeds, Intel's and AMD's IOMMU by turns
 *   pnpm fuzz:qemu --seed 1234 --programs 1   one program again, as its finding says
 *   --iommu intel|amd for the seeds of one of them,
 *   --out FOLDER for findings, --keep FOLDER for the trace of every program
 *
 * Exit 0 no difference, 1 a difference (the shrunk program is written as a trace, which `iommu replay` reads), 2 wrong
 * arguments or no QEMU. What QEMU is known to do against the architecture is kept out by the generators (for AMD:
 * fuzz-qemu/amd/deviations.md), or masked in the trace with the reason. AMD's event log is not compared: QEMU 7.2 has none.
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { gzipSync } from "node:zlib";
import { replay, type Mismatch } from "../packages/hypervisor/src/replay/index.ts";
import { programOf, vendorOf } from "./fuzz-qemu/families.ts";
import type { Program } from "./fuzz-qemu/program.ts";
import { QemuFailure } from "./fuzz-qemu/qemu.ts";
import { record } from "./fuzz-qemu/record.ts";
import { shrink } from "./fuzz-qemu/shrink.ts";

const SHRINK_SECONDS = 30;

const { values } = parseArgs({ options: { iommu: { type: "string" }, seconds: { type: "string", default: "60" }, seed: { type: "string" }, programs: { type: "string" }, out: { type: "string", default: join(tmpdir(), "iommu-lab-findings") }, keep: { type: "string" } } });
const numberOf = (name: string, text: string | undefined): number | undefined => {
  if (text === undefined) return undefined;
  const value = Number(text);
  if (Number.isInteger(value) && value >= 0) return value;
  console.error(`fuzz-qemu: --${name} takes a number, not "${text}".`);
  process.exit(2);
};
const { iommu } = values;
if (iommu !== undefined && iommu !== "intel" && iommu !== "amd") {
  console.error(`fuzz-qemu: --iommu takes intel or amd, not "${iommu}".`);
  process.exit(2);
}
const seconds = numberOf("seconds", values.seconds) ?? 60;
const first = numberOf("seed", values.seed) ?? Math.floor(Math.random() * 2 ** 31);
const most = numberOf("programs", values.programs) ?? Infinity;

/** Programs invalidate whatever they change, so what a cache may keep makes no difference. */
const CACHES = ["realistic", "none", "adversarial"] as const;

interface Outcome {
  readonly lines: readonly string[];
  readonly compared: number;
  /** The policy of the model's caches with which it differs. */
  readonly caches: (typeof CACHES)[number];
  readonly mismatches: readonly Mismatch[];
}

const run = async (program: Program): Promise<Outcome> => {
  const lines = await record(program);
  let compared = 0;
  for (const caches of CACHES) {
    const report = await replay(lines, { caches });
    compared = report.compared;
    if (report.mismatches.length > 0) return { lines, compared, caches, mismatches: report.mismatches };
  }
  return { lines, compared, caches: "realistic", mismatches: [] };
};

/** What makes two findings the same: where they first differ, and how. */
const signature = (mismatch: Mismatch | undefined): string => {
  if (mismatch === undefined) return "";
  const { off } = JSON.parse(mismatch.text) as { off?: string };
  const value = (json: unknown): string => (mismatch.op === "reg_read" ? String(json) : json === null ? "null" : typeof json);
  return `${mismatch.op} ${off ?? ""} ${value(mismatch.expected)} ${value(mismatch.actual)}`;
};

const reportFinding = async (program: Program, outcome: Outcome): Promise<void> => {
  const wanted = signature(outcome.mismatches[0]);
  const small = await shrink(program, async (candidate) => signature((await run(candidate)).mismatches[0]) === wanted, Date.now() + 1000 * SHRINK_SECONDS);
  const { lines, caches, mismatches } = await run(small);
  mkdirSync(values.out, { recursive: true });
  const path = join(values.out, `${program.family}-${program.seed}.jsonl`);
  writeFileSync(path, `${lines.join("\n")}\n`);
  console.log(`\nDIFFERENCE in ${program.family}, seed ${program.seed} (--seed ${program.seed} --programs 1); ${lines.length} steps of ${outcome.lines.length} left in ${path}; iommu replay --caches ${caches} explains it.`);
  for (const { line, text, expected, actual } of mismatches.slice(0, 5)) console.log(`  line ${line}: ${text.slice(0, 300)}\n    QEMU   ${JSON.stringify(expected)}\n    model  ${JSON.stringify(actual)}`);
  if (mismatches.length > 5) console.log(`  and ${mismatches.length - 5} more`);
};

for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => process.exit(130));
console.log(`fuzz-qemu: ${iommu === undefined ? "" : `${iommu}, `}seeds from ${first}, ${values.programs === undefined ? `${seconds} s` : `${most} programs`}`);
const end = Date.now() + 1000 * seconds;
let programs = 0;
let compared = 0;
let findings = 0;
let crashes = 0;
for (let seed = first; programs < most && (values.programs !== undefined || Date.now() < end); seed++) {
  if (iommu !== undefined && iommu !== vendorOf(seed)) continue;
  const program = programOf(seed);
  programs++;
  try {
    const outcome = await run(program);
    compared += outcome.compared;
    if (values.keep !== undefined) {
      mkdirSync(values.keep, { recursive: true });
      writeFileSync(join(values.keep, `${program.family}-${program.seed}.jsonl.gz`), gzipSync(`${outcome.lines.join("\n")}\n`));
    }
    if (outcome.mismatches.length > 0) {
      findings++;
      await reportFinding(program, outcome);
    }
  } catch (error) {
    if (!(error instanceof QemuFailure)) throw error;
    if (programs === 1 && error.message.includes("cannot be started")) {
      console.error(`fuzz-qemu: ${error.message}. Install Debian's qemu-system-x86.`);
      process.exit(2);
    }
    crashes++;
    console.log(`\nQEMU failed on ${program.family}, seed ${program.seed}: ${error.message}`);
  }
}
console.log(`fuzz-qemu: ${programs} programs, ${compared} observations compared, ${findings} ${findings === 1 ? "difference" : "differences"}${crashes === 0 ? "" : `, ${crashes} times QEMU itself failed`}.`);
process.exitCode = findings + crashes > 0 ? 1 : 0;
