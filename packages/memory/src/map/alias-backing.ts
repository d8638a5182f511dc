import { hex } from "../address.ts";
import type { AddressSpace } from "../address-space.ts";
import type { Backing } from "./backing.ts";

/** How often an access may come back to the same alias: windows on windows are fine, loops are not. */
const DEPTH_LIMIT = 16;

/** A window on a range of another map, or of the same. Resolved at each access, so it follows every change of its target. */
export class AliasBacking implements Backing {
  readonly #space: AddressSpace<number>;
  readonly #base: number;
  readonly #name: string;
  #depth = 0;

  constructor(space: AddressSpace<number>, base: number, name: string) {
    this.#space = space;
    this.#base = base;
    this.#name = name;
  }

  read8(at: number): number {
    return this.#enter(at, () => this.#space.read8(this.#base + at));
  }
  read16(at: number): number {
    return this.#enter(at, () => this.#space.read16(this.#base + at));
  }
  read32(at: number): number {
    return this.#enter(at, () => this.#space.read32(this.#base + at));
  }
  read64(at: number, into: Uint32Array): void {
    this.#enter(at, () => {
      this.#space.read64(this.#base + at, into);
    });
  }
  write8(at: number, value: number): void {
    this.#enter(at, () => {
      this.#space.write8(this.#base + at, value);
    });
  }
  write16(at: number, value: number): void {
    this.#enter(at, () => {
      this.#space.write16(this.#base + at, value);
    });
  }
  write32(at: number, value: number): void {
    this.#enter(at, () => {
      this.#space.write32(this.#base + at, value);
    });
  }
  write64(at: number, low: number, high: number): void {
    this.#enter(at, () => {
      this.#space.write64(this.#base + at, low, high);
    });
  }
  readInto(at: number, bytes: Uint8Array): void {
    this.#enter(at, () => {
      this.#space.readInto(this.#base + at, bytes);
    });
  }
  writeFrom(at: number, bytes: Uint8Array): void {
    this.#enter(at, () => {
      this.#space.writeFrom(this.#base + at, bytes);
    });
  }

  #enter<T>(at: number, access: () => T): T {
    if (this.#depth >= DEPTH_LIMIT) throw new RangeError(`The alias region "${this.#name}" leads back to itself: offset ${hex(at)} is its own window. Point it at a range it does not cover.`);
    this.#depth++;
    try {
      return access();
    } finally {
      this.#depth--;
    }
  }
}
