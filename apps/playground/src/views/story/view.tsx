import type { VNode } from "preact";
import { eventSentence } from "../../run/event-words.ts";
import type { PlayedRun } from "../../run/play.ts";
import { stepOf } from "../../run/steps.ts";
import { SCENARIO_TITLES, scenarioTitle } from "../../text/scenario-titles.ts";
import { storyIn } from "../../text/stories.ts";
import { words, type Language } from "../../text/words.ts";
import { Table } from "../../ui/table.tsx";
import { view, type ViewProps } from "../view.ts";

const TEXT = words({
  happens: ["What happens", "Qué ocurre", "发生了什么"],
  events: ["Events so far", "Eventos hasta ahora", "目前的事件"],
  holds: ["All {count} statements hold.", "Las {count} afirmaciones se cumplen.", "全部 {count} 条断言成立。"],
  fails: ["{failed} of {count} statements do not hold.", "{failed} de {count} afirmaciones no se cumplen.", "{count} 条断言中有 {failed} 条不成立。"],
  must: ["What must hold", "Qué debe cumplirse", "必须成立的断言"],
  verdict: ["Verdict", "Veredicto", "结论"],
  side: ["Side", "Lado", "情形"],
  statement: ["Statement", "Afirmación", "断言"],
  expected: ["Expected", "Esperado", "预期"],
  seen: ["Seen", "Visto", "实际"],
  good: ["✓ holds", "✓ se cumple", "✓ 成立"],
  bad: ["✗ does not hold", "✗ no se cumple", "✗ 不成立"],
  with: ["with protection", "con protección", "有保护"],
  without: ["without protection", "sin protección", "无保护"],
  counts: ["Counts", "Recuentos", "计数"],
  what: ["What", "Qué", "项目"],
  many: ["How many", "Cuántos", "数量"],
  times: ["Time under the cost model “{model}” ({parameters})", "Tiempo según el modelo de costes «{model}» ({parameters})", "成本模型“{model}”下的时间（{parameters}）"],
  ns: ["Nanoseconds", "Nanosegundos", "纳秒"],
  result: ["Result", "Resultado", "结果"],
});

const shown = (value: unknown): string => (typeof value === "string" ? value : JSON.stringify(value));
/** So many events are listed before the current one. */
const MOST_EVENTS = 12;

/** A sentence of the scenario's: in the page's language, or marked as English. */
const Told = ({ text, language }: { readonly text: string; readonly language: Language }): VNode => {
  const told = storyIn(text, language);
  return told === undefined ? <span lang="en">{text}</span> : <span>{told}</span>;
};

const toText = (run: PlayedRun): string => [run.title, run.about, "", ...run.story, "", ...run.result.assertions.map(({ id, expected, actual, ok }) => `${ok ? "ok" : "NOT OK"} ${id}: ${shown(expected)} / ${shown(actual)}`), "", run.result.hash].join("\n");

const Body = ({ run, state, store, language }: ViewProps<object>): VNode | null => {
  if (!run) return null;
  const say = TEXT(language);
  const at = stepOf(state.step, run);
  const { assertions, counts, times, hash } = run.result;
  const failed = assertions.filter(({ ok }) => !ok).length;
  let [happened, checked] = [0, 0];
  for (let i = 0; i < at; i++) {
    const kind = run.events[i]?.kind;
    if (kind === "say") happened++;
    else if (kind === "check") checked++;
  }
  const from = Math.max(0, at - MOST_EVENTS);
  return (
    <article>
      <h1>{run.choice.scenario in SCENARIO_TITLES ? scenarioTitle(run.choice.scenario, language) : run.title}</h1>
      <p><Told text={run.about} language={language} /></p>
      <h2>{say("happens")}</h2>
      <ol class="story">{run.story.map((line, i) => <li key={i} class={i < happened ? undefined : "later"} aria-current={i === happened - 1 ? "step" : undefined}><Told text={line} language={language} /></li>)}</ol>
      <p role="status" class={failed === 0 ? "holds" : "fails"}>{failed === 0 ? say("holds", { count: assertions.length }) : say("fails", { failed, count: assertions.length })}</p>
      <h2>{say("events")}</h2>
      <ol class="events">{run.events.slice(from, at).map((event, i) => <li key={from + i} value={from + i + 1} class={from + i === at - 1 ? "lit" : undefined}><button type="button" class="link" onClick={() => { store.change({ step: from + i + 1 }); }}>{eventSentence(event, language)}</button></li>)}</ol>
      <Table caption={say("must")} heads={[say("verdict"), say("side"), say("statement"), say("expected"), say("seen")]} rows={assertions.map(({ id, protected: safe, expected, actual, ok }) => [say(ok ? "good" : "bad"), say(safe ? "with" : "without"), id, shown(expected), shown(actual)])} current={new Set(checked > 0 ? [checked - 1] : [])} />
      {Object.keys(counts).length > 0 && <Table caption={say("counts")} heads={[say("what"), say("many")]} rows={Object.entries(counts).map(([name, value]) => [name, value])} />}
      {times && <Table caption={say("times", { model: times.model, parameters: Object.entries(times.parameters).map(([name, value]) => `${name} ${value} ns`).join(", ") })} heads={[say("what"), say("ns")]} rows={Object.entries(times.values).map(([name, value]) => [name, value])} />}
      <p class="hash">{say("result")} <code>{hash}</code></p>
    </article>
  );
};

/** A run as a story: what happened so far, what must hold, and the result that the command line has too. */
export const VIEW = view<object>({ read: () => ({}), Body, text: ({ run }) => (run ? toText(run) : "") });
