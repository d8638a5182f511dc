/** An experiment that wants more than it may have. */
class OverBudget extends Error {
  override readonly name = "OverBudget";
}

/** What an experiment may use. Time is the page's matter: it ends the worker. */
export interface Budget {
  /** Counts a turn of a loop or a call; the compiler puts one into each (instrument.ts). */
  readonly tick: () => void;
  /** Counts memory that is asked for at once. */
  readonly take: (bytes: number) => void;
}

const TURN_BYTES = 64;
const ELEMENT_BYTES = 8;

/** @param most bytes that may be asked for in all: what was given back counts too, since nobody sees when */
export const newBudget = (most: number): Budget => {
  let left = most;
  const take = (bytes: number): void => {
    left -= bytes;
    if (left < 0) throw new OverBudget(`The experiment asks for more than ${Math.round(most / 2 ** 20)} MiB of memory in all.`);
  };
  return { tick: () => { take(TURN_BYTES); }, take };
};

type Method = (this: unknown, ...args: unknown[]) => unknown;
const lengthOf = (value: unknown): number => (typeof value === "object" && value !== null && "length" in value && typeof value.length === "number" ? value.length : typeof value === "string" ? value.length : 0);

/** Makes what the language offers for much memory at once ask the budget first. Typed arrays are left to their own limit of bytes, by length. */
export const guardMemory = (scope: typeof globalThis, { take }: Budget): void => {
  const before = (owner: object, name: string, cost: (self: unknown, args: readonly unknown[]) => number): void => {
    const original = Reflect.get(owner, name) as Method;
    Reflect.set(owner, name, function guarded(this: unknown, ...args: unknown[]): unknown {
      take(cost(this, args));
      return original.apply(this, args);
    });
  };
  for (const name of ["fill", "concat", "slice", "map", "flatMap", "flat", "filter", "toSorted", "toReversed", "toSpliced", "with"]) before(scope.Array.prototype, name, (self) => ELEMENT_BYTES * lengthOf(self));
  before(scope.Array, "from", (_, [from]) => ELEMENT_BYTES * lengthOf(from));
  before(scope.Array.prototype, "join", (self, [separator]) => lengthOf(self) * (1 + lengthOf(separator)));
  before(scope.String.prototype, "repeat", (self, [count]) => lengthOf(self) * Number(count));
  for (const name of ["padStart", "padEnd"]) before(scope.String.prototype, name, (_, [length]) => Number(length));
  for (const name of ["ArrayBuffer", "SharedArrayBuffer", "Int8Array", "Uint8Array", "Uint8ClampedArray", "Int16Array", "Uint16Array", "Int32Array", "Uint32Array", "Float32Array", "Float64Array", "BigInt64Array", "BigUint64Array"] as const) {
    // SharedArrayBuffer is not there without cross-origin isolation.
    const original = Reflect.get(scope, name) as ((new (...args: unknown[]) => object) & { readonly BYTES_PER_ELEMENT?: number }) | undefined;
    if (!original) continue;
    Reflect.set(scope, name, new Proxy(original, {
      construct: (target, args: unknown[], as) => {
        const [first] = args;
        if (!(first instanceof ArrayBuffer)) take((typeof first === "number" ? first : lengthOf(first)) * (target.BYTES_PER_ELEMENT ?? 1));
        return Reflect.construct(target, args, as) as object;
      },
    }));
  }
};
