import fc from "fast-check";
import type { AddressSpace } from "../src/index.ts";

/** The naive memory everything is compared with: one byte per map entry, values as bigint. */
export class ByteModel {
  readonly bytes = new Map<number, number>();
  readonly dirty = new Set<number>();
  readonly isRam: (at: number) => boolean;

  constructor(isRam: (at: number) => boolean) {
    this.isRam = isRam;
  }
  read(at: number, size: number): bigint {
    let value = 0n;
    for (let i = size - 1; i >= 0; i--) value = (value << 8n) | BigInt(this.isRam(at + i) ? (this.bytes.get(at + i) ?? 0) : 0xff);
    return value;
  }
  write(at: number, size: number, value: bigint): void {
    for (let i = 0; i < size; i++) {
      if (!this.isRam(at + i)) continue;
      this.bytes.set(at + i, Number((value >> BigInt(8 * i)) & 0xffn));
      this.dirty.add(Math.floor((at + i) / 4096));
    }
  }
  slice(at: number, length: number): number[] {
    return Array.from({ length }, (_, i) => Number(this.read(at + i, 1)));
  }
}

export type Operation =
  | { readonly kind: "read"; readonly at: number; readonly size: 1 | 2 | 4 | 8 }
  | { readonly kind: "write"; readonly at: number; readonly size: 1 | 2 | 4 | 8; readonly value: bigint }
  | { readonly kind: "readInto"; readonly at: number; readonly length: number }
  | { readonly kind: "writeFrom"; readonly at: number; readonly bytes: Uint8Array };

/** Operations whose addresses crowd around the given borders. */
export const operations = (borders: readonly number[], limit: number): fc.Arbitrary<Operation[]> => {
  const at = fc.oneof({ weight: 4, arbitrary: fc.tuple(fc.constantFrom(...borders), fc.integer({ min: -9, max: 9 })).map(([border, delta]) => Math.max(0, border + delta)) }, { weight: 1, arbitrary: fc.integer({ min: 0, max: limit }) });
  const size = fc.constantFrom(1 as const, 2 as const, 4 as const, 8 as const);
  return fc.array(
    fc.oneof(
      fc.record({ kind: fc.constant("read" as const), at, size }),
      fc.record({ kind: fc.constant("write" as const), at, size, value: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }) }),
      fc.record({ kind: fc.constant("readInto" as const), at, length: fc.integer({ min: 0, max: 100 }) }),
      fc.record({ kind: fc.constant("writeFrom" as const), at, bytes: fc.uint8Array({ maxLength: 100 }) }),
    ),
    { maxLength: 60 },
  );
};

const pair = new Uint32Array(2);

/** Does one operation; what it read, or nothing. */
export const perform = (space: AddressSpace<number>, operation: Operation): bigint | number[] | undefined => {
  const { at } = operation;
  if (operation.kind === "readInto") {
    const bytes = new Uint8Array(operation.length);
    space.readInto(at, bytes);
    return [...bytes];
  }
  if (operation.kind === "writeFrom") {
    space.writeFrom(at, operation.bytes);
    return undefined;
  }
  if (operation.kind === "read") {
    if (operation.size === 8) {
      space.read64(at, pair);
      return (BigInt(pair[1] as number) << 32n) | BigInt(pair[0] as number);
    }
    return BigInt(operation.size === 4 ? space.read32(at) : operation.size === 2 ? space.read16(at) : space.read8(at));
  }
  const low = Number(operation.value & 0xffff_ffffn);
  if (operation.size === 8) space.write64(at, low, Number(operation.value >> 32n));
  else if (operation.size === 4) space.write32(at, low);
  else if (operation.size === 2) space.write16(at, low & 0xffff);
  else space.write8(at, low & 0xff);
  return undefined;
};

/** The same operation on the naive memory. */
export const expected = (model: ByteModel, operation: Operation): bigint | number[] | undefined => {
  const { at } = operation;
  if (operation.kind === "read") return model.read(at, operation.size);
  if (operation.kind === "readInto") return model.slice(at, operation.length);
  if (operation.kind === "write") model.write(at, operation.size, operation.value);
  else for (const [i, byte] of operation.bytes.entries()) model.write(at + i, 1, BigInt(byte));
  return undefined;
};
