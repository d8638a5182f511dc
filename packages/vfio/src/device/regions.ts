import { PAGE_SIZE } from "@iommu-lab/memory";
import { barBase, type Attachment, type BarRegister } from "@iommu-lab/pci-bus/model";

/** Indices of a PCI device's regions. Linux include/uapi/linux/vfio.h. */
export const RegionIndex = { Bar0: 0, Bar1: 1, Bar2: 2, Bar3: 3, Bar4: 4, Bar5: 5, Rom: 6, Config: 7, Vga: 8 } as const;
/** Regions that VFIO_DEVICE_GET_INFO counts. */
export const REGION_COUNT = 9;
/** VFIO_REGION_INFO_FLAG_*. */
export const RegionFlag = { Read: 1, Write: 2, Mmap: 4, Capabilities: 8 } as const;
/** Size of the VGA region: offsets are the legacy addresses themselves. */
const VGA_REGION_SIZE = 0xc_0000;
const VGA_CLASS = 0x0300;

/** Bytes of a region that a process can map into its memory. VFIO_REGION_INFO_CAP_SPARSE_MMAP. */
export interface MmapArea {
  readonly offset: number;
  readonly size: number;
}

/** VFIO_DEVICE_GET_REGION_INFO. */
export interface RegionInfo {
  readonly index: number;
  /** Bytes; 0 where the device has none of this index. */
  readonly size: number;
  /** A sum of `RegionFlag`. */
  readonly flags: number;
  /** Of a region with the flag Mmap. */
  readonly areas: readonly MmapArea[];
}

/** The MSI-X table: which BAR, and its bytes there. */
export interface MsixTable {
  readonly bar: number;
  readonly offset: number;
  readonly size: number;
  readonly vectors: number;
}

/** Where the capability at `at` puts its table. PCIe §7.7.2.3 "Table Offset/Table BIR". */
export const msixTableOf = ({ fn }: Attachment, at: number): MsixTable | undefined => {
  if (at === 0) return undefined;
  const vectors = (fn.config.read(at + 2, 2) & 0x7ff) + 1;
  const word = fn.config.read(at + 4, 4);
  return { bar: word & 7, offset: (word & ~7) >>> 0, size: 16 * vectors, vectors };
};

/** The register of a BAR or the ROM; a virtual function's stands in its physical function. */
export const barOf = (seat: Attachment, index: number): BarRegister | undefined => {
  if (index === (RegionIndex.Rom as number)) return seat.rom;
  const bars = seat.virtualOf ? seat.virtualOf.physical.virtualBars : seat.bars;
  return bars.find((bar) => bar.index === index);
};

/** Host address of a BAR, as firmware or the host assigned it. */
export const baseOf = (seat: Attachment, bar: BarRegister): number =>
  seat.virtualOf ? barBase(seat.virtualOf.physical.fn.config, bar) + seat.virtualOf.index * bar.size : barBase(seat.fn.config, bar);

/** VGA-compatible controllers have the legacy ranges as a region. */
const hasVga = ({ fn }: Attachment): boolean => fn.config.read(0x0a, 2) === VGA_CLASS;

const READ_WRITE = RegionFlag.Read | RegionFlag.Write;
const nothing = (index: number): RegionInfo => ({ index, size: 0, flags: 0, areas: [] });

/** What is left of a BAR when the pages of the MSI-X table are taken out. */
const areasOf = (size: number, table: MsixTable | undefined): MmapArea[] => {
  if (!table) return [{ offset: 0, size }];
  const start = Math.floor(table.offset / PAGE_SIZE) * PAGE_SIZE;
  const end = Math.ceil((table.offset + table.size) / PAGE_SIZE) * PAGE_SIZE;
  return [{ offset: 0, size: start }, { offset: end, size: size - end }].filter((area) => area.size > 0);
};

/**
 * What a region is.
 * Model: pages with the MSI-X table are not mappable, as in Linux before 4.16; later kernels let a process map them and
 * rely on interrupt remapping alone.
 * @returns undefined for an index the device cannot have
 */
export const regionInfo = (seat: Attachment, index: number, table: MsixTable | undefined): RegionInfo | undefined => {
  if (index === RegionIndex.Config) return { index, size: seat.fn.config.size, flags: READ_WRITE, areas: [] };
  if (index === RegionIndex.Vga) return hasVga(seat) ? { index, size: VGA_REGION_SIZE, flags: READ_WRITE, areas: [] } : undefined;
  if (!(Number.isInteger(index) && index >= 0 && index <= RegionIndex.Rom)) return undefined;
  const bar = barOf(seat, index);
  if (!bar) return nothing(index);
  if (index === RegionIndex.Rom) return seat.fn.rom ? { index, size: bar.size, flags: RegionFlag.Read, areas: [] } : nothing(index);
  const inBar = table?.bar === index ? table : undefined;
  // Smaller BARs share a page with something else, unless they happen to start one.
  const areas = bar.kind !== "io" && bar.size >= PAGE_SIZE ? areasOf(bar.size, inBar) : [];
  const flags = READ_WRITE | (areas.length > 0 ? RegionFlag.Mmap : 0) | (areas.length > 0 && inBar ? RegionFlag.Capabilities : 0);
  return { index, size: bar.size, flags, areas };
};
