import { bit, bits, layout, type Field, type Layout } from "@iommu-lab/memory/layout";

/** Codes of events: also what `Translation.fault` holds. AMD-Vi §2.5. */
export const EventCode = {
  IllegalDeviceEntry: 1,
  IoPageFault: 2,
  DeviceTableHardwareError: 3,
  PageTableHardwareError: 4,
  IllegalCommand: 5,
  CommandHardwareError: 6,
  IotlbTimeout: 7,
  InvalidDeviceRequest: 8,
  InvalidPprRequest: 9,
  CounterZero: 10,
  RmpPageFault: 13,
  RmpHardwareError: 14,
} as const;

const CODE = bits(63, 60, "Event code");
const DEVICE = bits(15, 0, "Device");
const PASID_HIGH = bits(19, 16, "PASID bits 19:16, with GN=1");
const PASID_LOW = bits(47, 32, "PASID bits 15:0");
const GN = bit(48, "Guest address: PASID is valid");
const I = bit(51, "Interrupt request");
const RW = bit(53, "Write");
const RZ = bit(55, "A reserved bit or value");
const TR = bit(56, "Translation request");
const TYPE = bits(58, 57, "Kind of error", { 1: "master abort", 2: "target abort", 3: "data error" });
/** 64-bit addresses as two fields, since a field has 52 bits at most. */
const ADDRESS = { AddressLow: bits(95, 64, "Address bits 31:0"), AddressHigh: bits(127, 96, "Address bits 63:32") } as const;

export const ILLEGAL_DEV_TABLE_ENTRY = layout("ILLEGAL_DEV_TABLE_ENTRY", 128, "AMD-Vi §2.5.2", { DeviceID: DEVICE, PASIDHigh: PASID_HIGH, PASIDLow: PASID_LOW, GN, I, RW, RZ, TR, EventCode: CODE, ...ADDRESS });
export const IO_PAGE_FAULT = layout("IO_PAGE_FAULT", 128, "AMD-Vi §2.5.3", {
  DeviceID: DEVICE,
  PASIDHigh: PASID_HIGH,
  DomainIDorPASID: bits(47, 32, "Domain, or PASID bits 15:0 with GN=1"),
  GN,
  NX: bit(49, "Execute request"),
  US: bit(50, "User request, with GN=1"),
  I,
  PR: bit(52, "Something was present; for interrupts: the entry's RemapEn"),
  RW,
  PE: bit(54, "No permission"),
  RZ,
  TR,
  EventCode: CODE,
  ...ADDRESS,
});
export const DEV_TAB_HARDWARE_ERROR = layout("DEV_TAB_HARDWARE_ERROR", 128, "AMD-Vi §2.5.4", { DeviceID: DEVICE, I, RW, TR, Type: TYPE, EventCode: CODE, ...ADDRESS });
export const PAGE_TAB_HARDWARE_ERROR = layout("PAGE_TAB_HARDWARE_ERROR", 128, "AMD-Vi §2.5.5", { DeviceID: DEVICE, PASIDHigh: PASID_HIGH, DomainIDorPASID: bits(47, 32, "Domain, or PASID bits 15:0 with GN=1"), GN, I, RW, TR, Type: TYPE, EventCode: CODE, ...ADDRESS });
export const ILLEGAL_COMMAND_ERROR = layout("ILLEGAL_COMMAND_ERROR", 128, "AMD-Vi §2.5.6", { EventCode: CODE, ...ADDRESS });
export const COMMAND_HARDWARE_ERROR = layout("COMMAND_HARDWARE_ERROR", 128, "AMD-Vi §2.5.7", { Type: TYPE, EventCode: CODE, ...ADDRESS });
export const IOTLB_INV_TIMEOUT = layout("IOTLB_INV_TIMEOUT", 128, "AMD-Vi §2.5.8", { DeviceID: DEVICE, EventCode: CODE, ...ADDRESS });
export const INVALID_DEVICE_REQUEST = layout("INVALID_DEVICE_REQUEST", 128, "AMD-Vi §2.5.9", {
  DeviceID: DEVICE,
  PASIDHigh: PASID_HIGH,
  PASIDLow: PASID_LOW,
  GN,
  US: bit(49, "User request, with GN=1"),
  TR,
  Type: bits(59, 57, "Kind of request"),
  EventCode: CODE,
  ...ADDRESS,
});
export const INVALID_PPR_REQUEST = layout("INVALID_PPR_REQUEST", 128, "AMD-Vi §2.5.10", {
  DeviceID: DEVICE,
  PASIDLow: bits(31, 16, "PASID bits 15:0"),
  Tag: bits(41, 32, "Page request group"),
  PASIDHigh: bits(45, 42, "PASID bits 19:16"),
  Flags: bits(59, 48, "As in the PPR log"),
  EventCode: CODE,
  ...ADDRESS,
});
export const EVENT_COUNTER_ZERO = layout("EVENT_COUNTER_ZERO", 128, "AMD-Vi §2.5.11", { EventCode: CODE, CounterNoteHigh: bits(83, 64, "Note of the counter, bits 51:32"), CounterNoteLow: bits(127, 96, "Bits 31:0") });
export const RMP_PAGE_FAULT = layout("RMP_PAGE_FAULT", 128, "AMD-Vi §2.5.13", { DeviceID: DEVICE, RmpFlags: bits(23, 16, "RMP flags"), VmgTag: bits(47, 32, "Guest's tag"), Flags: bits(59, 48, "Flags"), EventCode: CODE, ...ADDRESS });
export const RMP_HARDWARE_ERROR = layout("RMP_HARDWARE_ERROR", 128, "AMD-Vi §2.5.14", { DeviceID: DEVICE, VmgTag: bits(47, 32, "Guest's tag"), Flags: bits(59, 48, "Flags"), EventCode: CODE, ...ADDRESS });

/** Layouts of events by code. */
export const EVENTS: Readonly<Record<number, Layout<Readonly<Record<string, Field>>>>> = {
  1: ILLEGAL_DEV_TABLE_ENTRY,
  2: IO_PAGE_FAULT,
  3: DEV_TAB_HARDWARE_ERROR,
  4: PAGE_TAB_HARDWARE_ERROR,
  5: ILLEGAL_COMMAND_ERROR,
  6: COMMAND_HARDWARE_ERROR,
  7: IOTLB_INV_TIMEOUT,
  8: INVALID_DEVICE_REQUEST,
  9: INVALID_PPR_REQUEST,
  10: EVENT_COUNTER_ZERO,
  13: RMP_PAGE_FAULT,
  14: RMP_HARDWARE_ERROR,
};
