import type { VNode } from "preact";
import { tell, Told } from "../../text/told.tsx";
import type { Language } from "../../text/words.ts";
import { Table } from "../../ui/table.tsx";
import { hex } from "../entries/edits.ts";
import { nestedRows, type WalkStep } from "./steps.ts";
import type { WalkSay } from "./text.ts";

interface StepsProps {
  readonly steps: readonly WalkStep[];
  readonly at: number;
  readonly onStep: (at: number) => void;
  readonly say: WalkSay;
  readonly language: Language;
  /** Address that is selected anywhere on the page. */
  readonly selected: string | undefined;
}

const litOf = ({ steps, at, selected }: Pick<StepsProps, "steps" | "at" | "selected">): ReadonlySet<number> => new Set(steps.flatMap(({ step }, i) => (i === at || (selected !== undefined && step.address !== undefined && hex(step.address) === selected) ? [i] : [])));

/** The steps of a decision, one a row. */
export const StepTable = (props: StepsProps): VNode => {
  const { steps, onStep, say, language } = props;
  return (
    <Table
      caption={say("steps")}
      heads={[say("structure"), say("at"), say("allows"), say("soFar"), say("outcome"), say("section")]}
      rows={steps.map(({ step, rights, soFar, stops }, i) => [`${i + 1}. ${tell(step.structure, language)}`, step.address === undefined ? "–" : <code key="at">{hex(step.address)}</code>, <code key="rights">{rights ?? ""}</code>, <code key="sofar">{soFar ?? ""}</code>, <span key="outcome" class={stops ? "bad" : undefined}>{stops ? "✗ " : ""}<Told text={step.outcome} language={language} /></span>, step.section])}
      current={litOf(props)}
      onRow={onStep}
    />
  );
};

/** A nested walk: rows are guest tables, columns the host's levels. */
export const NestedGrid = ({ steps, at, onStep, say }: StepsProps): VNode | null => {
  const rows = nestedRows(steps);
  if (rows.length === 0) return null;
  const columns = Math.max(...rows.map(({ outer }) => outer.length));
  const cell = (i: number | undefined): VNode => {
    const step = i === undefined ? undefined : steps[i];
    if (i === undefined || !step) return <td>–</td>;
    return <td class={i === at ? "lit" : undefined}><button type="button" class="link" aria-current={i === at ? "step" : undefined} onClick={() => { onStep(i); }}>{i + 1}{step.stops ? " ✗" : ""}</button></td>;
  };
  const nameOf = (entry: number | undefined): string => (entry === undefined ? say("gridPage") : say("gridTable", { level: steps[entry]?.kind?.level ?? 0 }));
  return (
    <div class="table nested" role="region" aria-label={say("grid")} tabIndex={0}>
      <table>
        <caption>{say("grid")}</caption>
        <thead><tr><th scope="col">{say("gridRow")}</th>{Array.from({ length: columns }, (_, i) => <th key={i} scope="col">{say("gridHost", { level: columns - i })}</th>)}<th scope="col">{say("gridEntry")}</th></tr></thead>
        <tbody>{rows.map(({ outer, entry }) => <tr key={String(entry)}><th scope="row">{nameOf(entry)}</th>{Array.from({ length: columns }, (_, i) => cell(outer[i]))}{cell(entry)}</tr>)}</tbody>
      </table>
    </div>
  );
};
