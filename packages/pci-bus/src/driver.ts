import type { Gpa, Hpa } from "@iommu-lab/memory";
import type { Interrupt, InterruptMessage } from "./interrupt.ts";
import type { RequesterId } from "./requester-id.ts";
import type { Access, PageRequest, PageResponseCode } from "./transaction.ts";

/** What a new domain is for. */
export type DomainKind =
  /** Its own page tables, filled by `map`; `nestingParent`: tables that nested domains can build on. */
  | { readonly kind: "paging"; readonly addressWidth?: number; readonly nestingParent?: boolean }
  /** IOVA = HPA without tables. */
  | { readonly kind: "identity" }
  /** Every access is refused. */
  | { readonly kind: "blocked" }
  /** The guest's own first-stage tables on top of a second-stage domain of ours. */
  | { readonly kind: "nested"; readonly parent: IommuDomain; readonly table: Gpa; readonly levels: 4 | 5 };

/** An address space for devices. IOVAs are any 64-bit value: number where exact, else bigint. */
export interface IommuDomain {
  readonly id: number;
  readonly kind: DomainKind["kind"];
  /** Page sizes in bytes the hardware can map here, ascending. */
  readonly pageSizes: readonly number[];
  /**
   * Maps with the largest pages that fit. All three are multiples of the smallest page size.
   * What was unmapped there and not flushed is flushed first, so that the new pages are seen at once. What fails maps nothing.
   * @throws IommuDriverError EEXIST where something is mapped, EINVAL on misalignment, ERANGE past the address width,
   *   EOPNOTSUPP for permissions that the tables cannot express and for domains without mappings of their own
   */
  map(iova: number | bigint, hpa: Hpa, size: number, permissions: Access): void;
  /** Unmaps, splitting larger pages at the ends; stale translations may live on until `flush`. Returns the bytes that were mapped. */
  unmap(iova: number | bigint, size: number): number;
  /** Invalidates what `unmap` left behind and waits for the hardware to say so. */
  flush(): void;
  /** What the tables say now, without any cache; undefined where nothing is mapped. */
  lookup(iova: number | bigint): Hpa | undefined;
}

/** A fault that the hardware recorded, decoded. */
export interface IommuFault {
  readonly requester: RequesterId;
  readonly pasid: number;
  /** Faulting address in bytes, page aligned when the hardware keeps only the page. */
  readonly address: bigint;
  /** Neither Read nor Write when the hardware does not say which it was. */
  readonly access: Access;
  /** The vendor's code. */
  readonly code: number;
  /** The vendor's words for it, our sentence. */
  readonly text: string;
  /** Index of the remapping entry, when what was refused is an interrupt. */
  readonly interrupt?: number;
}

/** An interrupt remapping entry held by a device. */
export interface InterruptEntry {
  /** What the device is to be programmed with: `requester` is the one allowed to use it. */
  readonly message: Readonly<InterruptMessage>;
  /** Points the entry elsewhere; the device is not touched. */
  retarget(interrupt: Readonly<Interrupt>): void;
  /**
   * Posts instead of delivering. VT-d: posted-interrupt descriptor; AMD: vAPIC backing page.
   * @param running APIC ID of the processor that runs the virtual one, where the entry holds it (AMD's IsRun and Destination); without it, it does not run
   */
  post(structure: Hpa, vector: number, urgent: boolean, running?: number): void;
  free(): void;
}

/** What software hears from the IOMMU. */
export interface IommuDriverCallbacks {
  fault?(fault: IommuFault): void;
  /** Answer with `respond`; a group that nobody answers keeps its devices waiting. */
  pageRequest?(request: PageRequest, respond: (code: PageResponseCode) => void): void;
  /** The hardware complained (a device-TLB that does not answer, a queue that stopped) and the driver has put it right; in words. */
  problem?(text: string): void;
}

/** The kernel's side of an IOMMU: builds tables in memory, queues invalidations, reads logs. */
export interface IommuDriver {
  /** Turns the hardware on with every function blocked that is not attached. @throws IommuDriverError EBUSY when it is on */
  start(callbacks?: IommuDriverCallbacks): void;
  /** Turns translation off again. Domains, attachments and interrupt entries stay for the next `start`. */
  stop(): void;
  createDomain(kind: DomainKind): IommuDomain;
  /** Frees a domain. @throws IommuDriverError EBUSY while something is attached */
  destroyDomain(domain: IommuDomain): void;
  /**
   * Without `pasid`: requests that carry none. What is attached to another domain is moved.
   * @throws IommuDriverError ENODEV for a requester of no IOMMU, EINVAL for an impossible PASID, EOPNOTSUPP for one where there are none
   */
  attach(requester: RequesterId, domain: IommuDomain, pasid?: number): void;
  /** Blocks a function again. @throws IommuDriverError EINVAL where nothing is attached */
  detach(requester: RequesterId, pasid?: number): void;
  /** @throws IommuDriverError ENOSPC when all entries are taken, EOPNOTSUPP without interrupt remapping */
  allocateInterrupt(requester: RequesterId, interrupt: Readonly<Interrupt>): InterruptEntry;
  /** The IOMMU's own interrupt arrived: read logs, call back. */
  service(): void;
}

/** A refusal in the kernel's terms. */
export class IommuDriverError extends Error {
  override readonly name = "IommuDriverError";
  readonly code: "EBUSY" | "EEXIST" | "EINVAL" | "EIO" | "ENODEV" | "ENOMEM" | "ENOSPC" | "EOPNOTSUPP" | "ERANGE";
  constructor(code: IommuDriverError["code"], message: string) {
    super(message);
    this.code = code;
  }
}
