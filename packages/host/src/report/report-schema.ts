import * as v from "valibot";

const text = (most: number) => v.pipe(v.string(), v.maxLength(most, `At most ${most} characters.`), v.regex(/^[\x20-\x7e]*$/, "Printable ASCII only."));
const hex = (digits: number) => v.pipe(v.string(), v.regex(new RegExp(`^[0-9a-f]{${digits}}$`), `${digits} hexadecimal digits.`));
const status = v.picklist(["pass", "fail", "unknown"], "A status is pass, fail or unknown.");
const verdict = v.picklist(["ready", "warnings", "errors", "not-enough-data", "blocked"], "No such verdict.");
const answers = v.pipe(v.record(v.pipe(v.string(), v.regex(/^[A-Z]{2,5}-\d{3}$/, "A rule's id is letters and three digits.")), status), v.check((value) => Object.keys(value).length <= 200, "At most 200 rules."));

const deviceSchema = v.strictObject({
  vendor: hex(4),
  device: hex(4),
  /** Class, subclass and programming interface. */
  class: hex(6),
  verdict,
  /** Functions in its group that are no bridges, itself included. */
  groupSize: v.nullable(v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(65_536))),
  resetMethods: v.nullable(v.pipe(v.array(v.pipe(v.string(), v.regex(/^[a-z0-9_]{1,24}$/, "A reset method is a word."))), v.maxLength(16))),
  /** The owner's word, not the doctor's. */
  worked: v.picklist(["yes", "no", "not-said"], "worked is yes, no or not-said."),
  rules: answers,
});

/** What worked on which hardware: nothing in it tells whose machine it is. */
export const reportSchema = v.strictObject({
  format: v.literal("iommu-lab-report", "This is no report of iommu."),
  version: v.literal(1, "Only version 1 is known."),
  processor: v.nullable(text(120)),
  board: v.nullable(v.strictObject({ vendor: text(80), name: text(80) })),
  firmware: v.nullable(v.strictObject({ vendor: text(80), version: text(80), date: text(20) })),
  /** "6.12". */
  kernel: v.nullable(v.pipe(v.string(), v.regex(/^\d{1,3}\.\d{1,3}$/, "A kernel is two numbers."))),
  iommu: v.nullable(v.picklist(["intel", "amd", "other"], "An IOMMU is intel, amd or other.")),
  active: v.picklist(["yes", "no", "unknown"], "active is yes, no or unknown."),
  verdict,
  rules: answers,
  devices: v.pipe(v.array(deviceSchema), v.maxLength(256)),
});

/** A report, checked. */
export type HardwareReport = v.InferOutput<typeof reportSchema>;

/** The text is no report. */
export class ReportError extends Error {
  override readonly name = "ReportError";
}

const pathOf = (issue: v.BaseIssue<unknown>): string => (issue.path ?? []).map(({ key }) => String(key)).join(".");

/**
 * Reads a report that was JSON.
 * @throws ReportError that names the first mistakes
 */
export const parseReport = (value: unknown): HardwareReport => {
  const result = v.safeParse(reportSchema, value);
  if (result.success) return result.output;
  throw new ReportError(result.issues.slice(0, 3).map((issue) => (pathOf(issue) === "" ? issue.message : `${pathOf(issue)}: ${issue.message}`)).join(" "));
};
