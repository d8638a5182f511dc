import type { VNode } from "preact";
import { Told } from "../../text/told.tsx";
import { Tick } from "../../ui/controls.tsx";
import { Table } from "../../ui/table.tsx";
import { wordsText } from "../entries/edits.ts";
import type { ViewProps } from "../view.ts";
import { runAmd } from "./amd-lab.ts";
import { lineOf, meaningOf } from "./describe.ts";
import type { FaultLab } from "./lab.ts";
import { RecordPanel } from "./record-panel.tsx";
import { Ring } from "./ring.tsx";
import { MOST_DONE, OPERATIONS, type FaultSettings, type Operation } from "./settings.ts";
import { faultWords } from "./text.ts";
import { runVtd } from "./vtd-lab.ts";

/** So many records are listed. */
const MOST_LISTED = 16;

const runLab = (settings: FaultSettings): FaultLab => (settings.vendor === "intel" ? runVtd(settings) : runAmd(settings));

/** The ring of records, and buttons that fill and empty it. */
export const RingBody = ({ settings, keep, language, state, store }: ViewProps<FaultSettings>): VNode => {
  const say = faultWords(language);
  const lab = runLab(settings);
  const { vendor, done, kernel } = settings;
  const pending = lab.slots.filter((slot) => slot.pending);
  const current = pending.find(({ index }) => index === settings.at) ?? pending[0];
  const act = (operation: Operation): void => { keep({ done: [...done, operation].slice(-MOST_DONE) }); };
  // AMD has no compatibility format to refuse.
  const offered = OPERATIONS.filter((operation) => vendor === "intel" || operation !== "compatibility");
  return (
    <>
      <h2>{say("make")}</h2>
      <div class="buttons">
        {offered.map((operation) => <button key={operation} type="button" disabled={done.length >= MOST_DONE} onClick={() => { act(operation); }}>{say(operation)}</button>)}
        <button type="button" disabled={done.length === 0} onClick={() => { keep({ done: done.slice(0, -1) }); }}>{say("undo")}</button>
        <button type="button" disabled={done.length === 0} onClick={() => { keep({ done: [] }); }}>{say("clear")}</button>
      </div>
      <Tick label={say("silent", { bit: vendor === "intel" ? "FPD" : "SA" })} name="silent" on={settings.silent} onChange={(silent) => { keep({ silent }); }} />
      <p role="status" class={lab.overflow ? "fails" : undefined}>{say("counted", { pending: lab.pending, lost: lab.lost })} {lab.overflow ? say("overflow") : ""}</p>
      <div class="fault-body">
        <div>
          <Ring lab={lab} at={current?.index} say={say} />
          <h3>{say("registers")}</h3>
          <dl>{Object.entries(lab.status).map(([name, value]) => [<dt key={name}>{name}</dt>, <dd key={`${name}=`}><code>{value}</code></dd>])}</dl>
        </div>
        <div>
          <h2>{say("records")}</h2>
          {pending.length === 0 ? <p>{say("noRecords")}</p> : (
            <Table caption={say("records")} heads={[say("place"), say("says"), say("words")]} rows={pending.slice(0, MOST_LISTED).map(({ index, words }) => [index, <span key="says">{meaningOf(vendor, words).map((sentence) => [<Told key={sentence} text={sentence} language={language} />, " "])}</span>, <code key="words">{wordsText(words)}</code>])} current={new Set(current ? [pending.indexOf(current)] : [])} onRow={(i) => { const slot = pending[i]; if (slot) keep({ at: slot.index }); }} />
          )}
          {pending.length > MOST_LISTED && <p>{say("more", { count: pending.length - MOST_LISTED })}</p>}
          {current && <RecordPanel vendor={vendor} words={current.words} kernel={kernel} language={language} say={say} field={state.selection.field} onField={(field) => { store.select({ field }); }} />}
        </div>
      </div>
    </>
  );
};

export const ringText = (settings: FaultSettings): string => {
  const lab = runLab(settings);
  return [...Object.entries(lab.status).map(([name, value]) => `${name}: ${value}`), "", ...lab.slots.filter((slot) => slot.pending).map(({ index, words }) => `${index}\t${wordsText(words)}\t${lineOf(settings.vendor, words, settings.kernel) ?? ""}`)].join("\n");
};
