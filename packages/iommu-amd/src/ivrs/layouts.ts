import { bit, bits, layout } from "@iommu-lab/memory/layout";

/** What follows the 36-byte table header: IVinfo and reserved bytes. AMD-Vi §5.2.1 "I/O Virtualization Reporting Structure". Offsets count from byte 36. */
export const IVRS_BODY = layout("IVRS", 96, "AMD-Vi §5.2.1", {
  EFR_SUP: bit(0, "Extended features are reported: the EFR images of the blocks are valid."),
  DMA_REMAP_SUP: bit(1, "Firmware protects against DMA before the operating system starts."),
  GVA_SIZE: bits(7, 5, "Size of guest virtual addresses.", { 2: "48 bits", 3: "57 bits" }),
  PA_SIZE: bits(14, 8, "Size of physical addresses, in bits."),
  VA_SIZE: bits(21, 15, "Size of virtual addresses, in bits."),
  HT_ATS_RESV: bit(22, "The HyperTransport address range is reserved for address translation."),
});

const BLOCK = { TYPE: bits(7, 0, "Block type."), FLAGS: bits(15, 8, "Flags."), LENGTH: bits(31, 16, "Bytes of the block, with its device entries."), DEVICE_ID: bits(47, 32, "DeviceID.") } as const;
const HARDWARE = {
  ...BLOCK,
  CAPABILITY_OFFSET: bits(63, 48, "Offset of the IOMMU's capability in its configuration space."),
  BASE_LOW: bits(95, 64, "Address of the register window, bits 31:0."),
  BASE_HIGH: bits(127, 96, "Address of the register window, bits 63:32."),
  SEGMENT: bits(143, 128, "PCI segment group."),
  MSI_NUMBER: bits(148, 144, "MSI message of the event log's interrupt."),
  UNIT_ID: bits(156, 152, "HyperTransport unit of the IOMMU."),
} as const;

/** I/O virtualization hardware definition, basic form; device entries follow. AMD-Vi §5.2.2. */
export const IVHD_10 = layout("IVHD type 10h", 192, "AMD-Vi §5.2.2", { ...HARDWARE, FEATURES: bits(191, 160, "Feature reporting.") });

/** The same with images of the extended feature registers, types 11h and 40h. AMD-Vi §5.2.2. */
export const IVHD_11 = layout("IVHD type 11h", 320, "AMD-Vi §5.2.2", {
  ...HARDWARE,
  ATTRIBUTES: bits(191, 160, "Attributes."),
  EFR_LOW: bits(223, 192, "Extended feature register, bits 31:0."),
  EFR_HIGH: bits(255, 224, "Bits 63:32."),
  EFR2_LOW: bits(287, 256, "Extended feature register 2, bits 31:0."),
  EFR2_HIGH: bits(319, 288, "Bits 63:32."),
});
export const IVHD_40 = layout("IVHD type 40h", 320, "AMD-Vi §5.2.2", IVHD_11.fields);

/** Memory that firmware's devices use. AMD-Vi §5.2.2 "I/O Virtualization Memory Definition". */
export const IVMD = layout("IVMD", 256, "AMD-Vi §5.2.2", {
  ...BLOCK,
  AUXILIARY: bits(63, 48, "Last DeviceID, in blocks of type 22h."),
  SEGMENT: bits(79, 64, "PCI segment group."),
  START_LOW: bits(159, 128, "First address, bits 31:0."),
  START_HIGH: bits(191, 160, "Bits 63:32."),
  LENGTH_LOW: bits(223, 192, "Bytes, bits 31:0."),
  LENGTH_HIGH: bits(255, 224, "Bits 63:32."),
});

/** Flags of an IVHD block. */
export const IVHD_FLAGS = layout("IVHD flags", 8, "AMD-Vi §5.2.2", {
  HtTunEn: bit(0, "HyperTransport tunnel translation"),
  PassPW: bit(1, "PassPW of requests the IOMMU makes"),
  ResPassPW: bit(2, "PassPW of responses"),
  Isoc: bit(3, "Isochronous channel"),
  IotlbSup: bit(4, "Devices may have device-TLBs (ATS)"),
  Coherent: bit(5, "Accesses of the IOMMU snoop"),
  PreFSup: bit(6, "PREFETCH_IOMMU_PAGES"),
  PPRSup: bit(7, "Peripheral page requests"),
});

