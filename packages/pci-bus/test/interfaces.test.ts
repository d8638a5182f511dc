/** One example call for each interface between packages; a change that breaks a consumer breaks here first. */
import type { Pfn } from "@iommu-lab/memory";
import { describe, expect, expectTypeOf, test } from "vitest";
import {
  Access,
  AddressType,
  Completion,
  DeliveryMode,
  IommuDriverError,
  newTranslation,
  NO_PASID,
  PageResponseCode,
  type Clock,
  type DownstreamPort,
  type FabricPort,
  type InterruptEntry,
  type Iommu,
  type IommuDomain,
  type IommuDriver,
  type Posting,
  type Translation,
  type TranslationRequest,
  type UpstreamPort,
} from "../src/index.ts";

/** An IOMMU that maps every page to itself, but for page 0. */
const identity: Iommu = {
  registers: { read: () => 0, write: () => undefined, read64: (_offset, into) => into.fill(0), write64: () => undefined },
  translate: (request, out, explain) => {
    out.page = Number(request.page) satisfies Pfn<"HPA">;
    out.fault = request.page === 0 ? 0x05 : 0;
    out.recorded = out.fault !== 0;
    out.completion = out.fault === 0 ? Completion.Successful : Completion.UnsupportedRequest;
    explain?.step({ structure: "none", rule: "Page 0 is not mapped.", section: "this test", outcome: out.fault === 0 ? "translated" : "fault 05h" });
  },
  remapInterrupt: (_message, _sink, out) => {
    out.fault = 0;
  },
  pageRequest: () => undefined,
  connect: () => undefined,
  reset: () => undefined,
};

describe("Iommu", () => {
  test("translate fills in the caller's record, and explains itself when asked", () => {
    const request: TranslationRequest = { requester: 0x0100, pasid: NO_PASID, addressType: AddressType.Untranslated, page: 0xf_ffff_ffff_ffff, access: Access.Read | Access.Write };
    const out: Translation = newTranslation();
    identity.translate(request, out);
    expect(out).toMatchObject({ page: 0xf_ffff_ffff_ffff, fault: 0, completion: Completion.Successful });
    const steps: string[] = [];
    identity.translate({ ...request, page: 0 }, out, { step: ({ outcome }) => steps.push(outcome) });
    expect(steps).toEqual(["fault 05h"]);
  });
  test("an 8-byte register access is one access", () => {
    const pair = new Uint32Array(2);
    identity.registers.read64(0x08, pair);
    identity.registers.write64(0x20, 0x1000, 0);
    expect([...pair]).toEqual([0, 0]);
  });
});

describe("ports between a function and the fabric", () => {
  test("a function sends DMA, translation requests, page requests and messages through one port", () => {
    expectTypeOf<UpstreamPort["dmaRead"]>().toBeCallableWith(0xffff_ffff_ffff_f000n, new Uint8Array(64), { pasid: 5, privileged: true, execute: true });
    expectTypeOf<UpstreamPort["dmaWrite"]>().toBeCallableWith(0x1000, new Uint8Array(4), { addressType: AddressType.Translated });
    expectTypeOf<UpstreamPort["translate"]>().toBeCallableWith(0x1000, Access.Read, newTranslation());
    expectTypeOf<UpstreamPort["pageRequest"]>().toBeCallableWith({ pasid: 5, page: 0x10, access: Access.Write, group: 1, last: true });
    expectTypeOf<UpstreamPort["message"]>().toBeCallableWith(0xfee0_0000, 0x41);
  });
  test("invalidations come down with a time-out, and their end is told once", () => {
    const fabric: FabricPort = { invalidate: (_invalidation, complete) => { complete(); }, pageResponse: () => undefined, reset: () => undefined };
    const down: DownstreamPort = {
      invalidateDeviceTlb: (_requester, invalidation, timeout, complete) => {
        expect(timeout).toBe(1_000_000);
        fabric.invalidate(invalidation, () => { complete("completed"); });
      },
      respondToPage: (_requester, response) => { fabric.pageResponse(response); },
    };
    const outcomes: string[] = [];
    down.invalidateDeviceTlb(0x100, { pasid: NO_PASID, page: 0x10, sizeShift: 12, global: false }, 1_000_000, (outcome) => outcomes.push(outcome));
    down.respondToPage(0x100, { pasid: 5, group: 1, code: PageResponseCode.Success });
    expect(outcomes).toEqual(["completed"]);
  });
});

describe("interrupts", () => {
  test("posting is a memory update plus a notification, for both vendors", () => {
    const intel: Posting = { structure: 0x1000, updated: 0x1008, vector: 0x41, notification: { kind: "interrupt", interrupt: { vector: 0xf2, deliveryMode: DeliveryMode.Fixed, destination: 3, destinationMode: "physical", trigger: "edge", redirectionHint: false } } };
    const amd: Posting = { structure: 0x2000, updated: 0x2210, vector: 0x41, notification: { kind: "doorbell", apicId: 3 } };
    expect([intel.notification.kind, amd.notification.kind]).toEqual(["interrupt", "doorbell"]);
  });
});

describe("IommuDriver", () => {
  test("domains attach by requester and PASID, nest, and take any 64-bit IOVA", () => {
    expectTypeOf<Parameters<IommuDriver["attach"]>["length"]>().toEqualTypeOf<2 | 3>();
    expectTypeOf<IommuDomain["map"]>().toBeCallableWith(0xffff_ffff_ffff_0000n, 0x1000, 0x1000, Access.Read);
    expectTypeOf<IommuDriver["createDomain"]>().toBeCallableWith({ kind: "paging", addressWidth: 57 });
    expectTypeOf<IommuDriver["allocateInterrupt"]>().returns.toEqualTypeOf<InterruptEntry>();
    expectTypeOf<IommuDriver["start"]>().toBeCallableWith({ fault: ({ address }) => { expectTypeOf(address).toEqualTypeOf<bigint>(); }, pageRequest: (_request, respond) => { respond(PageResponseCode.InvalidRequest); } });
  });
  test("a refusal carries the kernel's error code", () => {
    expect(new IommuDriverError("EEXIST", "IOVA 0x1000 is mapped.").code).toBe("EEXIST");
  });
});

describe("Clock", () => {
  test("an action runs after a delay unless it is cancelled", () => {
    const actions: (() => void)[] = [];
    const clock: Clock = { now: 0, after: (_delay, action) => { actions.push(action); return () => { actions.length = 0; }; } };
    const cancel = clock.after(1000, () => undefined);
    cancel();
    expect(actions).toEqual([]);
  });
});
