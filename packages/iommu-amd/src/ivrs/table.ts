import type { SdtHeader, SdtIdentity } from "@iommu-lab/pci-bus/acpi";
import type { Diagnosis } from "./diagnosis.ts";

/** Bits that the specification reserves and a table sets nevertheless; kept so that encoding gives the same bytes. */
interface Leftover {
  /** The fixed part's bytes with only the reserved bits. Absent when all are zero. */
  readonly reserved?: Uint8Array;
}

interface Entry extends Leftover {
  /** Byte offset in the table. */
  readonly offset: number;
  /** Bytes it takes. */
  readonly length: number;
}

interface Setting {
  /** Pass and system management bits of the device's table entry (`DTE_SETTING`), 8 bits. */
  readonly setting: number;
}

/** Bytes that fill up to the next entry. */
export interface PaddingEntry extends Entry {
  readonly type: 0x00 | 0x40;
  readonly name: "padding";
  /** Everything after the type; 3 or 7 bytes. */
  readonly data: Uint8Array;
}

/** Every DeviceID of the segment. */
export interface AllEntry extends Entry, Setting {
  readonly type: 0x01;
  readonly name: "all";
}

/** One DeviceID, or the first of a range. */
export interface SelectEntry extends Entry, Setting {
  readonly type: 0x02 | 0x03;
  readonly name: "select" | "range-start";
  readonly deviceId: number;
}

/** The last DeviceID of the range that was begun. */
export interface RangeEndEntry extends Entry {
  readonly type: 0x04;
  readonly name: "range-end";
  readonly deviceId: number;
}

/** Functions whose requests arrive under another DeviceID. */
export interface AliasEntry extends Entry, Setting {
  readonly type: 0x42 | 0x43;
  readonly name: "alias-select" | "alias-range-start";
  readonly deviceId: number;
  /** The DeviceID under which the requests arrive. */
  readonly sourceId: number;
}

/** One DeviceID or the first of a range, with more settings. */
export interface ExtendedEntry extends Entry, Setting {
  readonly type: 0x46 | 0x47;
  readonly name: "extended-select" | "extended-range-start";
  readonly deviceId: number;
  /** Extended DTE setting, 32 bits; bit 31: no ATS. */
  readonly extended: number;
}

/** An I/O APIC or HPET. */
export interface SpecialEntry extends Entry, Setting {
  readonly type: 0x48;
  readonly name: "special";
  /** I/O APIC ID or HPET number, 8 bits. */
  readonly handle: number;
  /** The DeviceID under which its interrupts arrive. */
  readonly sourceId: number;
  /** 1 I/O APIC, 2 HPET; 8 bits. */
  readonly variety: number;
}

/** A device that only the ACPI namespace names; in blocks of type 40h. */
export interface AcpiEntry extends Entry, Setting {
  readonly type: 0xf0;
  readonly name: "acpi-device";
  readonly deviceId: number;
  /** Hardware ID, up to 8 characters of one byte each, without the zeros after it. */
  readonly hid: string;
  /** Compatible ID, likewise. */
  readonly cid: string;
  /** 0 none, 1 integer, 2 string; 8 bits. */
  readonly uidFormat: number;
  /** The unique ID's bytes, at most 255. */
  readonly uid: Uint8Array;
}

/** An entry of a type that is not known here, with a length that its type tells. */
export interface RawEntry extends Entry {
  readonly type: number;
  readonly name: "raw";
  /** Everything after the type. */
  readonly data: Uint8Array;
}

/** A device entry of an IVHD block; `name` tells them apart. AMD-Vi §5.2.2 "IVHD Device Entries". */
export type IvhdEntry = PaddingEntry | AllEntry | SelectEntry | RangeEndEntry | AliasEntry | ExtendedEntry | SpecialEntry | AcpiEntry | RawEntry;

interface Block extends Leftover {
  /** Byte offset in the table. */
  readonly offset: number;
  /** Bytes it takes. */
  readonly length: number;
  /** Bytes that could not be read as anything: they end the block. */
  readonly rest?: Uint8Array;
}

interface Hardware extends Block {
  readonly name: "IVHD";
  /** `IVHD_FLAGS`, 8 bits. */
  readonly flags: number;
  /** The IOMMU's own DeviceID. */
  readonly deviceId: number;
  /** Offset of its capability in configuration space, 16 bits. */
  readonly capabilityOffset: number;
  /** HPA of the register window, 64 bits. */
  readonly registerBase: bigint;
  /** PCI segment group, 16 bits. */
  readonly segment: number;
  /** MSI message of the event log's interrupt, 5 bits. */
  readonly msiNumber: number;
  /** HyperTransport unit, 5 bits. */
  readonly unitId: number;
  readonly entries: readonly IvhdEntry[];
}

/** An IOMMU, in the basic form. AMD-Vi §5.2.2 "I/O Virtualization Hardware Definition". */
export interface Ivhd10 extends Hardware {
  readonly type: 0x10;
  /** `IVHD_FEATURES`, 32 bits. */
  readonly features: number;
}

