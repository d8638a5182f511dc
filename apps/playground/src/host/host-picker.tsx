import { useSignal } from "@preact/signals";
import type { VNode } from "preact";
import { bundledHosts } from "@iommu-lab/host/bundled";
import type { Store } from "../state/store.ts";
import { tell, Told } from "../text/told.tsx";
import type { Language } from "../text/words.ts";
import { Choice } from "../ui/controls.tsx";
import { fitsAddress, withFile, withoutPiece, withText, type HostChoice } from "./host-choice.ts";

import type { OpenedHost } from "./open-host.ts";
import { redactPaste } from "./redact.ts";
import { keepFile } from "./stored-files.ts";
import { HOST_TITLES, hostTitles, hostWords } from "./text.ts";

/** Views that look at one host; a choice made in one is the choice of all. */
const VIEWS_OF_HOSTS = ["topology", "addresses", "planner"] as const;

const keepHost = (store: Store, host: HostChoice, reset: object): void => {
  const { views } = store.state.value;
  const changed = VIEWS_OF_HOSTS.map((id) => [id, { ...(views[id] as object | undefined), ...reset, host }]);
  store.change({ views: { ...views, ...(Object.fromEntries(changed) as Partial<typeof views>) }, selection: {} }, true);
};

const titleOf = (name: string, language: Language): string => (name in HOST_TITLES ? hostTitles(language)(name as keyof typeof HOST_TITLES) : name);

/** Texts and files that were given, each with what it turned out to be and a button that takes it away. */
const Given = ({ choice, host, language, onChange }: { readonly choice: HostChoice; readonly host: OpenedHost; readonly language: Language; readonly onChange: (choice: HostChoice) => void }): VNode | null => {
  const say = hostWords(language);
  if (!("texts" in choice)) return null;
  return (
    <ul class="given" aria-label={say("given")}>
      {host.given.map(({ label, kinds, problem }, i) => (
        <li key={i}>
          <code>{label}</code>: {problem === "gone" ? say("gone") : problem !== undefined ? tell(problem, language) : kinds.length > 0 ? say("recognised", { kinds: kinds.join(", ") }) : say("nothing")}{" "}
          <button type="button" aria-label={say("remove", { what: label })} onClick={() => { onChange(i < choice.texts.length ? withoutPiece(choice, "texts", i) : withoutPiece(choice, "files", i - choice.texts.length)); }}>✕</button>
        </li>
      ))}
    </ul>
  );
};

/** Chooses the host: one that comes along, or anything that is pasted or dropped. `reset` is what other views of hosts forget with it. */
export const HostPicker = ({ store, choice, host, language, reset = {} }: { readonly store: Store; readonly choice: HostChoice; readonly host: OpenedHost | undefined; readonly language: Language; readonly reset?: object }): VNode => {
  const say = hostWords(language);
  const draft = useSignal("");
  const said = useSignal("");
  const set = (next: HostChoice): void => { keepHost(store, next, reset); };
  const give = async (name: string, bytes: Uint8Array, from: HostChoice): Promise<HostChoice> => {
    said.value = say("stored");
    return withFile(from, await keepFile({ name, bytes }));
  };
  const take = (text: string): void => {
    if (text.trim() === "") return;
    draft.value = "";
    said.value = "";
    if (fitsAddress(choice, text)) set(withText(choice, text));
    else void give("paste", new TextEncoder().encode(text), choice).then(set);
  };
  const takeFiles = async (files: readonly File[]): Promise<void> => {
    let next = choice;
    for (const file of files) next = await give(file.name, new Uint8Array(await file.arrayBuffer()), next);
    if (next !== choice) set(next);
  };
  const redact = (): void => {
    if (!("texts" in choice)) return;
    const blanked = choice.texts.map(redactPaste);
    const draftBlanked = redactPaste(draft.value);
    draft.value = draftBlanked.text;
    said.value = say("redacted", { count: [...blanked, draftBlanked].reduce((sum, { count }) => sum + count, 0) });
    set({ ...choice, texts: blanked.map(({ text }) => text) });
  };
  const pasted = "texts" in choice;
  return (
    <section class="host-picker" aria-label={say("source")} onDragOver={(event) => { event.preventDefault(); }} onDrop={(event) => { event.preventDefault(); void takeFiles([...(event.dataTransfer?.files ?? [])]); }}>
      <Choice label={say("host")} name="host" value={pasted ? "" : choice.bundled} options={[...bundledHosts.map(({ name }) => [name, titleOf(name, language)] as const), ...(pasted ? [["", say("pasted")] as const] : [])]} onChange={(name) => { if (name !== "") set({ bundled: name }); }} />
      <details open={pasted}>
        <summary>{say("paste")}</summary>
        <p class="hint" id="paste-hint">{say("pasteHint")}</p>
        <textarea rows={6} name="paste" aria-label={say("paste")} aria-describedby="paste-hint" spellcheck={false} value={draft.value} onInput={({ currentTarget }) => { draft.value = currentTarget.value; }} />
        <div class="row">
          <button type="button" name="take" onClick={() => { take(draft.value); }}>{say("take")}</button>
          <label class="file"><span>{say("files")}</span><input type="file" multiple onChange={({ currentTarget }) => { const files = [...(currentTarget.files ?? [])]; currentTarget.value = ""; void takeFiles(files); }} /></label>
          {pasted && <button type="button" name="redact" onClick={redact}>{say("redact")}</button>}
        </div>
        <p class="hint">{say("drop")}</p>
      </details>
      <p role="status">{said.value !== "" ? said.value : host ? "" : say("reading")}</p>
      {host && <Given choice={choice} host={host} language={language} onChange={set} />}
      {host && host.others > 0 && <p class="bad">{say("others", { count: host.others })}</p>}
      {host && host.snapshot.warnings.length > 0 && <details><summary>{say("warnings")} ({host.snapshot.warnings.length})</summary><ul>{host.snapshot.warnings.map((text, i) => <li key={i}><Told text={text} language={language} /></li>)}</ul></details>}
      {host && host.snapshot.missing.length > 0 && <details><summary>{say("missing")} ({host.snapshot.missing.length})</summary><ul>{host.snapshot.missing.map(({ what, consequence }, i) => <li key={i}><Told text={what} language={language} />: <Told text={consequence} language={language} /></li>)}</ul></details>}
    </section>
  );
};
