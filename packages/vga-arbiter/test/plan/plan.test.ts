import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { GGC, planCard, planIgd, type CardPlanInput, type IgdPlanInput, type Known } from "../../src/index.ts";

const card = (igdHost: Known, cardHasGop: Known, guestFirmware: "bios" | "uefi", rest: Partial<CardPlanInput> = {}): CardPlanInput => ({ igdHost, cardHasGop, guestFirmware, era: "2015", ...rest });

describe("a discrete card for a VM", () => {
  test.each([
    [true, true, "uefi", "works", "works"],
    [true, true, "bios", "does-not-work", "works-with"],
    [true, false, "uefi", "does-not-work", "does-not-work"],
    [true, false, "bios", "does-not-work", "works-with"],
    [false, true, "uefi", "works", "works"],
    [false, true, "bios", "works-with", "works-with"],
    [false, false, "uefi", "does-not-work", "does-not-work"],
    [false, false, "bios", "works-with", "works-with"],
  ] as const)("integrated graphics of the host %s, UEFI driver %s, guest firmware %s: %s in 2015, %s today", (igd, gop, firmware, then, now) => {
    expect(planCard(card(igd, gop, firmware)).verdict).toBe(then);
    expect(planCard(card(igd, gop, firmware, { era: "modern" })).verdict).toBe(now);
  });
  test.each([
    [card(true, "unknown", "uefi"), "unknown", "gop-unknown"],
    [card("unknown", true, "bios"), "unknown", "igd-unknown"],
    [card("unknown", true, "uefi"), "works", "gop-present"],
    [card(true, false, "uefi"), "does-not-work", "gop-needed"],
    [card(true, true, "bios"), "does-not-work", "igd-hogs-vga"],
    [card(false, true, "bios", { cardHasLegacyImage: false }), "does-not-work", "legacy-image-needed"],
    [card(false, true, "bios", { cardHasLegacyImage: "unknown" }), "unknown", "legacy-image-unknown"],
    [card(false, true, "uefi", { cardHasLegacyImage: false }), "works", "gop-present"],
    [card(true, true, "uefi", { cardIsBootVga: true }), "works-with", "rom-shadowed"],
    [card(true, true, "uefi", { cardIsBootVga: "unknown" }), "unknown", "boot-vga-unknown"],
    [card(true, false, "uefi", { cardIsBootVga: true }), "does-not-work", "rom-shadowed"],
  ] as const)("%o is %s by the rule %s", (input, verdict, rule) => {
    const plan = planCard(input);
    expect(plan.verdict).toBe(verdict);
    expect(plan.reasons.map((reason) => reason.rule)).toContain(rule);
  });
});

const best: IgdPlanInput = { era: "modern", mode: "legacy", atGuest02: true, lpcBridgeAt1f: true, vgaDecodeDisabled: false, isVgaClass: true, hostReleased: true, guestFirmware: "bios" };

describe("integrated graphics for a VM", () => {
  test.each(["legacy", "upt"] as const)("%s: refused in 2015, for it cannot stop decoding", (mode) => {
    expect(planIgd({ ...best, mode, era: "2015" })).toMatchObject({ verdict: "does-not-work", reasons: [{ rule: "igd-cannot-stop-decoding" }] });
  });
  test.each(["legacy", "upt"] as const)("%s: works today with all it needs", (mode) => {
    expect(planIgd({ ...best, mode })).toMatchObject({ verdict: "works", conditions: [] });
  });
  test.each([
    [{ atGuest02: false }, "guest-address"],
    [{ lpcBridgeAt1f: false }, "lpc-bridge"],
    [{ vgaDecodeDisabled: true }, "ggc-ivd"],
    [{ isVgaClass: false }, "vga-class"],
    [{ hostReleased: false }, "host-released"],
  ] as const)("legacy mode with %o has a condition by the rule %s", (change, rule) => {
    const plan = planIgd({ ...best, ...change });
    expect(plan.verdict).toBe("works-with");
    expect(plan.reasons.map((reason) => reason.rule)).toContain(rule);
    expect(plan.conditions).toHaveLength(1);
  });
  test.each(["atGuest02", "lpcBridgeAt1f", "vgaDecodeDisabled", "isVgaClass", "hostReleased"] as const)("legacy mode with %s unknown is unknown", (key) => {
    expect(planIgd({ ...best, [key]: "unknown" }).verdict).toBe("unknown");
  });
  test("universal passthrough needs nothing but the host's release", () => {
    expect(planIgd({ ...best, mode: "upt", atGuest02: false, lpcBridgeAt1f: "unknown", vgaDecodeDisabled: true, isVgaClass: false }).verdict).toBe("works");
    expect(planIgd({ ...best, mode: "upt", hostReleased: false }).verdict).toBe("works-with");
  });
  test("legacy mode needs a BIOS in the guest", () => {
    expect(planIgd({ ...best, guestFirmware: "uefi" }).verdict).toBe("does-not-work");
    expect(planIgd({ ...best, mode: "upt", guestFirmware: "uefi" }).verdict).toBe("works");
  });
});

describe("every plan", () => {
  const known = fc.constantFrom<Known>(true, false, "unknown");
  const common = { era: fc.constantFrom("2015" as const, "modern" as const), guestFirmware: fc.constantFrom("bios" as const, "uefi" as const) };
  const cards = fc.record({ ...common, igdHost: known, cardHasGop: known, cardHasLegacyImage: known, cardIsBootVga: known }).map(planCard);
  const igds = fc.record({ ...common, mode: fc.constantFrom("legacy" as const, "upt" as const), atGuest02: known, lpcBridgeAt1f: known, vgaDecodeDisabled: known, isVgaClass: known, hostReleased: known }).map(planIgd);
  test("has reasons that are sentences, and conditions exactly when it works with them", () => {
    fc.assert(
      fc.property(fc.oneof(cards, igds), ({ verdict, reasons, conditions }) => {
        expect(reasons.length).toBeGreaterThan(0);
        for (const { text, rule } of reasons) expect([text.endsWith("."), /^[a-z0-9-]+$/.test(rule)]).toEqual([true, true]);
        expect(conditions.length > 0).toBe(verdict === "works-with");
      }),
      { numRuns: 500 },
    );
  });
  test("what is unknown never makes a plan better: the answer with it is unknown, or the same as for either value", () => {
    fc.assert(
      fc.property(fc.record({ ...common, igdHost: fc.boolean(), cardHasGop: fc.boolean(), cardHasLegacyImage: fc.boolean(), cardIsBootVga: fc.boolean() }), fc.constantFrom("igdHost" as const, "cardHasGop" as const, "cardHasLegacyImage" as const, "cardIsBootVga" as const), (input, key) => {
        const { verdict } = planCard({ ...input, [key]: "unknown" });
        const either = [true, false].map((value) => planCard({ ...input, [key]: value }).verdict);
        if (verdict === "works" || verdict === "works-with") expect(either).toEqual([verdict, verdict]);
        if (verdict === "does-not-work") expect(either).toEqual([verdict, verdict]);
      }),
    );
  });
});

describe("GGC of the host bridge", () => {
  test("bit 1 says that VGA decoding is off, bits 15:8 the stolen memory", () => {
    expect(GGC.decode(Uint32Array.of(0x0203), 0)).toMatchObject({ IVD: 1, GMS: 2 });
    expect(GGC.decode(Uint32Array.of(0x02c1), 0)).toMatchObject({ IVD: 0, GMS: 2, GGMS: 3, GGCLCK: 1 });
  });
});
