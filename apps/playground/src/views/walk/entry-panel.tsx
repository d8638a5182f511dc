import type { VNode } from "preact";
import { tell, Told } from "../../text/told.tsx";
import type { Language } from "../../text/words.ts";
import { BitEditor } from "../entries/bit-editor.tsx";
import { hex, withWords, type Edits } from "../entries/edits.ts";
import { Minimap } from "../entries/minimap.tsx";
import type { TableMap } from "../entries/table-map.ts";
import { entryWords } from "../entries/text.ts";
import { stepSentence } from "./step-words.ts";
import type { WalkStep } from "./steps.ts";
import type { WalkSay } from "./text.ts";

interface EntryProps {
  readonly current: WalkStep;
  readonly map: TableMap | undefined;
  readonly language: Language;
  readonly say: WalkSay;
  readonly field: string | undefined;
  readonly onField: (field: string) => void;
  /** Nothing: entries cannot be changed, they are a run's. */
  readonly edits: Edits | undefined;
  readonly onEdits: (edits: Edits) => void;
}

/** The current step: its sentence, its rule, its table, its bits. */
export const EntryPanel = ({ current, map, language, say, field, onField, edits, onEdits }: EntryProps): VNode => {
  const { step, kind } = current;
  const bits = entryWords(language);
  const { address, raw } = step;
  const edited = edits && address !== undefined && hex(address) in edits;
  return (
    <section class="entry" aria-label={tell(step.structure, language)}>
      <h3><Told text={step.structure} language={language} />{edited ? ` · ${bits("edited")}` : ""}</h3>
      <p aria-live="polite">{stepSentence(current, say)}</p>
      <p><Told text={step.rule} language={language} /> <span class="section">({step.section})</span>: <strong class={current.stops ? "bad" : undefined}><Told text={step.outcome} language={language} /></strong></p>
      {map && <figure><Minimap map={map} language={language} /><figcaption>{bits("mapShort", { row: map.row, count: map.rows })}; {bits("filled", { filled: map.used.length })}</figcaption></figure>}
      {kind && raw && address !== undefined && (
        <>
          <h3>{bits("bits", { name: tell(kind.layout.name, language), address: hex(address) })}</h3>
          <BitEditor layout={kind.layout} words={raw} language={language} selected={field} onField={onField} onWords={edits && ((words) => { onEdits(withWords(edits, address, words)); })} />
          {edits && edited && <button type="button" onClick={() => { onEdits(Object.fromEntries(Object.entries(edits).filter(([at]) => at !== hex(address)))); }}>{bits("restore")}</button>}
        </>
      )}
    </section>
  );
};
