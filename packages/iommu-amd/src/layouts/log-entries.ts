import { bit, bits, layout } from "@iommu-lab/memory/layout";

/** An entry of the PPR log, 128 bits. */
export const PPR_LOG_ENTRY = layout("PPR log entry", 128, 'AMD-Vi §2.6 "Peripheral Page Request (PPR) Logging"', {
  DeviceID: bits(15, 0, "Device"),
  PASIDLow: bits(31, 16, "PASID bits 15:0"),
  Tag: bits(40, 32, "Page request group"),
  Last: bit(41, "Last request of its group"),
  PASIDHigh: bits(45, 42, "PASID bits 19:16"),
  NX: bit(49, "Execute"),
  RD: bit(50, "Read"),
  RW: bit(53, "Write"),
  US: bit(54, "User"),
  RZ: bit(55, "Reserved bits were set"),
  GN: bit(56, "The request has a PASID"),
  PprCode: bits(63, 60, "1: page service request"),
  Address: bits(127, 76, "Page number"),
});
