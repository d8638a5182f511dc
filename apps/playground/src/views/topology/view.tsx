import { formatAddress } from "@iommu-lab/pci-bus";
import { useMemo } from "preact/hooks";
import type { VNode } from "preact";
import { HostPicker } from "../../host/host-picker.tsx";
import type { OpenedHost } from "../../host/open-host.ts";
import { hostNow, useHost } from "../../host/use-host.ts";
import { tell, Told } from "../../text/told.tsx";
import type { Language } from "../../text/words.ts";
import { Table, tableText } from "../../ui/table.tsx";
import { view, type ViewProps } from "../view.ts";
import { TopologyDrawing, unitColour } from "./drawing.tsx";
import { EditsPanel } from "./edits-panel.tsx";
import { functionRows } from "./function-rows.ts";
import { drawTree } from "./layout.ts";
import { mermaidOf } from "./mermaid.ts";
import { PeerPanel, peerText } from "./peer-panel.tsx";
import { peerLine, peerOf } from "./peer.ts";
import { readTopology, type TopologySettings } from "./settings.ts";
import { topologyWords } from "./text.ts";
import { TopologyTree } from "./tree.tsx";
import { buildTopology, flatten, pathOf, type Topology } from "./topology.ts";
import "./topology.css";

type Props = ViewProps<TopologySettings>;

/** The IOMMU before a function, in words. */
const unitText = (topology: Topology, unit: string | undefined, language: Language): string => {
  const say = topologyWords(language);
  return topology.firmware.units.length === 0 ? say("unseenUnit") : unit === undefined || unit === "" ? say("noUnit") : unit;
};
const setText = (sets: readonly (readonly string[])[]): string => sets.map((members) => `{${members.join(", ")}}`).join(" ");

const Reasons = ({ topology, selected, language }: { readonly topology: Topology; readonly selected: string | undefined; readonly language: Language }): VNode => {
  const say = topologyWords(language);
  const shared = topology.groups.filter(({ members }) => members.length > 1);
  const first = selected === undefined ? undefined : topology.groupOf.get(selected);
  const ordered = [...shared.filter((group) => group === first), ...shared.filter((group) => group !== first)];
  return (
    <section aria-labelledby="why">
      <h2 id="why">{say("why")}</h2>
      {ordered.length === 0 && <p>{say("alone")}</p>}
      {ordered.map((group) => (
        <div key={group.label}>
          <h3>{say("group", { label: group.label })}: <span class="mono">{group.members.join(", ")}</span></h3>
          <ul class="reasons">{group.reasons.map(({ text, rule, evidence }, i) => <li key={i} class={selected !== undefined && text.includes(selected) ? "lit" : undefined}><Told text={text} language={language} /> <small>({rule}; <Told text={evidence.register} language={language} />{evidence.value === null ? "" : ` = 0x${evidence.value.toString(16)}`}; {evidence.missing.map((missing) => tell(missing, language)).join(", ")})</small></li>)}</ul>
        </div>
      ))}
    </section>
  );
};

const Changes = ({ topology, language }: { readonly topology: Topology; readonly language: Language }): VNode | null => {
  const say = topologyWords(language);
  if (!topology.changes) return null;
  return (
    <section aria-labelledby="changed">
      <h2 id="changed">{say("changed")}</h2>
      {topology.unsafe && <p class="warning" role="alert">{say("unsafe")}</p>}
      {topology.changes.length === 0 ? <p role="status">{say("unchanged")}</p> : <Table caption={`${say("before")}, ${say("after")}`} heads={[say("before"), say("after")]} rows={topology.changes.map(({ before, after }) => [setText(before), setText(after)])} />}
    </section>
  );
};

const Compared = ({ topology, language }: { readonly topology: Topology; readonly language: Language }): VNode => {
  const say = topologyWords(language);
  const { differences } = topology;
  const plain = (sets: readonly (readonly { readonly domain: number; readonly requester: number }[])[]): string => setText(sets.map((set) => set.map((address) => flatten(topology.roots.flatMap(({ nodes }) => nodes)).find(({ facts }) => facts.address.domain === address.domain && facts.address.requester === address.requester)?.name ?? "?")));
  return (
    <section aria-labelledby="compare">
      <h2 id="compare">{say("compare")}</h2>
      {!differences ? <p>{say("notRecorded")}</p> : differences.length === 0 ? <p class="good">✓ {say("same")}</p> : <Table caption={say("differ")} heads={[say("recorded"), say("computed")]} rows={differences.map(({ recorded, computed }) => [plain(recorded), plain(computed)])} />}
    </section>
  );
};

