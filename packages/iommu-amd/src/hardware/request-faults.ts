import { Access, AddressType, Completion, NO_PASID, type ExplanationSink, type Translation, type TranslationRequest } from "@iommu-lab/pci-bus";
import { EventCode } from "../layouts/index.ts";
import { answerWithoutRights, refuse } from "./answers.ts";
import type { DeviceEntry } from "./device-entry.ts";
import { LookupFailure, type DeviceTable } from "./device-table.ts";
import { explainRule } from "./explain.ts";
import { FAULT_FLAGS } from "./walk-fault.ts";

/** Flags in an event's second word. AMD-Vi §2.5.3. */
const GN = 1 << 16;
const NX = 1 << 17;
const US = 1 << 18;
const PR = 1 << 20;
const RW = 1 << 21;
const RZ = 1 << 23;
const TR = 1 << 24;
const TARGET_ABORT = 2 << 25;
/** US of an INVALID_DEVICE_REQUEST. */
const REQUEST_US = 1 << 17;
const REQUEST_TYPE_SHIFT = 25;

/** Where events go. */
export interface FaultPort {
  /** Logs an event of four words. */
  logEvent(w0: number, w1: number, w2: number, w3: number): void;
  /** A request was aborted. */
  targetAbort(): void;
}

/** Ends DMA requests with the event that tells of them. AMD-Vi §2.5. */
export class RequestFaults {
  aborted = 0;
  readonly #port: FaultPort;
  /** Devices whose page fault was logged since their entry was invalidated (SE). */
  readonly #told = new Set<number>();

  constructor(port: FaultPort) {
    this.#port = port;
  }

  /** A device's entry was invalidated: SE lets its next page fault through. */
  forget(deviceId: number): void {
    this.#told.delete(deviceId);
  }

  forgetAll(): void {
    this.#told.clear();
  }

  /** The device's entry cannot be read, or is beyond the table. AMD-Vi §2.5.4, §2.5.3. */
  noEntry(request: Readonly<TranslationRequest>, out: Translation, { failure, failedAt }: DeviceTable): void {
    const flags = requestFlags(request);
    if (failure === LookupFailure.Unreadable) {
      this.#abort(request, out, EventCode.DeviceTableHardwareError, true);
      this.#port.logEvent(request.requester, flags | TARGET_ABORT | (EventCode.DeviceTableHardwareError << 28), failedAt | 0, Math.floor(failedAt / 0x1_0000_0000));
      return;
    }
    // Address and domain are 0, as the entry that would say what they mean is missing.
    const logged = request.addressType !== AddressType.TranslationRequest;
    this.#abort(request, out, EventCode.IoPageFault, logged);
    if (logged) this.#port.logEvent(request.requester, EventCode.IoPageFault << 28, 0, 0);
  }

  /** IO_PAGE_FAULT of a `WalkFault`; a translation request is only told that it has no rights. AMD-Vi §2.5.3. */
  page(request: Readonly<TranslationRequest>, out: Translation, entry: DeviceEntry, kind: number, pasid: number): void {
    let flags = FAULT_FLAGS[kind] as number; // a WalkFault
    if ((request.access & Access.Write) !== 0 && (flags & PR) !== 0) flags |= RW;
    if (pasid !== NO_PASID) flags |= GN | ((request.access & Access.Execute) !== 0 ? NX : 0) | ((request.access & Access.Privileged) === 0 ? US : 0);
    const { page: at } = request;
    this.#logPage(request, out, entry, flags, pasid, (at % 0x10_0000) << 12, Math.floor(at / 0x10_0000) | 0);
  }

  /** A fault in the host table below a guest's: it is told with the guest-physical address and the domain. */
  nested(request: Readonly<TranslationRequest>, out: Translation, entry: DeviceEntry, kind: number, at: { readonly nestedPage: number; readonly nestedWrite: boolean }): void {
    const flags = FAULT_FLAGS[kind] as number; // a WalkFault
    const { nestedPage } = at;
    this.#logPage(request, out, entry, at.nestedWrite && (flags & PR) !== 0 ? flags | RW : flags, NO_PASID, (nestedPage % 0x10_0000) << 12, Math.floor(nestedPage / 0x10_0000) | 0);
  }

  /** PAGE_TAB_HARDWARE_ERROR. AMD-Vi §2.5.5. */
  unreadable(request: Readonly<TranslationRequest>, out: Translation, entry: DeviceEntry, { unreadable }: { readonly unreadable: number }, pasid: number): void {
    this.#abort(request, out, EventCode.PageTableHardwareError, true);
    const flags = requestFlags(request) | (pasid === NO_PASID ? entry.domain : (pasid & 0xffff) | GN) | TARGET_ABORT | (EventCode.PageTableHardwareError << 28);
    this.#port.logEvent(pasid === NO_PASID ? request.requester : request.requester | (pasid & 0xf_0000), flags, unreadable | 0, Math.floor(unreadable / 0x1_0000_0000));
  }

