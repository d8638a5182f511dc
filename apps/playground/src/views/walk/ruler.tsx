import type { VNode } from "preact";
import { hex } from "../entries/edits.ts";
import { Table } from "../../ui/table.tsx";
import type { Part, Split } from "./address-split.ts";
import type { WalkSay } from "./text.ts";

const WIDTH = 960;
const LEFT = 90;
const HEIGHT = 58;
/** Parts are as wide as their bits, but never too small for their numbers. */
const LEAST = 52;

const partName = ({ kind, level }: Part, say: WalkSay): string => (kind === "level" ? say("level", { level }) : say(kind));
const range = ({ msb, lsb }: Part): string => `${msb}:${lsb}`;
/** An index is a row's number; an offset and what is above are addresses. */
const shown = ({ kind, value }: Part): string => (kind === "offset" || kind === "above" ? hex(value) : value.toString());

const placed = (parts: readonly Part[]): readonly { readonly part: Part; readonly x: number; readonly width: number }[] => {
  const bits = parts.reduce((sum, { msb, lsb }) => sum + msb - lsb + 1, 0);
  const spare = WIDTH - LEFT - LEAST * parts.length;
  let x = LEFT;
  return parts.map((part) => {
    const width = LEAST + (spare * (part.msb - part.lsb + 1)) / bits;
    x += width;
    return { part, x: x - width, width };
  });
};

/** The request's numbers, split as tables need them; `lit` is what the current step uses. */
export const Ruler = ({ splits, lit, say }: { readonly splits: readonly Split[]; readonly lit: (part: Part) => boolean; readonly say: WalkSay }): VNode => {
  const all = splits.flatMap(({ name, parts }) => parts.map((part) => ({ name, part })));
  return (
    <div class="split">
      <svg class="drawing ruler" role="img" viewBox={`0 0 ${WIDTH} ${splits.length * HEIGHT + 4}`} width={WIDTH}>
        <title>{`${say("split")}: ${all.map(({ part }) => `${partName(part, say)} ${shown(part)}`).join(", ")}`}</title>
        {splits.map(({ name, parts }, i) => (
          <g key={name}>
            <text x={0} y={i * HEIGHT + 28}>{say(name)}</text>
            {placed(parts).map(({ part, x, width }) => (
              <g key={part.lsb}>
                <rect class={`${part.kind}${lit(part) ? " current" : ""}`} x={x + 1} y={i * HEIGHT + 12} width={width - 2} height={24} rx={3} />
                <text class="mono" x={x + width / 2} y={i * HEIGHT + 28} text-anchor="middle">{shown(part)}</text>
                <text class="mono small" x={x + width / 2} y={i * HEIGHT + 9} text-anchor="middle">{range(part)}</text>
                {width > 100 || part.kind === "level" ? <text class="small" x={x + width / 2} y={i * HEIGHT + 48} text-anchor="middle">{part.kind === "level" && width < 70 ? `L${part.level}` : partName(part, say)}</text> : null}
              </g>
            ))}
          </g>
        ))}
      </svg>
      <details>
        <summary>{say("split")}</summary>
        <Table caption={say("split")} heads={[say("request"), say("part"), say("bits"), say("value")]} rows={all.map(({ name, part }) => [say(name), partName(part, say), <code key="bits">{range(part)}</code>, <code key="value">{shown(part)}</code>])} current={new Set(all.flatMap(({ part }, i) => (lit(part) ? [i] : [])))} />
      </details>
    </div>
  );
};
