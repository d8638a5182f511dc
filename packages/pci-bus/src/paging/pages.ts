import { hex, PAGE_SIZE } from "@iommu-lab/memory";
import { IommuDriverError } from "../driver.ts";

const printed = (value: number | bigint): string => (typeof value === "bigint" || (Number.isInteger(value) && value >= 0) ? hex(value) : `${value}`);

/** Pages whose byte addresses a number holds exactly. */
const EXACT_PAGES = 2 ** 41;

/** The page number of an IOVA. @throws IommuDriverError EINVAL when it is not the start of a page below 2^64 */
export const pageNumber = (iova: number | bigint): number => {
  if (typeof iova === "number") {
    // A remainder of doubles costs as much as a walk.
    const page = iova / PAGE_SIZE;
    const small = page | 0;
    if (small === page && small >= 0) return small;
    if (page >= 0 && page < EXACT_PAGES && Math.floor(page) === page) return page;
  } else if (iova >= 0n && iova < 1n << 64n && (iova & 0xfffn) === 0n) return Number(iova >> 12n);
  throw misaligned("IOVA", iova);
};

/** Pages in a size in bytes. @throws IommuDriverError EINVAL when it is no positive multiple of 4096 */
export const pageCount = (size: number): number => {
  if (size > 0 && size < 0x8000_0000 && (size | 0) === size && (size & 0xfff) === 0) return size >>> 12;
  const count = size / PAGE_SIZE;
  if (!(count > 0 && count < EXACT_PAGES) || Math.floor(count) !== count) throw misaligned("size", size);
  return count;
};

/** The refusal of a value that is not aligned. */
export const misaligned = (what: "IOVA" | "HPA" | "size", value: number | bigint): IommuDriverError =>
  new IommuDriverError("EINVAL", what === "size" ? `A size of ${printed(value)} bytes is impossible; it is a positive multiple of 4096.` : `${what} ${printed(value)} is not a multiple of 4096 from 0 to 2^64${typeof value === "number" && value > Number.MAX_SAFE_INTEGER ? ", or one that only a bigint holds" : ""}.`);

/** The refusal of pages past a domain's width. */
export const pastWidth = (page: number, count: number, { limit }: { readonly limit: number }): IommuDriverError => new IommuDriverError("ERANGE", `IOVA pages ${hex(page)} to ${hex(page + count - 1)} are not all in this domain; its last page is ${hex(limit - 1)}.`);
