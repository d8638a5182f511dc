import type { VNode } from "preact";

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

/** A labelled whole number. */
export const Whole = ({ label, name, value, least, most, onChange }: { readonly label: string; readonly name: string; readonly value: number; readonly least: number; readonly most: number; readonly onChange: (value: number) => void }): VNode => (
  <label><span>{label}</span>
    <input type="number" name={name} min={least} max={most} value={value} onChange={({ currentTarget }) => { const wanted = Math.floor(currentTarget.valueAsNumber); if (Number.isFinite(wanted)) onChange(Math.min(most, Math.max(least, wanted))); }} />
  </label>
);

/** A labelled number in hexadecimal: what is none is said, and not taken. */
export const Hexadecimal = ({ label, name, value, bits = 64, onChange }: { readonly label: string; readonly name: string; readonly value: string; readonly bits?: number; readonly onChange: (value: string) => void }): VNode => (
  <label><span>{label}</span>
    <input type="text" name={name} value={value} size={bits / 4 + 3} spellcheck={false} autocomplete="off" pattern="(0x)?[0-9a-fA-F]+" class="hex"
      onChange={({ currentTarget }) => {
        const digits = /^(?:0x)?([0-9a-f]{1,16})$/i.exec(currentTarget.value.trim())?.[1];
        const fits = digits !== undefined && BigInt(`0x${digits}`) < 1n << BigInt(bits);
        currentTarget.setCustomValidity(fits ? "" : `0x0 … 0x${((1n << BigInt(bits)) - 1n).toString(16)}`);
        currentTarget.reportValidity();
        if (fits) onChange(`0x${BigInt(`0x${digits}`).toString(16)}`);
      }} />
  </label>
);
