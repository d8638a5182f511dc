import { PAGE_SIZE, type Hpa, type Pfn } from "@iommu-lab/memory";
import type { DmaOptions } from "../function.ts";
import type { RequesterId } from "../requester-id.ts";
import { Access, AddressType, NO_PASID } from "../transaction.ts";

/** One memory request on its way up; it does not cross 4 KiB. PCIe §2.2.7 "Memory, I/O, and Configuration Request Rules". */
export interface MemoryRequest {
  /** As the packet carries it at this point: bridges to conventional PCI replace it. */
  requester: RequesterId;
  readonly write: boolean;
  readonly addressType: AddressType;
  /** 20 bits, or `NO_PASID`. */
  readonly pasid: number;
  readonly privileged: boolean;
  readonly execute: boolean;
  readonly page: Pfn<"IOVA">;
  /** In the page. */
  readonly offset: number;
  readonly length: number;
  /** Where the root complex found it to lead. */
  hpa: Hpa | undefined;
}

/** What a lying function may add to a request: the fabric of a machine without ACS Source Validation believes it. */
export interface ForgedDmaOptions extends DmaOptions {
  /** The requester ID to put into the packet instead of the function's own. */
  readonly requester?: RequesterId;
}

/** Splits a 64-bit address into page number and offset. */
export const splitAddress = (address: number | bigint): { page: Pfn<"IOVA">; offset: number } => {
  if (typeof address === "number") {
    const page = Math.floor(address / PAGE_SIZE);
    return { page, offset: address - page * PAGE_SIZE };
  }
  return { page: Number((address >> 12n) & 0xf_ffff_ffff_ffffn), offset: Number(address & 0xfffn) };
};

/** The address for comparison with BARs and windows; infinite when no HPA can be that high. */
export const comparable = ({ page, offset }: MemoryRequest): number => (page < 2 ** 40 ? page * PAGE_SIZE + offset : Infinity);

/** Fills in what the options leave open. */
export const memoryRequest = (requester: RequesterId, write: boolean, page: Pfn<"IOVA">, offset: number, length: number, options: ForgedDmaOptions = {}): MemoryRequest => ({
  requester: options.requester ?? requester,
  write,
  addressType: options.addressType ?? AddressType.Untranslated,
  pasid: options.pasid ?? NO_PASID,
  privileged: options.privileged ?? false,
  execute: options.execute ?? false,
  page,
  offset,
  length,
  hpa: undefined,
});

/** Translation requests always ask for read permission; their No Write bit tells whether also for write (PCIe §10.2.2). */
const rights = ({ write, addressType }: MemoryRequest): Access => (addressType === AddressType.TranslationRequest ? Access.Read | (write ? Access.Write : 0) : write ? Access.Write : Access.Read);

/** What the request needs from the tables. Execute and Privileged travel in the PASID prefix only (PCIe §6.20.2). */
export const accessOf = (request: MemoryRequest): Access => rights(request) | prefixRights(request);

const prefixRights = ({ write, pasid, execute, privileged }: MemoryRequest): Access =>
  pasid === NO_PASID ? 0 : (execute && !write ? Access.Execute : 0) | (privileged ? Access.Privileged : 0);
