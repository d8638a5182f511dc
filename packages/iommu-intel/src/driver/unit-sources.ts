import type { Pfn } from "@iommu-lab/memory";
import type { RequesterId } from "@iommu-lab/pci-bus";

/** PGTT of a PASID-table entry; legacy mode expresses the second and the last by TT. VT-d §9.6. */
export const TranslationType = { FirstStage: 1, SecondStage: 2, Nested: 3, PassThrough: 4 } as const;

/** What a source's requests are translated by. */
export interface SourceTranslation {
  readonly type: (typeof TranslationType)[keyof typeof TranslationType];
  /** Domain identifier that the unit tags translations with. */
  readonly domain: number;
  /** Second-stage table (with pass-through: only the levels count). */
  readonly table: Pfn<"HPA">;
  readonly levels: number;
  /** First-stage table: an HPA, or a GPA when nested. */
  readonly firstTable: Pfn<"HPA">;
  readonly firstLevels: number;
}

/** Root, context and PASID tables of one unit. A source without an entry is blocked, and its requests are recorded as faults. */
export interface UnitSources {
  readonly rootTable: Pfn<"HPA">;
  /** TTM of RTADDR_REG. */
  readonly mode: 0 | 1;
  /** Binds a source that is blocked. @param pasid 0 for requests without */
  attach(requester: RequesterId, pasid: number, translation: SourceTranslation): void;
  /** Blocks a source and makes the hardware forget it. @param translation what it was bound to */
  detach(requester: RequesterId, pasid: number, translation: SourceTranslation): void;
}

/** Whole device-TLB: log2 of its bytes. */
export const WHOLE_ADDRESS_SPACE = 64;
