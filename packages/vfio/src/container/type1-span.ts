import { hex } from "@iommu-lab/memory";
import { VfioError } from "../vfio-error.ts";

const LAST = 0xffff_ffff_ffff_ffffn;

/** A field of a request as the 64-bit value it is. @throws RangeError for a number that is none, or not exact */
export const wide = (value: number | bigint, name: string): bigint => {
  if (typeof value === "number" && !Number.isSafeInteger(value)) throw new RangeError(`${name} is ${value}: give a bigint where a number is not exact.`);
  const made = BigInt(value);
  if (made < 0n || made > LAST) throw new RangeError(`${name} is ${value}, which is no 64-bit value.`);
  return made;
};

/** Refuses zero bytes. @throws VfioError EINVAL */
export const refuseEmpty = (size: bigint): void => {
  if (size === 0n) throw new VfioError("EINVAL", "The size is zero.");
};

/** The last byte of a range that is not empty. @throws VfioError EOVERFLOW past 64 bits; Linux before 6.18 said EINVAL */
export const lastByte = (start: bigint, size: bigint, name: string): bigint => {
  const last = start + size - 1n;
  if (last > LAST) throw new VfioError("EOVERFLOW", `${name} ${hex(start)} with ${hex(size)} bytes wraps round.`);
  return last;
};

/** @throws VfioError EINVAL for what is no multiple of the smallest page */
export const refuseMisaligned = (granule: number, values: Readonly<Record<string, bigint>>): void => {
  for (const [name, value] of Object.entries(values)) if (value % BigInt(granule) !== 0n) throw new VfioError("EINVAL", `${name} ${hex(value)} is no multiple of the smallest page, ${hex(granule)} bytes.`);
};
