import type { VNode } from "preact";
import { Told } from "../../text/told.tsx";
import type { Language } from "../../text/words.ts";
import { Draft, readHexadecimal } from "../../ui/controls.tsx";
import { bitsAt, valueText, type FieldNode } from "./fields.ts";
import { inspectorWords } from "./text.ts";

/** So many bits are edited at once. */
const WIDEST = 128;
const placeOf = ({ lsb, msb }: FieldNode, isTable: boolean): string => (isTable && lsb % 8 === 0 && msb % 8 === 7 ? `@0x${(lsb >> 3).toString(16)}+${(msb - lsb + 1) / 8}` : msb === lsb ? `${lsb}` : `${msb}:${lsb}`);

const Editor = ({ node, bytes, language, onValue }: { readonly node: FieldNode; readonly bytes: Uint8Array; readonly language: Language; readonly onValue: (value: bigint) => void }): VNode => {
  const say = inspectorWords(language);
  const bits = node.msb - node.lsb + 1;
  const now = `0x${bitsAt(bytes, node.lsb, node.msb).toString(16)}`;
  return (
    <Draft type="text" name="value" size={Math.min(20, Math.ceil(bits / 4) + 3)} label={say("edit", { name: node.name })} value={now}
      commit={(text, field) => { const value = readHexadecimal(text, bits, field); if (value !== undefined) onValue(value); }} />
  );
};

/** Every field with its place, value and meaning; the selected one can be changed. */
export const FieldTable = ({ nodes, bytes, isTable, selected, near, language, onSelect, onHover, onValue }: { readonly nodes: readonly FieldNode[]; readonly bytes: Uint8Array; readonly isTable: boolean; readonly selected: string | undefined; readonly near: string | undefined; readonly language: Language; readonly onSelect: (node: FieldNode) => void; readonly onHover: (node: FieldNode | undefined) => void; readonly onValue: (node: FieldNode, value: bigint) => void }): VNode => {
  const say = inspectorWords(language);
  return (
    <div class="table" role="region" aria-label={say("fields")} tabIndex={0}>
      <table class="fields" onMouseLeave={() => { onHover(undefined); }}>
        <caption>{say("fields")}</caption>
        <thead><tr>{(["field", "place", "value", "says"] as const).map((head) => <th key={head} scope="col">{say(head)}</th>)}</tr></thead>
        <tbody>
          {nodes.map((node, i) => (
            <tr key={i} class={`${node.id === selected ? "lit" : node.id === near ? "near" : ""}${node.heading ? " heading" : ""}`} aria-current={node.id === selected ? "true" : undefined} onMouseEnter={() => { onHover(node); }}>
              <td><button type="button" class={`link depth${Math.min(5, node.depth)}`} onClick={() => { onSelect(node); }}>{node.name}</button></td>
              <td class="mono nowrap">{placeOf(node, isTable)}</td>
              <td class="mono">{node.heading ? "" : node.id === selected && node.msb - node.lsb < WIDEST ? <Editor key={node.id} node={node} bytes={bytes} language={language} onValue={(value) => { onValue(node, value); }} /> : valueText(bytes, node)}</td>
              <td>{node.meaning !== undefined && <strong><Told text={node.meaning} language={language} /> </strong>}<Told text={node.text} language={language} /></td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
};
