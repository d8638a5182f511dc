import type { Json, Mismatch, ReplayReport } from "@iommu-lab/hypervisor/replay";
import type { ExplanationStep } from "@iommu-lab/pci-bus";
import { printable } from "./printable.ts";
import { style } from "./style.ts";

/** What replaying one file came to. */
export interface ReplayedFile {
  readonly file: string;
  readonly report: ReplayReport;
}

/** Most mismatches shown of one file: what follows the first few mostly follows from them. */
const MOST_SHOWN = 20;
const MOST_CHARACTERS = 400;

const cut = (text: string): string => printable(text.length > MOST_CHARACTERS ? `${text.slice(0, MOST_CHARACTERS)}…` : text);
const shown = (value: Json): string => cut(JSON.stringify(value));
const count = (n: number, one: string, many: string): string => `${n} ${n === 1 ? one : many}`;

const explanationLine = ({ structure, address, raw, rule, section, outcome }: ExplanationStep): string => {
  const place = address === undefined ? "" : ` at 0x${address.toString(16)}`;
  const words = raw === undefined ? "" : ` [${raw.map((word) => (word >>> 0).toString(16).padStart(8, "0")).join(" ")}]`;
  return printable(`${structure}${place}${words}: ${rule} (${section}) → ${outcome}`);
};

const mismatchLines = ({ line, op, expected, actual, text, request }: Mismatch, { explanations }: ReplayReport): string[] => {
  const explanation = request === undefined ? undefined : explanations.get(request);
  return [
    `  ${style("bold", `line ${line}`)}: ${cut(text)}`,
    ...(op === "iommu_msi" && expected === null ? [style("dim", "    the model's IOMMU sent a message here that the recording does not have")] : []),
    `    expected  ${style("green", shown(expected))}`,
    `    actual    ${style("red", shown(actual))}`,
    ...(explanation === undefined || explanation.length === 0 ? [] : [style("dim", request === line ? "    how the model decided:" : `    how the model decided the request before, line ${request ?? 0}:`), ...explanation.map((step) => style("dim", `      ${explanationLine(step)}`))]),
  ];
};

const fileLines = ({ file, report }: ReplayedFile): string[] => {
  const { compared, skipped, mismatches } = report;
  const lines = [`${printable(file)}: ${compared} compared, ${skipped} skipped, ${mismatches.length === 0 ? "no mismatch" : style("red", count(mismatches.length, "mismatch", "mismatches"))}`];
  for (const mismatch of mismatches.slice(0, MOST_SHOWN)) lines.push(...mismatchLines(mismatch, report));
  if (mismatches.length > MOST_SHOWN) lines.push(`  and ${mismatches.length - MOST_SHOWN} more (--json shows all)`);
  return lines;
};

const totalsOf = (files: readonly ReplayedFile[]): { compared: number; skipped: number; mismatches: number } => ({
  compared: files.reduce((sum, { report }) => sum + report.compared, 0),
  skipped: files.reduce((sum, { report }) => sum + report.skipped, 0),
  mismatches: files.reduce((sum, { report }) => sum + report.mismatches.length, 0),
});

/** Steps passed over, by the reason that the traces mark them with, the commonest first. */
const marksOf = (files: readonly ReplayedFile[]): (readonly [mark: string, steps: number])[] => {
  const marks = new Map<string, number>();
  for (const { report } of files) for (const [mark, steps] of report.skippedByMark) marks.set(mark, (marks.get(mark) ?? 0) + steps);
  return [...marks].toSorted(([markA, a], [markB, b]) => b - a || (markA < markB ? -1 : 1));
};

/** A replay for people: every file, its mismatches with their reasons, the sum, and why steps were skipped. */
export const replayText = (files: readonly ReplayedFile[]): string => {
  const { compared, skipped, mismatches } = totalsOf(files);
  const sum = `${count(files.length, "trace", "traces")}: ${compared} compared, ${skipped} skipped, ${mismatches === 0 ? style("green", "no mismatch") : style("red", count(mismatches, "mismatch", "mismatches"))}`;
  const marks = marksOf(files).map(([mark, steps]) => style("dim", `  ${steps} skipped: ${cut(mark)}`));
  return [...files.flatMap(fileLines), ...(files.length > 1 ? ["", style("bold", sum)] : []), ...marks].join("\n");
};

/** A replay for scripts. */
export const replayJson = (files: readonly ReplayedFile[]): object => ({
  files: files.map(({ file, report: { compared, skipped, mismatches } }) => ({ file, compared, skipped, mismatches: mismatches.map(({ line, op, expected, actual }) => ({ line, op, expected, actual })) })),
  totals: totalsOf(files),
  skippedByMark: Object.fromEntries(marksOf(files)),
});
