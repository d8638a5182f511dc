import type { UnitRegisters } from "./unit-registers.ts";

/** Pages of the granularity of protected regions, 2 MiB. */
const GRANULE_PAGES = 512;

/** The protected memory regions: DMA that no table judges may not touch them. VT-d §11.4.8. */
export class ProtectedMemory {
  /** The regions are on. */
  enabled = false;
  readonly #registers: UnitRegisters;

  constructor(registers: UnitRegisters) {
    this.#registers = registers;
  }

  /** EPM was written: the status follows. */
  written(): void {
    this.enabled = this.#registers.get("PMEN_REG", "EPM") === 1;
    this.#registers.set("PMEN_REG", "PRS", this.enabled ? 1 : 0);
  }

  /** Whether a page is protected. Limits are inclusive: their low bits count as ones. A limit below its base protects nothing. */
  covers(page: number): boolean {
    if (!this.enabled) return false;
    const registers = this.#registers;
    const granule = Math.floor(page / GRANULE_PAGES);
    const low = granule >= registers.get("PLMBASE_REG", "PLMB") && granule <= registers.get("PLMLIMIT_REG", "PLML") && registers.get("CAP_REG", "PLMR") === 1;
    return low || (granule >= registers.get("PHMBASE_REG", "PHMB") && granule <= registers.get("PHMLIMIT_REG", "PHML") && registers.get("CAP_REG", "PHMR") === 1);
  }
}
