import type { AddressSpace, MmioHandler } from "../address-space.ts";

/** What answers inside one region; offsets count from the region's start. */
export type Backing = AddressSpace<number>;

/** The largest naturally aligned access of at most 4 bytes at `at` that stays inside `rest` bytes. */
export const pieceSize = (at: number, rest: number): 1 | 2 | 4 => {
  if ((at & 3) === 0 && rest >= 4) return 4;
  return (at & 1) === 0 && rest >= 2 ? 2 : 1;
};

/** Nothing decodes: reads are all ones, writes are dropped (PCIe §2.3.2 "Completion Handling Rules": a host bridge gives all ones for an Unsupported Request). */
export class UndecodedBacking implements Backing {
  read8(): number {
    return 0xff;
  }
  read16(): number {
    return 0xffff;
  }
  read32(): number {
    return 0xffff_ffff;
  }
  read64(_at: number, into: Uint32Array): void {
    into[0] = 0xffff_ffff;
    into[1] = 0xffff_ffff;
  }
  write8(): void {
    return;
  }
  write16(): void {
    return;
  }
  write32(): void {
    return;
  }
  write64(): void {
    return;
  }
  readInto(_at: number, bytes: Uint8Array): void {
    bytes.fill(0xff);
  }
  writeFrom(): void {
    return;
  }
}

/** A window on another space: RAM behind an offset. */
export class WindowBacking implements Backing {
  readonly #space: AddressSpace<number>;
  readonly #base: number;

  constructor(space: AddressSpace<number>, base: number) {
    this.#space = space;
    this.#base = base;
  }
  read8(at: number): number {
    return this.#space.read8(this.#base + at);
  }
  read16(at: number): number {
    return this.#space.read16(this.#base + at);
  }
  read32(at: number): number {
    return this.#space.read32(this.#base + at);
  }
  read64(at: number, into: Uint32Array): void {
    this.#space.read64(this.#base + at, into);
  }
  write8(at: number, value: number): void {
    this.#space.write8(this.#base + at, value);
  }
  write16(at: number, value: number): void {
    this.#space.write16(this.#base + at, value);
  }
  write32(at: number, value: number): void {
    this.#space.write32(this.#base + at, value);
  }
  write64(at: number, low: number, high: number): void {
    this.#space.write64(this.#base + at, low, high);
  }
  readInto(at: number, bytes: Uint8Array): void {
    this.#space.readInto(this.#base + at, bytes);
  }
  writeFrom(at: number, bytes: Uint8Array): void {
    this.#space.writeFrom(this.#base + at, bytes);
  }
}

/** Bytes that can only be read. */
export class RomBacking extends UndecodedBacking {
  readonly #bytes: Uint8Array;

  constructor(bytes: Uint8Array) {
    super();
    this.#bytes = bytes;
  }
  override read8(at = 0): number {
    return this.#bytes[at] as number; // a region is never longer than its ROM
  }
  override read16(at = 0): number {
    return this.read8(at) | (this.read8(at + 1) << 8);
  }
  override read32(at = 0): number {
    return (this.read16(at) | (this.read16(at + 2) << 16)) >>> 0;
  }
  override read64(at: number, into: Uint32Array): void {
    into[0] = this.read32(at);
    into[1] = this.read32(at + 4);
  }
  override readInto(at: number, bytes: Uint8Array): void {
    bytes.set(this.#bytes.subarray(at, at + bytes.length));
  }
}

/** A device's registers: each access goes through as it is; bulk copies go in aligned accesses of at most 4 bytes. */
export class MmioBacking implements Backing {
  readonly #handler: MmioHandler;

  constructor(handler: MmioHandler) {
    this.#handler = handler;
  }
  read8(at: number): number {
    return this.#handler.read(at, 1) & 0xff;
  }
  read16(at: number): number {
    return this.#handler.read(at, 2) & 0xffff;
  }
  read32(at: number): number {
    return this.#handler.read(at, 4) >>> 0;
  }
  read64(at: number, into: Uint32Array): void {
    this.#handler.read64(at, into);
  }
  write8(at: number, value: number): void {
    this.#handler.write(at, 1, value & 0xff);
  }
  write16(at: number, value: number): void {
    this.#handler.write(at, 2, value & 0xffff);
  }
  write32(at: number, value: number): void {
    this.#handler.write(at, 4, value >>> 0);
  }
  write64(at: number, low: number, high: number): void {
    this.#handler.write64(at, low >>> 0, high >>> 0);
  }
  readInto(at: number, bytes: Uint8Array): void {
    for (let done = 0; done < bytes.length; ) {
      const size = pieceSize(at + done, bytes.length - done);
      let value = this.#handler.read(at + done, size);
      for (let i = 0; i < size; i++, value >>>= 8) bytes[done + i] = value;
      done += size;
    }
  }
  writeFrom(at: number, bytes: Uint8Array): void {
    for (let done = 0; done < bytes.length; ) {
      const size = pieceSize(at + done, bytes.length - done);
      let value = 0;
      for (let i = size - 1; i >= 0; i--) value = (value << 8) | (bytes[done + i] as number); // inside: size is at most the rest
      this.#handler.write(at + done, size, value >>> 0);
      done += size;
    }
  }
}
