import { effect, signal, type ReadonlySignal } from "@preact/signals";
import type { ExplanationStep } from "@iommu-lab/pci-bus";
import { FIRST, type RunChoice } from "../state/app-state.ts";
import type { Store } from "../state/store.ts";
import type { PlayedRun } from "./play.ts";
import type { Answer } from "./run.worker.ts";

/** The run that the state asks for: nothing while it is being played. */
export type CurrentRun = { readonly kind: "playing" } | { readonly kind: "played"; readonly run: PlayedRun } | { readonly kind: "failed"; readonly error: string };

/** So many runs are kept, for who goes back and forth. */
const KEPT = 8;

const keyOf = (choice: RunChoice): string => JSON.stringify([choice.scenario, choice.iommu, choice.seed, choice.without.toSorted()]);

const FIRST_KEY = keyOf(FIRST.run);

/** Runs of a window: played in a worker, so that the page answers meanwhile. */
export interface Runs {
  readonly current: ReadonlySignal<CurrentRun>;
  /** Takes a run that came as a file; it is current as long as its choice is. */
  readonly adopt: (run: PlayedRun) => void;
}

/** Plays what the store asks for. */
export const openRuns = (store: Store): Runs => {
  const current = signal<CurrentRun>({ kind: "playing" });
  const played = new Map<string, PlayedRun>();
  let worker: Worker | undefined;
  let [asked, wanted] = [0, ""];
  const keep = (key: string, run: PlayedRun): void => {
    played.set(key, run);
    for (const oldest of played.keys()) if (played.size > KEPT) played.delete(oldest);
  };
  const settle = (key: string, run: PlayedRun): void => {
    keep(key, run);
    current.value = { kind: "played", run };
  };
  /** The first screen's run came with the page: it shows before the machines' code is there. */
  const showFirst = async (key: string): Promise<void> => {
    const id = ++asked;
    const { RUN } = await import("virtual:first-run");
    // first-run/print-first-run.ts wrote it, from the same type.
    const run = RUN as Omit<PlayedRun, "decisions"> & { readonly decisions: [number, readonly ExplanationStep[]][] };
    if (id === asked) settle(key, { ...run, decisions: new Map(run.decisions) });
  };
  const ask = (choice: RunChoice, key: string): void => {
    worker ??= new Worker(new URL("run.worker.ts", import.meta.url), { type: "module" });
    const id = ++asked;
    worker.onmessage = ({ data }: MessageEvent<Answer>) => {
      if (data.id !== id) return;
      if ("error" in data) current.value = { kind: "failed", error: data.error };
      else settle(key, data.run);
    };
    worker.onerror = () => { current.value = { kind: "failed", error: "The worker that plays runs could not be started." }; };
    worker.postMessage({ id, choice });
  };
  effect(() => {
    const { run: choice } = store.state.value;
    const key = keyOf(choice);
    if (key === wanted) return;
    wanted = key;
    const ready = played.get(key);
    current.value = ready ? { kind: "played", run: ready } : { kind: "playing" };
    if (ready) return;
    if (key === FIRST_KEY) void showFirst(key);
    else ask(choice, key);
  });
  return {
    current,
    adopt: (run) => {
      const key = keyOf(run.choice);
      keep(key, run);
      wanted = key;
      asked++;
      current.value = { kind: "played", run };
      store.change({ run: run.choice, step: 0 }, true);
    },
  };
};
