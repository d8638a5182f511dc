import type { VNode } from "preact";
import { eventSentence } from "../../run/event-words.ts";
import { stepOf } from "../../run/steps.ts";
import { tell } from "../../text/told.tsx";
import { Choice } from "../../ui/controls.tsx";
import { view, type ViewProps } from "../view.ts";
import { LabBody, labText } from "./lab-body.tsx";
import { runWalk } from "./lab.ts";
import { mermaidOf } from "./mermaid.ts";
import { RunBody } from "./run-body.tsx";
import { readWalk, type WalkSettings } from "./settings.ts";
import { walkSteps } from "./steps.ts";
import { walkWords } from "./text.ts";
import "./walk.css";

const Body = (props: ViewProps<WalkSettings>): VNode => {
  const { settings, keep, language } = props;
  const say = walkWords(language);
  return (
    <article class="walk">
      <h1>{say("title")}</h1>
      <p>{say("about")}</p>
      <Choice label={say("source")} name="source" value={settings.source} options={[["lab", say("lab")], ["run", say("run")]]} onChange={(source) => { keep({ source, at: 0 }); }} />
      {settings.source === "lab" ? <LabBody {...props} /> : <RunBody {...props} />}
    </article>
  );
};

const toText = (props: ViewProps<WalkSettings>): string => {
  const { settings, run, state, language } = props;
  if (settings.source === "lab") return labText(props);
  if (!run) return "";
  const at = stepOf(state.step, run) - 1;
  const event = run.events[at];
  const decision = run.decisions.get(at) ?? [];
  return [...(event ? [eventSentence(event, language), ""] : []), ...decision.map(({ structure, address, rule, section, outcome }, i) => [i + 1, tell(structure, language), address === undefined ? "" : `0x${address.toString(16)}`, tell(rule, language), section, tell(outcome, language)].join("\t"))].join("\n");
};

const mermaid = ({ settings, run, state, language }: ViewProps<WalkSettings>): string => mermaidOf(settings.source === "lab" ? runWalk(settings).steps : walkSteps(run?.decisions.get(stepOf(state.step, run) - 1) ?? []), language);

/** A DMA request's way through its tables, on the models of both vendors. */
export const VIEW = view<WalkSettings>({ read: readWalk, Body, text: toText, mermaid });
