import type { PlayedRun } from "./play.ts";

/** How far the run is: its last event is its end. */
export const stepOf = (step: number, run: PlayedRun): number => Math.min(step, run.events.length);

/** The next place to stop at in a direction: after an event that tells something, or with `details` after any. */
export const nextStep = ({ events }: PlayedRun, from: number, by: 1 | -1, details: boolean): number => {
  let at = Math.min(Math.max(0, from + by), events.length);
  const quiet = (step: number): boolean => {
    const kind = events[step - 1]?.kind;
    return kind === "hop" || kind === "config-write";
  };
  while (!details && at > 0 && at < events.length && quiet(at)) at += by;
  return at;
};
