import { exploreInterleavings, type AtomicStep, type ConcurrentProtocol, type Exploration } from "../vtd/interleavings.ts";

/**
 * Mistakes that hardware or a hypervisor could make:
 * - `decide-before-set`: posting looks at IsRun before it sets the IRR bit.
 * - `stale-entry`: posting uses a cached IRTE whose IsRun software has changed without invalidating.
 * - `check-before-clear`: blocking looks for pending interrupts first and clears IsRun afterwards.
 * - `no-entry-check`: entering the guest does not look at IRR.
 * - `unlocked-update`: posting reads the IRR word and writes it back in two steps.
 */
export type AvicMistake = "decide-before-set" | "stale-entry" | "check-before-clear" | "no-entry-check" | "unlocked-update";

/** Who acts on one virtual APIC backing page. */
export interface AvicScenario {
  /** Interrupts of devices, each with a vector of its own; 1 to 3. */
  readonly requests: number;
  /** How often the guest halts and its virtual processor blocks; 0 to 3. */
  readonly blocks?: number;
  readonly mistakes?: readonly AvicMistake[];
}

interface Poster {
  readonly at: "start" | "seen" | "copied" | "set" | "ringing" | "logging" | "done";
  /** IsRun or the IRR word that was read too early. */
  readonly seen: number;
}

type Phase = "guest" | "clearing" | "checking" | "blocked" | "setting" | "entering";

interface State {
  /** IRR bits, one a request. */
  readonly irr: number;
  readonly isRunning: boolean;
  /** IsRun as a cache still has it. */
  readonly cached: boolean;
  readonly posters: readonly Poster[];
  readonly phase: Phase;
  /** A doorbell arrived at the processor. */
  readonly rung: boolean;
  /** The host's GA log handler has made the virtual processor runnable. */
  readonly awake: boolean;
  readonly blocks: number;
  readonly delivered: readonly number[];
}

const IDLE: Poster = { at: "start", seen: 0 };

class AvicProtocol implements ConcurrentProtocol<State> {
  readonly initial: State;
  readonly #blocks: number;
  readonly #mistakes: ReadonlySet<AvicMistake>;

  constructor({ requests, blocks = 0, mistakes = [] }: AvicScenario) {
    this.#blocks = blocks;
    this.#mistakes = new Set(mistakes);
    this.initial = { irr: 0, isRunning: true, cached: true, posters: Array.from({ length: requests }, () => IDLE), phase: "guest", rung: false, awake: false, blocks: 0, delivered: Array.from({ length: requests }, () => 0) };
  }

  key(state: State): string {
    return JSON.stringify(state);
  }

