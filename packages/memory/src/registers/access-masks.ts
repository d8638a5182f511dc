import type { FieldAccess } from "./register-field.ts";
import type { Register } from "./register.ts";

/** One mask per 32-bit word of a register file: which bits follow a rule. */
export class AccessMasks {
  /** Bits that software reads as they are; the others read 0. */
  readonly readable: Uint32Array;
  readonly rw: Uint32Array;
  readonly rw1c: Uint32Array;
  readonly rw1s: Uint32Array;
  readonly sticky: Uint32Array;
  readonly reset: Uint32Array;

  constructor(words: number, registers: readonly Register[]) {
    this.readable = new Uint32Array(words);
    this.rw = new Uint32Array(words);
    this.rw1c = new Uint32Array(words);
    this.rw1s = new Uint32Array(words);
    this.sticky = new Uint32Array(words);
    this.reset = new Uint32Array(words);
    for (const register of registers) this.#declare(register);
  }

  #declare(register: Register): void {
    const base = register.offset * 8;
    for (const { msb, lsb, access, sticky } of Object.values(register.fields))
      for (let position = base + lsb; position <= base + msb; position++) {
        const index = position >>> 5;
        const flag = 1 << (position & 31);
        for (const mask of this.#of(access, sticky)) mask[index] = (mask[index] as number) | flag; // inside: the file holds its registers
      }
    for (let bitInRegister = 0; bitInRegister < register.width; bitInRegister++) {
      if ((((register.reset[bitInRegister >>> 5] ?? 0) >>> (bitInRegister & 31)) & 1) === 0) continue;
      const position = base + bitInRegister;
      this.reset[position >>> 5] = (this.reset[position >>> 5] as number) | (1 << (position & 31));
    }
  }

  #of(access: FieldAccess, sticky: boolean): readonly Uint32Array[] {
    const rules: Record<FieldAccess, readonly Uint32Array[]> = {
      ro: [this.readable],
      rw: [this.readable, this.rw],
      rw1c: [this.readable, this.rw1c],
      rw1s: [this.readable, this.rw1s],
      wo: [this.rw],
      rsvdz: [],
      rsvdp: [this.readable],
    };
    return sticky ? [...rules[access], this.sticky] : rules[access];
  }
}
