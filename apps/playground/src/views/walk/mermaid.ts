import { tell } from "../../text/told.tsx";
import type { Language } from "../../text/words.ts";
import { flowchart } from "../../ui/mermaid.ts";
import { hex } from "../entries/edits.ts";
import type { WalkStep } from "./steps.ts";

/** A decision's steps, one below the other. */
export const mermaidOf = (steps: readonly WalkStep[], language: Language): string => flowchart({
  direction: "TD",
  nodes: steps.map(({ step: { structure, address, outcome }, stops }, i) => ({ id: `s${i}`, lines: [`${i + 1}. ${tell(structure, language)}`, address === undefined ? "" : hex(address), tell(outcome, language)], fails: stops })),
  edges: steps.slice(1).map((_, i) => [`s${i}`, `s${i + 1}`] as const),
});
