import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { EventClock } from "../../src/engines/index.ts";

describe("a clock of events", () => {
  test("runs what is due in order of time, then of asking", () => {
    const clock = new EventClock();
    const done: string[] = [];
    for (const [delay, name] of [[20, "c"], [10, "a"], [20, "d"], [10, "b"], [21, "e"]] as const) clock.after(delay, () => done.push(`${name}@${clock.now}`));
    clock.advance(9);
    expect([done, clock.now]).toEqual([[], 9]);
    clock.advance(11);
    expect([done, clock.now]).toEqual([["a@10", "b@10", "c@20", "d@20"], 20]);
  });

  test("cancelled events do not come; cancelling again, or afterwards, does nothing", () => {
    const clock = new EventClock();
    const done: string[] = [];
    const cancel = clock.after(5, () => done.push("no"));
    const late = clock.after(5, () => done.push("yes"));
    cancel();
    cancel();
    clock.advance(5);
    late();
    clock.advance(5);
    expect(done).toEqual(["yes"]);
  });

  test("an event may cancel one of the same time, and ask for others", () => {
    const clock = new EventClock();
    const done: string[] = [];
    clock.after(5, () => {
      done.push("first");
      cancel();
      clock.after(0, () => done.push("at once"));
      clock.after(3, () => done.push("in time"));
      clock.after(6, () => done.push("too late"));
    });
    const cancel = clock.after(5, () => done.push("cancelled"));
    clock.advance(10);
    expect(done).toEqual(["first", "at once", "in time"]);
  });

  test("an event that moves time on itself never moves it back", () => {
    const clock = new EventClock();
    const seen: number[] = [];
    clock.after(5, () => { clock.advance(100); });
    for (const delay of [7, 50, 200]) clock.after(delay, () => seen.push(clock.now));
    clock.advance(10);
    expect([clock.now, seen]).toEqual([105, [7, 50]]);
    clock.advance(95);
    expect([clock.now, seen]).toEqual([200, [7, 50, 200]]);
  });

  test("skipping goes to what is due next, and does all of that time", () => {
    const clock = new EventClock();
    const done: number[] = [];
    clock.after(7, () => done.push(1));
    clock.after(7, () => done.push(2));
    clock.after(9, () => done.push(3));
    expect([clock.skip(), clock.now, done]).toEqual([true, 7, [1, 2]]);
    expect([clock.skip(), clock.skip(), clock.now, done]).toEqual([true, false, 9, [1, 2, 3]]);
  });

  test.each([-1, 0.5, NaN, Infinity])("a delay of %d is impossible", (delay) => {
    const clock = new EventClock();
    expect(() => clock.after(delay, () => undefined)).toThrow(RangeError);
    expect(() => { clock.advance(delay); }).toThrow(RangeError);
    expect(clock.now).toBe(0);
  });

  test("agrees with a sorted list", () => {
    const act = fc.oneof(fc.record({ after: fc.nat(20) }), fc.record({ cancel: fc.nat(30) }), fc.record({ advance: fc.nat(15) }));
    fc.assert(
      fc.property(fc.array(act, { maxLength: 60 }), (acts) => {
        const clock = new EventClock();
        const done: string[] = [];
        const cancels: (() => void)[] = [];
        let list: { readonly at: number; readonly id: number }[] = [];
        const expected: string[] = [];
        let now = 0;
        for (const each of acts)
          if ("after" in each) {
            const id = cancels.length;
            cancels.push(clock.after(each.after, () => done.push(`${id}@${clock.now}`)));
            list.push({ at: now + each.after, id });
          } else if ("cancel" in each) {
            cancels[each.cancel]?.();
            list = list.filter(({ id }) => id !== each.cancel);
          } else {
            clock.advance(each.advance);
            now += each.advance;
            const due = list.filter(({ at }) => at <= now).toSorted((a, b) => a.at - b.at || a.id - b.id);
            list = list.filter(({ at }) => at > now);
            expected.push(...due.map(({ at, id }) => `${id}@${at}`));
          }
        expect([done, clock.now]).toEqual([expected, now]);
      }),
    );
  });
});
