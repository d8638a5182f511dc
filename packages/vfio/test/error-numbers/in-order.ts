/** A rule of a request: its words, what of a request breaks it, and what is told; undefined where the request passes. */
export type Rule<T> = readonly [rule: string, broken: Partial<T>, code: string | undefined];

/** A row of `test.each`. */
type Row<T> = [rule: string, request: Partial<T>, code: string | undefined];

/**
 * Rows that show in which order rules are looked at: each breaks its rule, and all later ones as far as one request can.
 * @param rules in the kernel's order
 */
export const inOrder = <T extends object>(rules: readonly Rule<T>[]): Row<T>[] =>
  rules.map(([rule, , code], index) => {
    let request: Partial<T> = {};
    for (const [, broken] of rules.slice(index)) request = { ...broken, ...request };
    return [rule, request, code];
  });
