import { bit, bits, layout } from "@iommu-lab/memory/layout";

const INTERRUPT_TYPES = { 0: "fixed", 1: "arbitrated" };

/** Interrupt remapping entry of 32 bits. */
export const IRTE_32 = layout("IRTE, 32 bits", 32, 'AMD-Vi §2.2.5.1 "Interrupt Remapping Tables, Guest Virtual APIC Not Enabled"', {
  RemapEn: bit(0, "The entry is valid"),
  SupIOPF: bit(1, "Suppress I/O page faults of this entry"),
  IntType: bits(4, 2, "Interrupt type", INTERRUPT_TYPES),
  RqEoi: bit(5, "An end of interrupt is wanted"),
  DM: bit(6, "Destination mode", { 0: "physical", 1: "logical" }),
  GuestMode: bit(7, "Must be 0 in this format"),
  Destination: bits(15, 8, "APIC ID"),
  Vector: bits(23, 16, "Vector"),
});

/** Interrupt remapping entry of 128 bits for interrupts of the host. */
export const IRTE_128 = layout("IRTE, 128 bits, host", 128, 'AMD-Vi §2.2.5.2 "Interrupt Remapping Tables, Guest Virtual APIC Enabled"', {
  RemapEn: bit(0, "The entry is valid"),
  SupIOPF: bit(1, "Suppress I/O page faults of this entry"),
  IntType: bits(4, 2, "Interrupt type", INTERRUPT_TYPES),
  RqEoi: bit(5, "An end of interrupt is wanted"),
  DM: bit(6, "Destination mode", { 0: "physical", 1: "logical" }),
  GuestMode: bit(7, "0: for the host"),
  Destination: bits(31, 8, "APIC ID bits 23:0; without x2APIC mode bits 7:0"),
  Vector: bits(71, 64, "Vector"),
  DestinationHigh: bits(127, 120, "APIC ID bits 31:24, with x2APIC mode"),
});

/** Interrupt remapping entry of 128 bits for interrupts of a guest. */
export const IRTE_128_GUEST = layout("IRTE, 128 bits, guest", 128, 'AMD-Vi §2.2.5.3 "Guest Virtual APIC"', {
  RemapEn: bit(0, "The entry is valid"),
  SupIOPF: bit(1, "Suppress I/O page faults of this entry"),
  GALogIntr: bit(2, "An interrupt for a guest that is not running goes to the GA log"),
  GAPPIDis: bit(3, "No physical processor interrupt for this entry"),
  IsRun: bit(6, "The virtual processor is running"),
  GuestMode: bit(7, "1: for a guest"),
  Destination: bits(31, 8, "Physical APIC ID of the processor that runs it, bits 23:0"),
  GATag: bits(63, 32, "What the GA log says of it"),
  Vector: bits(71, 64, "Vector in the guest"),
  VApicPage: bits(115, 76, "Virtual APIC backing page, page number"),
  DestinationHigh: bits(127, 120, "Physical APIC ID, bits 31:24"),
});

/** Entry of the GA log. */
export const GA_LOG_ENTRY = layout("GA log entry", 64, 'AMD-Vi §2.7 "GA Log"', {
  GATag: bits(31, 0, "Tag of the IRTE"),
  DeviceID: bits(47, 32, "Source of the interrupt"),
  Code: bits(63, 60, "Kind of entry", { 1: "interrupt for a guest that is not running" }),
});
