import type { AccessSize, MmioHandler } from "@iommu-lab/memory";
import { RegisterFile, type Register } from "@iommu-lab/memory/registers";
import { COUNTER_OFFSET } from "./register-map.ts";

/** Called after software's write to a register. */
export type WriteHook = (register: Register, oldWords: Uint32Array, newWords: Uint32Array) => void;

/** Registers by name. */
export class UnitRegisters extends RegisterFile<Register> {
  /** @param written called after software's write to a register; @param read before its read */
  constructor(registers: readonly Register[], written: WriteHook, read: (name: string) => void) {
    super(registers, {
      onWrite: written,
      onRead: ({ name }) => {
        read(name);
      },
    });
  }

  /** Puts a register back to what it held: software's write has no effect. */
  restore({ name, fields, layout }: Register, words: Uint32Array): void {
    for (const [field, { access }] of Object.entries(fields)) if (access !== "rsvdz") this.set(name, field, layout.get[field]?.(words) ?? 0);
  }
}

/** The MMIO window: the fixed registers, and the counters far above them. */
export class RegisterWindow implements MmioHandler {
  readonly #fixed: UnitRegisters;
  readonly #counters: UnitRegisters | undefined;

  constructor(fixed: UnitRegisters, counters: UnitRegisters | undefined) {
    this.#fixed = fixed;
    this.#counters = counters;
  }

  /** Whether a register has the byte at an offset. */
  decodes(offset: number): boolean {
    return offset < COUNTER_OFFSET ? this.#fixed.decodes(offset) : (this.#counters?.decodes(offset - COUNTER_OFFSET) ?? false);
  }

  read(offset: number, size: AccessSize): number {
    return offset < COUNTER_OFFSET ? this.#fixed.read(offset, size) : (this.#counters?.read(offset - COUNTER_OFFSET, size) ?? 0);
  }

  write(offset: number, size: AccessSize, value: number): void {
    if (offset < COUNTER_OFFSET) this.#fixed.write(offset, size, value);
    else this.#counters?.write(offset - COUNTER_OFFSET, size, value);
  }

  read64(offset: number, into: Uint32Array): void {
    if (offset < COUNTER_OFFSET) this.#fixed.read64(offset, into);
    else if (this.#counters) this.#counters.read64(offset - COUNTER_OFFSET, into);
    else into.fill(0, 0, 2);
  }

  write64(offset: number, low: number, high: number): void {
    if (offset < COUNTER_OFFSET) this.#fixed.write64(offset, low, high);
    else this.#counters?.write64(offset - COUNTER_OFFSET, low, high);
  }
}