  steps(state: State): AtomicStep<State>[] {
    return [...state.posters.flatMap((poster, i) => this.#poster(state, poster, i)), ...this.#processor(state)];
  }

  violationAtEnd({ delivered, phase }: State): string | undefined {
    const lost = delivered.findIndex((times) => times === 0);
    return lost < 0 ? undefined : `No interrupt is lost: that of device ${lost} never reaches the guest, which is ${phase === "blocked" ? "blocked" : "running"} with nothing left to happen.`;
  }

  /** AMD-Vi §2.2.5.3: the IRR bit first, then IsRun decides who is told. */
  #poster(state: State, poster: Poster, i: number): AtomicStep<State>[] {
    const name = `device ${i}`;
    switch (poster.at) {
      case "start":
        if (this.#mistakes.has("decide-before-set")) return [{ text: `${name}: reads IsRun=${Number(state.isRunning)}`, next: move(state, i, { at: "seen", seen: Number(state.isRunning) }) }];
        if (this.#mistakes.has("unlocked-update")) return [{ text: `${name}: reads IRR`, next: move(state, i, { at: "copied", seen: state.irr }) }];
        return [{ text: `${name}: sets its bit in IRR`, next: { ...move(state, i, { at: "set", seen: 0 }), irr: state.irr | (1 << i) } }];
      case "copied":
        return [{ text: `${name}: writes IRR back with its bit`, next: { ...move(state, i, { at: "set", seen: 0 }), irr: poster.seen | (1 << i) } }];
      case "seen":
        return [{ text: `${name}: sets its bit in IRR`, next: { ...move(state, i, { at: poster.seen === 1 ? "ringing" : "logging", seen: 0 }), irr: state.irr | (1 << i) } }];
      case "set": {
        const running = this.#mistakes.has("stale-entry") ? state.cached : state.isRunning;
        return [{ text: `${name}: reads IsRun=${Number(running)}`, next: move(state, i, { at: running ? "ringing" : "logging", seen: 0 }) }];
      }
      case "ringing":
        return [{ text: `${name}: the doorbell arrives`, next: { ...move(state, i, { at: "done", seen: 0 }), rung: state.rung || state.phase === "guest" || state.phase === "entering" } }];
      case "logging":
        // The handler makes a blocked virtual processor runnable, one that is about to block too.
        return [{ text: `${name}: the GA log's handler runs`, next: { ...move(state, i, { at: "done", seen: 0 }), awake: state.phase !== "guest" } }];
      case "done":
        return [];
    }
  }

  #processor(state: State): AtomicStep<State>[] {
    const checkFirst = this.#mistakes.has("check-before-clear");
    switch (state.phase) {
      case "guest":
        return [...(state.rung ? [this.#evaluate({ ...state, rung: false }, "takes the doorbell")] : []), ...(state.blocks < this.#blocks ? [{ text: "guest: halts", next: { ...state, blocks: state.blocks + 1, rung: false, awake: false, phase: checkFirst ? ("checking" as const) : ("clearing" as const) } }] : [])];
      case "clearing":
        return [{ text: "hypervisor: clears IsRun", next: { ...state, isRunning: false, phase: checkFirst ? "blocked" : "checking" } }];
      case "checking":
        if (state.irr !== 0) return [{ text: "hypervisor: finds IRR not empty", next: { ...state, phase: "setting" } }];
        return [{ text: "hypervisor: finds IRR empty", next: { ...state, phase: checkFirst ? "clearing" : "blocked" } }];
      case "blocked":
        return state.awake ? [{ text: "hypervisor: schedules the guest", next: { ...state, awake: false, phase: "setting" } }] : [];
      case "setting":
        return [{ text: "hypervisor: sets IsRun", next: { ...state, isRunning: true, phase: "entering" } }];
      case "entering":
        return [this.#mistakes.has("no-entry-check") ? { text: "processor: enters the guest", next: { ...state, phase: "guest" } } : { ...this.#evaluate(state, "enters the guest"), next: { ...this.#evaluate(state, "").next, phase: "guest" } }];
    }
  }

  /** The processor takes what is in IRR. */
  #evaluate(state: State, what: string): AtomicStep<State> {
    const delivered = state.delivered.map((times, i) => times + ((state.irr >>> i) & 1));
    const next = { ...state, irr: 0, delivered };
    return { text: `processor: ${what}, takes IRR`, next, ...(delivered.some((times) => times > 1) ? { violation: "No interrupt arrives twice." } : {}) };
  }
}

const move = (state: State, i: number, poster: Poster): State => ({ ...state, posters: state.posters.map((old, at) => (at === i ? poster : old)) });

/**
 * Checks guest virtual APIC mode: posting into the backing page by the IOMMU, a processor that runs the guest, and a hypervisor
 * that blocks it. Every interleaving of their atomic steps is looked at; no interrupt may be lost or arrive twice. AMD-Vi §2.2.5.3.
 * @throws RangeError when there are not 1 to 3 requests or 0 to 3 blocks
 */
export const checkAvic = (scenario: AvicScenario): Exploration => {
  const { requests, blocks = 0 } = scenario;
  if (!(Number.isInteger(requests) && requests >= 1 && requests <= 3)) throw new RangeError(`A scenario has 1 to 3 requests, not ${requests}.`);
  if (!(Number.isInteger(blocks) && blocks >= 0 && blocks <= 3)) throw new RangeError(`A scenario has 0 to 3 blocks, not ${blocks}.`);
  return exploreInterleavings(new AvicProtocol(scenario));
};
