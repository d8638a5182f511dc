import { IommuDriverError, type IommuDriver, type IommuFault } from "../driver.ts";
import type { Interrupt, InterruptMessage, InterruptSink, Posting } from "../interrupt.ts";
import { newTranslation } from "../iommu.ts";
import type { RequesterId } from "../requester-id.ts";
import { Access, AddressType, NO_PASID, type TranslationRequest } from "../transaction.ts";
import { ContractViolation, type ContractCase, type DriverFeatures, type DriverRig } from "./driver-rig.ts";

/** @throws ContractViolation when the condition does not hold */
export function check(condition: boolean, what: () => string): asserts condition {
  if (!condition) throw new ContractViolation(what());
}

/** @throws ContractViolation when the values differ */
export const same = (actual: unknown, expected: unknown, what: string): void => {
  check(Object.is(actual, expected), () => `${what}: ${String(actual)} instead of ${String(expected)}.`);
};

/** Runs an action that must be refused with one of some codes. */
export const refused = (codes: readonly IommuDriverError["code"][], what: string, action: () => unknown): void => {
  try {
    action();
  } catch (error) {
    check(error instanceof IommuDriverError, () => `${what} threw ${String(error)} instead of an IommuDriverError.`);
    check(codes.includes(error.code), () => `${what} was refused with ${error.code} (${error.message}) instead of ${codes.join(" or ")}.`);
    return;
  }
  throw new ContractViolation(`${what} was not refused with ${codes.join(" or ")}.`);
};

/** A case for all rigs, or those with a feature. */
export const contractCase = (name: string, run: (rig: DriverRig) => void, applies: (features: DriverFeatures) => boolean = () => true): ContractCase => ({ name, run, applies });

/** What a function's DMA came to. */
export type DmaOutcome = { readonly ok: true; readonly page: number } | { readonly ok: false; readonly fault: number };

const request: TranslationRequest = { requester: 0, pasid: NO_PASID, addressType: AddressType.Untranslated, page: 0, access: Access.Read };
const translation = newTranslation();

/** One DMA of a function, judged by the hardware. @param page IOVA page number */
export const dma = (rig: DriverRig, requester: RequesterId, page: number, access: Access = Access.Read, pasid = NO_PASID): DmaOutcome => {
  Object.assign(request, { requester, pasid, addressType: AddressType.Untranslated, page, access });
  rig.iommu.translate(request, translation);
  return translation.completion === 0 ? { ok: true, page: translation.page } : { ok: false, fault: translation.fault };
};

/** DMA must reach a page. */
export const reaches = (rig: DriverRig, requester: RequesterId, page: number, frame: number, access: Access = Access.Read, pasid = NO_PASID): void => {
  const outcome = dma(rig, requester, page, access, pasid);
  check(outcome.ok, () => `DMA of ${requester} (PASID ${pasid}) to IOVA page ${page} was refused (fault ${outcome.ok ? 0 : outcome.fault}); it is mapped to page ${frame}.`);
  same(outcome.page, frame, `Host page of IOVA page ${page} for ${requester} (PASID ${pasid})`);
};

/** DMA must be refused. */
export const isBlocked = (rig: DriverRig, requester: RequesterId, page: number, access: Access = Access.Read, pasid = NO_PASID): void => {
  const outcome = dma(rig, requester, page, access, pasid);
  check(!outcome.ok, () => `DMA of ${requester} (PASID ${pasid}) to IOVA page ${page} reached host page ${outcome.ok ? outcome.page : 0}; it should have been refused.`);
};

/** What an interrupt came to. */
export interface InterruptOutcome {
  readonly delivered: readonly Interrupt[];
  readonly posted: readonly Posting[];
  readonly fault: number;
}

/** A function writes a message. */
export const interrupt = (rig: DriverRig, message: Readonly<InterruptMessage>): InterruptOutcome => {
  const delivered: Interrupt[] = [];
  const posted: Posting[] = [];
  const sink: InterruptSink = { deliver: (one) => delivered.push({ ...one }), post: (one) => posted.push(one) };
  const verdict = { fault: 0, recorded: false };
  rig.iommu.remapInterrupt(message, sink, verdict);
  return { delivered, posted, fault: verdict.fault };
};

/** The faults that `service` tells of. @param driver started with `callbacks.fault` pushing to `faults` */
export const takeFaults = (driver: IommuDriver, faults: IommuFault[]): IommuFault[] => {
  driver.service();
  return faults.splice(0);
};

export const READ_WRITE = Access.Read | Access.Write;
