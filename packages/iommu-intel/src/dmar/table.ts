import type { SdtHeader, SdtIdentity } from "@iommu-lab/pci-bus/acpi";
import type { Diagnosis } from "./diagnosis.ts";

/** One element of a device scope's path. VT-d §8.3.1 "Device Scope Structure". */
export interface DmarPathStep {
  /** 0 to 31 in a sound table; 8 bits here. */
  readonly device: number;
  /** 0 to 7 in a sound table; 8 bits here. */
  readonly function: number;
}

/** Bits that the specification reserves and a table sets nevertheless; kept so that encoding gives the same bytes. */
interface Leftover {
  /** The fixed part's bytes with only the reserved bits. Absent when all are zero. */
  readonly reserved?: Uint8Array;
  /** Bytes that could not be read as anything: they end the scopes of a structure, the path of a scope. */
  readonly rest?: Uint8Array;
}

/** A device scope entry. VT-d §8.3.1. */
export interface DmarScope extends Leftover {
  /** Byte offset in the table. */
  readonly offset: number;
  /** 1 PCI endpoint, 2 PCI sub-hierarchy, 3 I/O APIC, 4 HPET, 5 ACPI namespace device; 8 bits. */
  readonly type: number;
  /** Property bits, in SIDP structures; 8 bits. */
  readonly flags: number;
  /** I/O APIC ID, HPET number or ACPI device number; 8 bits. */
  readonly enumerationId: number;
  readonly startBus: number;
  readonly path: readonly DmarPathStep[];
}

interface Common extends Leftover {
  /** Byte offset in the table. */
  readonly offset: number;
  /** Bytes it takes. */
  readonly length: number;
}

interface Scoped extends Common {
  /** PCI segment, 16 bits. */
  readonly segment: number;
  readonly scopes: readonly DmarScope[];
}

/** A DMA remapping hardware unit. VT-d §8.3 "DMA Remapping Hardware Unit Definition Structure". */
export interface Drhd extends Scoped {
  readonly type: 0;
  readonly name: "DRHD";
  /** INCLUDE_PCI_ALL: every function of the segment that no other unit names. */
  readonly includeAll: boolean;
  /** The register window has 2^size pages of 4 KiB; 4 bits. */
  readonly size: number;
  /** HPA of the register window, 64 bits. */
  readonly registerBase: bigint;
}

/** Memory that firmware's devices use, to be mapped one to one. VT-d §8.4 "Reserved Memory Region Reporting Structure". */
export interface Rmrr extends Scoped {
  readonly type: 1;
  readonly name: "RMRR";
  /** First HPA, 64 bits. */
  readonly base: bigint;
  /** Last HPA, inclusive, 64 bits. */
  readonly limit: bigint;
}

/** Root ports that support ATS. VT-d §8.5 "Root Port ATS Capability Reporting Structure". */
export interface Atsr extends Scoped {
  readonly type: 2;
  readonly name: "ATSR";
  /** Every root port of the segment; the scopes then say nothing. */
  readonly allPorts: boolean;
}

/** A unit's proximity domain. VT-d §8.6 "Remapping Hardware Status Affinity Structure". */
export interface Rhsa extends Common {
  readonly type: 3;
  readonly name: "RHSA";
  /** HPA of the unit's register window, 64 bits. */
  readonly registerBase: bigint;
  /** 32 bits. */
  readonly proximityDomain: number;
}

/** A device that only the ACPI namespace names. VT-d §8.7 "ACPI Name-space Device Declaration Structure". */
export interface Andd extends Common {
  readonly type: 4;
  readonly name: "ANDD";
  /** The enumeration ID of its device scopes, 8 bits. */
  readonly deviceNumber: number;
  /** Path in the namespace, such as \_SB.PCI0.I2C0; one character a byte, up to the first zero. */
  readonly objectName: string;
}

