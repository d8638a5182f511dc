import type { Field, Layout } from "@iommu-lab/memory/layout";
import type { RequesterId } from "../requester-id.ts";

/** Something noticed in the input; the input is decoded all the same. */
export interface Finding {
  /** Stable name, in kebab-case. */
  readonly id: string;
  /** Where in the input: byte, or character of a text. */
  readonly offset: number;
  /** What was noticed and what it means. */
  readonly text: string;
}

/** A value for people and scripts; a bigint is an address or a field that can exceed 32 bits. */
export type Fact = string | number | boolean | bigint | null | readonly Fact[] | { readonly [key: string]: Fact };

/** One field of a decoded structure. */
export interface FieldValue {
  readonly name: string;
  readonly msb: number;
  readonly lsb: number;
  /** A bigint when the field is wider than 32 bits. */
  readonly value: number | bigint;
  /** What the field says, from its layout. */
  readonly text: string;
  /** What this value means, where the specification names it. */
  readonly meaning?: string;
  /** The address, where the field is a page number. */
  readonly address?: bigint;
}

/** One structure, register, log line or record of the input. */
export interface DecodedStructure {
  readonly name: string;
  /** Where it begins in the input. */
  readonly offset: number;
  readonly spec?: string;
  /** The raw bits, most significant first. */
  readonly value?: bigint;
  /** Width of `value` in bits. */
  readonly width?: number;
  readonly fields: readonly FieldValue[];
  /** What was concluded, by key. */
  readonly facts: Readonly<Record<string, Fact>>;
  /** The same in sentences. */
  readonly meaning: readonly string[];
}

/** What a decoder of one kind makes of an input. */
export interface Decoded {
  readonly kind: string;
  readonly header: Readonly<Record<string, Fact>>;
  readonly structures: readonly DecodedStructure[];
  readonly diagnoses: readonly Finding[];
}

type AnyLayout = Layout<Readonly<Record<string, Field>>>;

/** A value's little-endian 32-bit words. */
export const wordsOf = (value: bigint, width: number): Uint32Array => Uint32Array.from({ length: Math.ceil(width / 32) }, (_, i) => Number((value >> BigInt(32 * i)) & 0xffff_ffffn));

/** Fields that are page numbers begin at bit 12 of a 64-bit word and say so. */
const addressOf = ({ lsb, text }: Field, value: number): bigint | undefined => (lsb % 64 === 12 && text.toLowerCase().includes("page number") ? BigInt(value) << 12n : undefined);

/** Every field of a layout, in the order of bits. */
const fieldsOf = (layout: AnyLayout, words: Uint32Array): FieldValue[] =>
  Object.entries(layout.fields)
    .map(([name, field]): FieldValue => {
      const value = (layout.get[name] as AnyLayout["get"][string])(words);
      const [meaning, address] = [field.values?.[value], addressOf(field, value)];
      return { name, msb: field.msb, lsb: field.lsb, value: field.msb - field.lsb >= 32 ? BigInt(value) : value, text: field.text, ...(meaning === undefined ? {} : { meaning }), ...(address === undefined ? {} : { address }) };
    })
    .sort((a, b) => a.lsb - b.lsb);

/** What set reserved bits mean. */
const RESERVED = { structure: "hardware that checks reserved bits refuses it", register: "the specification does not name them (any more), or not yet" } as const;

/** Reserved bits that are set, as a finding. */
const reservedFinding = (layout: AnyLayout, words: Uint32Array, offset: number, of: keyof typeof RESERVED): Finding[] => {
  const set: number[] = [];
  for (const [i, mask] of layout.reserved.entries()) for (let bit = 0; bit < 32; bit++) if ((((words[i] as number) & mask) >>> bit) & 1) set.push(32 * i + bit);
  return set.length === 0 ? [] : [{ id: "reserved-bits", offset, text: `Reserved ${set.length === 1 ? "bit" : "bits"} ${set.slice(0, 8).join(", ")}${set.length > 8 ? " and more" : ""} of the ${layout.name} ${set.length === 1 ? "is" : "are"} set: ${RESERVED[of]}.` }];
};

/** What a decoder adds to the fields of a layout. */
export interface Interpretation {
  readonly facts?: Readonly<Record<string, Fact>>;
  readonly meaning?: readonly string[];
  readonly findings?: readonly Finding[];
  /** Whether set reserved bits stop the hardware, or are only unknown. */
  readonly of?: keyof typeof RESERVED;
}

/** A decoded structure, and what was noticed about it. */
export interface Told {
  readonly structure: DecodedStructure;
  readonly findings: readonly Finding[];
}

/** A structure from its layout, and what was noticed. */
export const decodeBits = (layout: AnyLayout, value: bigint, offset: number, { facts = {}, meaning = [], findings = [], of = "structure" }: Interpretation = {}): Told => {
  const words = wordsOf(value, layout.width);
  return { structure: { name: layout.name, offset, spec: layout.spec, value, width: layout.width, fields: fieldsOf(layout, words), facts, meaning }, findings: [...findings, ...reservedFinding(layout, words, offset, of)] };
};

/** bb:dd.f of a requester ID. */
export const requesterText = (requester: RequesterId): string => `${(requester >>> 8).toString(16).padStart(2, "0")}:${((requester >>> 3) & 31).toString(16).padStart(2, "0")}.${requester & 7}`;

export const hex = (value: number | bigint): string => `0x${value.toString(16)}`;
