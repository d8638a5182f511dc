import { setRegister, type Pages } from "../pages.ts";
import { DEVICES, requesterOf, type Action } from "../program.ts";
import type { Random } from "../random.ts";
import { CommandBuffer } from "./command-buffer.ts";

/** Bits of CONTROL. AMD-Vi §3.4.4. */
export const CONTROL = 0x18;
export const IOMMU_ENABLE = 1n;
const EVENT_LOG_ENABLE = 1n << 2n;
export const COMPLETION_INTERRUPT_ENABLE = 1n << 4n;
export const COMMANDS_ENABLE = 1n << 12n;
export const WIDE_ENTRIES = 1n << 17n;
/** How requests travel on the link, and how long a device may take: nothing that shows. */
const INDIFFERENT: readonly bigint[] = [5n, 6n, 8n, 9n, 10n, 11n].map((bit) => 1n << bit);

/** QEMU takes a device behind a bridge for the one on bus 0 with its number. */
export const ON_BUS_0: readonly string[] = DEVICES.filter((bdf) => bdf.startsWith("00:"));

const ENTRY_BYTES = 32;

/** A unit's tables and buffers, and how software switches it on. */
export class Unit {
  readonly commands: CommandBuffer;
  /** CONTROL with everything on. */
  readonly control: bigint;
  readonly #base: bigint;
  readonly #size: number;
  readonly #log: bigint;

  /** @param control bits of CONTROL beside the enables of unit and commands */
  constructor(random: Random, pages: Pages, control = 0n, bufferLength?: number) {
    // At least what the devices need: QEMU reads beyond the table's end.
    this.#size = random.pick([2, 2, 3, 8, 512]);
    this.#base = BigInt(pages.take(this.#size)) << 12n;
    this.#log = (BigInt(pages.take()) << 12n) | (8n << 56n);
    this.commands = new CommandBuffer(random, pages, bufferLength);
    this.control = IOMMU_ENABLE | COMMANDS_ENABLE | control | (random.chance(0.5) ? EVENT_LOG_ENABLE : 0n) | INDIFFERENT.reduce((all, bit) => all | (random.chance(0.3) ? bit : 0n), 0n);
  }

  /** Where a device's table entry is. AMD-Vi §2.2.2 "Device Table". */
  entryOf(bdf: string): number {
    return Number(this.#base) + ENTRY_BYTES * requesterOf(bdf);
  }

  /** All registers, CONTROL last. */
  enable(): Action[] {
    return [setRegister(0x00, 8, this.#base | BigInt(this.#size - 1)), setRegister(0x10, 8, this.#log), setRegister(0x2010, 8, 0n), setRegister(0x2018, 8, 0n), ...this.commands.place(), setRegister(CONTROL, 8, this.control)];
  }
}
