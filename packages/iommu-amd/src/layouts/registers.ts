import { register, ro, rw, rw1c, sticky, type Register } from "@iommu-lab/memory/registers";

const MMIO = (title: string, offset: string): { readonly spec: string } => ({ spec: `AMD-Vi §3.4 "${title}", MMIO offset ${offset}` });

export const DEV_TAB_BASE = register("DEV_TAB_BASE", 0x0000, 64, { Size: rw(8, 0, "4 KiB pages of the table, less one"), DevTabBase: rw(51, 12, "Page number of the device table") }, MMIO("Device Table Base Address Register", "0000h"));

/** A ring in memory: its page and 2^Len entries, 8 to 15. */
const ring = <const N extends string>(name: N, offset: number, title: string) =>
  register(name, offset, 64, { Base: rw(51, 12, "Page number of the ring"), Len: rw(59, 56, "log2 of its entries; below 8 reserved") }, MMIO(title, `${offset.toString(16).toUpperCase().padStart(4, "0")}h`));
/** A byte offset in a ring of 16-byte entries. */
const pointer = <const N extends string>(name: N, offset: number, title: string) =>
  register(name, offset, 64, { Ptr: rw(18, 4, "Entry that the pointer is at") }, MMIO(title, `${offset.toString(16).toUpperCase()}h`));

export const CMD_BASE = ring("CMD_BASE", 0x0008, "Command Buffer Base Address Register");
export const EVT_BASE = ring("EVT_BASE", 0x0010, "Event Log Base Address Register");
export const PPR_BASE = ring("PPR_BASE", 0x0038, "PPR Log Base Address Register");
export const GA_BASE = ring("GA_BASE", 0x00e0, "Guest Virtual APIC Log Base Address Register");
export const PPR_B_BASE = ring("PPR_B_BASE", 0x00f0, "PPR Log B Base Address Register");
export const EVT_B_BASE = ring("EVT_B_BASE", 0x00f8, "Event Log B Base Address Register");

export const EXCL_BASE = register("EXCL_BASE", 0x0020, 64, { ExEn: rw(0, "Exclusion range enable"), Allow: rw(1, "The range applies to every device"), Base: rw(51, 12, "First page of the range; under SNP the completion store range") }, MMIO("Exclusion Base Register", "0020h"));
export const EXCL_LIMIT = register("EXCL_LIMIT", 0x0028, 64, { Limit: rw(51, 12, "Last page of the range") }, MMIO("Exclusion Range Limit Register", "0028h"));
export const HW_EVENT_HIGH = register("HW_EVENT_HIGH", 0x0040, 64, { Low: sticky(rw(31, 0, "Event bits 95:64")), High: sticky(rw(63, 32, "Event bits 127:96")) }, MMIO("Hardware Event Upper Register", "0040h"));
export const HW_EVENT_LOW = register("HW_EVENT_LOW", 0x0048, 64, { Low: sticky(rw(31, 0, "Event bits 31:0")), High: sticky(rw(63, 32, "Event bits 63:32")) }, MMIO("Hardware Event Lower Register", "0048h"));
export const HW_EVENT_STATUS = register("HW_EVENT_STATUS", 0x0050, 64, { HEV: sticky(rw1c(0, "The event registers hold an event")), HEO: sticky(rw1c(1, "Another one came meanwhile")) }, MMIO("Hardware Event Status Register", "0050h"));
export const SMI_FILTERS: readonly Register[] = Array.from({ length: 16 }, (_, i) => register(`SMI_FILTER_${i}`, 0x0060 + 8 * i, 64, { SmiDID: rw(15, 0, "Device whose SMIs pass"), SmiDV: rw(16, "The filter counts"), SmiFLock: rw(17, "The register is read-only until reset") }, MMIO("SMI Filter Registers", "0060h")));
export const GA_TAIL_ADDRESS = register("GA_TAIL_ADDRESS", 0x00e8, 64, { AddrLow: rw(31, 3, "Where the tail is stored too, bits 31:3"), AddrHigh: rw(51, 32, "Bits 51:32") }, MMIO("Guest Virtual APIC Log Tail Address Register", "00E8h"));
/** Segments 1 to 7; segment 0 is DEV_TAB_BASE. */
export const DEV_TAB_SEGMENTS: readonly Register[] = Array.from({ length: 7 }, (_, i) => register(`DEV_TAB_SEG_${i + 1}`, 0x0100 + 8 * i, 64, { Size: rw(7, 0, "4 KiB pages of the table, less one"), DevTabBase: rw(51, 12, "Page number of the table") }, MMIO("Device Table Segment Base Address Registers", "0100h")));
const deviceSpecific = <const N extends string>(name: N, offset: number) => register(name, offset, 64, { Specific: ro(23, 0, "Device-specific"), Minor: ro(27, 24, "Minor revision"), Major: ro(31, 28, "Major revision") }, MMIO("Device-Specific Registers", "0138h"));
export const DEV_SPECIFIC_FEATURE = deviceSpecific("DEV_SPECIFIC_FEATURE", 0x0138);
export const DEV_SPECIFIC_CONTROL = deviceSpecific("DEV_SPECIFIC_CONTROL", 0x0140);
export const DEV_SPECIFIC_STATUS = deviceSpecific("DEV_SPECIFIC_STATUS", 0x0148);
const mirror = <const N extends string>(name: N, offset: number, text: string) => register(name, offset, 32, { Value: rw(31, 0, text) }, MMIO("MSI Capability Registers", "0150h"));
export const MSI_VECTOR_0 = mirror("MSI_VECTOR_0", 0x0150, "Mirror of miscellaneous information register 0");
export const MSI_VECTOR_1 = mirror("MSI_VECTOR_1", 0x0154, "Mirror of miscellaneous information register 1");
export const MSI_HEADER = mirror("MSI_HEADER", 0x0158, "Mirror of the MSI capability's first DWORD");
export const MSI_ADDRESS_LOW = mirror("MSI_ADDRESS_LOW", 0x015c, "Mirror of the MSI address, bits 31:0");
export const MSI_ADDRESS_HIGH = mirror("MSI_ADDRESS_HIGH", 0x0160, "Mirror of the MSI address, bits 63:32");
export const MSI_DATA = mirror("MSI_DATA", 0x0164, "Mirror of the MSI data");
export const MSI_MAPPING = mirror("MSI_MAPPING", 0x0168, "Mirror of the MSI mapping capability");
export const PERF_OPT = register("PERF_OPT", 0x016c, 32, { PerfOptEn: rw(13, "Performance optimization") }, MMIO("Performance Optimization Control Register", "016Ch"));
const xtInterrupt = <const N extends string>(name: N, offset: number) =>
  register(
    name,
    offset,
    64,
    {
      DestMode: rw(2, "Destination mode", { 0: "physical", 1: "logical" }),
      DestLow: rw(31, 8, "Destination, bits 23:0"),
      Vector: rw(39, 32, "Vector"),
      DeliveryMode: rw(40, "Delivery mode", { 0: "fixed", 1: "arbitrated" }),
      DestHigh: rw(63, 56, "Destination, bits 31:24"),
    },
    { spec: `AMD-Vi §3.4.13 "XT Interrupt Control Registers", MMIO offset 0${offset.toString(16)}h` },
  );
