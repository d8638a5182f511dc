import type { ConfigAccess } from "@iommu-lab/pci-bus/model";

/**
 * A copy of recorded configuration space that can be written to, so that the arbiter can switch routing on it: nothing reaches
 * the host, and no write mask applies. Bytes that were not recorded read as zero.
 */
export const recordedConfig = (recorded: Uint8Array | undefined): ConfigAccess => {
  const bytes = new Uint8Array(256);
  bytes.set(recorded?.subarray(0, 256) ?? []);
  return {
    read: (offset, size) => {
      let value = 0;
      for (let i = size - 1; i >= 0; i--) value = value * 256 + (bytes[offset + i] ?? 0xff);
      return value;
    },
    write: (offset, size, value) => {
      for (let i = 0; i < size; i++) if (offset + i < bytes.length) bytes[offset + i] = (value >>> (8 * i)) & 0xff;
    },
  };
};
