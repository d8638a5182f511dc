/** One step of a decision: what was read or judged, under which rule, with which outcome. */
export interface ExplanationStep {
  /** What was looked at, in the specification's words: "context entry", "IRTE", "second-stage entry, level 4". */
  readonly structure: string;
  /** Where it stands (HPA in bytes), when it is in memory. */
  readonly address?: number;
  /** Its raw 32-bit words, low word first. */
  readonly raw?: readonly number[];
  /** Its fields by the manual's names. */
  readonly fields?: Readonly<Record<string, number>>;
  /** The rule applied, as a sentence. */
  readonly rule: string;
  /** The rule's section, such as "VT-d §3.4.3". */
  readonly section: string;
  /** What followed: "continue", "translated", "fault 05h", … */
  readonly outcome: string;
}

/** Takes the steps of one decision in order. Who passes none pays nothing. */
export interface ExplanationSink {
  step(step: ExplanationStep): void;
}
