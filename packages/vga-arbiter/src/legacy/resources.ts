/**
 * What a VGA device decodes, owns or has locked, as a bit set. Legacy are the ranges that every VGA answers to (I/O 3b0-3bb
 * and 3c0-3df, memory a0000-bffff); normal are the device's own BARs, which nobody has to share. Linux include/linux/vgaarb.h.
 */
export const VgaResource = { None: 0, LegacyIo: 1, LegacyMemory: 2, NormalIo: 4, NormalMemory: 8 } as const;

/** A sum of `VgaResource` bits. */
export type VgaResources = number;

/** Both legacy ranges. */
export const LEGACY_RESOURCES: VgaResources = VgaResource.LegacyIo | VgaResource.LegacyMemory;

/** Everything a device may decode. */
export const ALL_RESOURCES: VgaResources = LEGACY_RESOURCES | VgaResource.NormalIo | VgaResource.NormalMemory;

const TEXTS = ["none", "io", "mem", "io+mem"] as const;

/** The kernel's text of a bit set: "none", "io", "mem" or "io+mem", from the legacy bits alone. */
export const formatResources = (resources: VgaResources): (typeof TEXTS)[number] => TEXTS[resources & LEGACY_RESOURCES]!;

/**
 * Reads what user space writes to /dev/vga_arbiter: "none", or "io", "mem" and "io+mem", which all mean both ranges, because
 * locking them one by one could deadlock. Only the start of the text counts. Undefined when it is none of them.
 */
export const parseResources = (text: string): VgaResources | undefined => {
  if (text.startsWith("none")) return VgaResource.None;
  return text.startsWith("io") || text.startsWith("mem") ? LEGACY_RESOURCES : undefined;
};
