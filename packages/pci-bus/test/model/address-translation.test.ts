import { Access, Completion, newTranslation, NO_PASID, PageResponseCode, type DeviceTlbInvalidation, type PageResponse } from "@iommu-lab/pci-bus";
import { addressTranslationServices } from "@iommu-lab/pci-bus/capabilities";
import { AddressTranslationCache, Bridge, Endpoint, enumerate, type EndpointOptions } from "@iommu-lab/pci-bus/model";
import { describe, expect, test } from "vitest";
import { benchMachine, endpointDescription, TableIommu, type BenchMachine } from "./bench-machine.ts";

const withAts = (options: EndpointOptions = {}): { machine: BenchMachine; endpoint: Endpoint; iommu: TableIommu } => {
  const machine = benchMachine();
  const port = new Bridge("root-port");
  const endpoint = new Endpoint(endpointDescription({}, [addressTranslationServices()]), options);
  machine.host.bus.plug(port, 0x08);
  port.secondary.plug(endpoint, 0);
  enumerate(machine.complex);
  const iommu = new TableIommu();
  machine.complex.addIommu(iommu);
  machine.poke(0x100, endpoint.config.extendedCapability(0x0f) + 6, 2, 0x8000);
  return { machine, endpoint, iommu };
};

const ONE_PAGE: DeviceTlbInvalidation = { pasid: NO_PASID, page: 5, sizeShift: 12, global: false };

describe("ATS (PCIe §10.2)", () => {
  test("a translation request is answered by the IOMMU", () => {
    const { endpoint, iommu } = withAts();
    iommu.pages.set(5, 0x99);
    const out = newTranslation();
    expect(endpoint.port.translate(0x5000, Access.Read | Access.Write, out)).toBe(Completion.Successful);
    expect(out).toMatchObject({ page: 0x99, permissions: 3 });
    expect(iommu.requests).toMatchObject([{ addressType: 1, access: 3, requester: 0x100 }]);
  });

  test("a translation request that a peer takes for itself is unsupported", () => {
    const machine = benchMachine();
    const [a, b] = [new Endpoint(endpointDescription({ multifunction: true })), new Endpoint(endpointDescription())];
    machine.host.bus.plug(a, 0x08);
    machine.host.bus.plug(b, 0x09);
    enumerate(machine.complex);
    machine.complex.addIommu(new TableIommu());
    expect(a.port.translate(b.config.bar(0).address ?? 0, Access.Read, newTranslation())).toBe(Completion.UnsupportedRequest);
    expect(machine.hops.at(-1)).toMatchObject({ at: 0x09, decision: "aborted" });
  });

  test("without an IOMMU a translation request is unsupported", () => {
    const machine = benchMachine();
    const endpoint = new Endpoint(endpointDescription());
    machine.host.bus.plug(endpoint, 0x08);
    enumerate(machine.complex);
    expect(endpoint.port.translate(0x5000, Access.Read, newTranslation())).toBe(Completion.UnsupportedRequest);
  });

  test("a function asks once per page and then sends translated requests", () => {
    const { machine, endpoint, iommu } = withAts();
    iommu.pages.set(5, 0x99).set(6, 0x9a);
    endpoint.write(0x5ffe, Uint8Array.of(1, 2, 3, 4));
    endpoint.write(0x5ffe, Uint8Array.of(5, 6, 7, 8));
    expect(iommu.requests.map(({ addressType }) => addressType)).toEqual([1, 2, 1, 2, 2, 2]);
    expect([machine.ram.read16(0x99ffe), machine.ram.read16(0x9a000)]).toEqual([0x0605, 0x0807]);
  });

  test("a stale translation is used until it is invalidated", () => {
    const { machine, endpoint, iommu } = withAts();
    iommu.pages.set(5, 0x99);
    endpoint.write(0x5000, Uint8Array.of(1));
    iommu.pages.delete(5);
    endpoint.write(0x5000, Uint8Array.of(2));
    expect(machine.ram.read8(0x99000)).toBe(2);
    iommu.port?.invalidateDeviceTlb(0x100, ONE_PAGE, 1000, () => undefined);
    expect(endpoint.write(0x5000, Uint8Array.of(3))).toBe(Completion.UnsupportedRequest);
    expect(machine.ram.read8(0x99000)).toBe(2);
  });

  test("clearing ATS Enable empties the cache", () => {
    const { machine, endpoint, iommu } = withAts();
    iommu.pages.set(5, 0x99);
    endpoint.write(0x5000, Uint8Array.of(1));
    machine.poke(0x100, endpoint.config.extendedCapability(0x0f) + 6, 2, 0);
    expect(endpoint.atc?.entries).toEqual([]);
  });
});

