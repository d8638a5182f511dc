import type { Hpa, Pfn } from "./address.ts";

/** Bytes one access moves when it fits a number; 8-byte accesses have methods of their own. */
export type AccessSize = 1 | 2 | 4;

/**
 * Little-endian memory or MMIO as one master sees it. `A` is the space it is indexed by.
 * Reads give unsigned values; where nothing decodes they give all ones, as a bus does.
 */
export interface AddressSpace<A extends number> {
  read8(at: A): number;
  read16(at: A): number;
  read32(at: A): number;
  /** One 8-byte access: fills `into[0]` with bits 31:0 and `into[1]` with bits 63:32. */
  read64(at: A, into: Uint32Array): void;
  write8(at: A, value: number): void;
  write16(at: A, value: number): void;
  write32(at: A, value: number): void;
  /** One 8-byte access; `low` are bits 31:0, `high` bits 63:32. */
  write64(at: A, low: number, high: number): void;
  /** Copies `bytes.length` bytes starting at `at` into `bytes`. */
  readInto(at: A, bytes: Uint8Array): void;
  /** Copies `bytes` to `at`. */
  writeFrom(at: A, bytes: Uint8Array): void;
}

/** RAM that also shows its words, for table walkers: word w of page p is `page(p)[w]`. */
export interface PhysicalMemory extends AddressSpace<Hpa> {
  /** The 1024 u32 words of page `pfn`, live and never copied; undefined where no RAM is. Writing through it marks nothing dirty. */
  page(pfn: Pfn<"HPA">): Uint32Array | undefined;
}

/**
 * A device's window on an address space. Offsets count from the window's start.
 * An 8-byte access is one access: a device that cannot take it says so by splitting it itself, low half first.
 */
export interface MmioHandler {
  read(offset: number, size: AccessSize): number;
  write(offset: number, size: AccessSize, value: number): void;
  /** Fills `into[0]` (bits 31:0) and `into[1]` (bits 63:32). */
  read64(offset: number, into: Uint32Array): void;
  write64(offset: number, low: number, high: number): void;
}