export const XT_GENERAL = xtInterrupt("XT_GENERAL", 0x0170);
export const XT_PPR = xtInterrupt("XT_PPR", 0x0178);
export const XT_GA = xtInterrupt("XT_GA", 0x0180);

/** Base, relocation and length of the four MARC apertures. */
export const MARC_APERTURES: readonly (readonly [base: Register, reloc: Register, length: Register])[] = Array.from({ length: 4 }, (_, i) => [
  register(`MARC_BASE_${i}`, 0x0200 + 0x18 * i, 64, { Base: rw(51, 12, "First page") }, MMIO("MARC Aperture Registers", "0200h")),
  register(`MARC_RELOC_${i}`, 0x0208 + 0x18 * i, 64, { En: rw(0, "Aperture enable"), RO: rw(1, "Reads only"), Reloc: rw(51, 12, "Page that the first page becomes") }, MMIO("MARC Aperture Registers", "0208h")),
  register(`MARC_LENGTH_${i}`, 0x0210 + 0x18 * i, 64, { Length: rw(51, 12, "Pages, less one") }, MMIO("MARC Aperture Registers", "0210h")),
]);
export const RESERVED_1FF8 = register("RESERVED_1FF8", 0x1ff8, 64, { Low: rw(31, 0, "No function"), High: rw(63, 32, "No function") }, MMIO("Reserved Register", "1FF8h"));

export const CMD_HEAD = pointer("CMD_HEAD", 0x2000, "Command Buffer Head Pointer Register");
export const CMD_TAIL = pointer("CMD_TAIL", 0x2008, "Command Buffer Tail Pointer Register");
export const EVT_HEAD = pointer("EVT_HEAD", 0x2010, "Event Log Head Pointer Register");
export const EVT_TAIL = pointer("EVT_TAIL", 0x2018, "Event Log Tail Pointer Register");
export const PPR_HEAD = pointer("PPR_HEAD", 0x2030, "PPR Log Head Pointer Register");
export const PPR_TAIL = pointer("PPR_TAIL", 0x2038, "PPR Log Tail Pointer Register");
export const GA_HEAD = register("GA_HEAD", 0x2040, 64, { Ptr: rw(15, 3, "Entry that the pointer is at") }, MMIO("Guest Virtual APIC Log Head Pointer Register", "2040h"));
export const GA_TAIL = register("GA_TAIL", 0x2048, 64, { Ptr: rw(15, 3, "Entry that the pointer is at") }, MMIO("Guest Virtual APIC Log Tail Pointer Register", "2048h"));
export const PPR_B_HEAD = pointer("PPR_B_HEAD", 0x2050, "PPR Log B Head Pointer Register");
export const PPR_B_TAIL = pointer("PPR_B_TAIL", 0x2058, "PPR Log B Tail Pointer Register");
export const EVT_B_HEAD = pointer("EVT_B_HEAD", 0x2070, "Event Log B Head Pointer Register");
export const EVT_B_TAIL = pointer("EVT_B_TAIL", 0x2078, "Event Log B Tail Pointer Register");
export const PPR_AUTO_RESPONSE = register("PPR_AUTO_RESPONSE", 0x2080, 64, { Code: rw(3, 0, "Response code"), MaskGN: rw(4, "Responses carry no PASID") }, MMIO("PPR Log Auto Response Register", "2080h"));
const early = <const N extends string>(name: N, offset: number) => register(name, offset, 64, { Threshold: rw(14, 0, "Entries in the log that count as nearly full"), IntEn: rw(30, "Interrupt"), En: rw(31, "Early indicator enable") }, MMIO("PPR Log Overflow Early Indicator Register", "2088h"));
export const PPR_EARLY = early("PPR_EARLY", 0x2088);
export const PPR_B_EARLY = early("PPR_B_EARLY", 0x2090);
export const COUNTER_CONFIG = register("COUNTER_CONFIG", 0x4000, 64, { NCounter: ro(10, 7, "Counters in a bank"), NCounterBanks: ro(17, 12, "Counter banks") }, MMIO("Performance Counter Configuration Register", "4000h"));
