import { bit, bits, layout } from "@iommu-lab/memory/layout";
import { register } from "../config/register.ts";
import type { CapabilityDefinition, FieldValues } from "./definition.ts";
import { capabilityImage, type CapabilityImage, type Placement } from "./image.ts";

/** MSI-X Message Control register. PCIe §7.7.2.2. */
export const MSIX_CONTROL = layout("MSI-X Message Control", 16, "PCIe §7.7.2.2", {
  TableSize: bits(10, 0, "Entries of the table, minus one"),
  FunctionMask: bit(14, "Every vector is masked"),
  Enable: bit(15, "Interrupts are sent as messages from the table"),
});

/** Where the MSI-X table is. PCIe §7.7.2.3. */
export const MSIX_TABLE = layout("MSI-X Table Offset/BIR", 32, "PCIe §7.7.2.3", {
  BIR: bits(2, 0, "Index of the BAR it is in"),
  Offset: bits(31, 3, "Offset in the BAR, in 8-byte units"),
});

/** Where the pending bit array is. PCIe §7.7.2.4. */
export const MSIX_PBA = layout("MSI-X PBA Offset/BIR", 32, "PCIe §7.7.2.4", {
  BIR: bits(2, 0, "Index of the BAR it is in"),
  Offset: bits(31, 3, "Offset in the BAR, in 8-byte units"),
});

/** One entry of the MSI-X table in a BAR. PCIe §7.7.2.5 to §7.7.2.8. */
export const MSIX_TABLE_ENTRY = layout("MSI-X Table Entry", 128, "PCIe §7.7.2.5", {
  MessageAddress: bits(31, 2, "Address bits 31:2"),
  MessageUpperAddress: bits(63, 32, "Address bits 63:32"),
  MessageData: bits(95, 64, "Data"),
  MaskBit: bit(96, "The vector may not be sent; one after reset"),
  STLower: bits(119, 112, "Steering tag bits 7:0, with TPH"),
  STUpper: bits(127, 120, "Steering tag bits 15:8, with TPH"),
});

/** 64 pending bits of the pending bit array in a BAR. PCIe §7.7.2.9. */
export const MSIX_PBA_ENTRY = layout("MSI-X Pending Bits", 64, "PCIe §7.7.2.9", {
  PendingLow: bits(31, 0, "Vectors n to n + 31 wait to be sent"),
  PendingHigh: bits(63, 32, "Vectors n + 32 to n + 63 wait to be sent"),
});

/** Bytes of one MSI-X table entry. */
export const MSIX_TABLE_ENTRY_BYTES = 16;

/** Where table and pending bits are. */
export interface MsixDescription {
  /** 1 to 2048. */
  readonly vectors: number;
  /** BAR index and byte offset (a multiple of 8) of the table. */
  readonly table: { readonly bar: number; readonly offset: number };
  /** BAR index and byte offset (a multiple of 8) of the pending bit array. */
  readonly pendingBits: { readonly bar: number; readonly offset: number };
  readonly control?: Pick<FieldValues<typeof MSIX_CONTROL>, "FunctionMask" | "Enable">;
}

const registers = {
  Control: register(2, MSIX_CONTROL, { writable: ["FunctionMask", "Enable"] }),
  Table: register(4, MSIX_TABLE),
  PBA: register(8, MSIX_PBA),
};
const shape = { id: 0x11, extended: false, length: 12, registers };

const place = ({ bar, offset }: MsixDescription["table"]): { BIR: number; Offset: number } => {
  if (offset % 8 !== 0) throw new RangeError(`An MSI-X structure stands at offset 0x${offset.toString(16)} of BAR ${bar}; offsets are multiples of 8.`);
  return { BIR: bar, Offset: offset / 8 };
};

/**
 * MSI-X capability (id 0x11). PCIe §7.7.2.
 * @throws RangeError when there are not 1 to 2048 vectors, or an offset is no multiple of 8
 */
export const msix = ({ vectors, table, pendingBits, control }: MsixDescription, placement?: Placement): CapabilityImage =>
  capabilityImage(shape, { Control: { ...control, TableSize: vectors - 1 }, Table: place(table), PBA: place(pendingBits) }, placement);

/** How to read an MSI-X capability. */
export const MSIX: CapabilityDefinition = { id: 0x11, extended: false, shape: () => shape };
