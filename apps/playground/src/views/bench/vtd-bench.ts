import type { Hpa } from "@iommu-lab/memory";
import type { Register } from "@iommu-lab/memory/registers";
import { VtdUnit, type VtdCapabilities, type VtdUnitOptions } from "@iommu-lab/iommu-intel/hardware";
import { FAULT_RECORD, GCMD_REG, GSTS_REG, RTADDR_REG } from "@iommu-lab/iommu-intel/layouts";
import { Tables, type Fields } from "./tables.ts";

const ROOT: Hpa = 0x1000;
const FIRST_TABLE_PAGE = 0x10;

/** A VT-d unit in front of memory, and software that writes its registers. */
export class VtdBench extends Tables {
  readonly unit: VtdUnit;
  readonly root = ROOT;
  readonly #records: number;
  readonly #firstRecord: number;

  constructor(capabilities: VtdCapabilities, options: Pick<VtdUnitOptions, "caches" | "iotlb"> = {}) {
    super(FIRST_TABLE_PAGE);
    this.unit = new VtdUnit({ memory: this.memory, capabilities, ...options });
    this.#records = capabilities.cap.NFR + 1;
    this.#firstRecord = 16 * capabilities.cap.FRO;
  }

  write(register: Register, fields: Fields): void {
    const words = register.layout.encode(fields, new Uint32Array(2));
    if (register.width === 64) this.unit.registers.write64(register.offset, words[0] ?? 0, words[1] ?? 0);
    else this.unit.registers.write(register.offset, 4, words[0] ?? 0);
  }

  read<R extends Register>(register: R): Record<keyof R["fields"] & string, number> {
    const words = new Uint32Array(2);
    if (register.width === 64) this.unit.registers.read64(register.offset, words);
    else words[0] = this.unit.registers.read(register.offset, 4);
    return register.layout.decode(words) as Record<keyof R["fields"] & string, number>;
  }

  /** GCMD_REG: what is in force stays so. */
  command(fields: Fields): void {
    const { TES, QIES, IRES, CFIS } = this.read(GSTS_REG);
    this.write(GCMD_REG, { TE: TES, QIE: QIES, IRE: IRES, CFI: CFIS, ...fields });
  }

  /** Gives the root table to the unit and turns translation on; mode 1 is scalable. */
  start(mode: 0 | 1): void {
    this.write(RTADDR_REG, { RTA: ROOT / 4096, TTM: mode });
    this.command({ SRTP: 1 });
    this.command({ TE: 1 });
  }

  /** Fault recording registers as software reads them. */
  faultRecords(): readonly Uint32Array[] {
    return Array.from({ length: this.#records }, (_, i) => Uint32Array.from({ length: 4 }, (_, word) => this.unit.registers.read(this.#firstRecord + 16 * i + 4 * word, 4)));
  }

  /** The first one that holds a fault. */
  firstFault(): Uint32Array | undefined {
    return this.faultRecords().find((words) => FAULT_RECORD.get.F(words) === 1);
  }

  /** Clears a record's F bit, as Linux does when it has read it. */
  clearFault(index: number): void {
    this.unit.registers.write(this.#firstRecord + 16 * index + 12, 4, 0x8000_0000);
  }
}
