import type { Hpa } from "@iommu-lab/memory";
import type { RequesterId } from "./requester-id.ts";

/** What the local APIC is asked to do; the values of an MSI's data bits 10:8. Intel SDM vol. 3 "Message Data Register Format". */
export const DeliveryMode = { Fixed: 0, LowestPriority: 1, Smi: 2, Nmi: 4, Init: 5, ExtInt: 7 } as const;
export type DeliveryMode = (typeof DeliveryMode)[keyof typeof DeliveryMode];

/** An MSI on its way up: a memory write into 0xFEEx_xxxx. */
export interface InterruptMessage {
  requester: RequesterId;
  /** Byte address, 64 bits split: MSIs live below 4 GiB, so this is the whole of it unless a device is wrong. */
  address: number;
  /** 32-bit payload. */
  data: number;
}

/** An interrupt as a local APIC accepts it, after remapping. */
export interface Interrupt {
  /** 0 to 255. */
  vector: number;
  deliveryMode: DeliveryMode;
  /** APIC ID: 8 bits in xAPIC, 32 bits in x2APIC mode; a bit mask in logical mode. */
  destination: number;
  destinationMode: "physical" | "logical";
  trigger: "edge" | "level";
  /** May go to the lowest-priority processor of the destination set. */
  redirectionHint: boolean;
}

/** What a remapper tells processors or a hypervisor after it changed memory for a posted interrupt. */
export type PostingNotification =
  /** Nothing: a notification is outstanding or suppressed. */
  | { readonly kind: "none" }
  /** VT-d: the notification vector goes to the descriptor's processor. VT-d §5.2 "Interrupt-Posting Hardware Support". */
  | { readonly kind: "interrupt"; readonly interrupt: Interrupt }
  /** AMD: the running processor's AVIC doorbell. AMD-Vi §2.2.5.3 "Guest Virtual APIC". */
  | { readonly kind: "doorbell"; readonly apicId: number }
  /** AMD: the guest is not running; an entry went to the GA log and may have raised the IOMMU's interrupt. */
  | { readonly kind: "log"; readonly tag: number };

/** A posted interrupt: one memory update plus its notification, the same shape for both vendors. */
export interface Posting {
  /** VT-d: the posted-interrupt descriptor; AMD: the virtual APIC backing page. */
  readonly structure: Hpa;
  /** The 64-bit-aligned word that was updated atomically. */
  readonly updated: Hpa;
  /** Virtual vector that became pending. */
  readonly vector: number;
  readonly notification: PostingNotification;
}

/** Where interrupts end: the local APICs of a machine. */
export interface InterruptSink {
  /** `interrupt` belongs to the caller and is reused: never keep a reference. */
  deliver(interrupt: Readonly<Interrupt>): void;
  /** The remapper has already updated memory; the sink sees to the notification. */
  post(posting: Posting): void;
}
