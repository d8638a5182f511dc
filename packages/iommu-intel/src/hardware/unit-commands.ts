import type { PerformanceCounters } from "./performance-counters.ts";
import type { UnitRegisters } from "./unit-registers.ts";

/** Enhanced commands. VT-d §11.4.26. */
const EnhancedCommand = { EnableCounter: 0xf0, DisableCounter: 0xf1, FreezeCounters: 0xf4, UnfreezeCounters: 0xf5 } as const;
/** Status codes of ECRSP_REG. Model: any non-zero code says that the command was not done. */
const Status = { Success: 0, Unsupported: 1, InvalidOperand: 2 } as const;

/** Does the command in ECMD_REG. Model: at once, so that IP never shows. */
export const runEnhancedCommand = (registers: UnitRegisters, counters: PerformanceCounters | undefined): void => {
  const command = registers.get("ECMD_REG", "CMD");
  const counter = registers.get("ECMD_REG", "OA");
  registers.set("ECRSP_REG", "SC", statusOf(command, counter, counters));
};

const statusOf = (command: number, counter: number, counters: PerformanceCounters | undefined): number => {
  if (counters === undefined) return Status.Unsupported;
  switch (command) {
    case EnhancedCommand.EnableCounter:
    case EnhancedCommand.DisableCounter:
      return counters.enable(counter, command === EnhancedCommand.EnableCounter) ? Status.Success : Status.InvalidOperand;
    case EnhancedCommand.FreezeCounters:
    case EnhancedCommand.UnfreezeCounters:
      counters.freeze(command === EnhancedCommand.FreezeCounters);
      return Status.Success;
    default:
      return Status.Unsupported;
  }
};

/** Virtual commands: PASIDs that a hypervisor hands out to its guest. VT-d §11.4.30. */
const VirtualCommand = { AllocatePasid: 1, FreePasid: 2 } as const;
/** Status codes of VCRSP_REG. */
const NO_PASID_LEFT = 2;
const INVALID_PASID = 2;

/** The PASIDs in use by a guest, and the commands that allocate and free them. */
export class VirtualCommands {
  readonly #registers: UnitRegisters;
  readonly #limit: number;
  readonly #used = new Set<number>();

  /** @param pasidBits width of a PASID: PASID 0 is never handed out */
  constructor(registers: UnitRegisters, pasidBits: number) {
    this.#registers = registers;
    this.#limit = 2 ** pasidBits;
  }

  run(): void {
    const command = this.#registers.get("VCMD_REG", "CMD");
    const operand = this.#registers.get("VCMD_REG", "OP") % 0x10_0000;
    if (command === VirtualCommand.AllocatePasid) this.#allocate();
    else if (command === VirtualCommand.FreePasid) this.#respond(this.#used.delete(operand) ? 0 : INVALID_PASID, 0);
    else this.#respond(INVALID_PASID, 0);
  }

  reset(): void {
    this.#used.clear();
  }

  #allocate(): void {
    for (let pasid = 1; pasid < this.#limit; pasid++) {
      if (this.#used.has(pasid)) continue;
      this.#used.add(pasid);
      this.#respond(0, pasid);
      return;
    }
    this.#respond(NO_PASID_LEFT, 0);
  }

  #respond(status: number, result: number): void {
    this.#registers.set("VCRSP_REG", "SC", status);
    this.#registers.set("VCRSP_REG", "RSLT", result);
  }
}
