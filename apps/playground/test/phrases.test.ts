import * as remapping from "@iommu-lab/interrupt-remap";
import * as amdRemapping from "@iommu-lab/interrupt-remap/amd";
import * as vtdRemapping from "@iommu-lab/interrupt-remap/vtd";
import * as amd from "@iommu-lab/iommu-amd/layouts";
import * as vtd from "@iommu-lab/iommu-intel/layouts";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { openPhraseBook } from "../src/text/phrase-book.ts";
import { AS_THEY_ARE, PHRASES } from "../src/text/phrases/index.ts";
import { saidIn } from "./said.ts";

const holesOf = (text: string): string[] => [...new Set(text.match(/\{\w+\}/g))].toSorted();

describe("a phrase book", () => {
  const book = openPhraseBook({
    "Unit at {0}{1}.": ["Unidad en {0}{1}.", "单元位于 {0}{1}。"],
    ", with {0}": [", con {0}", "，带 {0}"],
    "It is {0}": ["Es {0}", "它是{0}"],
    "It is {0} or {1}": ["Es {1} u {0}", "是 {0} 或 {1}"],
    "read-only": ["de solo lectura", "只读"],
    "{0} is behind {1}, and {0} is lost.": ["{0} está tras {1}, y {0} se pierde.", "{0} 在 {1} 之后，{0} 丢失。"],
  }, "es");

  test("holes keep what they had; what fills them is told too, where it is a phrase", () => {
    expect(book.tell("It is read-only")).toBe("Es de solo lectura");
    expect(book.tell("It is 1 or 2")).toBe("Es 2 u 1");
    expect(book.tell("01:00.0 is behind 00:01.0, and 01:00.0 is lost.")).toBe("01:00.0 está tras 00:01.0, y 01:00.0 se pierde.");
    expect(book.tell("01:00.0 is behind 00:01.0, and 02:00.0 is lost.")).toBeUndefined();
  });

  test("of two holes that touch the second one begins where a phrase does", () => {
    expect(book.tell("Unit at 0xfed9.")).toBe("Unidad en 0xfed9.");
    expect(book.tell("Unit at 0xfed9, with 3 levels.")).toBe("Unidad en 0xfed9, con 3 levels.");
  });

  test("several in a row are told one by one; what has no words is not told, names are", () => {
    expect(book.tell("Unit at 0x1. It is read-only")).toBe("Unidad en 0x1. Es de solo lectura");
    expect(book.tell("Unit at 0x1. Nobody said this before.")).toBeUndefined();
    expect(book.tell("0000:01:00.0")).toBe("0000:01:00.0");
  });

  test("whatever the text, it answers, soon, and never throws", () => {
    const all = openPhraseBook(PHRASES, "zh");
    fc.assert(fc.property(fc.string({ maxLength: 300 }), (text) => { book.tell(text); all.tell(`It is ${text} or ${text}`); }));
    const words = fc.array(fc.constantFrom("a", "the", "of", "and", "at", "to", ":", ",", "is", "0x5", "with", "PASID", "bits", "reserved", "."), { maxLength: 800 }).map((each) => each.join(" "));
    fc.assert(fc.property(words, (text) => { all.tell(text); }), { numRuns: 50 });
    const before = process.cpuUsage().user;
    for (const word of ["or", "and", "at", "a,", "of:", "is.", "x ("]) for (let i = 0; i < 5; i++) all.tell(`It is ${`${word} `.repeat(Math.floor(3_900 / (word.length + 1)))}${i}`);
    // 35 texts; a second each would still not be noticed as a hang.
    expect(process.cpuUsage().user - before).toBeLessThan(35e6);
  }, 120_000);
});

describe("what the packages say, in Spanish and Chinese", () => {
  test.each([["es", 0], ["zh", 1]] as const)("every phrase has its holes in %s", (_, column) => {
    const wrong = Object.entries(PHRASES).filter(([key, told]) => told[column] === "" || holesOf(told[column]).join() !== holesOf(key).join()).map(([key]) => key);
    expect(wrong).toEqual([]);
  });

  test("Chinese has no English left in it", () => {
    const left = Object.entries(PHRASES).filter(([, [, zh]]) => /(?<![\w/.$"'`{-])[a-z]{3,} (?:the|of|is|and|to|a|in|that|not)\b/.test(zh.replaceAll(/"[^"]*"|“[^”]*”/g, ""))).map(([key]) => key);
    expect(left).toEqual([]);
  });

  /** Where the page's texts come from. */
  const SHOWN = [
    "host/src/doctor", "host/src/log", "host/src/groups", "host/src/hardware", "host/src/decode", "host/src/pieces", "host/src/lspci", "host/src/sysfs", "host/src/capture", "host/src/vga", "host/src/kernel",
    ...["cautions", "device-blockers", "host-limits", "judgement", "remapping-blockers", "selection", "request", "diagnosis", "early-binding", "guest-layout", "guest", "host-evidence", "kernel-options", "make-plan", "plan", "distro"].map((name) => `host/src/plan/${name}.ts`),
    "iommu-intel/src/layouts", "iommu-intel/src/decode", "iommu-intel/src/dmar", "iommu-intel/src/hardware",
    "iommu-amd/src/layouts", "iommu-amd/src/decode", "iommu-amd/src/ivrs", "iommu-amd/src/hardware",
    "interrupt-remap/src/vtd", "interrupt-remap/src/amd", "interrupt-remap/src/msi",
    "pci-bus/src/groups", "pci-bus/src/acpi", "pci-bus/src/decode", ...["acs", "upstream", "transfer"].map((name) => `pci-bus/src/model/${name}.ts`), "iommu-intel/src/driver/fault-service.ts", "iommu-amd/src/driver/log-service.ts",
    "vga-arbiter/src/option-rom", "vga-arbiter/src/plan",
  ];

  /** Checkers of interleavings, and what is a kernel's own line. */
  const NOT_SHOWN = /-checker\.ts|\/kernel-(?:line|words)\.ts/;

  test("no sentence of the packages' sources is without words", () => {
    const known = new Set([...Object.keys(PHRASES), ...AS_THEY_ARE]);
    expect([...saidIn(SHOWN)].filter(([text, where]) => !known.has(text) && !NOT_SHOWN.test(where)).map(([text, where]) => `${where}: ${text}`)).toEqual([]);
  });

  test.each(["es", "zh"] as const)("every field of every layout, and every value that has a name, in %s", (language) => {
    const book = openPhraseBook(PHRASES, language);
    const names = new Set(AS_THEY_ARE);
    const missing = new Set<string>();
    const seen = new Set<unknown>();
    const look = (text: unknown): void => { if (typeof text === "string" && /[a-z]{3}/.test(text) && !names.has(text) && !(text in PHRASES) && book.tell(text) === undefined) missing.add(text); };
    const visit = (value: unknown): void => {
      if (typeof value !== "object" || value === null || seen.has(value)) return;
      seen.add(value);
      if ("values" in value && typeof value.values === "object" && value.values !== null) for (const meaning of Object.values(value.values)) look(meaning);
      if ("text" in value) look(value.text);
      for (const each of Object.values(value)) visit(each);
    };
    visit([vtd, amd, remapping, vtdRemapping, amdRemapping]);
    expect([...missing]).toEqual([]);
  });
});
