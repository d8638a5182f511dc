import { formatAddress } from "@iommu-lab/pci-bus";
import type { DeviceDiagnosis, Diagnosis, RuleResult, Verdict } from "@iommu-lab/host/doctor";
import { describeFunction } from "../names/describe.ts";
import type { PciNames } from "../names/pci-ids.ts";
import { printable } from "./printable.ts";
import { style } from "./style.ts";

/** Lines that fit a screen of 30 with a prompt. */
const SCREEN = 26;
const WIDTH = 100;

const VERDICTS: Readonly<Record<Verdict, readonly [colour: "green" | "yellow" | "red", text: string]>> = {
  ready: ["green", "ready: nothing stands in the way"],
  warnings: ["yellow", "it should work; mind the warnings"],
  errors: ["red", "it will fail later, or is unsafe: see the errors"],
  "not-enough-data": ["yellow", "cannot be told from this input"],
  blocked: ["red", "blocked: it will not work as it is"],
};

const MARKS: Readonly<Record<RuleResult["severity"], readonly [colour: "green" | "yellow" | "red" | "dim", text: string]>> = { block: ["red", "BLOCKS"], error: ["red", "ERROR"], warning: ["yellow", "WARNING"], info: ["dim", "note"] };

const RANK: Readonly<Record<RuleResult["severity"], number>> = { block: 0, error: 1, warning: 2, info: 3 };

/** Worst first: blockers, what may be one, errors, the rest. */
const rank = ({ status, severity }: RuleResult): number => RANK[severity] * 2 + (status === "unknown" ? 1 : 0);

const cut = (text: string, width: number): string => (text.length <= width ? text : `${text.slice(0, width - 1)}…`);

/** Breaks a text into lines at spaces. */
const wrapped = (text: string, indent: string, width = WIDTH): string[] => {
  const lines: string[] = [];
  let line = indent;
  for (const word of text.split(" ")) {
    if (line.length + word.length + 1 > width && line !== indent) {
      lines.push(line);
      line = indent;
    }
    line += line === indent ? word : ` ${word}`;
  }
  return line === indent ? lines : [...lines, line];
};

const mark = ({ status, severity }: RuleResult): string => {
  const [colour, text] = status === "unknown" ? (["yellow", "unknown"] as const) : status === "pass" ? (["green", "ok"] as const) : MARKS[severity];
  return style(colour, text.padEnd(8));
};

/** Titles say what is right; a broken rule says so in front. */
const headline = (result: RuleResult): string => `${mark(result)}${style("dim", result.id.padEnd(9))}${result.status === "fail" && result.severity !== "info" ? "not so: " : ""}${result.title}`;

const evidenceText = ({ source, line, text }: RuleResult["evidence"][number]): string => printable(`${source}${line === undefined ? "" : `:${line}`}: ${text}`);

const shortLines = (result: RuleResult): string[] => {
  const [first] = result.evidence;
  return [headline(result), ...(first && result.status === "fail" ? [style("dim", `        ${cut(evidenceText(first), WIDTH - 8)}`)] : []), ...(result.status === "fail" ? wrapped(printable(result.advice), "        ").slice(0, 3) : [])];
};

const longLines = (result: RuleResult): string[] => [
  headline(result),
  ...result.evidence.map((each) => style("dim", `        ${evidenceText(each)}`)),
  ...(result.advice === "" ? [] : wrapped(printable(result.advice), "        ")),
  ...(result.status === "pass" ? [] : [style("dim", `        ${result.link}`)]),
];

const verdictText = (verdict: Verdict): string => {
  const [colour, text] = VERDICTS[verdict];
  return style(colour, text);
};

const deviceTitle = (device: DeviceDiagnosis, names: PciNames): string => `${style("cyan", formatAddress(device.address))} ${cut(printable(describeFunction(device.fn, names)), 76)}`;

const isOpen = ({ status, severity }: RuleResult): boolean => status === "fail" ? severity !== "info" : status === "unknown" && (severity === "block" || severity === "error");

/** What would answer what is open: asked for once, not once a rule. */
const wantedLine = (results: readonly RuleResult[]): string[] => {
  const wanted = [...new Set(results.filter((result) => result.status === "unknown" && !result.optional && RANK[result.severity] < 2).map(({ advice }) => advice.replace(/^Give /, "").replace(/\.$/, "")))];
  return wanted.length === 0 ? [] : ["", "To answer what is unknown:", ...wanted.slice(0, 4).map((text) => `  - ${cut(printable(text), WIDTH - 4)}`), ...(wanted.length > 4 ? [`  - and ${wanted.length - 4} more (-v)`] : [])];
};

const overview = (diagnosis: Diagnosis, names: PciNames): string[] => [
  `${style("bold", printable(diagnosis.origin))}${diagnosis.kernelRelease === undefined ? "" : `, Linux ${printable(diagnosis.kernelRelease)}`}: ${verdictText(diagnosis.verdict)}`,
  ...diagnosis.devices.slice(0, 4).map((device) => `  ${deviceTitle(device, names)}: ${verdictText(device.verdict)}`),
  ...(diagnosis.devices.length > 4 ? [`  and ${diagnosis.devices.length - 4} more (-v)`] : []),
];

/** The functions whose findings are told: the ones asked for, else the one that is closest to working. */
const told = ({ devices, asked }: Diagnosis): readonly DeviceDiagnosis[] => {
  if (asked) return devices;
  const count = ({ results }: DeviceDiagnosis): number => results.filter(isOpen).reduce((sum, result) => sum + 10 ** (3 - RANK[result.severity]), 0);
  return devices.length === 0 ? [] : [[...devices].sort((a, b) => Number(a.fn.bootVga ?? false) - Number(b.fn.bootVga ?? false) || count(a) - count(b))[0] as DeviceDiagnosis];
};

