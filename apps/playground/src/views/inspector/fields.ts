import type { Field, Layout } from "@iommu-lab/memory/layout";

/** A field of a structure with its place: bits count from the first byte, little-endian. */
export interface FieldNode {
  /** Stable within one item: "SAGAW", "30 SEGMENT". */
  readonly id: string;
  readonly name: string;
  readonly lsb: number;
  readonly msb: number;
  /** What it is; the specification's words. */
  readonly text: string;
  readonly meaning?: string | undefined;
  /** Bytes that are characters. */
  readonly ascii?: boolean;
  readonly depth: number;
  /** A heading over fields, not one that can be edited. */
  readonly heading?: boolean;
}

/** Fields have at most this many digits to be edited at once. */
const LONGEST_ID = 40;
const idOf = (offset: number, name: string): string => `${offset.toString(16)} ${name}`.replace(/[^\w .:[\]-]/g, "").slice(0, LONGEST_ID);

/** Bits of bytes as a number; bytes past the end are zero. */
export const bitsAt = (bytes: Uint8Array, lsb: number, msb: number): bigint => {
  let value = 0n;
  for (let at = msb >> 3; at >= lsb >> 3; at--) value = (value << 8n) | BigInt(bytes[at] ?? 0);
  return (value >> BigInt(lsb & 7)) & ((1n << BigInt(msb - lsb + 1)) - 1n);
};

/** Bytes with a field changed: each byte that becomes another. */
export const bytesWith = (bytes: Uint8Array, lsb: number, msb: number, value: bigint): { readonly at: number; readonly byte: number }[] => {
  const changed: { readonly at: number; readonly byte: number }[] = [];
  for (let at = lsb >> 3; at <= msb >> 3 && at < bytes.length; at++) {
    let byte = bytes[at] ?? 0;
    for (let bit = 0; bit < 8; bit++) {
      const place = 8 * at + bit;
      if (place < lsb || place > msb) continue;
      byte = (value >> BigInt(place - lsb)) & 1n ? byte | (1 << bit) : byte & ~(1 << bit);
    }
    if (byte !== bytes[at]) changed.push({ at, byte });
  }
  return changed;
};

/** A layout's fields at a byte offset, in the order of bits. */
export const layoutNodes = (bytes: Uint8Array, layout: Pick<Layout<Readonly<Record<string, Field>>>, "fields">, offset: number, depth: number): FieldNode[] =>
  Object.entries(layout.fields)
    .toSorted(([, a], [, b]) => a.lsb - b.lsb)
    .map(([name, field]) => {
      const [lsb, msb] = [8 * offset + field.lsb, 8 * offset + field.msb];
      return { id: idOf(offset, name), name, lsb, msb, text: field.text, meaning: field.values?.[Number(bitsAt(bytes, lsb, msb))], depth };
    })
    .filter(({ lsb }) => lsb < 8 * bytes.length);

/** A heading for bytes `offset` to `offset + length - 1`. */
export const headingNode = (name: string, offset: number, length: number, text: string, depth: number): FieldNode => ({ id: idOf(offset, name), name, lsb: 8 * offset, msb: 8 * (offset + Math.max(1, length)) - 1, text, depth, heading: true });
/** A field of whole bytes. */
export const bytesNode = (name: string, offset: number, length: number, text: string, depth: number, more: Partial<FieldNode> = {}): FieldNode => ({ id: idOf(offset, name), name, lsb: 8 * offset, msb: 8 * (offset + length) - 1, text, depth, ...more });

/** The smallest field that holds a byte. */
export const nodeAt = (nodes: readonly FieldNode[], at: number): FieldNode | undefined =>
  nodes.filter(({ lsb, msb }) => lsb >> 3 <= at && at <= msb >> 3).reduce<FieldNode | undefined>((best, node) => (!best || node.msb - node.lsb < best.msb - best.lsb ? node : best), undefined);

/** A field's value as people read it. */
export const valueText = (bytes: Uint8Array, { lsb, msb, ascii }: FieldNode): string =>
  ascii ? JSON.stringify(Array.from(bytes.subarray(lsb >> 3, (msb >> 3) + 1), (byte) => (byte >= 0x20 && byte < 0x7f ? String.fromCharCode(byte) : ".")).join("")) : `0x${bitsAt(bytes, lsb, msb).toString(16)}`;
