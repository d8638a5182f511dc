/** One atomic step that an actor can take, and where it leads. States are values: a step makes a new one. */
export interface AtomicStep<S> {
  /** Who does what, as a sentence. */
  readonly text: string;
  readonly next: S;
  /** A rule that this very step breaks. */
  readonly violation?: string;
}

/** Actors that share memory, described by the atomic steps open in each state. */
export interface ConcurrentProtocol<S> {
  readonly initial: S;
  steps(state: S): readonly AtomicStep<S>[];
  /** Names a state: equal names, equal states. */
  key(state: S): string;
  /** A rule broken where nothing more can happen; undefined when all is well. */
  violationAtEnd(state: S): string | undefined;
}

/** What looking at every interleaving found. */
export interface Exploration {
  /** Different states reached. */
  readonly states: number;
  /** Different interleavings from the start to an end; counted only when no rule is broken. */
  readonly interleavings: number;
  /** A broken rule, with a shortest schedule that leads to it. */
  readonly violation: { readonly rule: string; readonly schedule: readonly string[] } | undefined;
}

interface Reached<S> {
  readonly state: S;
  readonly from: Reached<S> | undefined;
  readonly text: string;
  /** Steps that lead here and are not counted yet, and the interleavings behind those that are. */
  open: number;
  ways: number;
}

const scheduleTo = <S>(end: Reached<S>, last: readonly string[] = []): string[] => {
  const schedule = [...last];
  let at = end;
  while (at.from !== undefined) {
    schedule.unshift(at.text);
    at = at.from;
  }
  return schedule;
};

/**
 * Looks at every interleaving of the actors' atomic steps, breadth first, so that what it reports is a shortest schedule.
 * Interleavings that meet in one state go on together; they are counted all the same.
 * @param limit most states to look at
 * @throws RangeError when there are more states than that
 */
export const exploreInterleavings = <S>(protocol: ConcurrentProtocol<S>, limit = 1_000_000): Exploration => {
  const first: Reached<S> = { state: protocol.initial, from: undefined, text: "", open: 0, ways: 1 };
  const reached = new Map([[protocol.key(protocol.initial), first]]);
  const queue = [first];
  const successors: Reached<S>[][] = [];
  // The queue grows while it is walked.
  for (const at of queue) {
    const steps = protocol.steps(at.state);
    const rule = steps.length === 0 ? protocol.violationAtEnd(at.state) : undefined;
    if (rule !== undefined) return { states: reached.size, interleavings: 0, violation: { rule, schedule: scheduleTo(at) } };
    const next: Reached<S>[] = [];
    for (const { text, next: state, violation } of steps) {
      if (violation !== undefined) return { states: reached.size, interleavings: 0, violation: { rule: violation, schedule: scheduleTo(at, [text]) } };
      const key = protocol.key(state);
      let target = reached.get(key);
      if (target === undefined) {
        if (reached.size >= limit) throw new RangeError(`The protocol has more than ${limit} states; give fewer actors or a larger limit.`);
        target = { state, from: at, text, open: 0, ways: 0 };
        reached.set(key, target);
        queue.push(target);
      }
      target.open++;
      next.push(target);
    }
    successors.push(next);
  }
  return { states: reached.size, ...countInterleavings(queue, successors) };
};

/** Counts paths in topological order; a state that is left over lies on or behind a cycle. */
const countInterleavings = <S>(queue: readonly Reached<S>[], successors: readonly (readonly Reached<S>[])[]): Pick<Exploration, "interleavings" | "violation"> => {
  const indexOf = new Map(queue.map((at, index) => [at, index]));
  const ready = queue.filter(({ open }) => open === 0);
  let interleavings = 0;
  for (const at of ready) {
    const next = successors[indexOf.get(at) ?? 0] ?? [];
    if (next.length === 0) interleavings += at.ways;
    for (const target of next) {
      target.ways += at.ways;
      target.open--;
      if (target.open === 0) ready.push(target);
    }
  }
  const endless = queue.find(({ open }) => open > 0);
  if (endless !== undefined) return { interleavings: 0, violation: { rule: "The protocol must come to an end.", schedule: scheduleTo(endless) } };
  return { interleavings, violation: undefined };
};
