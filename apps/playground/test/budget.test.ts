import { runInNewContext } from "node:vm";
import { describe, expect, test } from "vitest";
import { newBudget } from "../src/views/code/budget.ts";
import { compile } from "../src/views/code/instrument.ts";

describe("counting what an experiment does", () => {
  const run = (source: string): number => {
    let ticks = 0;
    runInNewContext(compile(source), { exports: {}, __tick: () => { if (++ticks > 1_000) throw new Error("enough"); } });
    return ticks;
  };
  test.each([
    ["for (let i = 0; i < 3; i++);", 3],
    ["for (const each of [1, 2]) each;", 2],
    ["for (const each in { a: 1 }) each;", 1],
    ["let i = 0; while (i < 4) i++;", 4],
    ["let i = 0; do i++; while (i < 4);", 4],
    ["const f = (n: number): number => n < 1 ? 0 : f(n - 1); f(2);", 3],
    ["function f() { return 1; } f(); const g = function () { return f(); }; g();", 3],
    ["class A { m() { return 1; } } new A().m();", 1],
  ])("%s", (source, ticks) => { expect(run(source)).toBe(ticks); });
  test.each(["for (;;) ;", "while (true) ;", "const f = (): number => f() + 1; f();", "outer: for (;;) for (;;) continue outer;"])("%s ends", (source) => { expect(() => run(source)).toThrow("enough"); });
  test("the budget is a sum", () => {
    const { take, tick } = newBudget(1_000);
    take(900);
    tick();
    expect(tick).toThrow(/more than 0 MiB/);
  });
});
