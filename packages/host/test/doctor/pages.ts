/** The documentation of the rules: a page for each, with what it says of the hosts that break it. */
import { RULES, type Severity } from "../../src/doctor/index.ts";
import { CASES } from "./cases.ts";
import { PAGE_TEXTS } from "./page-texts.ts";
import { answerOf, diagnoseWith } from "./sound-host.ts";

const SEVERITIES: Readonly<Record<Severity, string>> = { block: "blocks: it will not work", error: "error: it fails later, or is unsafe", warning: "warning", info: "note" };

const BASELINE = { id: "GRP-012", title: "Nothing changed since the baseline", severity: "warning", about: "host" } as const;

/** Every rule with a page. */
const PAGED = [...RULES, BASELINE].sort((a, b) => (a.id < b.id ? -1 : 1));

const examplesOf = (id: string): string[] =>
  CASES.filter(([rule]) => rule === id).flatMap(([, why, fires]) => {
    const { evidence, advice, severity } = answerOf(diagnoseWith(fires), id);
    return ["", `## For example: ${why}`, "", "```", ...evidence.map(({ source, line, text }) => `${source}${line === undefined ? "" : `:${line}`}: ${text.replaceAll("\t", " ")}`), "```", "", `(${SEVERITIES[severity]}) ${advice}`];
  });

const pageOf = ({ id, title, severity, about }: (typeof PAGED)[number]): string =>
  [`# ${id}: ${title}`, "", `When this does not hold: ${SEVERITIES[severity]}. Asked once ${about === "host" ? "for the machine" : "for each function to be assigned"}.`, "", PAGE_TEXTS[id] ?? "", ...examplesOf(id), ""].join("\n");

const index = (): string =>
  [
    "# What the doctor asks",
    "",
    "`iommu doctor` judges a machine by these rules. Each answers pass, fail or unknown; unknown never counts as pass. The pages are made from the rules and their tests (`scripts/doctor-pages.ts`).",
    "",
    "| rule | what holds when it passes | else |",
    "| --- | --- | --- |",
    ...PAGED.map(({ id, title, severity }) => `| [${id}](${id}.md) | ${title} | ${severity} |`),
    "",
  ].join("\n");

/** Every page's text by its name in docs/doctor. */
export const doctorPages = (): ReadonlyMap<string, string> => new Map([["README.md", index()], ...PAGED.map((rule): [string, string] => [`${rule.id}.md`, pageOf(rule)])]);
