import { exploreInterleavings, type AtomicStep, type ConcurrentProtocol, type Exploration } from "./interleavings.ts";
import { postingNotifies } from "./post-interrupt.ts";
import type { DescriptorState, PosterState, PostingState } from "./posting-state.ts";

/** One interrupt that a device raises once. */
export interface PostedRequest {
  /** Virtual vector, 0 to 255; every request has its own. */
  readonly vector: number;
  /** URG in its IRTE. */
  readonly urgent?: boolean;
}

/**
 * Mistakes that hardware or a hypervisor could make:
 * - `unlocked-update`: posting reads the descriptor and writes it back in two steps.
 * - `notify-always`: posting does not look at ON.
 * - `clear-on-last`: PIR is drained first and ON cleared afterwards.
 * - `skip-pir-check`: scheduling in clears SN and does not look whether requests came meanwhile.
 * - `skip-on-check`: blocking changes the notification vector and does not look whether a notification was sent with the old one.
 */
export type PostingMistake = "unlocked-update" | "notify-always" | "clear-on-last" | "skip-pir-check" | "skip-on-check";

/** Who acts on one posted-interrupt descriptor. */
export interface PostingScenario {
  readonly requests: readonly PostedRequest[];
  /** What the scheduler does with the virtual processor, each at any moment in the guest: another one runs, or the guest halts. */
  readonly switches?: readonly ("preempt" | "block")[];
  readonly mistakes?: readonly PostingMistake[];
}

const IDLE: PosterState = { at: "start", copy: undefined, notification: undefined };

/** The words of PIR, by 64 bits, that the scenario's vectors lie in. */
const wordsOf = (requests: readonly PostedRequest[]): number[] => [...new Set(requests.map(({ vector }) => vector >>> 6))].sort((a, b) => a - b);

class PostingProtocol implements ConcurrentProtocol<PostingState> {
  readonly initial: PostingState;
  readonly #requests: readonly PostedRequest[];
  readonly #switches: readonly ("preempt" | "block")[];
  readonly #mistakes: ReadonlySet<PostingMistake>;
  readonly #words: readonly number[];

  constructor({ requests, switches = [], mistakes = [] }: PostingScenario) {
    this.#requests = requests;
    this.#switches = switches;
    this.#mistakes = new Set(mistakes);
    this.#words = wordsOf(requests);
    this.initial = {
      descriptor: { requests: 0, outstanding: false, suppressed: false, vector: "active", processor: 0 },
      posters: requests.map(() => IDLE),
      phase: "guest",
      word: 0,
      clearAfter: false,
      processor: 0,
      pending: false,
      awake: false,
      switches: 0,
      delivered: requests.map(() => 0),
    };
  }

  key(state: PostingState): string {
    return JSON.stringify(state);
  }

  steps(state: PostingState): AtomicStep<PostingState>[] {
    const steps = this.#requests.map((request, index) => this.#poster(state, request, index)).filter((step) => step !== undefined);
    return [...steps, ...this.#processor(state)];
  }

  violationAtEnd({ delivered, phase }: PostingState): string | undefined {
    const lost = delivered.findIndex((times) => times === 0);
    if (lost < 0) return undefined;
    return `No interrupt is lost: vector ${this.#vector(lost)} never reaches the guest, which is ${phase === "blocked" ? "blocked" : "running"} with nothing left to happen.`;
  }

  #vector(index: number): string {
    return `${(this.#requests[index]?.vector ?? 0).toString(16)}h`;
  }

