import { Access } from "@iommu-lab/pci-bus";

/** Which way a transfer goes, seen from memory: `to-device` is read by it, `from-device` written. Linux enum dma_data_direction. */
export type DmaDirection = "to-device" | "from-device" | "bidirectional";

/** What the device may do with the pages. */
export const accessFor = (direction: DmaDirection): Access => (direction === "to-device" ? Access.Read : direction === "from-device" ? Access.Write : Access.Read | Access.Write);