describe("device-TLB invalidation (PCIe §10.3)", () => {
  test("it completes when the function says so, and a late time-out is not heard", () => {
    const held: (() => void)[] = [];
    const { machine, iommu } = withAts({ invalidated: (_, complete) => held.push(complete) });
    const outcomes: string[] = [];
    iommu.port?.invalidateDeviceTlb(0x100, ONE_PAGE, 1000, (outcome) => outcomes.push(outcome));
    expect(outcomes).toEqual([]);
    held[0]?.();
    machine.clock.advance(2000);
    expect(outcomes).toEqual(["completed"]);
  });

  test("a function that never completes runs into the time-out, once", () => {
    const held: (() => void)[] = [];
    const { machine, iommu } = withAts({ invalidated: (_, complete) => held.push(complete) });
    const outcomes: string[] = [];
    iommu.port?.invalidateDeviceTlb(0x100, ONE_PAGE, 1000, (outcome) => outcomes.push(outcome));
    machine.clock.advance(999);
    expect(outcomes).toEqual([]);
    machine.clock.advance(1);
    held[0]?.();
    expect(outcomes).toEqual(["timed-out"]);
  });

  test("where no function is there the time-out comes at once", () => {
    const { iommu } = withAts();
    const outcomes: string[] = [];
    iommu.port?.invalidateDeviceTlb(0x500, ONE_PAGE, 1000, (outcome) => outcomes.push(outcome));
    expect(outcomes).toEqual(["timed-out"]);
  });
});

describe("address translation cache (PCIe §10.1)", () => {
  const filled = (): AddressTranslationCache => {
    const cache = new AddressTranslationCache();
    const entry = { ...newTranslation(), permissions: Access.Read };
    cache.insert(NO_PASID, 0x205, { ...entry, page: 0x805, pageShift: 21 });
    cache.insert(7, 5, { ...entry, page: 1 });
    cache.insert(8, 5, { ...entry, page: 2, global: true });
    return cache;
  };

  test("a large page answers for every page inside it", () => {
    expect(filled().find(NO_PASID, 0x3ff, Access.Read)).toMatchObject({ page: 0x200, hostPage: 0x800 });
  });

  test("a translation without write permission does not serve writes", () => {
    expect(filled().find(7, 5, Access.Write)).toBeUndefined();
  });

  test("an invalidation of one PASID leaves those of others, one with the Global Invalidate bit does not", () => {
    const cache = filled();
    cache.invalidate({ pasid: 7, page: 5, sizeShift: 12, global: false });
    expect(cache.entries.map(({ pasid }) => pasid)).toEqual([NO_PASID, 8]);
    cache.invalidate({ pasid: NO_PASID, page: 5, sizeShift: 12, global: false });
    expect(cache.entries.map(({ pasid }) => pasid)).toEqual([NO_PASID, 8]);
    cache.invalidate({ pasid: 7, page: 5, sizeShift: 12, global: true });
    expect(cache.entries.map(({ pasid }) => pasid)).toEqual([NO_PASID]);
  });

  test("an invalidation of any page of a large one drops it, and size 64 drops everything of the PASID", () => {
    const cache = filled();
    cache.invalidate({ pasid: NO_PASID, page: 0x300, sizeShift: 12, global: false });
    expect(cache.find(NO_PASID, 0x205, Access.Read)).toBeUndefined();
    cache.invalidate({ pasid: 7, page: 0x9999, sizeShift: 64, global: false });
    expect(cache.find(7, 5, Access.Read)?.pasid).toBe(8);
  });
});

describe("PRI (PCIe §10.4)", () => {
  test("a page request goes up with the requester ID and its response comes down to the function", () => {
    const responses: PageResponse[] = [];
    const { endpoint, iommu } = withAts({ pageResponse: (response) => responses.push(response) });
    endpoint.port.pageRequest({ pasid: NO_PASID, page: 5, access: Access.Read, group: 3, last: true });
    expect(iommu.pageRequests).toEqual([{ requester: 0x100, pasid: NO_PASID, page: 5, access: Access.Read, group: 3, last: true }]);
    iommu.port?.respondToPage(0x100, { pasid: NO_PASID, group: 3, code: PageResponseCode.Success });
    expect(responses).toEqual([{ pasid: NO_PASID, group: 3, code: PageResponseCode.Success }]);
  });
});
