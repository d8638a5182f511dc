import fc from "fast-check";
import { describe, expect, test } from "vitest";
import * as c from "../../src/capabilities/index.ts";
import { randomFunction } from "./random-function.ts";
import { random } from "./random.ts";

const express = (): c.FunctionConfig =>
  new c.FunctionConfig({ vendor: 0x8086, device: 1, classCode: 0x020000, header: 0, capabilities: [c.pciExpress({ type: 0 }), c.powerManagement(), c.accessControlServices(), c.addressTranslationServices()] });
const texts = ({ problems }: c.DecodedConfig): string[] => problems.map(({ text }) => text);

describe("decodeConfig on what can be seen", () => {
  test("4096 bytes show all capabilities, 256 the conventional ones, 64 none", () => {
    const { bytes } = express();
    const seen = [4096, 256, 64].map((size) => c.decodeConfig(bytes.subarray(0, size)));
    expect(seen.map(({ capabilitiesVisible, capabilities }) => [capabilitiesVisible, capabilities.length])).toEqual([["all", 4], ["conventional", 2], ["none", 0]]);
    expect(seen.flatMap(texts)).toEqual([]);
  });

  test("64 bytes of a function without a list hide nothing", () => {
    const { bytes } = new c.FunctionConfig({ vendor: 1, device: 2, classCode: 0x060000, header: 0 });
    expect(c.decodeConfig(bytes.subarray(0, 64)).capabilitiesVisible).toBe("all");
  });

  test("an extended space that reads as ones cannot be reached", () => {
    const { bytes } = express();
    bytes.fill(0xff, 0x100);
    expect(c.decodeConfig(bytes)).toMatchObject({ capabilitiesVisible: "conventional", problems: [] });
    expect(c.findExtendedCapability(bytes, 0x0d)).toBe(0);
  });

  test("extended bytes of a function without PCI Express do not count", () => {
    const config = new c.FunctionConfig({ vendor: 1, device: 2, classCode: 0, header: 0, express: true, capabilities: [c.powerManagement()] });
    config.bytes.set([0x0d, 0, 1, 0], 0x100);
    expect(c.decodeConfig(config.bytes).capabilities.map(({ id }) => id)).toEqual([1]);
    expect(c.findExtendedCapability(config.bytes, 0x0d)).toBe(0);
  });

  test("all ones is a function that is gone", () => {
    const decoded = c.decodeConfig(new Uint8Array(256).fill(0xff));
    expect(texts(decoded)).toEqual(["Every bit is one: no function answers here (powered off, unplugged or failed)."]);
    expect(decoded.capabilities).toEqual([]);
  });

  test("a virtual function has IDs of ones and is there", () => {
    const { bytes } = express();
    bytes.fill(0xff, 0, 4);
    expect(c.decodeConfig(bytes).capabilities).toHaveLength(4);
    expect(c.findCapability(bytes, 0x10)).not.toBe(0);
  });
});

describe("decodeConfig on broken lists", () => {
  test("a loop ends the list and is told", () => {
    const { bytes } = express();
    bytes[0x7d] = 0x40;
    const decoded = c.decodeConfig(bytes.subarray(0, 256));
    expect(texts(decoded)).toEqual(["The list of capabilities comes back to 0x40: a loop."]);
    expect(decoded.capabilities).toHaveLength(2);
  });

  test("a pointer into the header, an absent id and a cut capability are told", () => {
    const low = express().bytes.slice(0, 256);
    low[0x34] = 0x10;
    const absent = express().bytes.slice(0, 256);
    absent[0x7c] = 0xff;
    const cut = express().bytes.slice(0, 0x60);
    expect([low, absent, cut].map((bytes) => texts(c.decodeConfig(bytes)))).toEqual([
      ["The list of capabilities points to 0x10, below 0x40 where capabilities begin."],
      ["The capability at 0x7c has the id 0xff: nothing answers there."],
      ["PCI Express at 0x40 has 60 bytes but ends at 0x60: the rest cannot be seen.", "The list of capabilities points to 0x7c, where no bytes were given (there are 0x60)."],
    ]);
  });

  test("an extended loop ends and is told", () => {
    const { bytes } = express();
    bytes.set([0x0f, 0, 1, 0x10], 0x108);
    expect(texts(c.decodeConfig(bytes))).toEqual(["The list of capabilities comes back to 0x100: a loop."]);
  });

  test("unknown ids keep their place and number", () => {
    const { bytes } = express();
    bytes[0x7c] = 0x77;
    bytes[0x100] = 0x99;
    expect(c.decodeConfig(bytes).capabilities.map(({ name }) => name)).toEqual(["PCI Express", "Capability 0x77", "Extended capability 0x0099", "Address Translation Services"]);
  });
});

/** Bytes that begin like configuration space: lists that lead somewhere. */
const plausible = fc.tuple(fc.nat(2 ** 31), fc.array(fc.tuple(fc.nat(4095), fc.nat(255)), { maxLength: 40 }), fc.constantFrom(0, 3, 63, 64, 65, 128, 255, 256, 257, 260, 1000, 4095, 4096)).map(([seed, changes, length]) => {
  const bytes = randomFunction(random(seed), { density: 0.4 }).bytes.slice(0, length);
  for (const [at, value] of changes) if (at < bytes.length) bytes[at] = value;
  return bytes;
});

/** Every pointer of a list points anywhere. */
const tangled = fc.tuple(fc.uint8Array({ minLength: 256, maxLength: 4096 }), fc.constantFrom(0x10, 0x07, 0x01)).map(([bytes, id]) => {
  bytes[0x06] = 0x10;
  bytes[0x0e] = 0;
  bytes[0x34] = 0x40;
  bytes[0x40] = id;
  return bytes;
});

describe("decodeConfig on arbitrary bytes", () => {
  test.each([
    ["any bytes", fc.uint8Array({ maxLength: 4200 })],
    ["damaged functions", plausible],
    ["tangled lists", tangled],
    ["ones", fc.nat(4096).map((length) => new Uint8Array(length).fill(0xff))],
  ])("%s: no exception, bounded lists, and the fast look-ups agree", (_name, bytes) => {
    fc.assert(
      fc.property(bytes, (given) => {
        const before = given.slice();
        const decoded = c.decodeConfig(given);
        const conventional = decoded.capabilities.filter(({ extended }) => !extended);
        const extended = decoded.capabilities.filter((each) => each.extended);
        expect(conventional.length).toBeLessThanOrEqual(48);
        expect(extended.length).toBeLessThanOrEqual(960);
        expect(new Set(decoded.capabilities.map(({ offset }) => offset)).size).toBe(decoded.capabilities.length);
        const first = (of: readonly c.DecodedCapability[], id: number): number => of.find((each) => each.id === id)?.offset ?? 0;
        for (const { id } of conventional) expect(c.findCapability(given, id)).toBe(first(conventional, id));
        for (const { id } of extended) expect(c.findExtendedCapability(given, id)).toBe(first(extended, id));
        expect(c.findCapability(given, 0xfe)).toBe(first(conventional, 0xfe));
        expect(given).toEqual(before);
      }),
      { numRuns: 300 },
    );
  });
});