const Shown = ({ host: { snapshot }, settings, keep, store, state, language }: Props & { readonly host: OpenedHost }): VNode => {
  const say = topologyWords(language);
  const topology = useMemo(() => buildTopology(snapshot, settings), [snapshot, JSON.stringify(settings)]);
  const drawing = useMemo(() => drawTree(topology.roots, topology.groups), [topology]);
  const rows = functionRows(topology, language);
  const selected = state.selection.device;
  const path = selected === undefined ? [] : pathOf(topology, selected);
  const select = (name: string): void => { store.select({ device: name === selected ? undefined : name }); };
  if (rows.length === 0) return <p role="status">{say("empty")}</p>;
  const { units } = topology.firmware;
  const unit = selected === undefined ? undefined : rows.find(({ node }) => node.name === selected)?.unit;
  const judge = unitText(topology, unit, language);
  const peer = peerOf(topology, selected, settings.peer);
  const lit = new Set([...path, ...(peer ? [...peer.hops.map(({ at }) => at), ...peer.down].map(formatAddress) : [])]);
  return (
    <>
      <p role="status">{say("summary", { functions: rows.length, groups: topology.groups.length, shared: topology.groups.filter(({ members }) => members.length > 1).length })}{selected !== undefined && path.length > 0 ? ` ${say("path", { path: path.join(" → "), unit: judge })}` : ""}</p>
      {topology.unsafe && <p class="warning">{say("unsafe")}</p>}
      <div class="beside">
        <div>
          <TopologyDrawing topology={topology} drawing={drawing} language={language} selected={selected} lit={lit} peer={peer && { d: peerLine(drawing, peer), end: peer.end }} onSelect={select} />
          <TopologyTree topology={topology} rows={new Map(rows.map((row) => [row.node.name, row]))} language={language} selected={selected} lit={lit} onSelect={select} />
          <p class="hint">{say("legend")}{topology.acs === "predicted" ? ` ${say("predicted")}` : ""}</p>
          {units.length > 0 && <p class="hint graph">{say("unitLegend")}{units.map(({ id, name }) => <span key={id}> <span class={`unit ${unitColour(topology, id)}`}>{id} {name}</span></span>)}</p>}
        </div>
        <div>
          <EditsPanel topology={topology} settings={settings} selected={rows.find(({ node }) => node.name === selected)?.node} language={language} keep={keep} />
          <Changes topology={topology} language={language} />
          <PeerPanel selected={selected} others={rows.map(({ node }) => node).filter(({ name, facts }) => name !== selected && !facts.bridge)} to={settings.peer} path={peer} unit={judge} isTranslated={unit !== undefined && unit !== ""} language={language} onPeer={(name) => { keep({ peer: name }); }} />
        </div>
      </div>
      <Reasons topology={topology} selected={selected} language={language} />
      <h2>{say("functions")}</h2>
      <Table caption={say("functions")} heads={[say("function"), say("what"), say("groupHead"), say("acs"), say("driver"), say("unit"), say("marks")]} current={new Set(rows.flatMap(({ node }, i) => (lit.has(node.name) ? [i] : [])))} onRow={(i) => { const row = rows[i]; if (row) select(row.node.name); }}
        rows={rows.map(({ node, what, group, acs, driver, unit: of, marks }) => [<span key="name" class={`mono depth${Math.min(5, node.depth)}`}>{node.name}</span>, what, group, <code key="acs" class="nowrap">{acs}</code>, driver, of, marks.join("; ")])} />
      {units.length > 0 ? <Table caption={say("units")} heads={[say("unit"), say("base"), say("scope")]} current={new Set(units.flatMap(({ id }, i) => (id === unit ? [i] : [])))} rows={units.map(({ id, name, base, rest, scopes }) => [`${id} ${name}`, <code key="base">{base}</code>, [...scopes, ...(rest ? [say("rest")] : [])].join(", ")])} /> : <p>{say("noUnits")}</p>}
      <Compared topology={topology} language={language} />
      {topology.notes.length > 0 && <><h2>{say("notes")}</h2><ul>{topology.notes.map((note) => <li key={note}><Told text={note} language={language} /></li>)}</ul></>}
    </>
  );
};

const Body = (props: Props): VNode => {
  const host = useHost(props.settings.host);
  return (
    <article>
      <h1>{topologyWords(props.language)("title")}</h1>
      <HostPicker store={props.store} choice={props.settings.host} host={host} language={props.language} reset={{ edits: [], devices: [] }} />
      {host && <Shown {...props} host={host} />}
    </article>
  );
};

const text = ({ settings, state, language }: Props): string => {
  const say = topologyWords(language);
  const host = hostNow(settings.host);
  if (!host) return "";
  const topology = buildTopology(host.snapshot, settings);
  const rows = functionRows(topology, language);
  const selected = state.selection.device;
  const peer = peerOf(topology, selected, settings.peer);
  return [
    tableText([say("function"), say("what"), say("groupHead"), say("acs"), say("driver"), say("unit"), say("marks")], rows.map(({ node, what, group, acs, driver, unit, marks }) => [`${"  ".repeat(node.depth)}${node.name}`, what, group, acs, driver, unit, marks.join("; ")])),
    "",
    ...topology.groups.filter(({ members }) => members.length > 1).flatMap(({ label, members, reasons }) => [`${say("group", { label })}: ${members.join(", ")}`, ...reasons.map((reason) => `  ${tell(reason.text, language)}`)]),
    ...(topology.changes?.length ? ["", say("changed"), ...topology.changes.map(({ before, after }) => `${setText(before)} → ${setText(after)}`)] : []),
    ...(peer && selected !== undefined ? ["", ...peerText(peer, settings.peer, unitText(topology, rows.find(({ node }) => node.name === selected)?.unit, language), language)] : []),
  ].join("\n");
};

const mermaid = ({ settings, language }: Props): string => {
  const host = hostNow(settings.host);
  return host ? mermaidOf(buildTopology(host.snapshot, settings), language) : "";
};

/** Functions, ports and groups of a host, and what would change them. */
export const VIEW = view<TopologySettings>({ read: readTopology, Body, text, mermaid });
