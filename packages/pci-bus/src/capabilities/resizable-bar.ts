import { bits, layout } from "@iommu-lab/memory/layout";
import { register, type RegisterMap } from "../config/register.ts";
import type { CapabilityDefinition, CapabilityView } from "./definition.ts";
import { capabilityImage, type CapabilityImage, type CapabilityShape, type Placement } from "./image.ts";

/** Resizable BAR Capability register. PCIe §7.8.6.2. */
export const RESIZABLE_BAR_CAPABILITY = layout("Resizable BAR Capability", 32, "PCIe §7.8.6.2", { SupportedSizes: bits(31, 4, "Bit n: 1 MiB << n, up to 128 TiB") });

/** Resizable BAR Control register. PCIe §7.8.6.3. */
export const RESIZABLE_BAR_CONTROL = layout("Resizable BAR Control", 32, "PCIe §7.8.6.3", {
  BARIndex: bits(2, 0, "The BAR this is about"),
  NumberOfBARs: bits(7, 5, "Resizable BARs of the function; in the first entry only"),
  BARSize: bits(13, 8, "Size is 1 MiB << n"),
  SupportedSizesUpper: bits(31, 16, "Bit n: 256 TiB << n"),
});

/** One BAR whose size software chooses. */
export interface ResizableBarEntry {
  /** BAR index 0 to 5. */
  readonly bar: number;
  /** log2 of the sizes in MiB that are possible. */
  readonly supported: readonly number[];
  /** log2 of the size in MiB at first. */
  readonly size: number;
}

const shapeOf = (id: number, count: number): CapabilityShape => {
  const registers: Record<string, RegisterMap[string]> = {};
  for (let i = 0; i < count; i++) {
    registers[`Capability${i}`] = register(4 + 8 * i, RESIZABLE_BAR_CAPABILITY);
    registers[`Control${i}`] = register(8 + 8 * i, RESIZABLE_BAR_CONTROL, { writable: ["BARSize"] });
  }
  return { id, extended: true, version: 1, length: 4 + 8 * count, registers };
};

const bitsOf = (sizes: readonly number[]): number => sizes.reduce((sum, size) => sum + 2 ** size, 0);

const build = (id: number, entries: readonly ResizableBarEntry[], placement?: Placement): CapabilityImage => {
  if (entries.length === 0 || entries.length > 6) throw new RangeError(`A resizable BAR capability has ${entries.length} entries; allowed are 1 to 6.`);
  const values: Record<string, Record<string, number>> = {};
  for (const [i, { bar, supported, size }] of entries.entries()) {
    values[`Capability${i}`] = { SupportedSizes: bitsOf(supported.filter((each) => each < 28)) };
    values[`Control${i}`] = { BARIndex: bar, NumberOfBARs: i === 0 ? entries.length : 0, BARSize: size, SupportedSizesUpper: bitsOf(supported.filter((each) => each >= 28).map((each) => each - 28)) };
  }
  return capabilityImage(shapeOf(id, entries.length), values, placement);
};

/** Resizable BAR (extended id 0x15). Writing a size changes the BAR's address bits. PCIe §7.8.6. */
export const resizableBar = (entries: readonly ResizableBarEntry[], placement?: Placement): CapabilityImage => build(0x15, entries, placement);

/** VF Resizable BAR (extended id 0x24): the same for the BARs in the SR-IOV capability. PCIe §7.8.7. */
export const vfResizableBar = (entries: readonly ResizableBarEntry[], placement?: Placement): CapabilityImage => build(0x24, entries, placement);

const countIn = (view: CapabilityView): number => Math.min(6, Math.max(1, view.byte(8) >>> 5));

/** How to read a Resizable BAR capability. */
export const RESIZABLE_BAR: CapabilityDefinition = { id: 0x15, extended: true, shape: (view) => shapeOf(0x15, countIn(view)) };
/** How to read a VF Resizable BAR capability. */
export const VF_RESIZABLE_BAR: CapabilityDefinition = { id: 0x24, extended: true, shape: (view) => shapeOf(0x24, countIn(view)) };