/** An IOMMU with images of its extended feature registers; type 40h may name ACPI devices. AMD-Vi §5.2.2. */
export interface Ivhd11 extends Hardware {
  readonly type: 0x11 | 0x40;
  /** `IVHD_ATTRIBUTES`, 32 bits. */
  readonly attributes: number;
  /** EFR, 64 bits. */
  readonly extendedFeatures: bigint;
  /** EFR2, 64 bits. */
  readonly extendedFeatures2: bigint;
}

/** One IOMMU's definition block. */
export type Ivhd = Ivhd10 | Ivhd11;

/** Memory to be mapped one to one, or excluded from translation. AMD-Vi §5.2.2 "I/O Virtualization Memory Definition". */
export interface Ivmd extends Block {
  /** 20h for all devices, 21h for one, 22h for a range. */
  readonly type: 0x20 | 0x21 | 0x22;
  readonly name: "IVMD";
  /** `IVMD_FLAGS`, 8 bits. */
  readonly flags: number;
  readonly deviceId: number;
  /** Last DeviceID of the range, type 22h. */
  readonly lastDeviceId: number;
  /** PCI segment group, 16 bits. */
  readonly segment: number;
  /** First HPA, 64 bits. */
  readonly start: bigint;
  /** Bytes, 64 bits. */
  readonly size: bigint;
}

/** A block of a type that is not known here, or too short for its type. */
export interface RawBlock extends Block {
  readonly type: number;
  readonly name: "raw";
  /** 8 bits. */
  readonly flags: number;
  /** Everything after type, flags and length. */
  readonly data: Uint8Array;
}

/** A definition block; `name` tells them apart. */
export type IvrsStructure = Ivhd | Ivmd | RawBlock;

/** An IVRS table in every detail: encoding it gives the bytes it was decoded from. */
export interface IvrsTable {
  readonly header: SdtHeader;
  /** Extended features are reported: the EFR images count. */
  readonly extendedFeatureReporting: boolean;
  /** Firmware protects against DMA before the operating system starts. */
  readonly preBootDmaProtection: boolean;
  /** 2: 48 bits, 3: 57 bits; 3 bits. */
  readonly guestVirtualAddressSize: number;
  /** In bits; 7 bits. */
  readonly physicalAddressSize: number;
  /** In bits; 7 bits. */
  readonly virtualAddressSize: number;
  /** The HyperTransport range is reserved for address translation. */
  readonly htAtsReserved: boolean;
  readonly structures: readonly IvrsStructure[];
  /** What keeps an odd table's bytes; drop it to get the same contents in good form. */
  readonly odd?: IvrsOddities;
  readonly diagnoses: readonly Diagnosis[];
}

/** Bytes of a table that its fields do not explain. Absent fields are as they should be. */
export interface IvrsOddities {
  /** The 36 header bytes: how the texts are padded. */
  readonly header?: Uint8Array;
  /** Length field, when it does not count the table's bytes. */
  readonly length?: number;
  /** Checksum field, when the sum is not zero. */
  readonly checksum?: number;
  /** The 12 bytes after the header with only the reserved bits. */
  readonly reserved?: Uint8Array;
  /** From the first block whose length cannot be right, to the end of the table. */
  readonly rest?: Uint8Array;
  /** What follows the last byte that Length counts. */
  readonly trailing?: Uint8Array;
}

/** An address of a table to be encoded, below 2^64. */
export type AddressInput = number | bigint;

type Computed = "offset" | "length";

/** What must be given, with addresses also as numbers; what is left out is zero. */
type Input<S, Required extends keyof S> = { readonly [K in Required]: S[K] extends bigint ? AddressInput : S[K] } & {
  readonly [K in Exclude<keyof S, Required | Computed>]?: K extends "entries" ? readonly IvhdEntryInput[] : S[K] extends bigint ? AddressInput : S[K];
} & Readonly<Partial<Record<Computed, unknown>>>;

/** A device entry to be encoded; lengths are computed. */
export type IvhdEntryInput =
  | Input<PaddingEntry, "type" | "name">
  | Input<AllEntry, "name">
  | Input<SelectEntry, "name" | "deviceId">
  | Input<RangeEndEntry, "name" | "deviceId">
  | Input<AliasEntry, "name" | "deviceId" | "sourceId">
  | Input<ExtendedEntry, "name" | "deviceId">
  | Input<SpecialEntry, "name" | "handle" | "sourceId" | "variety">
  | Input<AcpiEntry, "name" | "deviceId" | "hid">
  | Input<RawEntry, "name" | "type" | "data">;

/** A block to be encoded: `name`, `type` and what has no natural default; offsets and lengths are computed. */
export type IvrsStructureInput = Input<Ivhd10, "name" | "type" | "registerBase"> | Input<Ivhd11, "name" | "type" | "registerBase"> | Input<Ivmd, "name" | "type" | "start" | "size"> | Input<RawBlock, "name" | "type" | "data">;

/** A table to be encoded; a decoded table is one. */
export interface IvrsInput extends Partial<Omit<IvrsTable, "header" | "structures">> {
  readonly header?: SdtIdentity;
  readonly structures: readonly IvrsStructureInput[];
}
