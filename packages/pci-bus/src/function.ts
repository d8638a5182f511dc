import type { MmioHandler } from "@iommu-lab/memory";
import type { ConfigSpace } from "./config-space.ts";
import type { Translation } from "./iommu.ts";
import type { RequesterId } from "./requester-id.ts";
import type { Access, AddressType, Completion, DeviceTlbInvalidation, PageRequest, PageResponse } from "./transaction.ts";

/** What goes with a DMA beside its address. */
export interface DmaOptions {
  /** 20 bits, or `NO_PASID`, the default. */
  readonly pasid?: number;
  /** `AddressType.Untranslated` unless the function holds a translation for the address. */
  readonly addressType?: AddressType;
  /** The privileged-mode bit of the PASID prefix. */
  readonly privileged?: boolean;
  /** The execute bit of the PASID prefix (reads only). */
  readonly execute?: boolean;
}

/** The only way out of a function: that no DMA bypasses the IOMMU is a property of this type. */
export interface UpstreamPort {
  readonly requester: RequesterId;
  /** Reads `into.length` bytes; a transfer that crosses 4 KiB is several requests, and the first that fails ends it. */
  dmaRead(address: number | bigint, into: Uint8Array, options?: DmaOptions): Completion;
  /** Writes are posted: what is returned is what the fabric knows, the requester of real hardware sees nothing. */
  dmaWrite(address: number | bigint, from: Uint8Array, options?: DmaOptions): Completion;
  /** A translation request (ATS) for one page; the completion's contents go to `out`. PCIe §10.2. */
  translate(address: number | bigint, access: Access, out: Translation, options?: DmaOptions): Completion;
  /** A page request (PRI); the response comes down through `FabricPort.pageResponse`. */
  pageRequest(request: Omit<PageRequest, "requester">): void;
  /** An MSI or MSI-X write: `address` is what software programmed, `data` 32 bits. */
  message(address: number | bigint, data: number): Completion;
  /** INTx: the level of pin A (0) to D (3). */
  interruptPin(pin: 0 | 1 | 2 | 3, asserted: boolean): void;
}

/** What reaches a function from above beside configuration and BAR accesses. */
export interface FabricPort {
  /**
   * Drop matching translations, then call `complete` once no request that used them is in flight: now, later,
   * or never, which the IOMMU ends by its time-out.
   */
  invalidate(invalidation: DeviceTlbInvalidation, complete: () => void): void;
  pageResponse(response: PageResponse): void;
  /** Function-level reset or a reset of the bus above. */
  reset(kind: "function" | "bus" | "cold"): void;
}

/** A PCI function as the bus sees it. */
export interface PciFunction {
  readonly config: ConfigSpace;
  /** Handlers of BAR 0 to 5; the upper half of a 64-bit BAR is undefined, as is a BAR that is not there. */
  readonly bars: readonly (MmioHandler | undefined)[];
  /** Undefined for functions without ATS, PRI or reset behaviour of their own. */
  readonly fabric?: FabricPort;
  /** Called once when plugged in; everything the function sends goes through `port`. */
  connect(port: UpstreamPort): void;
}
