import { bit, bits, layout } from "@iommu-lab/memory/layout";

/** Where the host bridge (00:00.0) of processors with integrated graphics keeps GGC. */
export const GGC_OFFSET = 0x50;

/** Graphics control of the host bridge, 16 bits, from the eighth graphics generation on. Intel processor datasheets, volume 2, "GMCH Graphics Control Register (GGC)". */
export const GGC = layout("GMCH graphics control", 16, "Intel processor datasheet, vol. 2, GGC", {
  GGCLCK: bit(0, "Locks this register"),
  IVD: bit(1, "VGA decoding is off: memory and I/O cycles of the legacy ranges do not go to integrated graphics"),
  GGMS: bits(7, 6, "Size of the table for graphics translations"),
  GMS: bits(15, 8, "Size of the memory taken from RAM for graphics, in units of 32 MiB"),
});
