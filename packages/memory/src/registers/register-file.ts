import { hex } from "../address.ts";
import type { AccessSize, MmioHandler } from "../address-space.ts";
import { AccessMasks } from "./access-masks.ts";
import { extractField, replaceField } from "./replace-field.ts";
import type { Register } from "./register.ts";
import { byteLanes, laneOf } from "./byte-lanes.ts";

/** Cold: power was gone. Warm: sticky fields keep their values (hot and function-level resets). */
export type ResetKind = "cold" | "warm";

type FieldsOf<R extends Register, N extends R["name"]> = keyof Extract<R, { readonly name: N }>["fields"] & string;

/** Size and side effects of a register file. */
export interface RegisterFileOptions<R extends Register> {
  /** Bytes the file decodes, a multiple of 4; default: to the end of its last register. */
  readonly size?: number;
  /** Called before software's read of a register forms its value, so that the model can bring it up to date with `set`. */
  readonly onRead?: (register: R) => void;
  /**
   * Called after software's write to a register took effect, also when it changed nothing. Bit 0 of word 0 is the register's bit 0.
   * The words are the stored ones (a `wo` field shows), reused for the next call: read them before writing registers.
   */
  readonly onWrite?: (register: R, oldWords: Uint32Array, newWords: Uint32Array) => void;
}

/**
 * The registers of a device behind an MMIO window. Accesses of 1, 2, 4 and 8 bytes at any offset reach exactly the bytes they carry:
 * writing one byte clears no RW1C bit of another. An 8-byte access that spans two 32-bit registers reaches the lower first.
 * Offsets that no register declares read 0, and writes to them are dropped. Reading and writing allocate nothing.
 */
export class RegisterFile<const R extends Register> implements MmioHandler {
  readonly registers: readonly R[];
  /** Bytes this file decodes. */
  readonly size: number;
  readonly #words: Uint32Array;
  readonly #masks: AccessMasks;
  readonly #byName = new Map<string, R>();
  /** Per byte, index of the register there + 1; 0 where none is. */
  readonly #owner: Uint16Array;
  readonly #onRead: RegisterFileOptions<R>["onRead"];
  readonly #onWrite: RegisterFileOptions<R>["onWrite"];
  readonly #old = new Uint32Array(2);
  readonly #new = new Uint32Array(2);

  /** @throws RangeError when two registers share a name or a byte, or one ends past `size` */
  constructor(registers: readonly R[], options: RegisterFileOptions<R> = {}) {
    const end = registers.reduce((last, { offset, width }) => Math.max(last, offset + width / 8), 0);
    this.size = options.size ?? Math.ceil(end / 4) * 4;
    if (!Number.isInteger(this.size) || this.size % 4 !== 0 || this.size < end) throw new RangeError(`A register file of ${this.size} bytes is impossible: the size is a multiple of 4 and its last register ends at offset ${hex(end)}.`);
    this.registers = registers;
    this.#owner = new Uint16Array(this.size);
    for (const [index, register] of registers.entries()) this.#place(index, register);
    // One word more than the file has, so that an unaligned read of its last bytes stays inside.
    this.#masks = new AccessMasks(this.size / 4 + 1, registers);
    this.#words = this.#masks.reset.slice();
    this.#onRead = options.onRead;
    this.#onWrite = options.onWrite;
  }

  read(offset: number, size: AccessSize): number {
    this.#refresh(offset, size);
    const value = this.#visible(offset);
    return size === 4 ? value : value & (size === 1 ? 0xff : 0xffff);
  }

  read64(offset: number, into: Uint32Array): void {
    this.#refresh(offset, 8);
    into[0] = this.#visible(offset);
    into[1] = this.#visible(offset + 4);
  }

  write(offset: number, size: AccessSize, value: number): void {
    this.#write(offset, size, value, 0);
  }

  write64(offset: number, low: number, high: number): void {
    this.#write(offset, 8, low, high);
  }

