import type { RingLog } from "./ring-log.ts";
import type { UnitRegisters } from "./unit-registers.ts";

const isHardwareError = (code: number): boolean => code === 3 || code === 4 || code === 6;

/** Writes events to the log, and hardware errors to their registers too. AMD-Vi §2.5, §3.4 "Hardware Event Registers". */
export class Events {
  /** Events that were to be logged. */
  count = 0;
  readonly #registers: UnitRegisters;
  readonly #log: RingLog;
  readonly #hardwareErrors: boolean;
  readonly #words = new Uint32Array(4);

  /** @param hardwareErrors EFR.HESup */
  constructor(registers: UnitRegisters, log: RingLog, hardwareErrors: boolean) {
    this.#registers = registers;
    this.#log = log;
    this.#hardwareErrors = hardwareErrors;
  }

  /** Logs an event of four words, its code in bits 31:28 of the second. */
  log(w0: number, w1: number, w2: number, w3: number): void {
    this.count++;
    const words = this.#words;
    words[0] = w0;
    words[1] = w1;
    words[2] = w2;
    words[3] = w3;
    if (this.#hardwareErrors && isHardwareError(w1 >>> 28)) this.#keep(words);
    this.#log.append(words);
  }

  /** The first hardware error stays until software clears HEV; HEO tells of others. */
  #keep(words: Uint32Array): void {
    const registers = this.#registers;
    if (registers.get("HW_EVENT_STATUS", "HEV") === 1) {
      registers.set("HW_EVENT_STATUS", "HEO", 1);
      return;
    }
    registers.set("HW_EVENT_LOW", "Low", words[0] as number); // four words
    registers.set("HW_EVENT_LOW", "High", words[1] as number);
    registers.set("HW_EVENT_HIGH", "Low", words[2] as number);
    registers.set("HW_EVENT_HIGH", "High", words[3] as number);
    registers.set("HW_EVENT_STATUS", "HEV", 1);
  }
}
