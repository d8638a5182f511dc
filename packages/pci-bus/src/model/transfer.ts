import { PAGE_SIZE } from "@iommu-lab/memory";
import type { Translation } from "../iommu.ts";
import { AddressType, Completion, NO_PASID } from "../transaction.ts";
import { Acs, acsControl } from "./acs.ts";
import { readBytes, writeBytes } from "./claim.ts";
import { memoryRequest, splitAddress, type ForgedDmaOptions, type MemoryRequest } from "./memory-request.ts";
import { recordError, setStatus, StatusBit, UncorrectableError } from "./status-bits.ts";
import { routeUpstream, type Route } from "./upstream.ts";
import type { Attachment, Claim, HostBridge } from "./fabric.ts";

const FIRST_INTERRUPT_PAGE = 0xfee00;
const LAST_INTERRUPT_PAGE = 0xfeeff;

const isInterruptPage = (page: number): boolean => page >= FIRST_INTERRUPT_PAGE && page <= LAST_INTERRUPT_PAGE;

/** Carries out a request at the function that claimed it. */
const deliver = (claim: Claim, request: MemoryRequest, bytes: Uint8Array): Completion => {
  const { seat, handler, offset, room, aborted } = claim;
  if (aborted || bytes.length > room || request.addressType === AddressType.TranslationRequest) {
    recordError(seat, UncorrectableError.UnsupportedRequest);
    seat.hop("aborted", "PCIe §2.3.1: the request finds no completer: Unsupported Request");
    return Completion.UnsupportedRequest;
  }
  seat.hop("claimed", "PCIe §2.2.4.1: the address is in one of the function's BARs");
  if (request.write) writeBytes(handler, offset, bytes);
  else readBytes(handler, offset, bytes);
  return Completion.Successful;
};

/** PCIe §6.12.1.1: a port on the completer's side with P2P Completion Redirect sends the data the long way round. */
const returnCompletion = (claim: Claim, ingress: Attachment, request: MemoryRequest): void => {
  if (request.write) return;
  let port = claim.seat;
  while (port.bus !== ingress.bus && port.bus.bridge) port = port.bus.bridge;
  if (acsControl(port) & Acs.CompletionRedirect) port.hop("redirected", "PCIe §6.12.1.1: P2P Completion Redirect sends the peer's completion upstream");
};

const interrupt = (host: HostBridge, request: MemoryRequest, bytes: Uint8Array): Completion => {
  const { complex } = host;
  const aligned = bytes.length === 4 && request.offset % 4 === 0;
  if (!request.write || !aligned) {
    complex.hop(host, "root-complex", "blocked", "Intel SDM vol. 3 §11.11: the interrupt range takes aligned doubleword writes only");
    return Completion.UnsupportedRequest;
  }
  const data = new DataView(bytes.buffer, bytes.byteOffset, 4).getUint32(0, true);
  return complex.receiveInterrupt(host, { requester: request.requester, address: request.page * PAGE_SIZE + request.offset, data });
};

/** At the root complex: through the IOMMU, then to memory or down again to a BAR. */
const completeAtRoot = (host: HostBridge, request: MemoryRequest, bytes: Uint8Array): Completion => {
  const { complex } = host;
  if (isInterruptPage(request.page) && request.pasid === NO_PASID && request.addressType === AddressType.Untranslated) return interrupt(host, request, bytes);
  const { completion, page } = complex.translate(host, request);
  if (completion !== Completion.Successful) return completion;
  if (isInterruptPage(page)) {
    complex.hop(host, "root-complex", "blocked", "A translation into the interrupt range 0xfeex_xxxx reaches neither memory nor a processor");
    return Completion.UnsupportedRequest;
  }
  request.hpa = page * PAGE_SIZE + request.offset;
  return complex.reachHost(request.hpa, request.write, bytes, (claim) => deliver(claim, request, bytes));
};

const complete = (route: Route, request: MemoryRequest, bytes: Uint8Array): Completion => {
  if (route.kind === "blocked") return route.completion;
  if (route.kind === "root") return completeAtRoot(route.host, request, bytes);
  const completion = deliver(route.claim, request, bytes);
  returnCompletion(route.claim, route.ingress, request);
  return completion;
};

/** PCIe §7.5.1.1.4: the requester of a non-posted request notes how it failed. */
const noteFailure = (origin: Attachment, completion: Completion): void => {
  if (completion === Completion.UnsupportedRequest) setStatus(origin.fn.config, StatusBit.ReceivedMasterAbort);
  if (completion === Completion.CompleterAbort) setStatus(origin.fn.config, StatusBit.ReceivedTargetAbort);
};

/** Tells who listens how a request ended; a message is told where it arrives. */
const tell = (origin: Attachment, { page, offset, length, write, hpa }: MemoryRequest, completion: Completion): void => {
  const sink = origin.bus.host?.complex.trace;
  const message = write && length === 4 && offset % 4 === 0 && isInterruptPage(page);
  if (sink?.request && !message) sink.request({ from: origin.address, address: (BigInt(page) << 12n) | BigInt(offset), length, write, completion, hpa });
};

/** Moves bytes between a function and wherever its address leads: one request per 4 KiB, ended by the first that fails. */
export const transfer = (origin: Attachment, write: boolean, address: number | bigint, bytes: Uint8Array, options?: ForgedDmaOptions): Completion => {
  let { page, offset } = splitAddress(address);
  for (let done = 0; done < bytes.length; ) {
    const length = Math.min(PAGE_SIZE - offset, bytes.length - done);
    const request = memoryRequest(origin.requester, write, page, offset, length, options);
    const completion = complete(routeUpstream(origin, request), request, bytes.subarray(done, done + length));
    tell(origin, request, completion);
    if (completion !== Completion.Successful) {
      if (!write) noteFailure(origin, completion);
      return completion;
    }
    done += length;
    offset = 0;
    page = page + 1 === 2 ** 52 ? 0 : page + 1;
  }
  return Completion.Successful;
};

/** Sends a translation request and gives what comes back to `out`. PCIe §10.2.2. */
export const requestTranslation = (origin: Attachment, address: number | bigint, write: boolean, out: Translation, options?: ForgedDmaOptions): Completion => {
  const { page, offset } = splitAddress(address);
  const request = memoryRequest(origin.requester, write, page, offset, 8, { ...options, addressType: AddressType.TranslationRequest });
  const route = routeUpstream(origin, request);
  let completion: Completion;
  if (route.kind === "root") completion = route.host.complex.answerTranslation(route.host, request, out);
  else if (route.kind === "peer") completion = deliver(route.claim, request, new Uint8Array(8));
  else completion = route.completion;
  if (completion !== Completion.Successful) noteFailure(origin, completion);
  return completion;
};