  /** The model's view of a field, past all access rules: `wo` fields show what was written. */
  get<N extends R["name"]>(register: N, field: FieldsOf<R, N>): number {
    const { offset, fields } = this.register(register);
    return extractField(this.#words, offset * 8, fields[field] ?? this.#noField(register, field));
  }

  /**
   * Sets a field from the model's side, past all access rules and without hooks.
   * @throws RangeError when the value is not an unsigned integer that fits the field
   */
  set<N extends R["name"]>(register: N, field: FieldsOf<R, N>, value: number): void {
    const { offset, fields } = this.register(register);
    const declared = fields[field] ?? this.#noField(register, field);
    const width = declared.msb - declared.lsb + 1;
    if (!Number.isInteger(value) || value < 0 || value >= 2 ** width) throw new RangeError(`${field} of ${register} is ${value}; it has ${width} bits.`);
    replaceField(this.#words, offset * 8, declared, value);
  }

  /** The stored bits of a register, past all access rules: fills `into[0]` with bits 31:0 and `into[1]` with bits 63:32. */
  load(register: R["name"], into: Uint32Array): void {
    this.#load(this.register(register), into);
  }

  /** The stored word at a byte offset, a multiple of 4 inside the file, past all access rules: for models that ask again and again, without the names. */
  stored(offset: number): number {
    return this.#words[offset >>> 2] as number; // inside, says the caller
  }

  /** Replaces that word. */
  store(offset: number, value: number): void {
    this.#words[offset >>> 2] = value;
  }

  /** The register named `name`. @throws RangeError when this file has none of that name */
  register(name: R["name"]): R {
    const register = this.#byName.get(name);
    if (register === undefined) throw new RangeError(`This register file has no register ${name}.`);
    return register;
  }

  /** Whether a register has the byte at an offset. */
  decodes(offset: number): boolean {
    return offset >= 0 && offset < this.size && this.#owner[offset] !== 0;
  }

  /** Puts every field to its reset value; a warm reset leaves sticky fields alone. Calls no hook. */
  reset(kind: ResetKind): void {
    const { reset, sticky } = this.#masks;
    for (let i = 0; i < this.#words.length; i++) {
      const kept = kind === "warm" ? (sticky[i] as number) : 0; // masks and words have one length
      this.#words[i] = ((this.#words[i] as number) & kept) | ((reset[i] as number) & ~kept);
    }
  }

  #place(index: number, register: R): void {
    if (this.#byName.has(register.name)) throw new RangeError(`Two registers are named ${register.name}; names in a register file are unique.`);
    this.#byName.set(register.name, register);
    for (let at = register.offset; at < register.offset + register.width / 8; at++) {
      const other = this.registers[(this.#owner[at] as number) - 1]; // inside: the file holds its registers
      if (other !== undefined) throw new RangeError(`Registers ${other.name} and ${register.name} overlap at offset ${hex(at)}.`);
      this.#owner[at] = index + 1;
    }
  }

  #noField(register: string, field: string): never {
    throw new RangeError(`${register} has no field ${field}.`);
  }

  /** The four bytes at `offset` as software sees them; 0 past the end. */
  #visible(offset: number): number {
    const index = offset >>> 2;
    if (offset < 0 || index >= this.#words.length - 1) return 0;
    const low = (this.#words[index] as number) & (this.#masks.readable[index] as number); // inside: checked above
    const shift = (offset & 3) << 3;
    if (shift === 0) return low >>> 0;
    const high = (this.#words[index + 1] as number) & (this.#masks.readable[index + 1] as number);
    return ((low >>> shift) | (high << (32 - shift))) >>> 0;
  }

  #refresh(offset: number, size: number): void {
    if (this.#onRead === undefined) return;
    for (let at = offset; at < offset + size; ) {
      const register = this.#registerAt(at);
      if (register !== undefined) this.#onRead(register);
      at = register === undefined ? at + 1 : register.offset + register.width / 8;
    }
  }

  #write(offset: number, size: number, low: number, high: number): void {
    for (let at = offset; at < offset + size; ) {
      const register = this.#registerAt(at);
      if (register === undefined) {
        at++;
        continue;
      }
      const end = register.offset + register.width / 8;
      if (this.#onWrite !== undefined) this.#load(register, this.#old);
      for (let word = at & ~3; word < end && word < offset + size; word += 4) {
        const enabled = byteLanes(word, Math.max(offset, register.offset), Math.min(offset + size, end));
        this.#merge(word >>> 2, enabled, laneOf(low, high, word - offset));
      }
      at = end;
      if (this.#onWrite === undefined) continue;
      this.#load(register, this.#new);
      this.#onWrite(register, this.#old, this.#new);
    }
  }

  #merge(index: number, enabled: number, data: number): void {
    const { rw, rw1c, rw1s } = this.#masks;
    const written = (rw[index] as number) & enabled; // index is of a register in this file
    const cleared = (rw1c[index] as number) & enabled & data;
    const set = (rw1s[index] as number) & enabled & data;
    this.#words[index] = ((this.#words[index] as number) & ~written & ~cleared) | (data & written) | set;
  }

  #registerAt(at: number): R | undefined {
    const owner = at < 0 ? undefined : this.#owner[at];
    return owner === undefined || owner === 0 ? undefined : this.registers[owner - 1];
  }

  #load(register: R, into: Uint32Array): void {
    const index = register.offset >>> 2;
    if (register.width === 64) {
      into[0] = this.#words[index] as number; // index is of a register in this file
      into[1] = this.#words[index + 1] as number;
      return;
    }
    const mask = register.width === 32 ? -1 : (1 << register.width) - 1;
    into[0] = ((this.#words[index] as number) >>> ((register.offset & 3) << 3)) & mask;
    into[1] = 0;
  }
}
