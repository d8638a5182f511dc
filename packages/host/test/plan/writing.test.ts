/** Words of strangers in XML, shell, YAML and Nix. */
import { spawnSync } from "node:child_process";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { nixString, plainWords, shellWord, yamlString } from "../../src/plan/quote.ts";
import { element, xmlDocument } from "../../src/plan/xml.ts";

const unescaped = (text: string): string => text.replace(/&(?:#(\d+)|amp|lt|gt|apos|quot);/g, (all, code: string | undefined) => (code === undefined ? ({ "&amp;": "&", "&lt;": "<", "&gt;": ">", "&apos;": "'", "&quot;": "\"" }[all] ?? all) : String.fromCharCode(Number(code))));
const XML_TEXT = fc.string({ unit: "binary" }).map((text) => text.replace(/[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\u{10000}-\u{10ffff}]/gu, ""));

describe("XML", () => {
  test("nothing in an attribute or a text ends it", () => {
    fc.assert(
      fc.property(XML_TEXT, (text) => {
        const document = xmlDocument(element("a", { b: text }, text === "" ? undefined : text));
        expect(unescaped(/^<a b='([^']*)'/.exec(document)?.[1] ?? "none")).toBe(text);
        if (text !== "") expect(unescaped(/>([^<]*)<\/a>\n$/.exec(document)?.[1] ?? "none")).toBe(text);
      }),
    );
  });

  test.each([["\u0000", "\ufffd"], ["\u001b", "\ufffd"], ["\ud800", "\ufffd"], ["\udc00x", "\ufffdx"], ["😀", "😀"], ["\uffff", "\ufffd"]])("what XML forbids is replaced: %j", (text, expected) => {
    expect(xmlDocument(element("a", {}, text))).toBe(`<a>${expected}</a>\n`);
  });

  test("absent attributes and children leave nothing", () => {
    expect(xmlDocument(element("a", { b: undefined }, undefined, [undefined, element("c")]))).toBe("<a>\n  <c/>\n</a>\n");
  });
});

describe("quoting", () => {
  test("a shell word stays one word", () => {
    const all = ["", "a b", "it's", "$(x)", "`x`", "\\", "a\nb", "*", "~", "-n", "'", "''\"", "a;b&c|d", "é"];
    const { stdout } = spawnSync("sh", ["-c", `printf '%s\\000' ${all.map(shellWord).join(" ")}`], { encoding: "utf8" });
    expect(stdout.split("\0").slice(0, -1)).toEqual(all);
  });

  test("a YAML string is JSON's, without what ends a line", () => {
    fc.assert(fc.property(fc.string({ unit: "binary" }), (text) => {
      expect(yamlString(text)).not.toMatch(/[\n\u0085\u2028\u2029]/);
      expect(JSON.parse(yamlString(text))).toBe(text);
    }));
  });

  test("Nix does not take a stranger's word for an expression", () => {
    expect(nixString("a${x}\"\\\n")).toBe("\"a\\${x}\\\"\\\\\\n\"");
  });

  test("words for people stay on their line and start no markup", () => {
    fc.assert(fc.property(fc.string({ unit: "binary" }), (text) => {
      expect(plainWords(text)).not.toMatch(/[\n\r`<>[\]\u2028]|\p{Cc}/u);
    }));
  });
});
