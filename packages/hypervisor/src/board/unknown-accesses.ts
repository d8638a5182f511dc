import type { MmioHandler } from "@iommu-lab/memory";
import { hex } from "@iommu-lab/memory";

/** A register window that notes every access to bytes that no register has. */
export const watchUnknown = (handler: MmioHandler, decodes: (offset: number) => boolean, note: (text: string) => void): MmioHandler => {
  const look = (what: string, offset: number, size: number): void => {
    for (let byte = offset; byte < offset + size; byte++)
      if (!decodes(byte)) {
        note(`${what} of ${size} bytes at register offset ${hex(offset)}`);
        return;
      }
  };
  return {
    read: (offset, size) => {
      look("read", offset, size);
      return handler.read(offset, size);
    },
    write: (offset, size, value) => {
      look("write", offset, size);
      handler.write(offset, size, value);
    },
    read64: (offset, into) => {
      look("read", offset, 8);
      handler.read64(offset, into);
    },
    write64: (offset, low, high) => {
      look("write", offset, 8);
      handler.write64(offset, low, high);
    },
  };
};
