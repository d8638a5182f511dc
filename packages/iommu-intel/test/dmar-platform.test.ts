import { requesterId } from "@iommu-lab/pci-bus";
import { describe, expect, test } from "vitest";
import { decodeDmar, DmarPlatform, encodeDmar, topologyOf, type DmarStructureInput } from "../src/dmar/index.ts";

const rid = requesterId;
/** Root ports 00:1c.0 (bus 2, a switch with 02:00.0 → bus 3, 03:01.0 → bus 4) and 00:1d.0 (bus 5). */
const TOPOLOGY = topologyOf([
  { segment: 0, requester: rid(0, 0x1c, 0), secondaryBus: 2 },
  { segment: 0, requester: rid(2, 0, 0), secondaryBus: 3 },
  { segment: 0, requester: rid(3, 1, 0), secondaryBus: 4 },
  { segment: 0, requester: rid(0, 0x1d, 0), secondaryBus: 5 },
]);
const step = (device: number, fn = 0): { readonly device: number; readonly function: number } => ({ device, function: fn });
const platform = (...structures: DmarStructureInput[]): DmarPlatform => new DmarPlatform(decodeDmar(encodeDmar({ structures })), TOPOLOGY);

describe("which unit serves a function (VT-d §8.3)", () => {
  const units = platform(
    { name: "DRHD", registerBase: 0xfed9_0000, scopes: [{ type: 1, path: [step(2)] }] },
    { name: "DRHD", registerBase: 0xfed9_1000, scopes: [{ type: 2, path: [step(0x1c), step(0)] }, { type: 1, path: [step(0x1d), step(0, 1)] }, { type: 3, enumerationId: 8, startBus: 0xf0, path: [step(0x1f)] }, { type: 4, enumerationId: 0, startBus: 0, path: [step(0x1f, 7)] }] },
    { name: "DRHD", registerBase: 0xfed9_2000, includeAll: true },
    { name: "DRHD", registerBase: 0xfed9_3000, segment: 1, includeAll: true },
  );
  test.each([
    { name: "named itself", segment: 0, requester: rid(0, 2, 0), base: 0xfed9_0000n },
    { name: "another function of the device", segment: 0, requester: rid(0, 2, 1), base: 0xfed9_2000n },
    { name: "below a named bridge", segment: 0, requester: rid(4, 0, 0), base: 0xfed9_1000n },
    { name: "the named bridge", segment: 0, requester: rid(2, 0, 0), base: 0xfed9_1000n },
    { name: "above the named bridge", segment: 0, requester: rid(2, 0, 1), base: 0xfed9_2000n },
    { name: "named through a root port", segment: 0, requester: rid(5, 0, 1), base: 0xfed9_1000n },
    { name: "its sibling", segment: 0, requester: rid(5, 0, 0), base: 0xfed9_2000n },
    { name: "another segment", segment: 1, requester: rid(0, 2, 0), base: 0xfed9_3000n },
  ])("$name", ({ segment, requester, base }) => {
    expect(units.unitOf(segment, requester)?.registerBase).toBe(base);
  });
  test("a segment without a unit has none; a path into nothing names nobody", () => {
    expect(units.unitOf(2, rid(0, 2, 0))).toBeUndefined();
    const lost = platform({ name: "DRHD", registerBase: 1, scopes: [{ type: 1, path: [step(9), step(0)] }, { type: 1, path: [step(40)] }, { type: 1, path: [] }] });
    expect([lost.unitOf(0, rid(0, 9, 0)), lost.unitOf(0, 0)]).toEqual([undefined, undefined]);
  });
  test("I/O APICs and HPETs have the source-id of their scope", () => {
    expect([units.sourceOf("io-apic", 8)?.requester, units.sourceOf("hpet", 0)?.requester, units.sourceOf("io-apic", 0), units.sourceOf("io-apic", 8)?.unit.registerBase]).toEqual([rid(0xf0, 0x1f, 0), rid(0, 0x1f, 7), undefined, 0xfed9_1000n]);
  });
});

describe("reserved memory, device-TLBs and properties (VT-d §8.4, §8.5, §8.8, §8.9)", () => {
  test("regions of a function, its bridge's among them", () => {
    const memory = platform(
      { name: "RMRR", base: 0x1000, limit: 0x1fff, scopes: [{ type: 1, path: [step(0x14)] }] },
      { name: "RMRR", base: 0x3000, limit: 0x3fff, scopes: [{ type: 2, path: [step(0x1c)] }] },
      { name: "RMRR", base: 0x5000, limit: 0x5fff, segment: 1, scopes: [{ type: 1, path: [step(0x14)] }] },
    );
    const bases = (requester: number): bigint[] => memory.reservedRegionsOf(0, requester).map(({ base }) => base);
    expect([bases(rid(0, 0x14, 0)), bases(rid(4, 0, 0)), bases(rid(5, 0, 0))]).toEqual([[0x1000n], [0x3000n], []]);
  });
  test("ATS needs an ATSR for the root port, none for integrated functions; SATC goes before it", () => {
    const ats = platform(
      { name: "ATSR", scopes: [{ type: 2, path: [step(0x1c)] }] },
      { name: "SATC", atcRequired: true, scopes: [{ type: 1, path: [step(3)] }] },
      { name: "SATC", scopes: [{ type: 1, path: [step(4)] }, { type: 1, path: [step(0x1d), step(0)] }] },
    );
    expect([rid(4, 0, 0), rid(5, 0, 1), rid(5, 0, 0), rid(0, 3, 0), rid(0, 4, 0), rid(0, 5, 0)].map((requester) => ats.deviceTlbOf(0, requester))).toEqual(["allowed", "refused", "allowed", "required", "allowed", "allowed"]);
    expect(platform({ name: "ATSR", allPorts: true }).deviceTlbOf(0, rid(5, 0, 0))).toBe("allowed");
    expect(platform({ name: "ATSR", allPorts: true, segment: 1 }).deviceTlbOf(0, rid(5, 0, 0))).toBe("refused");
  });
  test("property flags are those of the function's own scope", () => {
    const sidp = platform({ name: "SIDP", segment: 1, scopes: [{ type: 1, flags: 2, path: [step(3)] }] }, { name: "SIDP", scopes: [{ type: 1, flags: 0x81, path: [step(3)] }, { type: 1, flags: 4, path: [step(4)] }] });
    expect([rid(0, 3, 0), rid(0, 4, 0), rid(0, 5, 0)].map((requester) => sidp.propertiesOf(0, requester))).toEqual([0x81, 4, 0]);
  });
});
