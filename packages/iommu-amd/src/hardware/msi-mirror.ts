import { CAPABILITY, MSI, MSI_MAPPING, type IommuFunction } from "./iommu-function.ts";
import type { UnitRegisters } from "./unit-registers.ts";

/** MMIO registers that show configuration space, and where; the first two are read-only there. AMD-Vi §3.4, MMIO offsets 0150h to 0168h. */
const MIRRORS: Readonly<Record<string, number>> = {
  MSI_VECTOR_0: CAPABILITY + 0x10,
  MSI_VECTOR_1: CAPABILITY + 0x14,
  MSI_HEADER: MSI,
  MSI_ADDRESS_LOW: MSI + 4,
  MSI_ADDRESS_HIGH: MSI + 8,
  MSI_DATA: MSI + 12,
  MSI_MAPPING,
};

/** The MSI capability in MMIO, for software without access to configuration space (EFR.MsiCapMmioSup). */
export class MsiMirror {
  readonly #registers: UnitRegisters;
  readonly #function: IommuFunction;
  readonly #places: Readonly<Record<string, number>>;

  /** @param present EFR.MsiCapMmioSup */
  constructor(registers: UnitRegisters, fn: IommuFunction, present: boolean) {
    this.#places = present ? MIRRORS : {};
    this.#registers = registers;
    this.#function = fn;
  }

  /** Before a read. */
  refresh(name: string): void {
    const at = this.#places[name];
    if (at !== undefined) this.#registers.set(name, "Value", this.#function.config.read(at, 4));
  }

  /** After a write: configuration space applies its own masks. */
  written(name: string, value: number): void {
    const at = this.#places[name];
    if (at !== undefined) this.#function.config.write(at, 4, value);
  }
}
