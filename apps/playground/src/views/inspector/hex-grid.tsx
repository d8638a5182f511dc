import { useSignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import type { VNode } from "preact";
import type { Language } from "../../text/words.ts";
import { inspectorWords } from "./text.ts";

const [ROW, PAGE] = [16, 512];
const two = (value: number): string => value.toString(16).padStart(2, "0");
const STEPS: Readonly<Record<string, number>> = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -ROW, ArrowDown: ROW, PageUp: -PAGE, PageDown: PAGE };

/** Bytes in rows of 16; those of the selected field are lit, those that were changed are underlined. */
export const HexGrid = ({ bytes, lit, near, changed, language, onByte, onHover }: { readonly bytes: Uint8Array; readonly lit: readonly [from: number, to: number] | undefined; readonly near: readonly [from: number, to: number] | undefined; readonly changed: ReadonlySet<number>; readonly language: Language; readonly onByte: (at: number) => void; readonly onHover: (at: number | undefined) => void }): VNode => {
  const say = inspectorWords(language);
  const at = useSignal(0);
  const grid = useRef<HTMLTableElement>(null);
  const from = lit?.[0];
  useEffect(() => { if (from !== undefined && from < bytes.length) at.value = from; }, [from]);
  const here = Math.min(at.value, Math.max(0, bytes.length - 1));
  const page = Math.floor(here / PAGE) * PAGE;
  const end = Math.min(bytes.length, page + PAGE);
  const focus = (to: number): void => {
    at.value = Math.min(bytes.length - 1, Math.max(0, to));
    setTimeout(() => { grid.current?.querySelector<HTMLElement>(`[data-at="${at.value}"]`)?.focus(); });
  };
  const onKey = (event: KeyboardEvent): void => {
    const step = STEPS[event.key];
    if (step === undefined) return;
    event.preventDefault();
    focus(here + step);
  };
  const inside = (range: readonly [number, number] | undefined, i: number): boolean => range !== undefined && range[0] <= i && i <= range[1];
  return (
    <div class="hex-grid">
      <table role="grid" ref={grid} aria-label={say("bytes")} onKeyDown={onKey} onMouseLeave={() => { onHover(undefined); }}>
        <tbody>
          {Array.from({ length: Math.ceil((end - page) / ROW) }, (_, row) => {
            const start = page + row * ROW;
            return (
              <tr key={start}>
                <th scope="row">{start.toString(16).padStart(4, "0")}</th>
                {Array.from({ length: Math.min(ROW, end - start) }, (__, column) => {
                  const i = start + column;
                  return <td key={i}><button type="button" class={`byte${inside(lit, i) ? " lit" : ""}${inside(near, i) ? " near" : ""}${changed.has(i) ? " changed" : ""}`} data-at={i} tabIndex={i === here ? 0 : -1} aria-label={`${say("byte", { at: `0x${i.toString(16)}` })}: ${two(bytes[i]!)}`} aria-pressed={inside(lit, i)} onClick={() => { at.value = i; onByte(i); }} onMouseEnter={() => { onHover(i); }}>{two(bytes[i]!)}</button></td>;
                })}
              </tr>
            );
          })}
        </tbody>
      </table>
      {bytes.length > PAGE && (
        <div class="row">
          <button type="button" disabled={page === 0} onClick={() => { at.value = page - PAGE; }}>{say("earlier")}</button>
          <span>0x{page.toString(16)}–0x{(end - 1).toString(16)} / 0x{bytes.length.toString(16)}</span>
          <button type="button" disabled={end >= bytes.length} onClick={() => { at.value = end; }}>{say("later")}</button>
        </div>
      )}
    </div>
  );
};