/** Devices with an address translation cache inside the SoC. VT-d §8.8. */
export interface Satc extends Scoped {
  readonly type: 5;
  readonly name: "SATC";
  /** The devices do not work without ATS. */
  readonly atcRequired: boolean;
}

/** Properties of devices inside the SoC, in their scopes' flags. VT-d §8.9. */
export interface Sidp extends Scoped {
  readonly type: 6;
  readonly name: "SIDP";
}

/** A structure of a type that is not known here, or too short for its type. */
export interface RawStructure extends Common {
  readonly type: number;
  readonly name: "raw";
  /** Everything after type and length. */
  readonly data: Uint8Array;
}

/** A remapping structure; `name` tells them apart. */
export type DmarStructure = Drhd | Rmrr | Atsr | Rhsa | Andd | Satc | Sidp | RawStructure;

/** A DMAR table in every detail: encoding it gives the bytes it was decoded from. */
export interface DmarTable {
  readonly header: SdtHeader;
  /** Widest address that DMA can name, in bits: 1 to 256 by the field, 36 to 52 in sound tables. */
  readonly hostAddressWidth: number;
  /** INTR_REMAP: the platform supports interrupt remapping. */
  readonly interruptRemapping: boolean;
  /** X2APIC_OPT_OUT: firmware asks for xAPIC mode. */
  readonly x2apicOptOut: boolean;
  /** DMA_CTRL_PLATFORM_OPT_IN_FLAG: firmware asks to keep DMA protection on. */
  readonly dmaControlOptIn: boolean;
  readonly structures: readonly DmarStructure[];
  /** What keeps an odd table's bytes; drop it to get the same contents in good form. */
  readonly odd?: DmarOddities;
  readonly diagnoses: readonly Diagnosis[];
}

/** Bytes of a table that its fields do not explain. Absent fields are as they should be. */
export interface DmarOddities {
  /** The 36 header bytes: how the texts are padded. */
  readonly header?: Uint8Array;
  /** Length field, when it does not count the table's bytes. */
  readonly length?: number;
  /** Checksum field, when the sum is not zero. */
  readonly checksum?: number;
  /** The 12 bytes after the header with only the reserved bits. */
  readonly reserved?: Uint8Array;
  /** From the first structure whose length cannot be right, to the end of the table. */
  readonly rest?: Uint8Array;
  /** What follows the last byte that Length counts. */
  readonly trailing?: Uint8Array;
}

/** An address of a table to be encoded, below 2^64. */
export type AddressInput = number | bigint;

/** A scope to be encoded; what is left out is zero. */
export type DmarScopeInput = Pick<DmarScope, "type"> & Partial<Omit<DmarScope, "type" | "offset">>;

type Input<S, Required extends keyof S, Computed extends keyof S> = { readonly [K in "name" | Required]: K extends keyof S ? (S[K] extends bigint ? AddressInput : S[K]) : never } & {
  readonly [K in Exclude<keyof S, "name" | Required | Computed>]?: K extends "scopes" ? readonly DmarScopeInput[] : S[K];
} & Readonly<Partial<Record<Computed, unknown>>>;

/** A structure to be encoded: `name` and what has no natural default; offsets and lengths are computed. */
export type DmarStructureInput =
  | Input<Drhd, "registerBase", "offset" | "length" | "type">
  | Input<Rmrr, "base" | "limit", "offset" | "length" | "type">
  | Input<Atsr, never, "offset" | "length" | "type">
  | Input<Rhsa, "registerBase" | "proximityDomain", "offset" | "length" | "type">
  | Input<Andd, "deviceNumber" | "objectName", "offset" | "length" | "type">
  | Input<Satc, never, "offset" | "length" | "type">
  | Input<Sidp, never, "offset" | "length" | "type">
  | Input<RawStructure, "data" | "type", "offset" | "length">;

/** A table to be encoded; a decoded table is one. */
export interface DmarInput extends Partial<Omit<DmarTable, "header" | "structures">> {
  readonly header?: SdtIdentity;
  readonly structures: readonly DmarStructureInput[];
}
