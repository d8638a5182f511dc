import type { VNode } from "preact";
import type { CacheLab } from "./lab.ts";
import type { CacheSay } from "./text.ts";

/** So many places around the head are drawn; the ring goes on behind them. */
const SHOWN = 20;
const CELL = 40;

/** The ring around its head: done, waiting, free. */
export const QueueStrip = ({ queue, say }: { readonly queue: CacheLab["queue"]; readonly say: CacheSay }): VNode => {
  const { size, head, tail, written } = queue;
  const first = Math.max(0, Math.min(size - SHOWN, head - Math.floor(SHOWN / 2)));
  const stateOf = (index: number): string => (index < head ? "done" : index < written ? "waiting" : "free");
  const x = (index: number): number => (index - first) * CELL + 10;
  return (
    <div class="strip">
      <svg class="drawing queue" role="img" viewBox={`0 0 ${SHOWN * CELL + 40} 92`} width={SHOWN * CELL + 40}>
        <title>{say("drawing", { size, head, tail, written })}</title>
        {Array.from({ length: SHOWN }, (_, i) => first + i).map((index) => (
          <g key={index}>
            <rect class={stateOf(index)} x={x(index)} y={30} width={CELL - 2} height={28} rx={3} />
            <text class="mono" x={x(index) + CELL / 2 - 1} y={49} text-anchor="middle">{stateOf(index) === "done" ? "✓" : stateOf(index) === "waiting" ? "…" : ""}</text>
            <text class="mono small" x={x(index) + CELL / 2 - 1} y={72} text-anchor="middle">{index}</text>
          </g>
        ))}
        <text x={x(first + SHOWN) + 2} y={49}>⟳</text>
        <text class="mono" x={x(head)} y={14} text-anchor="middle">head</text>
        <path d={`M${x(head) - 5} 18h10l-5 9Z`} />
        <text class="mono" x={x(tail)} y={90} text-anchor="middle">tail</text>
        <path d={`M${x(tail) - 4} 80h8l-4 -8Z`} />
      </svg>
    </div>
  );
};
