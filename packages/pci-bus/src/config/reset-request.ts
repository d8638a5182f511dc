import type { AccessSize } from "@iommu-lab/memory";
import type { FunctionConfig } from "./function-config.ts";

const PCI_EXPRESS = 0x10;
const ADVANCED_FEATURES = 0x13;

/** The byte that a write put at `at`, or 0 when it did not reach it. */
const byteWritten = (offset: number, size: AccessSize, value: number, at: number): number => (at >= offset && at < offset + size ? (value >>> (8 * (at - offset))) & 0xff : 0);

/**
 * Whether a configuration write starts a function-level reset that the function has: Initiate FLR in Device Control
 * (PCIe §7.5.3.4) or in the Advanced Features control register. For `onWrite` listeners.
 */
export const startsFunctionReset = (config: FunctionConfig, offset: number, size: AccessSize, value: number): boolean => {
  const express = config.capability(PCI_EXPRESS);
  if (express !== 0 && (config.bytes[express + 7]! & 0x10) !== 0 && (byteWritten(offset, size, value, express + 9) & 0x80) !== 0) return true;
  const features = config.capability(ADVANCED_FEATURES);
  return features !== 0 && (config.bytes[features + 3]! & 2) !== 0 && (byteWritten(offset, size, value, features + 4) & 1) !== 0;
};
