import type { VNode } from "preact";
import type { FaultLab } from "./lab.ts";
import type { FaultSay } from "./text.ts";

const SIDE = 260;
const MIDDLE = SIDE / 2;
const OUTER = 118;
const INNER = 84;

const point = (radius: number, turn: number): string => `${(MIDDLE + radius * Math.sin(turn * 2 * Math.PI)).toFixed(2)} ${(MIDDLE - radius * Math.cos(turn * 2 * Math.PI)).toFixed(2)}`;

/** A place as a piece of the ring. */
const piece = (index: number, size: number): string => {
  const [from, to] = [index / size, (index + (size > 32 ? 1 : 0.97)) / size];
  return `M${point(INNER, from)}L${point(OUTER, from)}A${OUTER} ${OUTER} 0 0 1 ${point(OUTER, to)}L${point(INNER, to)}A${INNER} ${INNER} 0 0 0 ${point(INNER, from)}Z`;
};

/** The ring that hardware writes and software reads. */
export const Ring = ({ lab, at, say }: { readonly lab: FaultLab; readonly at: number | undefined; readonly say: FaultSay }): VNode => {
  const { size, slots, first, pending, overflow } = lab;
  const taken = new Set(slots.filter((slot) => slot.pending).map(({ index }) => index));
  const marker = (first + 0.5) / size;
  return (
    <svg class="drawing fault-ring" role="img" viewBox={`0 0 ${SIDE} ${SIDE}`} width={SIDE}>
      <title>{say("drawing", { size, pending, first })}</title>
      {size <= 32 ? Array.from({ length: size }, (_, i) => <path key={i} class={`${taken.has(i) ? "full" : "free"}${i === at ? " current" : ""}`} d={piece(i, size)} />) : (
        <>
          <circle class="free" cx={MIDDLE} cy={MIDDLE} r={OUTER} />
          <path class="full" d={[...taken].map((index) => piece(index, size)).join("")} />
          {at !== undefined && taken.has(at) && <path class="full current" d={piece(at, size)} />}
          <circle class="hole" cx={MIDDLE} cy={MIDDLE} r={INNER} />
        </>
      )}
      {size <= 32 && Array.from({ length: size }, (_, i) => { const [x, y] = point((INNER + OUTER) / 2, (i + 0.5) / size).split(" "); return <text key={i} class="mono" x={x} y={y} text-anchor="middle" dominant-baseline="middle">{i}{taken.has(i) ? " ●" : ""}</text>; })}
      <path class="marker" d={`M${point(INNER - 3, marker)}L${point(INNER - 16, marker - 0.015)}L${point(INNER - 16, marker + 0.015)}Z`} />
      <text x={MIDDLE} y={MIDDLE - 6} text-anchor="middle">{pending} / {size}</text>
      <text x={MIDDLE} y={MIDDLE + 14} text-anchor="middle">{overflow ? "⚠ OVERFLOW" : ""}</text>
    </svg>
  );
};
