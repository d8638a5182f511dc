import { Access } from "@iommu-lab/pci-bus";
import type { UnitRegisters } from "./unit-registers.ts";

const APERTURES = 4;

/** Ranges of addresses that no page table judges: the exclusion range, AMD-Vi §2.2.4, and MARC apertures. */
export class PassedRanges {
  /** Some range is in use. */
  any = false;
  #excluding = false;
  #everyDevice = false;
  #first = 0;
  #last = -1;
  /** Number of apertures in use: with none the search costs nothing. */
  #apertures = 0;
  readonly #base = new Float64Array(APERTURES);
  readonly #end = new Float64Array(APERTURES);
  readonly #relocation = new Float64Array(APERTURES);
  readonly #rights = new Uint8Array(APERTURES);

  /** Takes over what the registers say. @param snp the exclusion registers are the completion store range instead */
  update(registers: UnitRegisters, snp: boolean): void {
    this.#excluding = !snp && registers.get("EXCL_BASE", "ExEn") === 1;
    this.#everyDevice = registers.get("EXCL_BASE", "Allow") === 1;
    this.#first = registers.get("EXCL_BASE", "Base");
    this.#last = registers.get("EXCL_LIMIT", "Limit");
    this.#apertures = 0;
    this.any = this.#excluding;
    if (registers.get("CONTROL", "MarcEn") === 0) return;
    for (let i = 0; i < APERTURES; i++) {
      if (registers.get(`MARC_RELOC_${i}`, "En") === 0) continue;
      const at = this.#apertures++;
      this.any = true;
      this.#base[at] = registers.get(`MARC_BASE_${i}`, "Base");
      this.#end[at] = registers.get(`MARC_BASE_${i}`, "Base") + registers.get(`MARC_LENGTH_${i}`, "Length") + 1;
      this.#relocation[at] = registers.get(`MARC_RELOC_${i}`, "Reloc");
      this.#rights[at] = registers.get(`MARC_RELOC_${i}`, "RO") === 1 ? Access.Read : Access.Read | Access.Write;
    }
  }

  /** Whether a page passes by the exclusion range. @param device the device's entry has EX set */
  excludes(page: number, device: boolean): boolean {
    return this.#excluding && (device || this.#everyDevice) && page >= this.#first && page <= this.#last;
  }

  /** The aperture that has a page, or -1. */
  marcFor(page: number): number {
    for (let i = 0; i < this.#apertures; i++) if (page >= (this.#base[i] as number) && page < (this.#end[i] as number)) return i;
    return -1;
  }

  marcRights(aperture: number): Access {
    return this.#rights[aperture] as number; // from marcFor
  }

  relocated(aperture: number, page: number): number {
    return (this.#relocation[aperture] as number) + page - (this.#base[aperture] as number); // from marcFor
  }
}
