import type { RunChoice } from "../state/app-state.ts";
import { playRun, type PlayedRun } from "./play.ts";

/** What the worker answers with. */
export type Answer = { readonly id: number; readonly run: PlayedRun } | { readonly id: number; readonly error: string };

addEventListener("message", ({ data: { id, choice } }: MessageEvent<{ readonly id: number; readonly choice: RunChoice }>) => {
  let answer: Answer;
  try {
    answer = { id, run: playRun(choice) };
  } catch (error) {
    answer = { id, error: error instanceof Error ? error.message : String(error) };
  }
  postMessage(answer);
});
