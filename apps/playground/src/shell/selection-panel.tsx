import type { VNode } from "preact";
import { useMemo } from "preact/hooks";
import { eventField, eventSentence, eventSubjects } from "../run/event-words.ts";
import type { PlayedRun } from "../run/play.ts";
import type { Store } from "../state/store.ts";
import { stepOf } from "../run/steps.ts";
import { shellWords } from "./text.ts";

/** So many related events are listed. */
const MOST_RELATED = 20;

/** Whether the panel would have anything to show. */
export const panelShows = (store: Store, run: PlayedRun | undefined): boolean => Object.keys(store.state.value.selection).length > 0 || (run !== undefined && stepOf(store.state.value.step, run) > 0);

/** What is selected, the event at hand field by field, and other events about the same. */
export const SelectionPanel = ({ store, run }: { readonly store: Store; readonly run: PlayedRun | undefined }): VNode => {
  const language = store.language.value;
  const say = shellWords(language);
  const { selection, step } = store.state.value;
  const chosen = Object.entries(selection) as [keyof typeof selection, string][];
  const event = run?.events[stepOf(step, run) - 1];
  const { device, address } = selection;
  // Every event of the run is looked at: not at each step.
  const related = useMemo(() => (run && (device !== undefined || address !== undefined) ? run.events.flatMap((each, i) => {
    const { devices, addresses } = eventSubjects(each);
    return (device !== undefined && devices.includes(device)) || (address !== undefined && addresses.includes(address)) ? [i] : [];
  }) : []), [run, device, address]);
  return (
    <aside class="panel" aria-label={say("selection")}>
      {chosen.length > 0 && (
        <section>
          <h2>{say("selection")}</h2>
          <dl>{chosen.map(([kind, value]) => [<dt key={kind}>{say(kind)}</dt>, <dd key={value}><code>{value}</code></dd>])}</dl>
          <button type="button" onClick={() => { store.change({ selection: {} }); }}>{say("unselect")}</button>
        </section>
      )}
      {event && (
        <section>
          <h2>{say("event")}</h2>
          <dl>{Object.entries(event).filter(([key]) => key !== "description").map(([key, value]) => [<dt key={key}>{key}</dt>, <dd key={`${key}=`}><code>{eventField(event, key, value, language)}</code></dd>])}</dl>
        </section>
      )}
      {related.length > 0 && run && (
        <section>
          <h2>{say("related")}</h2>
          <ol class="related">{related.slice(0, MOST_RELATED).map((i) => <li key={i} value={i + 1}><button type="button" class="link" onClick={() => { store.change({ step: i + 1 }); }}>{eventSentence(run.events[i]!, language)}</button></li>)}</ol>
          {related.length > MOST_RELATED && <p>… {related.length}</p>}
        </section>
      )}
    </aside>
  );
};
