import type { RequesterId } from "../requester-id.ts";

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

/** Takes the hops of requests in order; "bypasses the IOMMU" is a path without a hop of kind "iommu". */
export interface BusTraceSink {
  hop(hop: BusHop): void;
}
