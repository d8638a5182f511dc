import type { AccessSize, MmioHandler } from "@iommu-lab/memory";

/** A handler whose accesses are bytes in ascending order, as a device with an 8-bit core sees them. */
export const byteHandler = (read: (offset: number) => number, write: (offset: number, value: number) => void): MmioHandler => {
  const readWide = (offset: number, size: AccessSize): number => {
    let value = 0;
    for (let i = 0; i < size; i++) value += read(offset + i) * 2 ** (8 * i);
    return value;
  };
  const writeWide = (offset: number, size: AccessSize, value: number): void => {
    for (let i = 0; i < size; i++) write(offset + i, (value >>> (8 * i)) & 0xff);
  };
  return {
    read: readWide,
    write: writeWide,
    read64: (offset, into) => {
      into[0] = readWide(offset, 4);
      into[1] = readWide(offset + 4, 4);
    },
    write64: (offset, low, high) => {
      writeWide(offset, 4, low);
      writeWide(offset + 4, 4, high);
    },
  };
};

/** A handler over bytes; reads past their end give all ones, writes go nowhere. With `readOnly` all writes are dropped. */
export const bytesHandler = (bytes: Uint8Array, readOnly = false): MmioHandler => {
  const slow = byteHandler(
    (offset) => bytes[offset] ?? 0xff,
    (offset, value) => {
      if (!readOnly && offset < bytes.length) bytes[offset] = value;
    },
  );
  if (readOnly) return slow;
  // A frame buffer is filled eight bytes at a time.
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  return {
    ...slow,
    write64: (offset, low, high) => {
      if (offset + 8 > bytes.length) {
        slow.write64(offset, low, high);
        return;
      }
      view.setUint32(offset, low, true);
      view.setUint32(offset + 4, high, true);
    },
  };
};
