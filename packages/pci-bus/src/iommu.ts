import type { MmioHandler, Pfn } from "@iommu-lab/memory";
import type { ExplanationSink } from "./explanation.ts";
import type { InterruptMessage, InterruptSink } from "./interrupt.ts";
import type { RequesterId } from "./requester-id.ts";
import type { Access, Completion, DeviceTlbInvalidation, PageRequest, PageResponse, TranslationRequest } from "./transaction.ts";

/** x86 memory types by their PAT encoding. Intel SDM vol. 3 "Page Attribute Table". */
export const MemoryType = { Uncacheable: 0, WriteCombining: 1, WriteThrough: 4, WriteProtected: 5, WriteBack: 6, UncachedMinus: 7 } as const;
export type MemoryType = (typeof MemoryType)[keyof typeof MemoryType];

/** Filled in by `Iommu.translate`. Owned and reused by the caller. */
export interface Translation {
  /** Host page number of the 4 KiB page asked for, also inside a larger page. */
  page: Pfn<"HPA">;
  /** log2 of the page the translation covers, 12 to 51. */
  pageShift: number;
  /** What the whole walk allows, not only what was asked. */
  permissions: Access;
  /** The translation holds for every PASID. */
  global: boolean;
  memoryType: MemoryType;
  /** The access snoops processor caches whatever the requester's no-snoop attribute says. */
  snoop: boolean;
  /** 0, or the vendor specification's own code (VT-d: fault reason; AMD-Vi: event code). */
  fault: number;
  /** The fault goes into the fault or event log; false when the tables silence it or software is not told. */
  recorded: boolean;
  /** What the requester gets back. */
  completion: Completion;
}

/** A fresh record to hand to `translate`, once per caller. */
export const newTranslation = (): Translation => ({ page: 0, pageShift: 12, permissions: 0, global: false, memoryType: 6, snoop: false, fault: 0, recorded: false, completion: 0 });

/** What an IOMMU remapping an interrupt says. */
export interface InterruptVerdict {
  /** 0, or the vendor's fault code. */
  fault: number;
  recorded: boolean;
}

/** The way from an IOMMU down to the functions behind it; the root complex gives it. */
export interface DownstreamPort {
  /**
   * Sends a device-TLB invalidation. `complete("timed-out")` comes when no completion arrived in `timeout`
   * nanoseconds of the machine's clock, or at once when no such function is there.
   */
  invalidateDeviceTlb(requester: RequesterId, invalidation: DeviceTlbInvalidation, timeout: number, complete: (outcome: "completed" | "timed-out") => void): void;
  respondToPage(requester: RequesterId, response: PageResponse): void;
}

/** DMA and interrupt remapping hardware in front of memory: VT-d, AMD-Vi, or none. */
export interface Iommu {
  /** The register window, as the processor sees it. */
  readonly registers: MmioHandler;
  /** Translates one page. Never throws, never allocates; explains itself only when asked. */
  translate(request: Readonly<TranslationRequest>, out: Translation, explain?: ExplanationSink): void;
  /** Remaps, posts or blocks one MSI; what passes goes to `sink`. */
  remapInterrupt(message: Readonly<InterruptMessage>, sink: InterruptSink, out: InterruptVerdict, explain?: ExplanationSink): void;
  /** Queues a page request for software, or answers it at once when it cannot. */
  pageRequest(request: PageRequest): void;
  /** Called once by the root complex the IOMMU belongs to. */
  connect(port: DownstreamPort): void;
  /** Cold: power-on values everywhere. Warm: sticky registers stay. */
  reset(kind: "cold" | "warm"): void;
}
