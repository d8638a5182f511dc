import type { MmioHandler } from "@iommu-lab/memory";

/**
 * A BAR that takes no access while it serves one. What arrives meanwhile is the doing of that access: a device's DMA or message
 * that a driver pointed at the device itself. On a bus it would wait in line, maybe for ever; here it would never return.
 * Model: such reads give all ones, such writes are dropped.
 */
export const notReentrant = (handler: MmioHandler): MmioHandler => {
  let busy = false;
  const enter = <T>(action: () => T): T | undefined => {
    if (busy) return undefined;
    busy = true;
    try {
      return action();
    } finally {
      busy = false;
    }
  };
  return {
    read: (offset, size) => enter(() => handler.read(offset, size)) ?? 2 ** (8 * size) - 1,
    write: (offset, size, value) => {
      enter(() => {
        handler.write(offset, size, value);
      });
    },
    read64: (offset, into) => {
      into.fill(0xffff_ffff, 0, 2);
      enter(() => {
        handler.read64(offset, into);
      });
    },
    write64: (offset, low, high) => {
      enter(() => {
        handler.write64(offset, low, high);
      });
    },
  };
};
