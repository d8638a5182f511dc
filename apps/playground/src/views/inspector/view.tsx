import { useSignal } from "@preact/signals";
import { useMemo } from "preact/hooks";
import type { VNode } from "preact";
import { BITS_KINDS } from "@iommu-lab/host/decode";
import { bundledHosts, readBundled } from "@iommu-lab/host/bundled";
import { keepFile } from "../../host/stored-files.ts";
import { Told } from "../../text/told.tsx";
import { Choice } from "../../ui/controls.tsx";
import { Table, tableText } from "../../ui/table.tsx";
import { view, type ViewProps } from "../view.ts";
import { compareItems } from "./compare.ts";
import { FieldTable } from "./field-table.tsx";
import { bytesWith, nodeAt, valueText, type FieldNode } from "./fields.ts";
import { HexGrid } from "./hex-grid.tsx";
import { checksumFix, inspect, openItem, patched, type Inspected, type Item } from "./inspect.ts";
import "./inspector.css";
import { MOST_TEXT, readInspector, withPatches, type InspectorSettings } from "./settings.ts";
import { inspectorWords } from "./text.ts";
import { inputNow, useInput } from "./use-input.ts";

type Props = ViewProps<InspectorSettings>;
const hexText = (bytes: Uint8Array): string => Array.from({ length: Math.ceil(bytes.length / 16) }, (_, row) => `${(16 * row).toString(16).padStart(4, "0")}: ${Array.from(bytes.subarray(16 * row, 16 * row + 16), (byte) => byte.toString(16).padStart(2, "0")).join(" ")}`).join("\n");

/** Tables of bundled hosts, to begin with. */
const HOST_TABLES = bundledHosts.flatMap(({ name }) => (name === "q35-intel-iommu-off" ? [] : [...readBundled(name).acpi].filter(([signature]) => ["DMAR", "IVRS", "MCFG"].includes(signature)).map(([signature, bytes]) => ({ id: `${name} ${signature}`, bytes }))));
const ANOTHER: Partial<InspectorSettings> = { file: "", item: 0, patches: [] };

const Input = ({ settings, keep, store, language }: Props): VNode => {
  const say = inspectorWords(language);
  const draft = useSignal<string | undefined>(undefined);
  const said = useSignal("");
  const take = (text: string): void => {
    if (text.length > MOST_TEXT) {
      said.value = say("tooLong", { most: MOST_TEXT });
      return;
    }
    said.value = "";
    draft.value = undefined;
    store.select({ field: undefined });
    keep({ ...ANOTHER, text });
  };
  const takeFile = async (file: File): Promise<void> => {
    const id = await keepFile({ name: file.name, bytes: new Uint8Array(await file.arrayBuffer()) });
    said.value = say("stored");
    keep({ ...ANOTHER, text: "", file: id });
  };
  return (
    <section class="host-picker" aria-label={say("paste")} onDragOver={(event) => { event.preventDefault(); }} onDrop={(event) => { event.preventDefault(); const [file] = event.dataTransfer?.files ?? []; if (file) void takeFile(file); }}>
      <p class="hint" id="inspector-hint">{say("hint")}</p>
      <textarea rows={4} name="paste" aria-label={say("paste")} aria-describedby="inspector-hint" spellcheck={false} value={draft.value ?? settings.text} onInput={({ currentTarget }) => { draft.value = currentTarget.value; }} onPaste={({ currentTarget }) => { setTimeout(() => { take(currentTarget.value); }); }} />
      <div class="row">
        <button type="button" name="look" onClick={() => { take(draft.value ?? settings.text); }}>{say("look")}</button>
        <label class="file"><span>{say("file")}</span><input type="file" onChange={({ currentTarget }) => { const [file] = currentTarget.files ?? []; currentTarget.value = ""; if (file) void takeFile(file); }} /></label>
        <Choice label={say("host")} name="host-table" value="" options={[["", say("pick")], ...HOST_TABLES.map(({ id }) => [id, id] as const)]} onChange={(id) => { const found = HOST_TABLES.find((each) => each.id === id); if (found) { keep({ ...ANOTHER, kind: "auto", text: hexText(found.bytes) }); draft.value = undefined; } }} />
        <Choice label={say("kind")} name="kind" value={settings.kind} options={[["auto", say("auto")], ...["dmar", "ivrs", "mcfg", "rom", "log", "debugfs", ...BITS_KINDS].map((kind) => [kind, kind] as const)]} onChange={(kind) => { keep({ kind, item: 0, patches: [] }); }} />
      </div>
      <p role="status">{said.value}</p>
    </section>
  );
};

