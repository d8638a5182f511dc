import type { Machine, Observer } from "./machine.ts";

/** One step before it was observed. */
export type Action =
  | { readonly op: "note"; readonly text: string }
  | { readonly op: "mem_write"; readonly addr: number; readonly data: Uint8Array }
  | { readonly op: "mem_read"; readonly addr: number; readonly len: number }
  | { readonly op: "reg_write"; readonly off: number; readonly size: 4 | 8; readonly value: bigint }
  | { readonly op: "reg_read"; readonly off: number; readonly size: 4 | 8; readonly mask?: bigint; readonly why?: string }
  | { readonly op: "dma_read" | "dma_write"; readonly bdf: string; readonly iova: bigint; readonly len: number }
  | { readonly op: "msi"; readonly bdf: string; readonly addr: number; readonly data: number }
  /** Configuration space of a unit that is a PCI function. */
  | { readonly op: "cfg_write"; readonly off: number; readonly value: number }
  | { readonly op: "cfg_read"; readonly off: number }
  /** The unit's own interrupts since the last such step, where its traces tell them so. */
  | { readonly op: "irqs" }
  /** What stands here depends on what was done before, when the program runs. */
  | { readonly op: "later"; readonly actions: () => readonly Action[] }
  /** What is looked at depends on what is seen. */
  | { readonly op: "observe"; readonly observe: (observer: Observer) => Promise<void> };

/** Actions that make sense together, and without which the rest still does. */
export interface Block {
  readonly actions: readonly Action[];
  /** Sets up what the rest stands on: never dropped. */
  readonly required: boolean;
}

/** A random program: what the machine is, and what is done to it. */
export interface Program {
  readonly family: string;
  readonly seed: number;
  readonly machine: Machine;
  readonly blocks: readonly Block[];
}

/** Functions with an `edu` behind them. */
export const DEVICES: readonly string[] = ["00:04.0", "00:05.0", "00:06.0", "00:06.1", "00:06.4", "00:14.3", "01:00.0"];

/** [start, end) of RAM in a q35 machine of 6 GiB, the BIOS shadow left out. */
export const RAM: readonly (readonly [number, number])[] = [
  [0, 0xa_0000],
  [0x10_0000, 0x8000_0000],
  [0x1_0000_0000, 0x2_0000_0000],
];

/** Most bytes that one device can read, or write, in a program: near half its buffer of 4 KiB (of which QEMU's edu refuses the last byte), so that every transfer has a place of its own. */
export const DMA_BUDGET = 2040;

/** Requester ID of a function. */
export const requesterOf = (bdf: string): number => {
  const [bus, device, fn] = bdf.split(/[:.]/).map((part) => Number.parseInt(part, 16)) as [number, number, number];
  return (bus << 8) | (device << 3) | fn;
};
