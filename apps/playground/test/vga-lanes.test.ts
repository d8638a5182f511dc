import { describe, expect, test } from "vitest";
import { playRun } from "../src/run/play.ts";
import { nextStep } from "../src/run/steps.ts";
import { vgaLanes, vgaMachines } from "../src/views/vga/lanes.ts";

const { events, ...run } = playRun({ scenario: "three-vms-one-window", iommu: "intel", seed: 1, without: [] });

describe("lanes of the VGA window", () => {
  const machines = vgaMachines(events);
  test("one card at a time owns the ranges, whoever holds a lock owns them, and bridges open", () => {
    expect(machines.length).toBeGreaterThan(0);
    for (const { machine } of machines) {
      const { cards, bridges } = vgaLanes(events, machine, events.length);
      expect(cards.size).toBeGreaterThan(1);
      expect(bridges.size).toBeGreaterThan(0);
      for (const spans of cards.values()) for (const { from, to, owns, locks } of spans) {
        expect(to).toBeGreaterThan(from);
        if (locks !== "none") expect(owns).toBe(locks);
      }
      events.forEach((event, i) => {
        if (event.kind !== "vga" || event.machine !== machine) return;
        const owners = [...cards].filter(([, spans]) => spans.some((span) => span.from <= i && i < span.to && span.owns !== "none"));
        expect(owners.length, `event ${i}`).toBeLessThanOrEqual(1);
      });
    }
  });
  test("what has not happened yet is not drawn", () => {
    const { machine } = machines[0]!;
    const first = events.findIndex((event) => event.kind === "vga" && event.machine === machine);
    expect(vgaLanes(events, machine, first).cards.size).toBe(0);
    expect(vgaLanes(events, machine, first + 1).cards.size).toBeGreaterThan(0);
  });
});

describe("steps", () => {
  const played = { ...run, events };
  test("stop where something is told, and at each event with details", () => {
    for (const by of [1, -1] as const) {
      for (let at = by === 1 ? 0 : events.length, before = -1; at !== before && at + by >= 0 && at + by <= events.length; ) {
        before = at;
        at = nextStep(played, at, by, false);
        if (at > 0 && at < events.length) expect(events[at - 1]?.kind).not.toMatch(/hop|config-write/);
      }
    }
    expect(nextStep(played, 5, 1, true)).toBe(6);
    expect(nextStep(played, 0, -1, true)).toBe(0);
    expect(nextStep(played, events.length, 1, true)).toBe(events.length);
  });
});
