import { useSignal, type Signal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import type { ComponentChild, VNode } from "preact";
import { EXAMPLES } from "../gallery/gallery.ts";
import type { CurrentRun, Runs } from "../run/runs.ts";
import { nextStep, stepOf } from "../run/steps.ts";
import { FIRST, VIEWS, type AppState, type ViewId } from "../state/app-state.ts";
import { formatAddress } from "../state/address.ts";
import type { Store } from "../state/store.ts";
import { SCENARIO_TITLES, scenarioTitle } from "../text/scenario-titles.ts";
import { openPhrases, phrasesAreOpen } from "../text/told.tsx";
import { LANGUAGE_NAMES, LANGUAGES } from "../text/words.ts";
import { Choice } from "../ui/controls.tsx";
import { REGISTRY } from "../views/registry.ts";
import type { View, ViewProps } from "../views/view.ts";
import { Gallery } from "./gallery.tsx";
import { Help } from "./help.tsx";
import { listenForKeys, type KeyWish } from "./keys.ts";
import { Palette, type Destination } from "./palette.tsx";
import { PaneSwitch } from "./pane-switch.tsx";
import { RunControls } from "./run-controls.tsx";
import { panelShows, SelectionPanel } from "./selection-panel.tsx";
import { Take } from "./take.tsx";
import { Timeline } from "./timeline.tsx";
import { shellWords, viewWords } from "./text.ts";

type LinkHandler = (event: { readonly currentTarget: HTMLAnchorElement }) => void;
type Open = "palette" | "help" | "gallery" | undefined;
const SHOWN_VIEWS = VIEWS.filter((id) => REGISTRY[id]);
/** A view that is not there is the first. */
const shownView = (id: ViewId): ViewId => (REGISTRY[id] ? id : FIRST.view);

interface LoadedView {
  readonly id: ViewId;
  readonly view: View<object>;
}

/** The view's code, as far as it is there. */
const useView = (id: ViewId, first: LoadedView | undefined): Signal<LoadedView | undefined> => {
  const loaded = useSignal<LoadedView | undefined>(first);
  useEffect(() => {
    let wanted = true;
    if (loaded.peek()?.id !== id) void loadView(id).then((view) => { if (wanted) loaded.value = view; });
    return () => { wanted = false; };
  }, [id]);
  return loaded;
};

/** Loads what a view's place shows. */
export const loadView = async (wanted: ViewId): Promise<LoadedView | undefined> => {
  const id = shownView(wanted);
  const module = await REGISTRY[id]?.load();
  return module && { id, view: module.VIEW };
};

/**
 * A link to a state. Its address is made when somebody turns to the link, to open it elsewhere or to copy it: making twelve of them at
 * each step takes longer than the step.
 */
const addressed = (state: () => AppState): { readonly onMouseEnter: LinkHandler; readonly onFocus: LinkHandler; readonly onMouseDown: LinkHandler } => {
  const set: LinkHandler = ({ currentTarget }) => { currentTarget.href = formatAddress(state()); };
  return { onMouseEnter: set, onFocus: set, onMouseDown: set };
};

const runOf = (current: CurrentRun): ViewProps<object>["run"] => (current.kind === "played" ? current.run : undefined);

/** The page: navigation, the view, what is selected, and the timeline. @param first the first view, where it is there: drawing the page without it, and again with it, takes longer */
export const Shell = ({ store, runs, first }: { readonly store: Store; readonly runs: Runs; readonly first: LoadedView | undefined }): VNode => {
  const state = store.state.value;
  const language = store.language.value;
  const say = shellWords(language);
  const viewName = viewWords(language);
  const id = shownView(state.view);
  const entry = REGISTRY[id];
  const loaded = useView(id, first).value;
  const open = useSignal<Open>(undefined);
  const playing = useSignal(false);
  const main = useRef<HTMLElement>(null);
  const current = runs.current.value;
  const run = runOf(current);
  const visit = (view: ViewId): void => { store.change({ view, selection: state.selection }, true); };

  // What the packages say is needed at once where a view shows it; elsewhere after what is.
  useEffect(() => { if (entry?.phrases === true || loaded) void openPhrases(language); }, [entry, loaded, language]);
  // Only when they change: a language set again has the browser style every element again.
  useEffect(() => { document.documentElement.lang = language; document.title = `${viewName(id)} · ${say("title")}`; }, [id, language]);
  // On a phone the links are a strip: the one to where one is must be seen.
  useEffect(() => {
    const here = document.querySelector<HTMLElement>("nav [aria-current]");
    const strip = here?.parentElement;
    if (here && strip) strip.scrollLeft = here.offsetLeft - strip.offsetLeft - (strip.clientWidth - here.offsetWidth) / 2;
    // And one pane is seen at a time: of another view its own first.
    document.querySelector(".panes")?.scrollTo({ left: 0 });
  }, [id, language]);
  useEffect(() => listenForKeys(document, (wish: KeyWish) => {
    if (wish.kind === "close") open.value = undefined;
    else if (open.value !== undefined) return;
    else if (wish.kind === "view") {
      const found = SHOWN_VIEWS.find((each) => REGISTRY[each]?.key === wish.letter);
      if (found) visit(found);
    } else if (wish.kind === "palette" || wish.kind === "help") open.value = wish.kind;
    else if (run && entry?.run) {
      const count = run.events.length;
      const at = stepOf(store.state.peek().step, run);
      if (wish.kind === "step") store.change({ step: nextStep(run, at, wish.by, store.state.value.details) });
      else if (wish.kind === "end") store.change({ step: wish.at === "first" ? 0 : count });
      else playing.value = !playing.value;
    }
  }));

  const props: ViewProps<object> | undefined = loaded?.id === id ? { settings: loaded.view.read(state.views[id]), keep: (patch) => { store.keep(id, patch); }, state, store, adopt: runs.adopt, language, run: entry?.run ? run : undefined } : undefined;
  const told = entry?.phrases !== true || phrasesAreOpen(language);
  const body = (): ComponentChild => {
    if (!props || !loaded || !told) return <p role="status">{say("loading")}</p>;
    if (entry?.run && current.kind === "failed") return <p role="alert">{say("failed", { error: current.error })}</p>;
    if (entry?.run && current.kind === "playing") return <p role="status">{say("playing")}</p>;
    const { Body } = loaded.view;
    return <Body {...props} />;
  };
  const view = <main id="view" ref={main} tabIndex={-1} data-view={id} data-ready={props && told && !(entry?.run && current.kind === "playing") ? "true" : undefined} data-hash={run?.result.hash}>{body()}</main>;
  const timeline = entry?.run && run && <Timeline store={store} run={run} playing={playing} />;
  if (state.embed) return <div class="shell embed">{view}{timeline}<p class="home"><a href={`${location.pathname}${formatAddress({ ...state, embed: false })}`} target="_blank" rel="noopener">{say("home")}</a></p></div>;

  const destinations = (): Destination[] => [
    ...SHOWN_VIEWS.map((each) => ({ id: each, label: viewName(each), kind: say("views"), go: () => { visit(each); } })),
    ...EXAMPLES.map((each) => ({ id: each.id, label: each.title[LANGUAGES.indexOf(language)] ?? each.id, kind: say("examples"), go: () => { store.change({ ...FIRST, ...each.state, language }, true); } })),
    ...Object.keys(SCENARIO_TITLES).map((name) => ({ id: name, label: scenarioTitle(name, language), kind: say("scenarios"), go: () => { store.change({ view: "story", run: { ...state.run, scenario: name, without: [] }, step: 0, selection: {} }, true); } })),
  ];
  return (
    <div class="shell">
      <a class="skip" href="#view" onClick={(event) => { event.preventDefault(); main.current?.focus(); }}>{say("skip")}</a>
      <header>
        <p class="brand">{say("title")}</p>
        <nav aria-label={say("views")}>
          {SHOWN_VIEWS.map((each) => <a key={each} href={`#/${each}`} {...addressed(() => ({ ...store.state.value, view: each }))} aria-current={each === id ? "page" : undefined} onClick={(event) => { if (event.ctrlKey || event.metaKey || event.shiftKey) return; event.preventDefault(); visit(each); }}>{viewName(each)}</a>)}
        </nav>
        <div class="tools">
          <button type="button" onClick={() => { open.value = "gallery"; }}>{say("gallery")}</button>
          <button type="button" onClick={() => { open.value = "palette"; }} aria-keyshortcuts="/">{say("palette")} <kbd>/</kbd></button>
          <button type="button" onClick={() => { open.value = "help"; }} aria-keyshortcuts="?">{say("help")} <kbd>?</kbd></button>
          <Choice label={say("language")} name="language" value={language} options={LANGUAGES.map((each) => [each, LANGUAGE_NAMES[each]])} onChange={(chosen) => { store.change({ language: chosen }); }} />
        </div>
      </header>
      {entry?.run && <RunControls store={store} run={run} />}
      {panelShows(store, entry?.run ? run : undefined) && <PaneSwitch language={language} />}
      <div class="panes">
        {view}
        <SelectionPanel store={store} run={entry?.run ? run : undefined} />
      </div>
      {timeline}
      <footer>
        <Take store={store} runs={runs} text={() => (props && loaded ? loaded.view.text(props) : "")} mermaid={props && loaded?.view.mermaid ? () => loaded.view.mermaid?.(props) ?? "" : undefined} />
        <p>{say("privacy")}</p>
      </footer>
      {open.value === "palette" && <Palette destinations={destinations()} language={language} onClose={() => { open.value = undefined; }} />}
      {open.value === "help" && <Help language={language} onClose={() => { open.value = undefined; }} />}
      {open.value === "gallery" && <Gallery language={language} onClose={() => { open.value = undefined; }} />}
    </div>
  );
};
