import { RegisterFile, type Register } from "@iommu-lab/memory/registers";
import type { VtdCapabilities } from "./capabilities.ts";
import { registerMap } from "./register-map.ts";

/** The unit's registers by name. Those that its capabilities leave out read 0 here too. */
export class UnitRegisters extends RegisterFile<Register> {
  readonly #names: ReadonlySet<string>;

  /** @param written called after software's write to a register */
  constructor(capabilities: VtdCapabilities, written: (name: string, newWords: Uint32Array) => void, read: (name: string) => void) {
    const registers = registerMap(capabilities);
    super(registers, {
      onWrite: ({ name }, _old, words) => {
        written(name, words);
      },
      onRead: ({ name }) => {
        read(name);
      },
    });
    this.#names = new Set(registers.map(({ name }) => name));
  }

  /** Whether the unit has a register. */
  has(name: string): boolean {
    return this.#names.has(name);
  }
}
