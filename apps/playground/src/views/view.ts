import type { ComponentChild } from "preact";
import type { PlayedRun } from "../run/play.ts";
import type { AppState } from "../state/app-state.ts";
import type { Store } from "../state/store.ts";
import type { Language } from "../text/words.ts";

/** What a view is given: it shows (state, selection) and nothing else, so that the same address always looks the same. */
export interface ViewProps<S> {
  /** What the view keeps for itself, as its `read` understood it. */
  readonly settings: S;
  /** Changes it. */
  readonly keep: (patch: Partial<S>) => void;
  readonly state: AppState;
  readonly store: Store;
  /** Makes a run that was played elsewhere the one that plays. */
  readonly adopt: (run: PlayedRun) => void;
  readonly language: Language;
  /** The run that plays; nothing while it is being played, or when the view needs none. */
  readonly run: PlayedRun | undefined;
}

/** A view of the page. */
export interface View<S> {
  /** Makes settings of anything that an address may hold, with defaults for what is missing or wrong. Never throws. */
  readonly read: (kept: unknown) => S;
  readonly Body: (props: ViewProps<S>) => ComponentChild;
  /** The same as text, for copying and for terminals. */
  readonly text: (props: ViewProps<S>) => string;
  /** Its graph in Mermaid's language, where it has one. */
  readonly mermaid?: (props: ViewProps<S>) => string;
}

/** Declares a view with its settings' type checked and then forgotten. */
export const view = <S extends object>(made: View<S>): View<object> => made as unknown as View<object>;

/** Anything as a record to read settings from. */
export const record = (value: unknown): Readonly<Record<string, unknown>> => (typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Readonly<Record<string, unknown>>) : {});
/** One of several words, else the first. */
export const oneOf = <const T extends string>(value: unknown, words: readonly [T, ...T[]]): T => words.find((word) => word === value) ?? words[0];
/** An integer within bounds, else `otherwise`. -0 is 0: an address has no other. */
export const integer = (value: unknown, [least, most]: readonly [number, number], otherwise: number): number => (typeof value === "number" && Number.isInteger(value) && value >= least && value <= most ? value + 0 : otherwise);
/** A text of at most so many characters, else `otherwise`. */
export const text = (value: unknown, most: number, otherwise: string): string => (typeof value === "string" && value.length <= most ? value : otherwise);
