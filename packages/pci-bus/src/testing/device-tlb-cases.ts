import { newTranslation, type DownstreamPort } from "../iommu.ts";
import type { RequesterId } from "../requester-id.ts";
import { Access, AddressType, NO_PASID, PageResponseCode, type DeviceTlbInvalidation, type PageRequest, type PageResponse } from "../transaction.ts";
import { check, contractCase, READ_WRITE, same } from "./checks.ts";
import type { ContractCase, DriverFeatures, DriverRig } from "./driver-rig.ts";

const PAGE = 4096;

/** A function with a device-TLB: it keeps what it was told until it is told otherwise. */
class TranslatingFunction implements DownstreamPort {
  readonly invalidated: DeviceTlbInvalidation[] = [];
  readonly responses: PageResponse[] = [];
  readonly #rig: DriverRig;
  readonly #requester: RequesterId;
  readonly #kept = new Map<string, number>();
  readonly #out = newTranslation();

  constructor(rig: DriverRig, requester: RequesterId) {
    this.#rig = rig;
    this.#requester = requester;
    rig.iommu.connect(this);
  }

  /** Host page of an IOVA page, from the device-TLB or a translation request; -1 without rights. */
  translate(page: number, pasid = NO_PASID): number {
    const kept = this.#kept.get(`${pasid} ${page}`);
    if (kept !== undefined) return kept;
    const out = this.#out;
    this.#rig.iommu.translate({ requester: this.#requester, pasid, addressType: AddressType.TranslationRequest, page, access: Access.Read | Access.Write }, out);
    if (out.completion !== 0 || (out.permissions & Access.Read) === 0) return -1;
    this.#kept.set(`${pasid} ${page}`, out.page);
    return out.page;
  }

