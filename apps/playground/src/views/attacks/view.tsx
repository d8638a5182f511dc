import type { VNode } from "preact";
import { eventSentence, eventSubjects } from "../../run/event-words.ts";
import { stepOf } from "../../run/steps.ts";
import { LANGUAGES, type Language } from "../../text/words.ts";
import { Choice, Tick } from "../../ui/controls.tsx";
import { Table } from "../../ui/table.tsx";
import { record, view, type ViewProps } from "../view.ts";
import { LABS, type Lab } from "./labs.ts";
import { attackWords } from "./text.ts";

interface Settings {
  /** Empty: the first lab that the current run plays. */
  readonly lab: string;
  readonly answered: boolean;
}

/** So many of the attacker's last events are listed. */
const MOST_EVENTS = 8;
const ACTS: ReadonlySet<string> = new Set(["dma", "interrupt", "fault"]);

const labOf = ({ settings, state }: Pick<ViewProps<Settings>, "settings" | "state">): Lab | undefined => LABS.find(({ id, scenario }) => id === settings.lab && scenario === state.run.scenario) ?? LABS.find(({ scenario }) => scenario === state.run.scenario);
const shown = (value: unknown): string => (typeof value === "string" ? value : JSON.stringify(value));

const Outcome = ({ props, lab, language }: { readonly props: ViewProps<Settings>; readonly lab: Lab; readonly language: Language }): VNode | null => {
  const { run, state, store } = props;
  if (run?.choice.scenario !== lab.scenario) return null;
  const say = attackWords(language);
  const at = stepOf(state.step, run);
  const failed = run.result.assertions.filter(({ ok }) => !ok);
  const acts = run.events.slice(0, at).flatMap((event, i) => (ACTS.has(event.kind) && (event.kind === "fault" || eventSubjects(event).devices.includes(lab.attacker)) ? [i] : []));
  const last = acts.at(-1);
  return (
    <>
      <h2>{say("outcome")}</h2>
      <p role="status" class={failed.length === 0 ? "holds" : "fails"}>{failed.length === 0 ? say("verdict") : say("broken", { ids: failed.map(({ id }) => id).join(", ") })}</p>
      <Table caption={say("outcome")} heads={[say("side"), say("statement"), say("safe"), say("seen")]} rows={run.result.assertions.map(({ id, protected: safe, expected, actual, ok }) => [say(safe ? "with" : "without"), `${ok ? "✓" : "✗"} ${id}`, shown(expected), shown(actual)])} current={new Set(run.result.assertions.flatMap(({ ok }, i) => (ok ? [] : [i])))} />
      <h2>{say("done")}</h2>
      {acts.length === 0 ? <p>{say("nothing")}</p> : <ol class="events">{acts.slice(-MOST_EVENTS).map((i) => <li key={i} value={i + 1} class={i === last ? "lit" : undefined}><button type="button" class="link" onClick={() => { store.change({ step: i + 1 }); }}>{eventSentence(run.events[i]!, language)}</button></li>)}</ol>}
      {last !== undefined && run.decisions.has(last) && <p><button type="button" onClick={() => { store.change({ view: "walk", step: last + 1 }, true); }}>{say("walk")}</button></p>}
    </>
  );
};

const Body = (props: ViewProps<Settings>): VNode => {
  const { settings, keep, state, store, language } = props;
  const say = attackWords(language);
  const at = LANGUAGES.indexOf(language);
  const lab = labOf(props);
  const choose = (id: string): void => {
    const chosen = LABS.find((each) => each.id === id);
    if (!chosen) return;
    store.change({ run: { ...state.run, scenario: chosen.scenario, without: [] }, step: 1_000_000, selection: { device: chosen.attacker }, views: { ...state.views, attacks: { lab: id, answered: false } } }, true);
  };
  return (
    <article>
      <h1>{say("title")}</h1>
      <p>{say("model")}</p>
      <Choice label={say("lab")} name="lab" value={lab?.id ?? ""} options={[...(lab ? [] : [["", "…"] as const]), ...LABS.map(({ id, title }) => [id, title[at]!] as const)]} onChange={choose} />
      {lab && (
        <>
          <h2>{say("attacker")}</h2>
          <p>{lab.attack[at]}</p>
          <h2>{say("defender")}</h2>
          <p>{lab.defence[at]}</p>
          <Tick label={say("defence", { name: lab.protection })} name="defence" on={!state.run.without.includes(lab.protection)} onChange={(on) => { store.change({ run: { ...state.run, without: on ? state.run.without.filter((each) => each !== lab.protection) : [...state.run.without, lab.protection] } }, true); }} />
          <Outcome props={props} lab={lab} language={language} />
          <h2>{say("question")}</h2>
          <p>{lab.question[at]}</p>
          <details open={settings.answered} onToggle={({ currentTarget }) => { if (currentTarget.open !== settings.answered) keep({ answered: currentTarget.open }); }}>
            <summary>{say("answer")}</summary>
            <p>{lab.answer[at]}</p>
          </details>
        </>
      )}
    </article>
  );
};

/** Attacker and defender: the same run with a protection and without it, and a question. */
export const VIEW = view<Settings>({
  read: (kept) => {
    const { lab, answered } = record(kept);
    return { lab: LABS.some(({ id }) => id === lab) ? (lab as string) : "", answered: answered === true };
  },
  Body,
  text: (props) => {
    const lab = labOf(props);
    const at = LANGUAGES.indexOf(props.language);
    return lab ? [lab.title[at], lab.attack[at], lab.defence[at], ...(props.run?.result.assertions.map(({ id, expected, actual, ok }) => `${ok ? "ok" : "NOT OK"} ${id}: ${shown(expected)} / ${shown(actual)}`) ?? []), lab.question[at], lab.answer[at]].join("\n") : "";
  },
});
