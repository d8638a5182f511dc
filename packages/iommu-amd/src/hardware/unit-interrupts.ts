import type { IommuFunction } from "./iommu-function.ts";
import type { UnitRegisters } from "./unit-registers.ts";

/** The IOMMU's own interrupts: event log and completion wait, PPR log, GA log. */
export type InterruptKind = "general" | "ppr" | "ga";

/** Sends a message of the IOMMU's own: a DWORD write of `data` to `address`, bits 31:0, and `upper`, bits 63:32. It is not remapped. */
export type SendMessage = (address: number, upper: number, data: number) => void;

const XT_REGISTERS: Readonly<Record<InterruptKind, string>> = { general: "XT_GENERAL", ppr: "XT_PPR", ga: "XT_GA" };
const MESSAGE_BASE = 0xfee0_0000;

/** Sends the IOMMU's own interrupts: through its MSI capability, or with IntCapXTEn through the XT registers. AMD-Vi §3.4.13. */
export class UnitInterrupts {
  readonly #registers: UnitRegisters;
  readonly #function: IommuFunction;
  readonly #numbers: Readonly<Record<InterruptKind, number>>;
  readonly #send: SendMessage;

  constructor(registers: UnitRegisters, fn: IommuFunction, numbers: Readonly<Record<InterruptKind, number>>, send: SendMessage) {
    this.#registers = registers;
    this.#function = fn;
    this.#numbers = numbers;
    this.#send = send;
  }

  raise(kind: InterruptKind): void {
    if (this.#registers.get("CONTROL", "IntCapXTEn") === 1) this.#extended(XT_REGISTERS[kind]);
    else this.#message(this.#numbers[kind]);
  }

  /** Destination bits 31:8 stand in address bits 63:40. */
  #extended(name: string): void {
    const registers = this.#registers;
    const low = registers.get(name, "DestLow");
    const upper = ((low & 0xff_ff00) | (registers.get(name, "DestHigh") << 24)) >>> 0;
    this.#send((MESSAGE_BASE | ((low & 0xff) << 12) | (registers.get(name, "DestMode") << 2)) >>> 0, upper, registers.get(name, "Vector") | (registers.get(name, "DeliveryMode") << 8));
  }

  /** The message number replaces as many low data bits as software gave messages. PCIe §6.1.4. */
  #message(number: number): void {
    const { enabled, multiple, address, upper, data } = this.#function.message;
    if (!enabled) return;
    const mask = 2 ** multiple - 1;
    this.#send(address, upper, (data & ~mask) | (number & mask));
  }
}