/** Feature reporting of an IVHD block of type 10h. */
export const IVHD_FEATURES = layout("IVHD features", 32, "AMD-Vi §5.2.2", {
  XTSup: bit(0, "x2APIC: 32-bit interrupt destinations"),
  NXSup: bit(1, "No-execute protection in guest tables"),
  GTSup: bit(2, "Guest translation: v2 tables"),
  GLXSup: bits(4, 3, "Levels of GCR3 tables"),
  IASup: bit(5, "INVALIDATE_IOMMU_ALL"),
  GASup: bit(6, "Guest virtual APIC"),
  HESup: bit(7, "Hardware error registers"),
  PASMax: bits(12, 8, "Bits of a PASID, less one"),
  PNCounters: bits(16, 13, "Performance counters of a bank"),
  PNBanks: bits(22, 17, "Banks of performance counters"),
  MsiNumPPR: bits(27, 23, "MSI message of the PPR log's interrupt"),
  GATS: bits(29, 28, "Guest address translation size"),
  HATS: bits(31, 30, "Host address translation size"),
});

/** Attributes of an IVHD block of type 11h or 40h. */
export const IVHD_ATTRIBUTES = layout("IVHD attributes", 32, "AMD-Vi §5.2.2", {
  HATDis: bit(0, "Host address translation is not to be used"),
  PNCounters: bits(16, 13, "Performance counters of a bank"),
  PNBanks: bits(22, 17, "Banks of performance counters"),
  MsiNumPPR: bits(27, 23, "MSI message of the PPR log's interrupt"),
});

/** Flags of an IVMD block. */
export const IVMD_FLAGS = layout("IVMD flags", 8, "AMD-Vi §5.2.2", {
  Unity: bit(0, "Mapped one to one"),
  IR: bit(1, "Reads are allowed"),
  IW: bit(2, "Writes are allowed"),
  ExclusionRange: bit(3, "Excluded from translation"),
});

/** What a device entry says about the device's table entry. */
export const DTE_SETTING = layout("DTE setting", 8, "AMD-Vi §5.2.2", {
  INITPass: bit(0, "INIT passes unmapped"),
  EIntPass: bit(1, "ExtInt passes unmapped"),
  NMIPass: bit(2, "NMI passes unmapped"),
  SysMgt: bits(5, 4, "System management space", { 0: "aborted", 1: "forwarded", 2: "INTx forwarded", 3: "translated" }),
  Lint0Pass: bit(6, "Lint0 passes unmapped"),
  Lint1Pass: bit(7, "Lint1 passes unmapped"),
});

const TYPE = bits(7, 0, "Entry type.");
const ENTRY = { TYPE, DEVICE_ID: bits(23, 8, "DeviceID."), SETTING: bits(31, 24, "DTE setting.") } as const;

export const ENTRY_ALL = layout("device entry for all", 32, "AMD-Vi §5.2.2", { TYPE, SETTING: ENTRY.SETTING });
export const ENTRY_SELECT = layout("device entry", 32, "AMD-Vi §5.2.2", ENTRY);
export const ENTRY_RANGE_END = layout("device entry, end of range", 32, "AMD-Vi §5.2.2", { TYPE, DEVICE_ID: ENTRY.DEVICE_ID });
export const ENTRY_ALIAS = layout("device entry with alias", 64, "AMD-Vi §5.2.2", { ...ENTRY, SOURCE_ID: bits(55, 40, "DeviceID under which the requests arrive.") });
export const ENTRY_EXTENDED = layout("extended device entry", 64, "AMD-Vi §5.2.2", { ...ENTRY, EXTENDED: bits(63, 32, "Extended DTE setting.") });
export const ENTRY_SPECIAL = layout("special device entry", 64, "AMD-Vi §5.2.2", {
  TYPE,
  SETTING: ENTRY.SETTING,
  HANDLE: bits(39, 32, "I/O APIC ID or HPET number."),
  SOURCE_ID: bits(55, 40, "DeviceID under which its interrupts arrive."),
  VARIETY: bits(63, 56, "What it is.", { 1: "I/O APIC", 2: "HPET" }),
});
/** Fixed part; the unique ID follows. */
export const ENTRY_ACPI = layout("ACPI device entry", 176, "AMD-Vi §5.2.2", {
  ...ENTRY,
  HID_LOW: bits(63, 32, "Hardware ID, characters 0 to 3."),
  HID_HIGH: bits(95, 64, "Characters 4 to 7."),
  CID_LOW: bits(127, 96, "Compatible ID, characters 0 to 3."),
  CID_HIGH: bits(159, 128, "Characters 4 to 7."),
  UID_FORMAT: bits(167, 160, "Form of the unique ID.", { 0: "none", 1: "integer", 2: "string" }),
  UID_LENGTH: bits(175, 168, "Bytes of the unique ID."),
});

/** Names of block types. */
export const structureName = (type: number): string => (type === 0x10 || type === 0x11 || type === 0x40 ? "IVHD" : type >= 0x20 && type <= 0x22 ? "IVMD" : `type 0x${type.toString(16)}`);
