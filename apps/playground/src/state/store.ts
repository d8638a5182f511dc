import { computed, signal, type ReadonlySignal } from "@preact/signals";
import type { AppState, Selection, ViewId } from "./app-state.ts";
import { formatAddress, parseAddress } from "./address.ts";
import { LANGUAGES, type Language } from "../text/words.ts";

/** Where the page keeps its state: in its address, and nowhere else. */
export interface Store {
  readonly state: ReadonlySignal<AppState>;
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

/** Browsers let a page change its address some hundred times in half a minute; steps are faster. In milliseconds. */
const ADDRESS_FOLLOWS = 200;

/** The store of a window. */
export const openStore = (page: Window): Store => {
  const read = (): AppState => withQuery(parseAddress(page.location.hash), page.location.search);
  const state = signal(read());
  let writing: number | undefined;
  const write = (how: "pushState" | "replaceState"): void => {
    page.clearTimeout(writing);
    writing = undefined;
    page.history[how](null, "", formatAddress(state.value));
  };
  const settle = (): void => { if (writing !== undefined) write("replaceState"); };
  page.addEventListener("pagehide", settle);
  page.addEventListener("hashchange", () => {
    page.clearTimeout(writing);
    writing = undefined;
    state.value = read();
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
    language: computed(() => state.value.language ?? preferred),
    change,
    select: (patch) => {
      const merged = { ...state.value.selection, ...patch };
      change({ selection: Object.fromEntries(Object.entries(merged).filter(([, value]) => value !== undefined)) });
    },
    keep: (view, patch) => { change({ views: { ...state.value.views, [view]: { ...(state.value.views[view] as object | undefined), ...patch } } }); },
  };
};