const Compared = ({ item, settings, keep, language }: Pick<Props, "settings" | "keep" | "language"> & { readonly item: Item }): VNode => {
  const say = inspectorWords(language);
  const other = useMemo(() => (settings.other === "" ? undefined : inspect(settings.other, item.kind === "rom" || settings.kind !== "auto" ? item.kind : "auto")), [settings.other, settings.kind, item.kind]);
  const found = other?.items.find(({ kind }) => kind === item.kind);
  const differences = found && compareItems({ item, opened: openItem(item) }, { item: found, opened: openItem(found) });
  return (
    <details open={settings.other !== ""}>
      <summary>{say("compare")}</summary>
      <p class="hint">{say("compareHint")}</p>
      <textarea rows={3} name="other" aria-label={say("compare")} spellcheck={false} value={settings.other} maxLength={MOST_TEXT} onChange={({ currentTarget }) => { keep({ other: currentTarget.value }); }} />
      {other?.error !== undefined && <p class="bad"><Told text={other.error} language={language} /></p>}
      {other && !found && other.items[0] && <p class="bad">{say("notSame", { kind: other.items[0].kind })}</p>}
      {differences && (differences.length === 0 ? <p class="good">✓ {say("same")}</p> : <Table caption={say("compare")} heads={[say("field"), say("here"), say("there")]} rows={differences.map(({ id, here, there }) => [id, <code key="here">{here ?? say("absent")}</code>, <code key="there">{there ?? say("absent")}</code>])} />)}
    </details>
  );
};

const ShownItem = ({ original, index, ...props }: Props & { readonly original: Item; readonly index: number }): VNode => {
  const { settings, keep, state, store, language } = props;
  const say = inspectorWords(language);
  const item = useMemo(() => patched(original, index, settings.patches), [original, index, settings.patches]);
  const opened = useMemo(() => openItem(item), [item]);
  const hovered = useSignal<FieldNode | undefined>(undefined);
  const selected = opened.nodes.find(({ id }) => id === state.selection.field);
  const fix = checksumFix(item);
  const rangeOf = (node: FieldNode | undefined): readonly [number, number] | undefined => node && [node.lsb >> 3, node.msb >> 3];
  const select = (node: FieldNode | undefined): void => { store.select({ field: node?.id }); };
  const put = (changes: readonly { readonly at: number; readonly byte: number }[]): void => { keep({ patches: withPatches(settings.patches, changes.map(({ at, byte }) => ({ item: index, at, byte }))) }); };
  const changed = new Set(settings.patches.filter((patch) => patch.item === index && original.bytes[patch.at] !== patch.byte).map(({ at }) => at));
  return (
    <>
      <h2>{item.title} {opened.spec !== undefined && <small>({opened.spec})</small>}</h2>
      {opened.sentences.length > 0 && <><h3>{say("words")}</h3><ul>{opened.sentences.map((sentence, i) => <li key={i}><Told text={sentence} language={language} /></li>)}</ul></>}
      <h3>{say("diagnoses")}</h3>
      {opened.noticed.length === 0 ? <p class="good">✓ {say("sound")}</p> : <ul>{opened.noticed.map(({ id, offset, text, severity }, i) => <li key={i}><button type="button" class="link" onClick={() => { select(nodeAt(opened.nodes, offset)); }}><code>{id}</code></button>{severity === undefined ? "" : ` (${severity})`}: <Told text={text} language={language} /></li>)}</ul>}
      <div class="row">
        {fix && <button type="button" name="checksum" onClick={() => { put([fix]); }}>{say("checksum")}</button>}
        {changed.size > 0 && <><span role="status">{say("changed", { count: changed.size })}</span><button type="button" name="revert" onClick={() => { keep({ patches: settings.patches.filter((patch) => patch.item !== index) }); }}>{say("revert")}</button></>}
      </div>
      <div class="inspector">
        <section aria-labelledby="bytes">
          <h3 id="bytes">{say("bytes")}</h3>
          <HexGrid bytes={item.bytes} lit={rangeOf(selected)} near={rangeOf(hovered.value)} changed={changed} language={language} onByte={(at) => { select(nodeAt(opened.nodes, at)); }} onHover={(at) => { hovered.value = at === undefined ? undefined : nodeAt(opened.nodes, at); }} />
          <p class="hint">{say("bytesHint")}</p>
          <details><summary>{say("hex")}</summary><pre tabIndex={0}>{hexText(item.bytes.subarray(0, 65_536))}</pre></details>
        </section>
        <FieldTable nodes={opened.nodes} bytes={item.bytes} isTable={item.kind === "rom" || item.title.length === 4} selected={selected?.id} near={hovered.value?.id} language={language} onSelect={select} onHover={(node) => { hovered.value = node; }} onValue={(node, value) => { put(bytesWith(item.bytes, node.lsb, node.msb, value)); }} />
      </div>
      <Compared item={item} settings={settings} keep={keep} language={language} />
    </>
  );
};

