import { bundledHosts, readBundled } from "@iommu-lab/host/bundled";
import { BITS_KINDS, decodeInput } from "@iommu-lab/host/decode";
import { LOG_FORMATS } from "@iommu-lab/host/doctor";
import { formatAddress } from "@iommu-lab/pci-bus";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { openPhraseBook } from "../src/text/phrase-book.ts";
import { AS_THEY_ARE, PHRASES } from "../src/text/phrases/index.ts";
import { playRun } from "../src/run/play.ts";
import { readRunChoice } from "../src/state/app-state.ts";
import { meaningOf } from "../src/views/faults/describe.ts";
import { runInterrupts } from "../src/views/interrupts/lab.ts";
import { readInterrupts } from "../src/views/interrupts/settings.ts";
import { diagnoseFor, planFor, rulesOf } from "../src/views/planner/plan.ts";
import { readPlanner } from "../src/views/planner/settings.ts";
import { buildTopology } from "../src/views/topology/topology.ts";
import { readTopology } from "../src/views/topology/settings.ts";
import { runWalk } from "../src/views/walk/lab.ts";
import { MODE_IDS } from "../src/views/walk/modes.ts";
import { readWalk } from "../src/views/walk/settings.ts";

/** What stays as it is: kernel lines and command lines, words of sysfs. */
const KERNELS_OWN = /^\[ {0,8}\d+\.\d+\]|^BOOT_IMAGE=|^(?:(?:flr|pm|bus|device_specific|acpi) ?)+$/;
const books = { es: openPhraseBook(PHRASES, "es"), zh: openPhraseBook(PHRASES, "zh") };
const names = new Set(AS_THEY_ARE);

/** Texts that stay English in a language. */
const untold = (texts: Iterable<string | undefined>): string[] =>
  [...new Set(texts)].flatMap((text) => (text === undefined || text === "" || KERNELS_OWN.test(text) || names.has(text) ? [] : (["es", "zh"] as const).flatMap((language) => (books[language].tell(text) === undefined ? [`${language}: ${text}`] : []))));

describe("what views show of the packages' texts has words in every language", () => {
  test.each(bundledHosts.map(({ name }) => name))("planner and topology of %s", (name) => {
    const snapshot = readBundled(name);
    const texts: (string | undefined)[] = [...snapshot.warnings, ...snapshot.missing.flatMap(({ what, consequence }) => [what, consequence])];
    for (const address of snapshot.functions.map((f) => formatAddress(f.address))) {
      const diagnosis = diagnoseFor(snapshot, [], [address]);
      for (const { title, advice, evidence } of rulesOf(diagnosis)) texts.push(title, advice, ...evidence.flatMap(({ source, line, text }) => (line === undefined ? [source, text] : [source])));
      for (const { happened, why, advice } of diagnosis.log) texts.push(happened, why, advice);
      for (const target of ["libvirt", "proxmox"]) {
        const planned = planFor(snapshot, readPlanner({ host: { bundled: name }, devices: [address], target }));
        if (planned?.kind === "refusal") texts.push(...planned.blockers.map(({ text }) => text));
        if (planned?.kind === "plan") texts.push(...[...planned.host, ...planned.cautions].map(({ text }) => text));
        if (planned?.kind === "not-enough-data") texts.push(...planned.missing.map(({ text }) => text));
      }
    }
    const { groups, notes } = buildTopology(snapshot, readTopology({ host: { bundled: name } }));
    texts.push(...notes, ...groups.flatMap(({ reasons }) => reasons.flatMap(({ text, evidence }) => [text, evidence.register, ...evidence.missing])));
    expect(untold(texts)).toEqual([]);
  });

  test("every line format of the logs, with something in each of its holes", () => {
    expect(untold(LOG_FORMATS.flatMap(({ happened, why, advice }) => [happened, why, advice].map((text) => text.replaceAll(/\{\w+\}/g, "0000:01:00.0"))))).toEqual([]);
  });

  test("walks of every mode, whole and broken", () => {
    const texts: string[] = [];
    for (const mode of MODE_IDS) {
      for (const access of ["read", "write", "execute"]) {
        for (const address of ["0x152345678", "0x12345678", "0xffffffffffff0000", "0x8000000000"]) for (const { step } of runWalk(readWalk({ mode, access, address })).steps) texts.push(step.structure, step.rule, step.outcome);
      }
    }
    expect(untold(texts)).toEqual([]);
  });

  test("interrupts of both vendors", () => {
    const choice = <T>(...values: readonly T[]): fc.Arbitrary<T> => fc.constantFrom(...values);
    const texts: string[] = [];
    fc.assert(fc.property(fc.record({ vendor: choice("intel", "amd"), posted: fc.boolean(), running: fc.boolean(), suppressed: fc.boolean(), extended: fc.boolean(), wide: fc.boolean(), compatibility: fc.boolean(), requester: choice(0x100, 0x200), address: choice(0xfee0_0030, 0xfee0_0000, 0xfee0_0010, 0xfee0_0ff8), data: choice(0, 1, 0x41, 0x300, 0x7ff) }), (settings) => {
      for (const { structure, rule, outcome } of runInterrupts(readInterrupts(settings)).steps) texts.push(structure, rule, outcome);
    }));
    expect(untold(texts)).toEqual([]);
  });

  test("records of faults, registers and structures, whatever their bits", () => {
    const texts: string[] = [];
    const word = fc.integer({ min: 0, max: 0xffff_ffff });
    fc.assert(fc.property(fc.constantFrom("intel", "amd"), fc.array(word, { minLength: 4, maxLength: 4 }), (vendor, words) => { texts.push(...meaningOf(vendor, words)); }));
    fc.assert(fc.property(fc.constantFrom(...BITS_KINDS), fc.bigInt({ min: 0n, max: (1n << 128n) - 1n }), (kind, value) => {
      try {
        for (const input of decodeInput("-", new TextEncoder().encode(value.toString(16).padStart(32, "0")), kind)) if (input.kind === "bits") texts.push(...input.decoded.structures.flatMap(({ meaning }) => meaning), ...input.decoded.diagnoses.map(({ text }) => text));
      } catch (error) {
        texts.push(error instanceof Error ? error.message : "");
      }
    }));
    expect(untold(texts)).toEqual([]);
  });

  test.each(["rogue-device", "msi-forgery", "two-bdf-two-domains"])("faults and ways through the fabric in %s", (scenario) => {
    const texts = (["intel", "amd"] as const).flatMap((iommu) => {
      const { events, decisions } = playRun(readRunChoice({ scenario, iommu, seed: 1, without: [] }));
      return [...events.flatMap((event) => (event.kind === "fault" ? [event.text] : event.kind === "hop" ? [event.what, event.decision, event.rule] : [])), ...[...decisions.values()].flat().flatMap(({ structure, rule, outcome }) => [structure, rule, outcome])];
    });
    expect(untold(texts)).toEqual([]);
  });
});
