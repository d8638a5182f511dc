declare const space: unique symbol;
/** A number that remembers which address space it counts in; arithmetic and literals need no cast, mixing spaces does not compile. */
export type Address<S extends string> = number & { readonly [space]?: S };

/** Host-physical address in bytes, below 2^52 (AMD's manual: system physical address, SPA). Exact in a double. */
export type Hpa = Address<"HPA">;
/** Guest-physical address in bytes, below 2^52. */
export type Gpa = Address<"GPA">;
/** Page frame number: any 64-bit address >> 12, below 2^52 and so exact in a double. */
export type Pfn<S extends string> = number & { readonly [space]?: `${S} page` };

/** log2 of the 4 KiB base page of every x86 page table. */
export const PAGE_SHIFT = 12;
/** Bytes in a base page. */
export const PAGE_SIZE = 4096;
/** First address past what an x86 processor can name: MAXPHYADDR is at most 52 bits. */
export const PHYSICAL_LIMIT = 2 ** 52;

/** Splits a 64-bit address into its page number and the offset in the page, without a bigint. */
export const pageOf = (address: number): number => Math.floor(address / PAGE_SIZE);

/**
 * Hexadecimal for people: lower case, `0x`, groups of four digits from the right.
 * @param value any integer from 0 to 2^64 - 1
 */
export const hex = (value: number | bigint): string => `0x${value.toString(16).replace(/\B(?=(?:[0-9a-f]{4})+$)/g, "_")}`;
