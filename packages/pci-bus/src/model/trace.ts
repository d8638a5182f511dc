import type { AccessSize, Hpa } from "@iommu-lab/memory";
import type { Interrupt, InterruptMessage, Posting } from "../interrupt.ts";
import type { FunctionAddress, RequesterId } from "../requester-id.ts";
import type { Completion } from "../transaction.ts";

/** What a part of the fabric did with a request. */
export type HopDecision =
  | "sent"
  | "forwarded"
  | "direct"
  | "redirected"
  | "blocked"
  | "claimed"
  | "aborted"
  | "translated"
  | "untranslated"
  | "refused"
  | "interrupt"
  | "memory"
  | "conflict"
  | "reset";

/** One station of a request on its way through the fabric. */
export interface BusHop {
  /** The function or port that decided, as its requester ID, or the root complex. */
  readonly at: RequesterId | "root";
  /** PCI segment of `at`. */
  readonly domain: number;
  /** What stands there: "endpoint", "root-port", "downstream-port", …, "root-complex", "iommu". */
  readonly kind: string;
  readonly decision: HopDecision;
  /** The rule applied, with its section. */
  readonly rule: string;
}

/** A memory request that has ended; it does not cross 4 KiB. */
export interface BusRequest {
  /** The function that sent it. */
  readonly from: FunctionAddress;
  /** Any 64-bit address. */
  readonly address: bigint;
  readonly length: number;
  readonly write: boolean;
  readonly completion: Completion;
  /** Where the root complex found it to lead; undefined when it was refused or did not come so far. */
  readonly hpa: Hpa | undefined;
}

/** What became of a message to 0xfeex_xxxx at the root complex. */
export type InterruptOutcome = { readonly kind: "delivered"; readonly interrupt: Readonly<Interrupt> } | { readonly kind: "posted"; readonly posting: Posting } | { readonly kind: "blocked" };

/**
 * Takes the hops of requests in order; "bypasses the IOMMU" is a path without a hop of kind "iommu". The rest costs nothing where it
 * is left out.
 */
export interface BusTraceSink {
  hop(hop: BusHop): void;
  /** A request has ended; after its hops. Messages are told by `interrupt`. */
  request?(request: BusRequest): void;
  /** A message has arrived; before the processors take what became of it. */
  interrupt?(domain: number, message: Readonly<InterruptMessage>, outcome: InterruptOutcome): void;
  /** A write to configuration space; before it is carried out. */
  configWrite?(address: FunctionAddress, offset: number, size: AccessSize, value: number): void;
}
