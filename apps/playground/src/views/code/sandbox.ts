import type { PlayedRun } from "../../run/play.ts";
import type { RunChoice } from "../../state/app-state.ts";
import laboratory from "./laboratory.worker.ts?worker&url";

/** What an experiment tells while it runs. */
export type Told = { readonly kind: "started" } | { readonly kind: "done" } | { readonly kind: "print"; readonly text: string } | { readonly kind: "run"; readonly run: PlayedRun } | { readonly kind: "failed"; readonly error: string };
/** How it ended: by itself, with an error, or because its time was up. */
export type Ended = { readonly kind: "done" } | { readonly kind: "failed"; readonly error: string } | { readonly kind: "time" };

/** Milliseconds that an experiment may run, once its worker has loaded. */
export const MOST_TIME = 5_000;
const LOAD_TIME = 30_000;

/**
 * Runs an experiment in a worker of its own, made of its text: such a worker keeps to the page's policy, so that it
 * reaches no network. An endless loop ends with the worker.
 * @returns a way to end it early
 */
export const runExperiment = (code: string, choice: RunChoice, told: (told: Told) => void, ended: (how: Ended) => void): (() => void) => {
  const script = `import ${JSON.stringify(new URL(laboratory, location.href).href)};
await globalThis.iommuLaboratory(${JSON.stringify(choice)}, async (require, exports, __tick) => {
"use strict";
${code}
});`;
  const url = URL.createObjectURL(new Blob([script], { type: "text/javascript" }));
  const worker = new Worker(url, { type: "module" });
  let over = false;
  const end = (how: Ended): void => {
    if (over) return;
    over = true;
    clearTimeout(timer);
    worker.terminate();
    URL.revokeObjectURL(url);
    ended(how);
  };
  let timer = setTimeout(() => { end({ kind: "time" }); }, LOAD_TIME);
  worker.onmessage = ({ data }: MessageEvent<Told>) => {
    if (over) return;
    told(data);
    if (data.kind === "started") {
      clearTimeout(timer);
      timer = setTimeout(() => { end({ kind: "time" }); }, MOST_TIME);
    } else if (data.kind === "done" || data.kind === "failed") end(data);
  };
  worker.onerror = (event) => {
    event.preventDefault();
    end({ kind: "failed", error: event.message === "" ? "The experiment's worker ended." : event.message });
  };
  return () => { end({ kind: "failed", error: "" }); };
};
