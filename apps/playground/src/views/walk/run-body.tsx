import type { VNode } from "preact";
import { eventSentence } from "../../run/event-words.ts";
import type { PlayedRun } from "../../run/play.ts";
import { stepOf } from "../../run/steps.ts";
import { hex } from "../entries/edits.ts";
import type { ViewProps } from "../view.ts";
import { EntryPanel } from "./entry-panel.tsx";
import type { WalkSettings } from "./settings.ts";
import { NestedGrid, StepTable } from "./step-table.tsx";
import { memoryReads, walkSteps } from "./steps.ts";
import { walkWords } from "./text.ts";

/** So many events with a decision are offered, those nearest to where the run is. */
const MOST_OFFERED = 12;

const nearest = (run: PlayedRun, at: number): readonly number[] => [...run.decisions.keys()].toSorted((a, b) => Math.abs(a + 1 - at) - Math.abs(b + 1 - at)).slice(0, MOST_OFFERED).toSorted((a, b) => a - b);

/** The decision about the run's current event. */
export const RunBody = ({ settings, keep, language, state, store, run }: ViewProps<WalkSettings>): VNode | null => {
  const say = walkWords(language);
  if (!run) return null;
  const step = stepOf(state.step, run);
  const decision = run.decisions.get(step - 1);
  if (!decision) {
    const offered = nearest(run, step);
    return (
      <>
        <p>{say(offered.length === 0 ? "noDecisions" : "noDecision")}</p>
        <ol class="events">{offered.map((i) => <li key={i} value={i + 1}><button type="button" class="link" onClick={() => { store.change({ step: i + 1 }); }}>{eventSentence(run.events[i]!, language)}</button></li>)}</ol>
      </>
    );
  }
  const steps = walkSteps(decision);
  const at = Math.min(settings.at, steps.length - 1);
  const current = steps[at];
  const toStep = (chosen: number): void => {
    keep({ at: chosen });
    const address = steps[chosen]?.step.address;
    if (address !== undefined) store.select({ address: hex(address) });
  };
  return (
    <>
      <h2>{say("verdictOf", { step })}</h2>
      <p>{eventSentence(run.events[step - 1]!, language)}</p>
      <p>{say("reads", { count: memoryReads(decision) })}</p>
      <div class="row transport">
        <button type="button" aria-label={say("back")} disabled={at <= 0} onClick={() => { toStep(at - 1); }}>◀</button>
        <button type="button" aria-label={say("forward")} disabled={at >= steps.length - 1} onClick={() => { toStep(at + 1); }}>▶</button>
        <output>{say("step", { at: at + 1, of: steps.length })}</output>
      </div>
      <div class="walk-body">
        <div class="steps">
          <NestedGrid steps={steps} at={at} onStep={toStep} say={say} language={language} selected={state.selection.address} />
          <StepTable steps={steps} at={at} onStep={toStep} say={say} language={language} selected={state.selection.address} />
        </div>
        {current && <EntryPanel current={current} map={current.place && { ...current.place, used: [] }} language={language} say={say} field={state.selection.field} onField={(field) => { store.select({ field }); }} edits={undefined} onEdits={() => undefined} />}
      </div>
    </>
  );
};
