import type { VNode } from "preact";
import { className } from "../../host/class-names.ts";
import { idsOf } from "../../host/function-name.ts";
import type { Language } from "../../text/words.ts";
import { BADGE_SIGNS, badgesOf } from "./acs-badges.ts";
import { BOX, GAP, type Drawing, type Hull, type PlacedNode } from "./layout.ts";
import { topologyWords } from "./text.ts";
import type { Topology } from "./topology.ts";

/** Colours come round again; the label tells groups apart. */
const COLOURS = 8;
const PAD = 7;
const UNIT_COLOURS = 4;
/** The class that gives a unit its colour, here and in the legend. */
export const unitColour = ({ firmware: { units } }: Topology, id: string): string => `u${units.findIndex((unit) => unit.id === id) % UNIT_COLOURS}`;
const cut = (text: string, most: number): string => (text.length > most ? `${text.slice(0, most - 1)}…` : text);
const short = (address: string): string => (address.startsWith("0000:") ? address.slice(5) : address);

const HullShape = ({ hull: { group, boxes, joints }, colour, label }: { readonly hull: Hull; readonly colour: number; readonly label: string }): VNode => {
  const [first] = boxes;
  return (
    <g class={`hull ${group.members.length > 1 ? `c${colour % COLOURS}` : "single"}`}>
      {joints.map((d, i) => <path key={i} d={d} />)}
      {boxes.map(({ x, y }, i) => <rect key={i} x={x - PAD} y={y - PAD} width={BOX.width + 2 * PAD} height={BOX.height + 2 * PAD} rx={10} />)}
      {first && group.members.length > 1 && <g class="tab"><rect x={first.x + BOX.width - 66} y={first.y - PAD - 9} width={66} height={16} rx={8} /><text x={first.x + BOX.width - 33} y={first.y - PAD + 3} text-anchor="middle">{cut(label, 10)}</text></g>}
    </g>
  );
};

const FunctionBox = ({ at: { node, x, y }, topology, language, state, onSelect }: { readonly at: PlacedNode; readonly topology: Topology; readonly language: Language; readonly state: string; readonly onSelect: (name: string) => void }): VNode => {
  const { facts, fn } = node;
  const badges = badgesOf(facts);
  const unit = topology.firmware.unitOf.get(node.was ?? node.name);
  const reserved = topology.firmware.reserved.get(node.was ?? node.name);
  const marks = [fn?.bootVga ? "◆VGA" : "", reserved ? "▲RMRR" : "", unit ?? ""].filter((text) => text !== "").join(" ");
  return (
    <g class={`box ${state}${facts.bridge ? " bridge" : ""}`} onClick={() => { onSelect(node.name); }}>
      <title>{`${node.name} ${className(facts.classCode, language)} [${idsOf(facts)}] ${fn?.driver ?? ""}`}</title>
      <rect x={x} y={y} width={BOX.width} height={BOX.height} rx={6} />
      <text class="mono name" x={x + 8} y={y + 17}>{short(node.name)}</text>
      <text class="small" x={x + BOX.width - 8} y={y + 17} text-anchor="end">{marks}</text>
      <text x={x + 8} y={y + 33}>{cut(className(facts.classCode, language), 25)}</text>
      {badges
        ? badges.map(({ short: bit, state: is }, i) => (
            <g key={bit} class={`badge ${is}`}><rect x={x + 8 + i * 30} y={y + 39} width={28} height={14} rx={3} /><text x={x + 22 + i * 30} y={y + 50} text-anchor="middle">{bit}{BADGE_SIGNS[is]}</text></g>
          ))
        : <text class="small" x={x + 8} y={y + 50}>{cut([idsOf(facts), fn?.driver ?? ""].join(" "), 28)}</text>}
    </g>
  );
};

/** The unit that serves a function, as the ground its box stands on; grounds of one unit join. */
const Ground = ({ at: { node, x, y }, topology }: { readonly at: PlacedNode; readonly topology: Topology }): VNode | null => {
  const id = topology.firmware.unitOf.get(node.was ?? node.name);
  return id === undefined ? null : <rect class={`ground ${unitColour(topology, id)}`} x={x - GAP.x / 2} y={y - GAP.y / 2} width={BOX.width + GAP.x} height={BOX.height + GAP.y}><title>{id}</title></rect>;
};

/** The tree of functions with groups as hulls around them. What it shows is in the table beside it, too. */
export const TopologyDrawing = ({ topology, drawing, language, selected, lit, peer, onSelect }: { readonly topology: Topology; readonly drawing: Drawing; readonly language: Language; readonly selected: string | undefined; readonly lit: ReadonlySet<string>; readonly peer: { readonly d: string; readonly end: string } | undefined; readonly onSelect: (name: string) => void }): VNode => {
  const say = topologyWords(language);
  const shared = drawing.hulls.filter(({ group }) => group.members.length > 1);
  return (
    <div class="scroll graph" role="group" aria-label={say("drawing")} tabIndex={0}>
      <svg class="drawing topology" role="img" aria-label={say("drawing")} width={drawing.width} height={drawing.height} viewBox={`0 0 ${drawing.width} ${drawing.height}`}>
        <title>{say("drawing")}</title>
        {drawing.nodes.map((at) => <Ground key={at.node.name} at={at} topology={topology} />)}
        {drawing.hulls.map((hull) => <HullShape key={hull.group.label} hull={hull} colour={shared.indexOf(hull)} label={say("group", { label: hull.group.label })} />)}
        {drawing.roots.map(({ name, x, y, last }) => <g key={name} class="root"><path d={`M${x} ${y + 20}V${last}`} /><text x={x} y={y + 12}>{say("root", { name })}</text></g>)}
        {drawing.edges.map(({ from, to, d }) => <path key={to} class={lit.has(to) && (lit.has(from) || from.length < 12) ? "edge onpath" : "edge"} d={d} />)}
        {peer && <path class={`packet ${peer.end}`} d={peer.d} />}
        {drawing.nodes.map((at) => <FunctionBox key={at.node.name} at={at} topology={topology} language={language} state={at.node.name === selected ? "selected" : lit.has(at.node.name) ? "onpath" : ""} onSelect={onSelect} />)}
      </svg>
    </div>
  );
};
