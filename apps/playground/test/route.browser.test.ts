import { describe, expect, test } from "vitest";
import { formatRoute, parseRoute, type Route } from "../src/route.ts";

describe("addresses of views", () => {
  test.each<Route>([
    { view: "groups" },
    { view: "run", scenario: "rogue-device", iommu: "amd", seed: 7, without: [] },
    { view: "run", scenario: "msi-forgery", iommu: "intel", seed: 4294967295, without: ["interrupt-remapping", "acs"] },
  ])("%j is read back from its address", (route) => {
    expect(parseRoute(formatRoute(route))).toEqual(route);
  });
  test("what is no address is the first screen, or has defaults; nothing throws", () => {
    for (const hash of ["", "#", "#/", "#/nowhere", "#/run", "#/run/", "#/run/<b>", `#/run/${"a".repeat(60)}`, "#%", "#?%%%"]) expect(parseRoute(hash)).toEqual({ view: "groups" });
    expect(parseRoute("#/run/ats-stale?iommu=arm&seed=-1&without=<script>&without=x")).toEqual({ view: "run", scenario: "ats-stale", iommu: "intel", seed: 1, without: ["x"] });
  });
  test("twenty thousand random addresses", () => {
    let state = 1;
    const random = (below: number): number => (state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0) % below;
    for (let i = 0; i < 20_000; i++) {
      const hash = `#/run/${Array.from({ length: random(12) }, () => String.fromCharCode(random(3) === 0 ? random(0x3000) : 32 + random(95))).join("")}`;
      expect(() => formatRoute(parseRoute(hash))).not.toThrow();
    }
  });
});
