import { describe, expect, test } from "vitest";
import { predictAcsControl, type AcsParameter, type FunctionFacts } from "../../src/groups/index.ts";
import { acs, endpoint, port, rootPort } from "./hosts.ts";

const controls = (facts: readonly FunctionFacts[], parameters: readonly AcsParameter[] = [], noAts = false): number[] =>
  predictAcsControl(facts, { noAts, parameters }).map((f) => (typeof f.acs === "string" ? -1 : (f.acs.control ?? -1)));

const path = (bus: number, ...devfns: number[]): AcsParameter["match"] => ({ kind: "path", domain: 0, bus, devfns });
const ids = (vendor: number, device: number): AcsParameter["match"] => ({ kind: "id", vendor, device, subsystemVendor: 0xffff, subsystemDevice: 0xffff });

describe("ACS control as Linux leaves it", () => {
  test("every wanted bit that the capability has is set, nothing that firmware set is cleared", () => {
    expect(controls([rootPort("00:01.0", { acs: acs(0x7f, 0x20) }), rootPort("00:02.0", { acs: acs(0x05, 0) })])).toEqual([0x3d, 0x05]);
  });
  test("translation blocking is added by pci=noats", () => {
    expect(controls([rootPort("00:01.0", { acs: acs(0x1f, 0) })], [], true)).toEqual([0x1f]);
  });
  test("functions without ACS, or with bits that are not shown, stay as they are", () => {
    expect(controls([rootPort("00:01.0"), rootPort("00:02.0", { acs: { offset: 0x100, capability: undefined, control: undefined } })])).toEqual([-1, -1]);
  });
  test("a Sunrise Point port gets its bits in the 32-bit register", () => {
    const [f] = predictAcsControl([rootPort("00:1c.0", { vendor: 0x8086, device: 0xa110, acs: { offset: 0x140, capability: 0x0f, control: 0 } })], { noAts: false, parameters: [] });
    expect(f?.acs).toMatchObject({ control: 0, wide: { capability: 0x0f, control: 0x0d } });
  });
});

describe("pci= parameters", () => {
  const redirect = { clear: 0x2c, set: 0 };
  test("a parameter by address clears bits of that function only", () => {
    expect(controls([rootPort("00:01.0", { acs: acs(0x1d, 0) }), rootPort("00:02.0", { acs: acs(0x1d, 0) })], [{ ...redirect, match: path(0, 0x10) }])).toEqual([0x1d, 0x11]);
  });
  test("a parameter by path follows the bridges down", () => {
    const facts = [rootPort("00:01.0", { acs: acs(0x1d, 0) }), port("01:00.0", 5, { parent: "00:01.0" }), port("02:01.0", 6, { parent: "01:00.0", acs: acs(0x1d, 0) })];
    expect(controls(facts, [{ ...redirect, match: path(0, 0x08, 0x00, 0x08) }])).toEqual([0x1d, -1, 0x11]);
    expect(controls(facts, [{ ...redirect, match: path(3, 0x08, 0x00, 0x08) }])).toEqual([0x1d, -1, 0x1d]);
  });
  test("a parameter by ids takes ffff for any", () => {
    const facts = [endpoint("00:01.0", undefined, { vendor: 0x8086, device: 0x1572, acs: acs(0x1d, 0) }), endpoint("00:02.0", undefined, { vendor: 0x10de, device: 0x1402, acs: acs(0x1d, 0) })];
    expect(controls(facts, [{ ...redirect, match: ids(0x8086, 0xffff) }])).toEqual([0x11, 0x1d]);
  });
  test("a parameter can set only what the capability has", () => {
    expect(controls([rootPort("00:01.0", { acs: acs(0x01, 0) })], [{ clear: 0, set: 0x1d, match: path(0, 0x08) }])).toEqual([0x01]);
  });
});
