import { useEffect } from "preact/hooks";
import type { Signal } from "@preact/signals";
import type { VNode } from "preact";
import { eventSentence, eventSubjects } from "../run/event-words.ts";
import type { PlayedRun } from "../run/play.ts";
import { nextStep, stepOf } from "../run/steps.ts";
import type { Store } from "../state/store.ts";
import { Tick } from "../ui/controls.tsx";
import { shellWords } from "./text.ts";

/** Milliseconds between events while playing. */
const BEAT = 700;

/** Step, step back, play, scrub; below, the event in words. */
export const Timeline = ({ store, run, playing }: { readonly store: Store; readonly run: PlayedRun; readonly playing: Signal<boolean> }): VNode => {
  const language = store.language.value;
  const say = shellWords(language);
  const count = run.events.length;
  const at = stepOf(store.state.value.step, run);
  const event = run.events[at - 1];
  const subjects = event && eventSubjects(event);
  const { details } = store.state.value;
  const to = (step: number): void => { store.change({ step: Math.min(count, Math.max(0, step)) }); };
  /** From where the run is now: clicks can be faster than drawings. */
  const go = (direction: 1 | -1): void => { to(nextStep(run, stepOf(store.state.peek().step, run), direction, details)); };
  useEffect(() => {
    if (!playing.value) return undefined;
    if (at >= count) {
      playing.value = false;
      return undefined;
    }
    const timer = setTimeout(() => { go(1); }, BEAT);
    return () => { clearTimeout(timer); };
  });
  return (
    <section class="timeline" aria-label={say("timeline")}>
      <div class="transport">
        <button type="button" onClick={() => { to(0); }} aria-label={say("first")} disabled={at === 0}>⇤</button>
        <button type="button" onClick={() => { go(-1); }} aria-label={say("back")} disabled={at === 0}>←</button>
        <button type="button" onClick={() => { playing.value = !playing.value; }} aria-pressed={playing.value}>{say(playing.value ? "pause" : "play")}</button>
        <button type="button" onClick={() => { go(1); }} aria-label={say("forward")} disabled={at === count}>→</button>
        <button type="button" onClick={() => { to(count); }} aria-label={say("last")} disabled={at === count}>⇥</button>
        <input type="range" min={0} max={count} value={at} aria-label={say("position")} aria-valuetext={say("step", { at, of: count })} onInput={({ currentTarget }) => { to(currentTarget.valueAsNumber); }} />
        <output>{say("step", { at, of: count })}</output>
        <Tick label={say("details")} name="details" on={details} onChange={(on) => { store.change({ details: on }); }} />
      </div>
      <p class="now" aria-live="polite">
        {event ? eventSentence(event, language) : say("notYet")}{" "}
        {subjects?.devices.map((device) => <button type="button" class="chip" key={device} onClick={() => { store.select({ device }); }}>{device}</button>)}
        {subjects?.addresses.map((address, i) => <button type="button" class="chip" key={i} onClick={() => { store.select({ address }); }}>{address}</button>)}
      </p>
      {run.leftOut > 0 && <p>{say("leftOut", { count: run.leftOut })}</p>}
    </section>
  );
};
