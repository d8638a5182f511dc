import type { MmioHandler } from "@iommu-lab/memory";
import type { Register } from "@iommu-lab/memory/registers";
import { IommuDriverError } from "@iommu-lab/pci-bus";
import { CONTROL, EFR } from "../layouts/index.ts";

const DEFAULT_POLLS = 10_000;

/** An IOMMU's registers as the driver uses them: whole 64-bit registers by field, and waiting with an end. */
export class UnitRegisters {
  readonly efr: ReturnType<typeof EFR.layout.decode>;
  readonly #mmio: MmioHandler;
  readonly #relax: () => void;
  readonly #polls: number;
  readonly #pair = new Uint32Array(2);
  readonly #control = new Uint32Array(2);

  constructor(mmio: MmioHandler, relax: () => void = () => undefined, polls = DEFAULT_POLLS) {
    this.#mmio = mmio;
    this.#relax = relax;
    this.#polls = polls;
    this.efr = EFR.layout.decode(this.words(EFR.offset));
  }

  /** The words of a register; the same array at every call. */
  words(offset: number): Uint32Array {
    this.#mmio.read64(offset, this.#pair);
    return this.#pair;
  }

  read<R extends Register>(register: R): ReturnType<R["layout"]["decode"]> {
    return register.layout.decode(this.words(register.offset)) as ReturnType<R["layout"]["decode"]>;
  }

  write(register: Register, fields: Readonly<Record<string, number>>): void {
    const words = register.layout.encode(fields, new Uint32Array(2));
    this.#mmio.write64(register.offset, words[0] as number, words[1] as number);
  }

  /** Writes a register whose words are known. */
  writeWords(offset: number, low: number, high: number): void {
    this.#mmio.write64(offset, low, high);
  }

  /** Changes fields of the control register and keeps the others. */
  control(fields: Partial<Record<keyof typeof CONTROL.fields, number>>): void {
    const now = CONTROL.layout.decode(this.words(CONTROL.offset));
    CONTROL.layout.encode({ ...now, ...fields }, this.#control);
    this.#mmio.write64(CONTROL.offset, this.#control[0] as number, this.#control[1] as number);
  }

  /** Waits for `isDone`; false when it does not come. */
  poll(isDone: () => boolean): boolean {
    for (let i = 0; i < this.#polls; i++) {
      if (isDone()) return true;
      this.#relax();
    }
    return isDone();
  }

  /** @throws IommuDriverError EIO when `isDone` does not become true */
  waitFor(isDone: () => boolean, what: string): void {
    if (!this.poll(isDone)) throw new IommuDriverError("EIO", `The IOMMU did not come to ${what} in ${this.#polls} looks.`);
  }
}
