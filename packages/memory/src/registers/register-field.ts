import { bit, bits, type Field } from "../layout/field.ts";

/**
 * What software's accesses do to a field. PCIe §7.4 "Configuration Register Types"; VT-d and AMD-Vi use the same words.
 * - `ro`: software's writes change nothing; the model sets it.
 * - `rw`: holds what is written.
 * - `rw1c`: a 1 clears the bit, a 0 leaves it: status bits.
 * - `rw1s`: a 1 sets the bit, a 0 leaves it.
 * - `wo`: holds what is written, reads as 0: commands. The model sees it with `get`.
 * - `rsvdz`: reserved, software must write 0. Reads 0; a write changes nothing.
 * - `rsvdp`: reserved, software must write back what it read. Reads its reset value; a write changes nothing.
 */
export type FieldAccess = "ro" | "rw" | "rw1c" | "rw1s" | "wo" | "rsvdz" | "rsvdp";

/** A field of a register: a field of a layout with an access rule. */
export interface RegisterField extends Field {
  readonly access: FieldAccess;
  /** Survives a warm (hot, function-level) reset, not a cold one; the manuals add an S: RW1CS, ROS. */
  readonly sticky: boolean;
}

type Meanings = Readonly<Record<number, string>>;

/** Makes a field from one bit, or from `msb` down to `lsb`, with what it says and what single values mean. */
export interface FieldMaker {
  (at: number, text: string, values?: Meanings): RegisterField;
  (msb: number, lsb: number, text: string, values?: Meanings): RegisterField;
}

const maker =
  (access: FieldAccess): FieldMaker =>
  (msb: number, second: number | string, third?: string | Meanings, fourth?: Meanings): RegisterField => {
    const field = typeof second === "number" ? bits(msb, second, third as string, fourth) : bit(msb, second, third);
    return { ...field, access, sticky: false };
  };

/** Read-only. */
export const ro: FieldMaker = /* @__PURE__ */ maker("ro");
/** Read-write. */
export const rw: FieldMaker = /* @__PURE__ */ maker("rw");
/** Write 1 to clear. */
export const rw1c: FieldMaker = /* @__PURE__ */ maker("rw1c");
/** Write 1 to set. */
export const rw1s: FieldMaker = /* @__PURE__ */ maker("rw1s");
/** Write-only: reads as 0. */
export const wo: FieldMaker = /* @__PURE__ */ maker("wo");
/** Reserved, to be written as 0. */
export const rsvdz: FieldMaker = /* @__PURE__ */ maker("rsvdz");
/** Reserved, to be written back as read. */
export const rsvdp: FieldMaker = /* @__PURE__ */ maker("rsvdp");

/** The same field, surviving a warm reset. */
export const sticky = (field: RegisterField): RegisterField => ({ ...field, sticky: true });
