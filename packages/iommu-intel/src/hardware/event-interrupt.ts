import type { UnitRegisters } from "./unit-registers.ts";

/** Sends a message of the unit's own: a DWORD write of `data` to `address`, bits 31:0, and `upper`, bits 63:32. It is not remapped. */
export type SendMessage = (address: number, upper: number, data: number) => void;

/** Names of the four registers of an event: control, data, address, upper address. */
export interface EventRegisters {
  readonly control: string;
  readonly data: string;
  readonly address: string;
  readonly upper: string;
}

const named = (prefix: string): EventRegisters => ({ control: `${prefix}CTL_REG`, data: `${prefix}DATA_REG`, address: `${prefix}ADDR_REG`, upper: `${prefix}UADDR_REG` });
export const FAULT_EVENT = named("FE");
export const INVALIDATION_EVENT = named("IE");
export const PAGE_REQUEST_EVENT = named("PE");
export const PERFORMANCE_EVENT: EventRegisters = { control: "PERFINTRCTL_REG", data: "PERFINTRDATA_REG", address: "PERFINTRADDR_REG", upper: "PERFINTRUADDR_REG" };

/** One of the unit's own interrupts: pending until it may be sent. VT-d §7.3 "Fault Event", §11.4.7.2. */
export class EventInterrupt {
  readonly #registers: UnitRegisters;
  readonly #names: EventRegisters;
  readonly #send: SendMessage;

  constructor(registers: UnitRegisters, names: EventRegisters, send: SendMessage) {
    this.#registers = registers;
    this.#names = names;
    this.#send = send;
  }

  /** The event's condition came up. */
  raise(): void {
    this.#registers.set(this.#names.control, "IP", 1);
    this.flush();
  }

  /** The condition is gone: nothing is pending any more. */
  drop(): void {
    this.#registers.set(this.#names.control, "IP", 0);
  }

  /** Sends what is pending unless it is masked. Called when the mask changes, too. */
  flush(): void {
    const registers = this.#registers;
    const { control, data, address, upper } = this.#names;
    if (registers.get(control, "IP") === 0 || registers.get(control, "IM") === 1) return;
    registers.set(control, "IP", 0);
    this.#send(registers.get(address, "MA") * 4, registers.get(upper, "MUA"), registers.get(data, "IMD"));
  }
}
