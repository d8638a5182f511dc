import { hex } from "../entries/edits.ts";
import { lowestBit } from "./address-split.ts";
import type { WalkStep } from "./steps.ts";
import type { WalkSay } from "./text.ts";

/** A step in a sentence. */
export const stepSentence = ({ kind, place, pointer, stops, step }: WalkStep, say: WalkSay): string => {
  if (!kind || !place) return say("judged");
  const holes = { row: place.row, table: hex(place.table) };
  if (stops || pointer === undefined) return stops ? say("ends", holes) : say("leads", { ...holes, next: "–" });
  const next = hex(pointer * 4096);
  if (kind.level === 0) return say("leads", { ...holes, next });
  const bits = `${Math.min(63, lowestBit(kind.level + 1) - 1)}:${lowestBit(kind.level)}`;
  return say(step.outcome === "page" ? "leadsPage" : "leadsLevel", { ...holes, bits, next });
};
