import { computed, signal, type ReadonlySignal } from "@preact/signals";
import type { AppState, Selection, ViewId } from "./app-state.ts";
import { formatAddress, parseAddress } from "./address.ts";
import { keep, kept, newName } from "./browser-store.ts";
import { exportState, importState } from "./state-file.ts";
import { LANGUAGES, type Language } from "../text/words.ts";

/** Where the page keeps its state: in its address; one that is too large for it in this browser, under a name that is in the address. */
export interface Store {
  readonly state: ReadonlySignal<AppState>;
  /** The address names a state that this browser does not have. */
  readonly lost: ReadonlySignal<boolean>;
  readonly language: ReadonlySignal<Language>;
  /** Another state; `visit` makes it a place that the browser's back button returns to. */
  readonly change: (patch: Partial<AppState>, visit?: boolean) => void;
  readonly select: (patch: { readonly [K in keyof Selection]: Selection[K] | undefined }) => void;
  /** Changes what a view keeps for itself. */
  readonly keep: (view: ViewId, patch: object) => void;
}

/** The page's own query, `?lang=es&embed=1` as course pages write it; the address after "#" says it better. */
const withQuery = (state: AppState, search: string): AppState => {
  const values = new URLSearchParams(search);
  const language = state.language ?? LANGUAGES.find((each) => each === values.get("lang"));
  return { ...state, ...(language ? { language } : {}), embed: state.embed || values.get("embed") === "1" };
};

/** Longest address, in characters: many programs cut longer ones. */
export const LONGEST_ADDRESS = 8_000;
/** The address of a state that this browser keeps. */
const KEPT = /^#kept\.([a-z0-9-]{1,40})$/;

/** Browsers let a page change its address some hundred times in half a minute; steps are faster. In milliseconds. */
const ADDRESS_FOLLOWS = 200;

/** The store of a window. */
export const openStore = (page: Window): Store => {
  const read = (): AppState => withQuery(parseAddress(page.location.hash), page.location.search);
  const state = signal(read());
  let writing: number | undefined;
  const lost = signal(false);
  const write = (how: "pushState" | "replaceState"): void => {
    page.clearTimeout(writing);
    writing = undefined;
    let address = formatAddress(state.value);
    if (address.length > LONGEST_ADDRESS) {
      const id = (how === "replaceState" ? KEPT.exec(page.location.hash)?.[1] : undefined) ?? newName();
      void keep("state", id, exportState(state.value));
      address = `#kept.${id}`;
    }
    lost.value = false;
    page.history[how](null, "", address);
  };
  /** A state that the address only names comes when it was found. */
  const find = (): void => {
    const { hash } = page.location;
    const id = KEPT.exec(hash)?.[1];
    lost.value = false;
    if (id === undefined) return;
    void kept("state", id).then((text) => {
      if (page.location.hash !== hash || writing !== undefined) return;
      const found = typeof text === "string" ? importState(text) : undefined;
      if (found) state.value = withQuery(found, page.location.search);
      else lost.value = true;
    });
  };
  find();
  const settle = (): void => { if (writing !== undefined) write("replaceState"); };
  page.addEventListener("pagehide", settle);
  page.addEventListener("hashchange", () => {
    page.clearTimeout(writing);
    writing = undefined;
    state.value = read();
    find();
  });
  const preferred = LANGUAGES.find((each) => page.navigator.languages.some((wish) => wish.toLowerCase().startsWith(each))) ?? "en";
  const change: Store["change"] = (patch, visit = false) => {
    if (visit) settle();
    state.value = { ...state.value, ...patch };
    if (visit) write("pushState");
    else writing ??= page.setTimeout(settle, ADDRESS_FOLLOWS);
  };
  return {
    state,
    lost,
    language: computed(() => state.value.language ?? preferred),
    change,
    select: (patch) => {
      const merged = { ...state.value.selection, ...patch };
      change({ selection: Object.fromEntries(Object.entries(merged).filter(([, value]) => value !== undefined)) });
    },
    keep: (view, patch) => { change({ views: { ...state.value.views, [view]: { ...(state.value.views[view] as object | undefined), ...patch } } }); },
  };
};
