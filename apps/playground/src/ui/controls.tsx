import { useSignal } from "@preact/signals";
import type { TargetedEvent, TargetedInputEvent, VNode } from "preact";

/** A labelled choice. */
export const Choice = <T extends string>({ label, name, value, options, onChange }: { readonly label: string; readonly name: string; readonly value: T; readonly options: readonly (readonly [value: T, text: string])[]; readonly onChange: (value: T) => void }): VNode => (
  <label><span>{label}</span>
    <select name={name} value={value} onChange={({ currentTarget }) => { const chosen = options.find(([each]) => each === currentTarget.value); if (chosen) onChange(chosen[0]); }}>
      {options.map(([each, text]) => <option key={each} value={each} selected={each === value}>{text}</option>)}
    </select>
  </label>
);

/** A labelled box to tick. */
export const Tick = ({ label, name, value, on, onChange }: { readonly label: string; readonly name: string; readonly value?: string; readonly on: boolean; readonly onChange: (on: boolean) => void }): VNode => (
  <label><input type="checkbox" name={name} value={value ?? "on"} checked={on} onChange={({ currentTarget }) => { onChange(currentTarget.checked); }} /><span>{label}</span></label>
);

/** A field whose text is the visitor's until Enter or leaving: what is drawn anew meanwhile does not take it away. */
export const Draft = ({ type, name, label, value, commit, size, least, most }: { readonly type: "text" | "number"; readonly name: string; readonly label?: string; readonly value: string; readonly commit: (text: string, field: HTMLInputElement) => void; readonly size?: number; readonly least?: number; readonly most?: number }): VNode => {
  const draft = useSignal<string | undefined>(undefined);
  const shared = {
    name,
    "aria-label": label,
    autocomplete: "off",
    spellcheck: false,
    value: draft.value ?? value,
    onInput: ({ currentTarget }: TargetedInputEvent<HTMLInputElement>) => { draft.value = currentTarget.value; },
    onChange: ({ currentTarget }: TargetedEvent<HTMLInputElement>) => {
      const text = currentTarget.value;
      draft.value = undefined;
      commit(text, currentTarget);
    },
  } as const;
  return type === "number" ? <input type="number" min={least} max={most} {...shared} /> : <input type="text" size={size} class="hex" {...shared} />;
};

/** A labelled whole number. */
export const Whole = ({ label, name, value, least, most, onChange }: { readonly label: string; readonly name: string; readonly value: number; readonly least: number; readonly most: number; readonly onChange: (value: number) => void }): VNode => (
  <label><span>{label}</span>
    <Draft type="number" name={name} least={least} most={most} value={String(value)} commit={(text) => { const wanted = Math.floor(Number(text)); if (text.trim() !== "" && Number.isFinite(wanted)) onChange(Math.min(most, Math.max(least, wanted))); }} />
  </label>
);

/** A number in hexadecimal of so many bits; undefined when the text is none. Says so at the field. */
export const readHexadecimal = (text: string, bits: number, field: HTMLInputElement): bigint | undefined => {
  const digits = /^(?:0x)?([0-9a-f]{1,32})$/i.exec(text.trim())?.[1];
  const value = digits === undefined ? undefined : BigInt(`0x${digits}`);
  const fits = value !== undefined && value < 1n << BigInt(bits);
  field.setCustomValidity(fits ? "" : `0x0 … 0x${((1n << BigInt(bits)) - 1n).toString(16)}`);
  field.reportValidity();
  return fits ? value : undefined;
};

/** A labelled number in hexadecimal: what is none is said, and not taken. */
export const Hexadecimal = ({ label, name, value, bits = 64, onChange }: { readonly label: string; readonly name: string; readonly value: string; readonly bits?: number; readonly onChange: (value: string) => void }): VNode => (
  <label><span>{label}</span>
    <Draft type="text" name={name} value={value} size={bits / 4 + 3} commit={(text, field) => { const read = readHexadecimal(text, bits, field); if (read !== undefined) onChange(`0x${read.toString(16)}`); }} />
  </label>
);
