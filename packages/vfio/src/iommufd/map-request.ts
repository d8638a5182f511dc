import { VfioError } from "../vfio-error.ts";
import { LAST_ADDRESS } from "./iova-range.ts";

/** Where memory is mapped in an address space, and what may be done there. */
export interface IoasPlace {
  /** Where; left out, the kernel chooses. IOMMU_IOAS_MAP_FIXED_IOVA. */
  readonly iova?: number | bigint;
  readonly readable: boolean;
  readonly writable: boolean;
}

/** What IOMMU_IOAS_MAP wants. */
export interface IoasMapRequest extends IoasPlace {
  readonly vaddr: number | bigint;
  readonly length: number | bigint;
}

/** A range that IOMMU_IOAS_COPY takes memory from. */
export interface IoasSource {
  readonly iova: number | bigint;
  readonly length: number | bigint;
}

/**
 * What is looked at before the address space is looked up, in the order of Linux iommufd_ioas_map and iommufd_ioas_copy.
 * @param numbers lengths and addresses of the request
 * @throws VfioError EOVERFLOW for a number of all ones, EINVAL without rights
 */
export const checkPlace = ({ iova = 0, readable, writable }: IoasPlace, numbers: readonly (number | bigint)[]): void => {
  if ([iova, ...numbers].some((each) => BigInt(each) >= LAST_ADDRESS)) throw new VfioError("EOVERFLOW", "Addresses and lengths of all ones are not taken.");
  if (!readable && !writable) throw new VfioError("EINVAL", "Neither reading nor writing is allowed: that is no mapping.");
};