/** One finding for several functions is told once; what only follows from another (it sends the reader there) comes after it. */
const merged = (results: readonly RuleResult[], several: boolean): RuleResult[] => {
  const byText = new Map<string, RuleResult[]>();
  for (const result of results) byText.set(`${result.id} ${result.severity} ${several ? result.id : result.advice}`, [...(byText.get(`${result.id} ${result.severity} ${several ? result.id : result.advice}`) ?? []), result]);
  return [...byText.values()]
    .map((same) => ({ ...(same[0] as RuleResult), title: `${same[0]?.title ?? ""}${several && same[0]?.device !== undefined ? ` (${same.map(({ device }) => device).join(", ")})` : ""}` }))
    .sort((a, b) => rank(a) - rank(b) || Number(follows(a)) - Number(follows(b)));
};

const follows = ({ advice }: RuleResult): boolean => /see HOST-\d+ to HOST-\d+\.$/.test(advice);

/** A diagnosis on one screen, worst first. */
const shortText = (diagnosis: Diagnosis, names: PciNames): string[] => {
  const shown = told(diagnosis);
  const results = [...diagnosis.host, ...shown.flatMap((device) => device.results)];
  const failed = results.filter((result) => result.status === "fail" && isOpen(result));
  const head = overview(diagnosis, names);
  const asks = wantedLine(results);
  const foot = [`${results.filter(({ status }) => status === "pass").length} rules hold, ${results.filter(({ status }) => status === "fail").length} do not, ${results.filter(({ status }) => status === "unknown").length} cannot be answered; -v tells each with its evidence.`];
  const subject = !diagnosis.asked && diagnosis.devices.length > 1 && shown[0] ? [`Below: this machine and ${formatAddress(shown[0].address)}; another with --device.`] : [];
  const room = SCREEN - head.length - asks.length - foot.length - subject.length - 3;
  const body: string[] = [];
  let hidden = 0;
  for (const result of merged(failed, shown.length > 1)) {
    const lines = shortLines(result);
    if (hidden > 0 || body.length + lines.length > room) hidden++;
    else body.push(...lines);
  }
  const notes = merged(results.filter(({ status, severity }) => status === "fail" && severity === "info"), shown.length > 1).filter(({ id }) => id !== "DRV-001" && id !== "HOST-013");
  for (const note of hidden > 0 ? [] : notes) {
    const lines = [headline(note), ...wrapped(printable(note.advice), "        ").slice(0, 2)];
    if (body.length + lines.length <= room) body.push(...lines);
  }
  if (hidden > 0) body.push(style("dim", `        and ${hidden} more findings (-v)`));
  return [...head, ...subject, ...(body.length > 0 ? ["", ...body] : []), ...asks, "", ...foot];
};

const longText = (diagnosis: Diagnosis, names: PciNames): string[] => [
  ...overview(diagnosis, names),
  "",
  style("bold", "The machine"),
  ...[...diagnosis.host].sort((a, b) => Number(a.status === "pass") - Number(b.status === "pass") || rank(a) - rank(b)).flatMap(longLines),
  ...diagnosis.devices.flatMap((device) => ["", deviceTitle(device, names), ...[...device.results].sort((a, b) => Number(a.status === "pass") - Number(b.status === "pass") || rank(a) - rank(b)).flatMap(longLines)]),
  ...(diagnosis.missing.length > 0 ? ["", style("bold", "Not in this input"), ...diagnosis.missing.map(({ what, consequence }) => printable(`  ${what}; ${consequence}.`))] : []),
];

const logLines = ({ log }: Diagnosis, verbose: boolean): string[] => {
  if (log.length === 0) return [];
  if (!verbose) {
    const [first] = log;
    return [`The kernel log tells of ${log.length === 1 ? "one kind" : `${log.length} kinds`} of trouble${first ? `, first: ${cut(printable(first.happened), 60)}` : ""} (-v).`];
  }
  return ["", style("bold", "The kernel log"), ...log.flatMap(({ line, text, times, happened, why, advice }) => [style("dim", `  dmesg:${line}${times > 1 ? ` (${times} such lines)` : ""}: ${cut(printable(text.trim()), 160)}`), ...wrapped(printable([happened, why, advice].filter((each) => each !== "").join(" ")), "        ")])];
};

const changeLines = ({ changes }: Diagnosis): string[] => {
  if (!changes) return [];
  if (changes.length === 0) return ["", "Nothing changed since the baseline: kernel, firmware, options and groups are the same."];
  return ["", style("bold", "Since the baseline"), ...changes.slice(0, 8).map(({ what, before, after }) => cut(printable(`  ${what}: ${before} → ${after}`), 160)), ...(changes.length > 8 ? [`  and ${changes.length - 8} more (--json)`] : [])];
};

/** How much is told. */
export interface DoctorTextOptions {
  readonly verbose: boolean;
  /** What the input was taken for; empty for this machine. */
  readonly recognised: readonly string[];
}

/** A diagnosis for people. */
export const doctorText = (diagnosis: Diagnosis, names: PciNames, { verbose, recognised }: DoctorTextOptions): string => [...(recognised.length > 0 ? [style("dim", `Recognised: ${recognised.join(", ")}.`)] : []), ...(verbose ? longText(diagnosis, names) : shortText(diagnosis, names)), ...logLines(diagnosis, verbose), ...changeLines(diagnosis)].join("\n");