  /** VT-d §5.2.3: one locked update, then the notification travels. */
  #poster(state: PostingState, request: PostedRequest, index: number): AtomicStep<PostingState> | undefined {
    const poster = state.posters[index] ?? IDLE;
    const name = `device of vector ${this.#vector(index)}`;
    if (poster.at === "updated") return this.#arrive(state, poster, index, name);
    if (poster.at === "done") return undefined;
    if (poster.at === "start" && this.#mistakes.has("unlocked-update"))
      return { text: `${name}: reads the descriptor`, next: withPoster(state, index, { at: "copied", copy: state.descriptor, notification: undefined }) };
    const seen = poster.copy ?? state.descriptor;
    const outstanding = seen.outstanding && !this.#mistakes.has("notify-always");
    const notifies = postingNotifies(outstanding, seen.suppressed, request.urgent === true);
    const descriptor: DescriptorState = { ...seen, requests: seen.requests | (1 << index), outstanding: seen.outstanding || notifies };
    const { vector, processor } = descriptor;
    const updated: PosterState = { at: notifies ? "updated" : "done", copy: undefined, notification: notifies ? { vector, processor } : undefined };
    const text = `${name}: ${poster.copy ? "writes the descriptor back with" : "sets"} its bit in PIR${notifies ? " and ON" : ""}`;
    const next = { ...withPoster(state, index, updated), descriptor };
    return notifies && state.descriptor.outstanding ? { text, next, violation: "No notification is sent while one is outstanding (ON=1)." } : { text, next };
  }

