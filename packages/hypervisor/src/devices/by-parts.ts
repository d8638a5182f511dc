import type { MmioHandler } from "@iommu-lab/memory";

/** A BAR whose 8-byte accesses are two, the low half first. */
export const byParts = (read: MmioHandler["read"], write: MmioHandler["write"]): MmioHandler => ({
  read,
  write,
  read64: (offset, into) => {
    into[0] = read(offset, 4);
    into[1] = read(offset + 4, 4);
  },
  write64: (offset, low, high) => {
    write(offset, 4, low);
    write(offset + 4, 4, high);
  },
});
