import type { Field } from "@iommu-lab/memory/layout";
import type { VNode } from "preact";
import { Told } from "../../text/told.tsx";
import type { Language } from "../../text/words.ts";
import { Hexadecimal } from "../../ui/controls.tsx";
import type { AnyLayout } from "../bench/tables.ts";
import { bitOf, fieldValue, flip, hex, withField, wordsText } from "./edits.ts";
import { entryWords } from "./text.ts";
import "./entries.css";

/** Fields up to so many bits show them all; wider ones are a number that unfolds. */
const NARROW = 5;

interface EditorProps {
  readonly layout: AnyLayout;
  readonly words: readonly number[];
  /** Nothing: only shown. */
  readonly onWords: ((words: readonly number[]) => void) | undefined;
  readonly language: Language;
  readonly selected: string | undefined;
  readonly onField: (name: string) => void;
}

const Cells = ({ field, name, words, onWords, language }: Omit<EditorProps, "layout" | "selected" | "onField"> & { readonly field: Pick<Field, "msb" | "lsb">; readonly name: string }): VNode => (
  <div class="cells">
    {Array.from({ length: field.msb - field.lsb + 1 }, (_, i) => {
      const bit = field.msb - i;
      return <button key={bit} type="button" class="cell" aria-pressed={bitOf(words, bit) === 1} aria-label={`${bitOf(words, bit)} ${entryWords(language)("bit", { bit, field: name })}`} title={String(bit)} disabled={!onWords} onClick={() => { onWords?.(flip(words, bit)); }}>{bitOf(words, bit)}</button>;
    })}
  </div>
);

const FieldBox = ({ name, field, ...props }: Omit<EditorProps, "layout"> & { readonly name: string; readonly field: Field }): VNode => {
  const { words, onWords, language, selected, onField } = props;
  const say = entryWords(language);
  const value = fieldValue(words, field.msb, field.lsb);
  const width = field.msb - field.lsb + 1;
  const meaning = field.values?.[Number(value)];
  return (
    <div class={`field${value === 0n ? "" : " set"}${selected === name ? " lit" : ""}`} role="group" aria-label={name}>
      <p><button type="button" class="link name" onClick={() => { onField(name); }}>{name}</button> <span class="range">{width === 1 ? field.lsb : `${field.msb}:${field.lsb}`}</span> <code>{hex(value)}</code>{meaning === undefined ? "" : <> <Told text={meaning} language={language} /></>}</p>
      {width > NARROW ? (
        <>
          {onWords && <Hexadecimal label={say("value", { field: name })} name={name} value={hex(value)} bits={width} onChange={(chosen) => { onWords(withField(words, field.msb, field.lsb, BigInt(chosen))); }} />}
          <details><summary>{say("each")}</summary><Cells field={field} name={name} {...props} /></details>
        </>
      ) : <Cells field={field} name={name} {...props} />}
      <p><Told text={field.text} language={language} /></p>
    </div>
  );
};

/** Bits that no field declares, as ranges, highest first. */
const reservedRanges = ({ reserved, width }: AnyLayout): readonly Pick<Field, "msb" | "lsb">[] => {
  const ranges: { msb: number; lsb: number }[] = [];
  for (let bit = width - 1; bit >= 0; bit--) {
    if (bitOf(reserved, bit) === 0) continue;
    const last = ranges.at(-1);
    if (last?.lsb === bit + 1) last.lsb = bit;
    else ranges.push({ msb: bit, lsb: bit });
  }
  return ranges;
};

/** Every bit of an entry, by field; with `onWords` each can be turned over. */
export const BitEditor = (props: EditorProps): VNode => {
  const { layout, words, language } = props;
  const say = entryWords(language);
  const fields = Object.entries(layout.fields).toSorted(([, a], [, b]) => a.lsb - b.lsb);
  const ranges = reservedRanges(layout);
  const anySet = ranges.some(({ msb, lsb }) => fieldValue(words, msb, lsb) !== 0n);
  return (
    <>
      <p>{say("raw")}: <code>{wordsText(words)}</code></p>
      <div class="bits">
        {fields.map(([name, field]) => <FieldBox key={name} name={name} field={field} {...props} />)}
        {ranges.length > 0 && (
          <div class={`field${anySet ? " set" : ""}`} role="group" aria-label={say("reserved")}>
            <details open={anySet}><summary>{say("reserved")}</summary>{ranges.map((range) => <div key={range.lsb}><span class="range">{range.msb === range.lsb ? range.lsb : `${range.msb}:${range.lsb}`}</span><Cells field={range} name={say("reserved")} {...props} /></div>)}</details>
          </div>
        )}
      </div>
    </>
  );
};
