import { useSignal } from "@preact/signals";
import type { VNode } from "preact";
import type { Language } from "../../text/words.ts";
import { Choice, Tick } from "../../ui/controls.tsx";
import { badgesOf, ACS_BADGES, BADGE_SIGNS } from "./acs-badges.ts";
import { KERNELS, type Edit, type TopologySettings } from "./settings.ts";
import { topologyWords } from "./text.ts";
import { flatten, type Topology, type TopologyNode } from "./topology.ts";

const controlOf = ({ facts: { acs } }: TopologyNode): number => (typeof acs === "string" ? 0 : (acs.control ?? acs.wide?.control ?? 0) & 0x7f);

/** Setting the same register again replaces the edit before: ticking and unticking leaves no trail. */
const withEdit = (edits: readonly Edit[], edit: Edit): readonly Edit[] => {
  const last = edits.at(-1);
  return edit.kind === "acs" && last?.kind === "acs" && last.at === edit.at ? [...edits.slice(0, -1), edit] : [...edits, edit];
};

const AcsBits = ({ node, language, onEdit }: { readonly node: TopologyNode; readonly language: Language; readonly onEdit: (edit: Edit) => void }): VNode => {
  const say = topologyWords(language);
  const control = controlOf(node);
  const badges = badgesOf(node.facts);
  return (
    <fieldset>
      <legend>{say("acsOf", { name: node.name })}</legend>
      {ACS_BADGES.map(({ short, bit, name }) => <Tick key={short} label={`${short} ${name} (${BADGE_SIGNS[badges?.find((each) => each.bit === bit)?.state ?? "none"]})`} name="acs" value={short} on={(control & bit) !== 0} onChange={(on) => { onEdit({ kind: "acs", at: node.name, control: on ? control | bit : control & ~bit }); }} />)}
    </fieldset>
  );
};

const Slot = ({ node, ports, language, onEdit }: { readonly node: TopologyNode; readonly ports: readonly string[]; readonly language: Language; readonly onEdit: (edit: Edit) => void }): VNode => {
  const say = topologyWords(language);
  const to = useSignal("");
  const others = ports.filter((name) => name !== node.name);
  const target = others.includes(to.value) ? to.value : others[0];
  return (
    <div class="row">
      {target !== undefined && <Choice label={say("move")} name="target" value={target} options={others.map((name) => [name, name])} onChange={(name) => { to.value = name; }} />}
      {target !== undefined && <button type="button" name="move" onClick={() => { onEdit({ kind: "move", from: node.name, to: target }); }}>{say("moveButton")}</button>}
      {node.children.length > 0 && <button type="button" name="bridge" onClick={() => { onEdit({ kind: "bridge", below: node.name }); }}>{say("bridge")}</button>}
    </div>
  );
};

/** An edit in words. */
const editText = (edit: Edit, language: Language): string => {
  const say = topologyWords(language);
  switch (edit.kind) {
    case "acs": return say("editAcs", { at: edit.at, control: `0x${edit.control.toString(16)}` });
    case "move": return say("editMove", { from: edit.from, to: edit.to });
    case "bridge": return say("editBridge", { below: edit.below });
  }
};

/** Changes the machine; the groups follow at once. */
export const EditsPanel = ({ topology, settings, selected, language, keep }: { readonly topology: Topology; readonly settings: TopologySettings; readonly selected: TopologyNode | undefined; readonly language: Language; readonly keep: (patch: Partial<TopologySettings>) => void }): VNode => {
  const say = topologyWords(language);
  const { edits } = settings;
  const edit = (next: Edit): void => { keep({ edits: withEdit(edits, next) }); };
  const ports = flatten(topology.roots.flatMap(({ nodes }) => nodes)).filter(({ facts, name }) => facts.bridge && topology.edited.below.has(name)).map(({ name }) => name);
  const isPort = selected !== undefined && ports.includes(selected.name);
  return (
    <section aria-labelledby="what-if">
      <h2 id="what-if">{say("whatIf")}</h2>
      <div class="row">
        <Choice label={say("kernel")} name="kernel" value={settings.kernel} options={KERNELS.map((each) => [each, each === "own" ? say("own") : `Linux ${each}`])} onChange={(kernel) => { keep({ kernel }); }} />
        <Tick label={say("downstream")} name="downstream" on={settings.downstream} onChange={(downstream) => { keep({ downstream }); }} />
        <Tick label={say("multifunction")} name="multifunction" on={settings.multifunction} onChange={(multifunction) => { keep({ multifunction }); }} />
      </div>
      {selected ? <h3>{say("chosen", { name: selected.name })}</h3> : <p class="hint">{say("choose")}</p>}
      {selected && selected.facts.portType !== "none" && <AcsBits node={selected} language={language} onEdit={edit} />}
      {selected && isPort && <Slot node={selected} ports={ports} language={language} onEdit={edit} />}
      {edits.length > 0 && (
        <>
          <h3>{say("edits")}</h3>
          <ol>{edits.map((each, i) => <li key={i}>{editText(each, language)} {topology.edited.refused.includes(i) && <strong class="bad">{say("refused")}</strong>}</li>)}</ol>
          <div class="row">
            <button type="button" name="undo" onClick={() => { keep({ edits: edits.slice(0, -1) }); }}>{say("undo")}</button>
            <button type="button" name="undo-all" onClick={() => { keep({ edits: [], downstream: false, multifunction: false, kernel: "own" }); }}>{say("undoAll")}</button>
          </div>
        </>
      )}
    </section>
  );
};
