import { bundledHosts, readBundled } from "@iommu-lab/host/bundled";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { makeScale } from "../src/views/addresses/scale.ts";
import { readAddresses, type AddressesSettings } from "../src/views/addresses/settings.ts";
import { planAddresses, type AddressPlan } from "../src/views/addresses/verdicts.ts";

const planned = (host: string, more: Partial<AddressesSettings> = {}): AddressPlan => planAddresses(readBundled(host), readAddresses(more));

describe("address map", () => {
  test("settings are read out of anything", () => {
    fc.assert(fc.property(fc.jsonValue(), (value) => { expect(readAddresses(readAddresses(value))).toEqual(readAddresses(value)); }));
  });
  test("a large BAR needs Above 4G decoding, and a window that holds it", () => {
    expect(planned("q35-intel-iommu", { bar: 16, above4g: false }).host.bar).toBeUndefined();
    expect(planned("q35-intel-iommu", { bar: 16 }).host.bar?.first).toBeGreaterThanOrEqual(2n ** 32n);
    expect(planned("q35-intel-iommu", { bar: 16, window: 32 }).guest.bar).toBeUndefined();
    expect(planned("q35-intel-iommu", { bar: 16, window: 128 }).guest.bar).toBeDefined();
  });
  test("a window at the top of the processor's addresses is past what a narrower IOMMU translates", () => {
    expect(planned("q35-intel-iommu", { processorBits: 46, iommuBits: 39, place: "top" }).beyond).toBeGreaterThan(2n ** 39n);
    expect(planned("q35-intel-iommu", { processorBits: 39, iommuBits: 39, place: "memory" }).beyond).toBeUndefined();
  });
  test("ranges are in order and have a place on the scale, lower addresses above", () => {
    for (const { name } of bundledHosts) {
      const { regions } = planned(name);
      const scale = makeScale(regions, []);
      for (const { first, last } of regions) {
        expect(last).toBeGreaterThan(first);
        expect(scale.at(last + 1n)).toBeGreaterThan(scale.at(first));
      }
      expect(regions.filter(({ name: what }) => what === "MSI").map(({ first }) => first)).toEqual([0xfee0_0000n, 0xfee0_0000n, 0xfee0_0000n]);
    }
  });
});