  #arrive(state: PostingState, poster: PosterState, index: number, name: string): AtomicStep<PostingState> {
    const { vector, processor } = poster.notification ?? { vector: "active", processor: 0 };
    const text = `${name}: its ${vector} notification arrives at processor ${processor}`;
    const next = withPoster(state, index, { at: "done", copy: undefined, notification: undefined });
    // The host's handler of the wake-up vector looks for blocked virtual processors with ON=1; that of the active vector does nothing.
    if (vector === "wake-up") return { text, next: { ...next, awake: next.awake || ((state.phase === "blocked" || state.phase === "checking") && state.descriptor.outstanding) } };
    const waits = state.processor === processor && ["guest", "clearing", "draining", "entering"].includes(state.phase);
    return { text, next: { ...next, pending: next.pending || waits } };
  }

  #processor(state: PostingState): AtomicStep<PostingState>[] {
    const { descriptor } = state;
    switch (state.phase) {
      case "guest":
        return [...this.#takeNotification(state), ...this.#leave(state)];
      case "clearing":
        return [{ text: "processor: clears ON", next: { ...state, descriptor: { ...descriptor, outstanding: false }, phase: state.clearAfter ? "guest" : "draining", clearAfter: false } }];
      case "draining":
        return [this.#drain(state)];
      case "preempting":
        return [{ text: "scheduler: sets SN", next: { ...state, descriptor: { ...descriptor, suppressed: true }, phase: "preempted" } }];
      case "blocking":
        return [{ text: "hypervisor: sets NV to the wake-up vector", next: { ...state, descriptor: { ...descriptor, vector: "wake-up" }, phase: this.#mistakes.has("skip-on-check") ? "blocked" : "checking" } }];
      case "checking":
        return [{ text: `hypervisor: reads ON=${descriptor.outstanding ? "1, wakes the guest" : "0"}`, next: { ...state, phase: "blocked", awake: state.awake || descriptor.outstanding } }];
      case "preempted":
        return [this.#load(state)];
      case "blocked":
        return state.awake ? [this.#load(state)] : [];
      case "loaded":
        return [this.#recheck(state)];
      case "entering":
        return [this.#enter(state)];
    }
  }

  /** Posted-interrupt processing of the guest's processor. Intel SDM vol. 3 "Posted-Interrupt Processing". */
  #takeNotification(state: PostingState): AtomicStep<PostingState>[] {
    if (!state.pending) return [];
    const clearAfter = this.#mistakes.has("clear-on-last");
    return [{ text: "processor: takes the notification", next: { ...state, pending: false, phase: clearAfter ? "draining" : "clearing", word: 0, clearAfter } }];
  }

  #leave(state: PostingState): AtomicStep<PostingState>[] {
    const kind = this.#switches[state.switches];
    if (kind === undefined) return [];
    const phase = kind === "preempt" ? "preempting" : "blocking";
    return [{ text: `scheduler: the guest leaves its processor (${kind})`, next: { ...state, phase, pending: false, awake: false, switches: state.switches + 1 } }];
  }

  #drain(state: PostingState): AtomicStep<PostingState> {
    const word = this.#words[state.word] ?? 0;
    const taken = this.#requests.map(({ vector }, index) => vector >>> 6 === word && (state.descriptor.requests & (1 << index)) !== 0);
    const rest = taken.reduce((bits, is, index) => (is ? bits & ~(1 << index) : bits), state.descriptor.requests);
    const delivered = state.delivered.map((times, index) => times + (taken[index] ? 1 : 0));
    const last = state.word + 1 >= this.#words.length;
    const next: PostingState = { ...state, descriptor: { ...state.descriptor, requests: rest }, delivered, word: last ? 0 : state.word + 1, phase: last ? (state.clearAfter ? "clearing" : "guest") : "draining" };
    const vectors = taken.flatMap((is, index) => (is ? [this.#vector(index)] : []));
    const text = `processor: takes ${vectors.length > 0 ? vectors.join(", ") : "nothing"} from word ${word} of PIR`;
    return delivered.some((times) => times > 1) ? { text, next, violation: "No interrupt arrives twice." } : { text, next };
  }

  /** The guest goes to the other host processor: NDST, NV and SN change in one locked update. */
  #load(state: PostingState): AtomicStep<PostingState> {
    const processor = 1 - state.processor;
    const descriptor: DescriptorState = { ...state.descriptor, processor, vector: "active", suppressed: false };
    return { text: `scheduler: sets NDST to processor ${processor}, NV to the active vector, clears SN`, next: { ...state, descriptor, processor, awake: false, phase: this.#mistakes.has("skip-pir-check") ? "entering" : "loaded" } };
  }

  #recheck(state: PostingState): AtomicStep<PostingState> {
    const { descriptor } = state;
    const waiting = descriptor.requests !== 0;
    return { text: `hypervisor: finds PIR ${waiting ? "not empty, sets ON" : "empty"}`, next: { ...state, descriptor: { ...descriptor, outstanding: descriptor.outstanding || waiting }, phase: "entering" } };
  }

  /** Interrupts are off: what arrives from here on waits for the guest. */
  #enter(state: PostingState): AtomicStep<PostingState> {
    if (!state.descriptor.outstanding) return { text: "hypervisor: reads ON=0, enters the guest", next: { ...state, phase: "guest" } };
    const clearAfter = this.#mistakes.has("clear-on-last");
    return { text: "hypervisor: reads ON=1", next: { ...state, phase: clearAfter ? "draining" : "clearing", word: 0, clearAfter } };
  }
}

const withPoster = (state: PostingState, index: number, poster: PosterState): PostingState => ({ ...state, posters: state.posters.map((old, at) => (at === index ? poster : old)) });

/**
 * Checks the posting protocol: posting by hardware, posted-interrupt processing by a processor, and a hypervisor that schedules.
 * Every interleaving of their atomic steps is looked at; no interrupt may be lost or arrive twice, and no notification may be
 * sent while one is outstanding. VT-d §5.2 "Interrupt Posting"; §5.2.3 for the hardware's steps.
 * @throws RangeError when there is no request, more than 3, or two of one vector, or more than 3 switches
 */
export const checkPosting = (scenario: PostingScenario): Exploration => {
  const { requests, switches = [] } = scenario;
  if (requests.length < 1 || requests.length > 3) throw new RangeError(`A scenario has 1 to 3 requests, not ${requests.length}.`);
  if (switches.length > 3) throw new RangeError(`A scenario has at most 3 switches, not ${switches.length}.`);
  const odd = requests.find(({ vector }) => !(Number.isInteger(vector) && vector >= 0 && vector <= 255));
  if (odd) throw new RangeError(`Interrupt vector ${odd.vector} is impossible; vectors are 0 to 255.`);
  if (new Set(requests.map(({ vector }) => vector)).size !== requests.length) throw new RangeError("Two requests have one vector; they would merge in PIR, so nothing could be said about loss.");
  return exploreInterleavings(new PostingProtocol(scenario));
};