  /** ILLEGAL_DEV_TABLE_ENTRY. @param reserved RZ. AMD-Vi §2.5.2 */
  illegal(request: Readonly<TranslationRequest>, out: Translation, reserved: boolean, rule: string, explain?: ExplanationSink): void {
    if (explain !== undefined) explainRule(explain, "device table entry", rule, "AMD-Vi §2.5.2", "ILLEGAL_DEV_TABLE_ENTRY");
    this.#abort(request, out, EventCode.IllegalDeviceEntry, true);
    this.#logWithPasid(request, requestFlags(request) | (reserved ? RZ : 0) | (EventCode.IllegalDeviceEntry << 28));
  }

  /** INVALID_DEVICE_REQUEST. @param type a `RequestType`, or a `TranslationType` of a translation request. AMD-Vi §2.5.9 */
  invalid(request: Readonly<TranslationRequest>, out: Translation, type: number, rule: string, explain?: ExplanationSink): void {
    if (explain !== undefined) explainRule(explain, "request", rule, "AMD-Vi §2.5.9", `INVALID_DEVICE_REQUEST, type ${type}`);
    this.#abort(request, out, EventCode.InvalidDeviceRequest, true);
    const user = request.pasid !== NO_PASID && (request.access & Access.Privileged) === 0 ? REQUEST_US : 0;
    this.#logWithPasid(request, translationFlag(request) | user | (type << REQUEST_TYPE_SHIFT) | (EventCode.InvalidDeviceRequest << 28));
  }

  /** RMP_PAGE_FAULT: the RMP gives the page to somebody else. Model: it tells the request's address, of guest tables too. AMD-Vi §2.5.13 */
  notOwned(request: Readonly<TranslationRequest>, out: Translation): void {
    const { page } = request;
    if (request.addressType === AddressType.TranslationRequest) {
      answerWithoutRights(out, page);
      return;
    }
    this.#abort(request, out, EventCode.RmpPageFault, true);
    this.#port.logEvent(request.requester, requestFlags(request) | (EventCode.RmpPageFault << 28), (page % 0x10_0000) << 12, Math.floor(page / 0x10_0000) | 0);
  }

  /** RMP_HW_ERROR: what the RMP says of a page cannot be read. AMD-Vi §2.5.14 */
  noOwner(request: Readonly<TranslationRequest>, out: Translation, hostPage: number): void {
    this.#abort(request, out, EventCode.RmpHardwareError, true);
    this.#port.logEvent(request.requester, requestFlags(request) | (EventCode.RmpHardwareError << 28), (hostPage % 0x10_0000) << 12, Math.floor(hostPage / 0x10_0000) | 0);
  }

  /** The address comes in two words: a page number past int32 as an argument would be allocated. */
  #logPage(request: Readonly<TranslationRequest>, out: Translation, entry: DeviceEntry, flags: number, pasid: number, low: number, high: number): void {
    if (request.addressType === AddressType.TranslationRequest) {
      answerWithoutRights(out, request.page);
      return;
    }
    const { requester } = request;
    const logged = this.#mayTell(requester, entry.suppressAll, entry.suppressRepeated);
    this.#abort(request, out, EventCode.IoPageFault, logged);
    if (logged) this.#port.logEvent(pasid === NO_PASID ? requester : requester | (pasid & 0xf_0000), (pasid === NO_PASID ? entry.domain : pasid & 0xffff) | flags | (EventCode.IoPageFault << 28), low, high);
  }

  /** Whether a page fault of a device goes into the log; SE lets one through. */
  #mayTell(deviceId: number, suppressAll: boolean, suppressRepeated: boolean): boolean {
    if (suppressAll || (suppressRepeated && this.#told.has(deviceId))) return false;
    this.#told.add(deviceId);
    return true;
  }

  /** An event that has the request's PASID and address. */
  #logWithPasid({ requester, pasid, page }: Readonly<TranslationRequest>, flags: number): void {
    const low = (page % 0x10_0000) << 12;
    const high = Math.floor(page / 0x10_0000) | 0;
    if (pasid === NO_PASID) this.#port.logEvent(requester, flags, low, high);
    else this.#port.logEvent(requester | (pasid & 0xf_0000), flags | (pasid & 0xffff) | GN, low, high);
  }

  /** Ends a request with an event's code. A translation request that the device should not have sent is unsupported. */
  #abort({ addressType }: Readonly<TranslationRequest>, out: Translation, code: number, recorded: boolean): void {
    this.aborted++;
    this.#port.targetAbort();
    refuse(out, addressType === AddressType.TranslationRequest && code === EventCode.InvalidDeviceRequest ? Completion.UnsupportedRequest : Completion.CompleterAbort, code, recorded);
  }
}

const translationFlag = ({ addressType }: Readonly<TranslationRequest>): number => (addressType === AddressType.TranslationRequest ? TR : 0);
const requestFlags = (request: Readonly<TranslationRequest>): number => translationFlag(request) | ((request.access & Access.Write) !== 0 ? RW : 0);
