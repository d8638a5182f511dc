import type { Qemu, QemuEvent } from "./qemu.ts";

/** One line of a trace. */
export type Step = Record<string, unknown>;

export const hex = (value: number | bigint): string => `0x${value.toString(16)}`;
export const hexBytes = (data: Uint8Array): string => Buffer.from(data).toString("hex");

/** A piece of a transfer that lies on one page: requests never cross 4 KiB. */
export interface Part {
  readonly iova: bigint;
  readonly len: number;
}

/** What QEMU told of one transfer. */
export interface TransferOutcome {
  /** Whether each part went through. */
  readonly passed: readonly boolean[];
  /** Keys for the step that only help to understand it. */
  readonly diagnosis: Step;
}

/** What a program's own observations are made with; every call becomes a step. */
export interface Observer {
  readRegister(off: number, size: 4 | 8, mask?: bigint, why?: string): Promise<bigint>;
  writeRegister(off: number, size: 4 | 8, value: bigint): Promise<void>;
}

/** A vendor's unit in QEMU: how it is asked for, and how what happened is read from QEMU's log. Made for one program. */
export interface Machine {
  readonly vendor: "intel" | "amd";
  /** What stands behind `-device`. */
  readonly device: string;
  /** The PCI function that it is, if it is one. */
  readonly bdf?: string;
  /** Where its registers are. */
  readonly registers: number;
  /** The log lines to switch on. */
  readonly events: readonly string[];
  /** What the trace's first line says of the unit, at reset. */
  header(qemu: Qemu): Promise<Step>;
  /** Switches translation off, so that devices reach memory. */
  disable(qemu: Qemu): Promise<void>;
  transferred(events: readonly QemuEvent[], parts: readonly Part[]): TransferOutcome;
  /** What became of a device's message; null: blocked. */
  message(events: readonly QemuEvent[]): { readonly addr: bigint; readonly data: bigint } | null;
  /** The messages that the unit itself sent: Intel's traces have them as steps of their own, AMD's in `irqs` steps. */
  ownMessages(events: readonly QemuEvent[]): readonly Step[];
}
