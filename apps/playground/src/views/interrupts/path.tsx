import type { VNode } from "preact";
import { hex } from "../entries/edits.ts";
import type { InterruptLab } from "./lab.ts";
import { PROCESSORS, type InterruptSettings } from "./settings.ts";
import type { InterruptSay } from "./text.ts";

/** Message, entry, structure and processors, with the way that the message took. */
export const Path = ({ settings, lab, say }: { readonly settings: InterruptSettings; readonly lab: InterruptLab; readonly say: InterruptSay }): VNode => {
  const passed = lab.fault === 0;
  const posting = lab.notifications.length > 0;
  const last = lab.delivered.at(-1);
  const sent = lab.notifications.find(({ kind }) => kind !== "none");
  const target = last ? last.destination : sent?.kind === "interrupt" ? sent.interrupt.destination : sent?.kind === "doorbell" ? sent.apicId : undefined;
  const box = (x: number, label: string, value: string, on: boolean): VNode => <g><rect class={on ? "on" : "off"} x={x} y={30} width={150} height={50} rx={5} /><text x={x + 75} y={50} text-anchor="middle">{label}</text><text class="mono" x={x + 75} y={68} text-anchor="middle">{value}</text></g>;
  return (
    <div class="strip">
      <svg class="drawing interrupt-path" role="img" viewBox="0 0 760 112" width={760}>
        <title>{`${say("path")}: ${passed ? "✓" : "✗"}`}</title>
        {box(4, say("message"), hex(settings.address), true)}
        <path d="M154 55h36" /><text x={172} y={50} text-anchor="middle">→</text>
        {box(190, "IRTE", hex(lab.entry.address), passed)}
        <text x={358} y={58} text-anchor="middle">{passed ? "→" : "✗"}</text>
        {box(376, posting ? (settings.vendor === "intel" ? "PIR" : "vAPIC") : "APIC", posting ? lab.pending.map(hex).join(" ") : last ? hex(last.vector) : "–", passed)}
        {Array.from({ length: PROCESSORS }, (_, i) => <g key={i}><rect class={i === target ? "on" : "off"} x={566 + 48 * i} y={30} width={42} height={50} rx={5} /><text x={587 + 48 * i} y={50} text-anchor="middle">{i === target ? "●" : "○"}</text><text class="mono" x={587 + 48 * i} y={68} text-anchor="middle">{i}</text></g>)}
      </svg>
    </div>
  );
};
