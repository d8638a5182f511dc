import { deflateSync, strToU8 } from "fflate";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { EXAMPLES } from "../src/gallery/gallery.ts";
import { base64Url, fuzzAddresses } from "./address-fuzz.ts";
import { formatAddress, parseAddress, runAddress } from "../src/state/address.ts";
import { FIRST, readState, VIEWS, type AppState } from "../src/state/app-state.ts";
import { exportState, importState } from "../src/state/state-file.ts";
import { LANGUAGES } from "../src/text/words.ts";

const states: fc.Arbitrary<AppState> = fc.record({ language: fc.constantFrom(...LANGUAGES), view: fc.constantFrom(...VIEWS), embed: fc.boolean(), run: fc.record({ scenario: fc.constantFrom("rogue-device", "msi-forgery"), iommu: fc.constantFrom("intel", "amd"), seed: fc.nat(2 ** 32 - 1), without: fc.array(fc.constantFrom("translation", "acs"), { maxLength: 3 }) }), step: fc.nat(100_000), details: fc.boolean(), selection: fc.record({ device: fc.constant("0000:01:00.0"), address: fc.constant("0xfee00000"), field: fc.constant("SAGAW") }, { requiredKeys: [] }), views: fc.dictionary(fc.constantFrom(...VIEWS), fc.jsonValue().filter((value) => JSON.stringify(value) === JSON.stringify(JSON.parse(JSON.stringify(value)))), { maxKeys: 2 }) }, { requiredKeys: ["view", "embed", "run", "step", "details", "selection", "views"] });

describe("the page's address", () => {
  test("holds the whole state", () => {
    fc.assert(fc.property(states, (state) => { expect(JSON.parse(JSON.stringify(parseAddress(formatAddress(state))))).toEqual(JSON.parse(JSON.stringify(state))); }));
  });
  test("a first link of version 1 is read for ever", () => {
    expect(parseAddress("#v1.q1YqTs5MzUtMSS1WslLKAfOUdJQSi0GCxaUFIFkoXUsLAA")).toBeDefined();
    expect(parseAddress(`#v1.${base64Url(deflateSync(strToU8('{"view":"faults","run":{"scenario":"ats-stale","iommu":"amd","seed":7,"without":["device-tlb-invalidation"]},"step":3}')))}`)).toEqual({ ...FIRST, view: "faults", run: { scenario: "ats-stale", iommu: "amd", seed: 7, without: ["device-tlb-invalidation"] }, step: 3 });
  });
  test("a run can be written by hand", () => {
    expect(parseAddress("#/run/msi-forgery?iommu=amd&seed=2&without=interrupt-remapping&lang=es&step=5")).toEqual({ ...FIRST, language: "es", run: { scenario: "msi-forgery", iommu: "amd", seed: 2, without: ["interrupt-remapping"] }, step: 5 });
    expect(parseAddress(runAddress({ scenario: "ats-stale", iommu: "intel", seed: 9, without: ["a", "b"] }))).toMatchObject({ run: { scenario: "ats-stale", seed: 9, without: ["a", "b"] }, step: 0 });
  });
  test("every example has one", () => {
    expect(new Set(EXAMPLES.map(({ id }) => id)).size).toBe(EXAMPLES.length);
    for (const { id, state } of EXAMPLES) expect(parseAddress(`#/example/${id}`)).toMatchObject(readState({ ...FIRST, ...state }));
  });
  test("what is no address is the first screen", () => {
    for (const hash of ["", "#", "#/", "#/nowhere", "#v1.", "#v1.!!", "#v2.AAAA", "#/example/nothing", `#v1.${base64Url(deflateSync(strToU8("[1,2")))}`, "#%", "#?%%%"]) expect(parseAddress(hash)).toEqual(FIRST);
  });
  test("a short address that unfolds to gigabytes is not unfolded", () => {
    expect(parseAddress(`#v1.${base64Url(deflateSync(new Uint8Array(3_000_000).fill(32), { level: 9 }))}`)).toEqual(FIRST);
  });
  test("no fragment makes it throw or gives a state that is none", () => { fuzzAddresses(5_000); });
});

describe("a state's file", () => {
  test("holds the whole state", () => {
    fc.assert(fc.property(states, (state) => { expect(JSON.parse(JSON.stringify(importState(exportState(state))))).toEqual(JSON.parse(JSON.stringify(state))); }));
  });
  test("what is none is told apart, and what is wrong in one is as on the first screen", () => {
    for (const text of ["", "{}", '{"format":"iommu-lab-run","version":1}', '{"format":"iommu-lab-page","version":1,"state":', "[]", "\u0000"]) expect(importState(text)).toBeUndefined();
    expect(importState('{"format":"iommu-lab-page","version":1}')).toEqual(FIRST);
    fc.assert(fc.property(fc.jsonValue(), (state) => { expect(VIEWS).toContain(importState(JSON.stringify({ format: "iommu-lab-page", version: 1, state }))?.view); }));
  });
});
