import type { VNode } from "preact";
import { stepOf } from "../../run/steps.ts";
import { runAddress } from "../../state/address.ts";
import { scenarioTitle } from "../../text/scenario-titles.ts";
import { Choice } from "../../ui/controls.tsx";
import { Table, tableText } from "../../ui/table.tsx";
import { integer, record, view, type ViewProps } from "../view.ts";
import { vgaLanes, vgaMachines, type CardSpan, type VgaLanes } from "./lanes.ts";
import { vgaWords } from "./text.ts";
import "./vga.css";

interface Settings {
  /** Which machine of the run; −1 the one that the current event is about, or the first. */
  readonly machine: number;
}

const SCENARIOS = ["vga-curse", "three-vms-one-window", "igd-and-the-gtx560"] as const;
const [WIDTH, NAME, LANE, BAR] = [900, 130, 30, 20] as const;
/** So many of the last changes are listed. */
const MOST_CHANGES = 15;

/** The drawing: a lane for each card, thinner ones for bridges. */
const Drawing = ({ lanes, from, to, title, selected, onSelect }: { readonly lanes: VgaLanes; readonly from: number; readonly to: number; readonly title: string; readonly selected: string | undefined; readonly onSelect: (at: string) => void }): VNode => {
  const x = (event: number): number => NAME + ((WIDTH - NAME) * (event - from)) / Math.max(1, to - from);
  const rows = [...lanes.cards.keys(), ...lanes.bridges.keys()];
  const bar = (span: CardSpan, y: number, key: number): VNode => {
    const [left, width] = [x(Math.max(from, span.from)), Math.max(1, x(span.to) - x(Math.max(from, span.from)))];
    const state = span.waits ? "waits" : span.owns !== "none" ? "owns" : span.decodes === "none" ? "silent" : "idle";
    return <rect key={key} class={`vga-bar ${state}${span.locks === "none" ? "" : " locked"}`} x={left} y={y} width={width} height={BAR} />;
  };
  return (
    <div class="scroll" role="group" aria-label={title} tabIndex={0}><svg class="drawing vga" role="img" viewBox={`0 0 ${WIDTH} ${rows.length * LANE + 4}`} aria-label={title}>
      <title>{title}</title>
      {rows.map((at, row) => {
        const y = row * LANE + 4;
        return (
          <g key={at} class={at === selected ? "vga-selected" : undefined} onClick={() => { onSelect(at); }}>
            <text x={0} y={y + 15} class="mono">{at}</text>
            {lanes.cards.get(at)?.map((span, i) => bar(span, y, i))}
            {lanes.bridges.get(at)?.map((span, i) => <rect key={i} class={`vga-bridge ${span.open ? "open" : "closed"}`} x={x(Math.max(from, span.from))} y={y + 7} width={Math.max(1, x(span.to) - x(Math.max(from, span.from)))} height={6} />)}
          </g>
        );
      })}
    </svg></div>
  );
};

const look = ({ run, state, settings }: ViewProps<Settings>) => {
  if (!run) return undefined;
  const at = stepOf(state.step, run);
  const machines = vgaMachines(run.events);
  // Without a choice: where something changed last.
  const latest = run.events.slice(0, at).findLast(({ kind }) => kind === "vga");
  const about = latest?.kind === "vga" ? latest.machine : undefined;
  const machine = machines.find((each) => each.machine === settings.machine)?.machine ?? about ?? machines[0]?.machine;
  if (machine === undefined) return undefined;
  const lanes = vgaLanes(run.events, machine, at);
  const starts = [...lanes.cards.values()].flatMap((spans) => spans.map(({ from }) => from));
  return { at, machines, machine, lanes, from: starts.length > 0 ? Math.min(...starts) : 0 };
};

const cardRows = (lanes: VgaLanes, say: ReturnType<typeof vgaWords>): string[][] =>
  [...lanes.cards].map(([at, spans]) => {
    const last = spans.at(-1);
    return [at, last?.decodes ?? "", last?.owns ?? "", last?.locks ?? "", say(last?.waits ? "yes" : "no")];
  });
const changesOf = (lanes: VgaLanes): (CardSpan & { readonly at: string })[] => [...lanes.cards].flatMap(([at, spans]) => spans.map((span) => ({ at, ...span }))).toSorted((a, b) => b.from - a.from);

const Body = (props: ViewProps<Settings>): VNode => {
  const { state, store, language, keep } = props;
  const say = vgaWords(language);
  const seen = look(props);
  if (!seen) {
    return (
      <article>
        <h1>{say("title")}</h1>
        <p>{say("about")}</p>
        <p>{say("none")}</p>
        <ul>{SCENARIOS.map((name) => <li key={name}><a href={runAddress({ scenario: name, iommu: state.run.iommu, seed: 1, without: [] }, { view: "vga", step: "100000", lang: language })}>{scenarioTitle(name, language)}</a></li>)}</ul>
      </article>
    );
  }
  const { at, machines, machine, lanes, from } = seen;
  const changes = changesOf(lanes);
  const cards = [...lanes.cards.keys()];
  return (
    <article>
      <h1>{say("title")}</h1>
      <p>{say("about")}</p>
      {machines.length > 1 && <Choice label={say("machine")} name="vga-machine" value={String(machine)} options={machines.map((each) => [String(each.machine), each.name])} onChange={(chosen) => { keep({ machine: Number(chosen) }); }} />}
      <Drawing lanes={lanes} from={from} to={at} title={say("lanes", { count: changes.length, at })} selected={state.selection.device} onSelect={(device) => { store.select({ device }); }} />
      <p>{say("legend")}</p>
      <Table caption={say("now")} heads={[say("card"), say("decodes"), say("owns"), say("locks"), say("waits")]} rows={cardRows(lanes, say)} current={new Set(cards.flatMap((each, i) => (each === state.selection.device ? [i] : [])))} onRow={(i) => { store.select({ device: cards[i] }); }} />
      {lanes.bridges.size > 0 && <Table caption={say("bridge")} heads={[say("bridge"), say("now")]} rows={[...lanes.bridges].map(([bridge, spans]) => [bridge, say(spans.at(-1)?.open ? "open" : "closed")])} />}
      <Table caption={say("history")} heads={[say("event"), say("card"), say("decodes"), say("owns"), say("locks"), say("waits")]} rows={changes.slice(0, MOST_CHANGES).map((change) => [change.from + 1, change.at, change.decodes, change.owns, change.locks, say(change.waits ? "yes" : "no")])} onRow={(i) => { store.change({ step: (changes[i]?.from ?? 0) + 1 }); }} />
    </article>
  );
};

/** Who owned, locked and waited for the legacy VGA ranges, as lanes over the run's events. */
export const VIEW = view<Settings>({
  read: (kept) => ({ machine: integer(record(kept).machine, [0, 1000], -1) }),
  Body,
  text: (props) => {
    const [say, seen] = [vgaWords(props.language), look(props)];
    return seen ? tableText([say("card"), say("decodes"), say("owns"), say("locks"), say("waits")], cardRows(seen.lanes, say)) : say("none");
  },
});