  invalidateDeviceTlb(requester: RequesterId, invalidation: DeviceTlbInvalidation, _timeout: number, complete: (outcome: "completed" | "timed-out") => void): void {
    if (requester !== this.#requester) {
      complete("timed-out");
      return;
    }
    this.invalidated.push(invalidation);
    const size = 2 ** (invalidation.sizeShift - 12);
    const first = Math.floor(invalidation.page / size) * size;
    for (const key of [...this.#kept.keys()]) {
      const [pasid, page] = key.split(" ").map(Number) as [number, number];
      if ((pasid === invalidation.pasid || invalidation.global) && page >= first && page < first + size) {
        this.#kept.delete(key);
        // Asked again at once, hardware must not answer from what it should have forgotten before.
        this.translate(page, pasid);
      }
    }
    complete("completed");
  }

  respondToPage(requester: RequesterId, response: PageResponse): void {
    if (requester === this.#requester) this.responses.push(response);
  }
}

const hasDeviceTlb = ({ deviceTlb }: DriverFeatures): boolean => deviceTlb;
const hasPageRequests = ({ pageRequests }: DriverFeatures): boolean => pageRequests;

/** Functions with device-TLBs and page requests. */
export const DEVICE_TLB_CASES: readonly ContractCase[] = [
  contractCase("a device-TLB loses what is unmapped, and only after the IOMMU has", (rig) => {
    const { driver, requesters: [requester] } = rig;
    const device = new TranslatingFunction(rig, requester);
    driver.start();
    const domain = driver.createDomain({ kind: "paging" });
    driver.attach(requester, domain);
    domain.map(0x10 * PAGE, 0x2000 * PAGE, 8 * PAGE, READ_WRITE);
    for (let page = 0x10; page < 0x18; page++) same(device.translate(page), 0x1ff0 + page, `What the device is told of page ${page}`);
    domain.unmap(0x13 * PAGE, 2 * PAGE);
    domain.flush();
    for (const page of [0x13, 0x14]) same(device.translate(page), -1, `What the device knows of page ${page} after it was unmapped`);
    same(device.translate(0x12), 0x2002, "What the device is told of a page that stays");
    check(device.invalidated.length > 0, () => "The device-TLB was never invalidated.");
  }, hasDeviceTlb),
  contractCase("a device-TLB loses everything when its function is moved or detached", (rig) => {
    const { driver, requesters: [requester] } = rig;
    const device = new TranslatingFunction(rig, requester);
    driver.start();
    const [first, second] = [driver.createDomain({ kind: "paging" }), driver.createDomain({ kind: "paging" })];
    first.map(0x10 * PAGE, 0x2000 * PAGE, PAGE, READ_WRITE);
    second.map(0x10 * PAGE, 0x3000 * PAGE, PAGE, READ_WRITE);
    driver.attach(requester, first);
    same(device.translate(0x10), 0x2000, "What the device is told");
    driver.attach(requester, second);
    same(device.translate(0x10), 0x3000, "What the device is told after it was moved");
    driver.detach(requester);
    same(device.translate(0x10), -1, "What the device knows after it was detached");
  }, hasDeviceTlb),
  contractCase("a device-TLB's translations of a PASID go with the PASID", (rig) => {
    const { driver, requesters: [requester], features } = rig;
    const device = new TranslatingFunction(rig, requester);
    const [one, other] = features.pasids ?? [1, 2];
    driver.start();
    const domain = driver.createDomain({ kind: "paging" });
    domain.map(0x10 * PAGE, 0x2000 * PAGE, 2 * PAGE, READ_WRITE);
    for (const pasid of [one, other]) driver.attach(requester, domain, pasid);
    for (const pasid of [one, other]) same(device.translate(0x11, pasid), 0x2001, `What the device is told for PASID ${pasid}`);
    domain.unmap(0x11 * PAGE, PAGE);
    domain.flush();
    for (const pasid of [one, other]) same(device.translate(0x11, pasid), -1, `What the device knows for PASID ${pasid}`);
    same(device.translate(0x10, one), 0x2000, "What the device is told of a page that stays");
    driver.detach(requester, one);
    same(device.translate(0x10, one), -1, "What the device knows for a detached PASID");
    same(device.translate(0x10, other), 0x2000, "What the device knows for the other PASID");
  }, (features) => hasDeviceTlb(features) && features.pasids !== undefined),
  contractCase("page requests are handed over and answered by group", (rig) => {
    const { driver, requesters: [requester] } = rig;
    const device = new TranslatingFunction(rig, requester);
    const asked: { readonly request: PageRequest; readonly respond: (code: PageResponseCode) => void }[] = [];
    driver.start({ pageRequest: (request, respond) => asked.push({ request, respond }) });
    driver.attach(requester, driver.createDomain({ kind: "paging" }));
    const common = { requester, pasid: NO_PASID, access: Access.Write, group: 9 };
    rig.iommu.pageRequest({ ...common, page: 0x10, last: false });
    rig.iommu.pageRequest({ ...common, page: 0x11, last: true });
    rig.iommu.pageRequest({ ...common, page: 0x20, last: true, group: 10 });
    driver.service();
    driver.service();
    same(asked.length, 3, "Page requests handed over");
    for (const [i, page] of [0x10, 0x11, 0x20].entries()) {
      same(asked[i]?.request.page, page, `Page of request ${i}`);
      same(asked[i]?.request.requester, requester, `Requester of request ${i}`);
      same(asked[i]?.request.access, Access.Write, `Access of request ${i}`);
    }
    same(device.responses.length, 0, "Responses before anybody answered");
    asked[2]?.respond(PageResponseCode.Success);
    same(device.responses[0]?.group, 10, "Group of the first response");
    asked[1]?.respond(PageResponseCode.Success);
    same(device.responses.length, 1, "Responses while a request of the group is open");
    asked[0]?.respond(PageResponseCode.InvalidRequest);
    asked[0]?.respond(PageResponseCode.Success);
    same(device.responses.length, 2, "Responses");
    same(device.responses[1]?.group, 9, "Group of the second response");
    same(device.responses[1]?.code, PageResponseCode.InvalidRequest, "Code of a group of which one request was refused");
  }, hasPageRequests),
  contractCase("page requests that nobody listens to are refused", (rig) => {
    const { driver, requesters: [requester] } = rig;
    const device = new TranslatingFunction(rig, requester);
    driver.start();
    driver.attach(requester, driver.createDomain({ kind: "paging" }));
    for (let i = 0; i < 300; i++) {
      rig.iommu.pageRequest({ requester, pasid: NO_PASID, page: i, access: Access.Read, group: i % 512, last: true });
      driver.service();
    }
    same(device.responses.length, 300, "Responses");
    check(device.responses.every(({ code, group }, i) => code === PageResponseCode.InvalidRequest && group === i % 512), () => "A response has a wrong code or group.");
  }, hasPageRequests),
];