const Found = ({ found, ...props }: Props & { readonly found: Inspected }): VNode => {
  const { settings, keep, store, language } = props;
  const say = inspectorWords(language);
  const index = Math.min(settings.item, Math.max(0, found.items.length - 1));
  const item = found.items[index];
  return (
    <>
      {found.error !== undefined && <p class="bad" role="status"><Told text={found.error} language={language} /></p>}
      {found.items.length > 1 && <><h2>{say("items")}</h2><ul class="items">{found.items.map(({ title }, i) => <li key={i}><button type="button" aria-pressed={i === index} onClick={() => { store.select({ field: undefined }); keep({ item: i }); }}>{title}</button></li>)}</ul></>}
      {item && <ShownItem key={index} {...props} original={item} index={index} />}
      {found.statements.length > 0 && <><h2>{say("lines")}</h2><ul>{found.statements.map((text, i) => <li key={i}><Told text={text} language={language} /></li>)}</ul></>}
      {!item && found.noticed.length > 0 && <ul>{found.noticed.map(({ id, text }, i) => <li key={i}><code>{id}</code>: <Told text={text} language={language} /></li>)}</ul>}
    </>
  );
};

const Body = (props: Props): VNode => {
  const { settings, language } = props;
  const say = inspectorWords(language);
  const input = useInput(settings);
  const found = useMemo(() => (input === undefined || input.length === 0 ? undefined : inspect(input, settings.kind)), [input, settings.kind]);
  return (
    <article>
      <h1>{say("title")}</h1>
      <Input {...props} />
      {found ? <Found {...props} found={found} /> : <p role="status">{say("nothing")}</p>}
    </article>
  );
};

const text = ({ settings, language }: Props): string => {
  const say = inspectorWords(language);
  const input = inputNow(settings);
  if (input === undefined) return "";
  const { items, statements, error } = inspect(input, settings.kind);
  return [
    ...(error === undefined ? [] : [error]),
    ...items.map((original, i) => {
      const item = patched(original, i, settings.patches);
      const { nodes, noticed, sentences } = openItem(item);
      return [item.title, ...sentences, ...noticed.map(({ id, text: what }) => `${id}: ${what}`), tableText([say("field"), say("place"), say("value"), say("says")], nodes.map((node) => [`${"  ".repeat(node.depth)}${node.name}`, `${node.msb}:${node.lsb}`, node.heading ? "" : valueText(item.bytes, node), `${node.meaning ?? ""} ${node.text}`.trim()]))].join("\n");
    }),
    ...statements,
  ].join("\n\n");
};

/** Bytes, fields and meaning of tables, registers and records, side by side; each can be changed. */
export const VIEW = view<InspectorSettings>({ read: readInspector, Body, text });
