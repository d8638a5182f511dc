import { useSignal, type Signal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import type { VNode } from "preact";
import type { PlayedRun } from "../../run/play.ts";
import { LANGUAGES, type Language } from "../../text/words.ts";
import { Choice } from "../../ui/controls.tsx";
import { record, text, view, type ViewProps } from "../view.ts";
import { PROGRAMS } from "./programs.ts";
import { MOST_TIME, runExperiment } from "./sandbox.ts";
import { codeWords } from "./text.ts";
import { openTypes, type Types } from "./types.ts";
import type { Mistake } from "./types.worker.ts";
import "./code.css";

interface Settings {
  /** Of one of the programs, or empty. */
  readonly program: string;
  /** What was typed; empty: the program as it is. */
  readonly source: string;
}

const MOST_SOURCE = 50_000;
const SECONDS = MOST_TIME / 1000;
/** Milliseconds without typing before the types are asked. */
const PAUSE = 600;

const sourceOf = ({ program, source }: Settings): string => (source === "" ? (PROGRAMS.find(({ id }) => id === program) ?? PROGRAMS[0]!).source : source);

type Status = { readonly kind: "idle" | "running" | "done" | "time" | "stopped" } | { readonly kind: "failed"; readonly error: string };

const statusText = (status: Status, language: Language): string => {
  const say = codeWords(language);
  if (status.kind === "failed") return say("failed", { error: status.error });
  return status.kind === "idle" ? "" : say(status.kind, { seconds: SECONDS });
};

/** The editor, when its code has come; until then, and where it does not come, a plain text area. */
const Editor = ({ source, label, types, changed, run }: { readonly source: string; readonly label: string; readonly types: Types; readonly changed: (source: string) => void; readonly run: () => void }): VNode => {
  const host = useRef<HTMLDivElement>(null);
  const ready = useSignal(false);
  const latest = useRef({ changed, run });
  latest.current = { changed, run };
  useEffect(() => {
    let wanted = true;
    let close = (): void => undefined;
    void import("./editor.ts").then(({ openEditor }) => {
      if (!wanted || !host.current) return;
      ready.value = true;
      const editor = openEditor(host.current, { source, label, types, changed: (text) => { latest.current.changed(text); }, run: () => { latest.current.run(); } });
      close = () => { editor.destroy(); };
    });
    return () => {
      wanted = false;
      close();
    };
  }, []);
  return (
    <>
      <div ref={host} class="editor" />
      {!ready.value && <textarea rows={16} spellcheck={false} aria-label={label} value={source} onInput={({ currentTarget }) => { changed(currentTarget.value); }} />}
    </>
  );
};

const Result = ({ run, language }: { readonly run: PlayedRun; readonly language: Language }): VNode => {
  const { assertions, hash } = run.result;
  return <p class="hash">{codeWords(language)("holds", { ok: assertions.filter(({ ok }) => ok).length, count: assertions.length, hash })}</p>;
};

const Body = ({ settings, keep, state, store, adopt, language }: ViewProps<Settings>): VNode => {
  const say = codeWords(language);
  const types = useRef<Types | undefined>(undefined);
  const compiler = (types.current ??= openTypes());
  const lines = useSignal<readonly string[]>([]);
  const mistakes = useSignal<readonly Mistake[]>([]);
  const played = useSignal<PlayedRun | undefined>(undefined);
  const status: Signal<Status> = useSignal<Status>({ kind: "idle" });
  const version = useSignal(0);
  const stop = useRef<() => void>(() => undefined);
  const source = sourceOf(settings);
  const current = useRef(source);
  useEffect(() => {
    current.current = source;
    const timer = setTimeout(() => { compiler.check(source).then((found) => { mistakes.value = found; }, () => undefined); }, PAUSE);
    return () => { clearTimeout(timer); };
  }, [source]);
  useEffect(() => () => { stop.current(); }, []);
  const run = (): void => {
    stop.current();
    lines.value = [];
    played.value = undefined;
    status.value = { kind: "running" };
    const failed = (error: unknown): void => { status.value = { kind: "failed", error: error instanceof Error ? error.message : String(error) }; };
    compiler.compile(current.current).then((code) => {
      stop.current = runExperiment(code, state.run, (told) => {
        if (told.kind === "print") lines.value = [...lines.value, told.text];
        if (told.kind === "run") played.value = told.run;
      }, (how) => { status.value = how.kind === "failed" && how.error === "" ? { kind: "stopped" } : how; });
    }).catch(failed);
  };
  const at = LANGUAGES.indexOf(language);
  const running = status.value.kind === "running";
  return (
    <article>
      <h1>{say("title")}</h1>
      <p>{say("about", { seconds: SECONDS })}</p>
      <div class="row">
        <Choice label={say("program")} name="program" value={settings.source === "" ? (settings.program === "" ? PROGRAMS[0]!.id : settings.program) : ""} options={[...(settings.source === "" ? [] : [["", say("own")] as const]), ...PROGRAMS.map(({ id, title }) => [id, title[at]!] as const)]} onChange={(program) => { if (program === "") return; keep({ program, source: "" }); version.value++; }} />
        <Choice label="IOMMU" name="experiment-iommu" value={state.run.iommu} options={[["intel", "Intel VT-d"], ["amd", "AMD-Vi"]]} onChange={(iommu) => { store.change({ run: { ...state.run, iommu } }); }} />
        <button type="button" onClick={run}>{say("run")}</button>
        <button type="button" onClick={() => { stop.current(); }} disabled={!running}>{say("stop")}</button>
      </div>
      <Editor key={version.value} source={source} label={say("editor")} types={compiler} changed={(text) => { current.current = text; keep({ source: text.slice(0, MOST_SOURCE) }); }} run={run} />
      <p>{say("editorHint")}</p>
      {mistakes.value.length > 0 && <><h2>{say("mistakes")}</h2><ul class="mistakes" lang="en">{mistakes.value.map(({ from, line, text: what }) => <li key={`${from} ${what}`}>{say("line", { line, text: what })}</li>)}</ul></>}
      <h2>{say("output")}</h2>
      <p role="status">{statusText(status.value, language)}</p>
      {lines.value.length > 0 && <pre tabIndex={0} class="output">{lines.value.join("\n")}</pre>}
      {played.value && <Result run={played.value} language={language} />}
      {played.value && <button type="button" onClick={() => { const made = played.value; if (made) { adopt(made); store.change({ view: "story", step: made.events.length }, true); } }}>{say("see")}</button>}
    </article>
  );
};

/** A program of the visitor's against the packages. */
export const VIEW = view<Settings>({
  read: (kept) => {
    const { program, source } = record(kept);
    return { program: PROGRAMS.some(({ id }) => id === program) ? (program as string) : "", source: text(source, MOST_SOURCE, "") };
  },
  Body,
  text: ({ settings }) => sourceOf(settings),
});
