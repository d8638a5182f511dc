/** Code types of an option ROM image. PCI Firmware §5.1.2 "PCI Data Structure". */
export const CodeType = { LegacyBios: 0, OpenFirmware: 1, PaRisc: 2, Uefi: 3, NvidiaExtension: 0x70, Vendor: 0xe0 } as const;

/** Machine types of UEFI images, as in PE headers. */
export const Machine = { X86: 0x014c, X64: 0x8664, Arm64: 0xaa64 } as const;

/** What a UEFI image says of itself in its ROM header. UEFI §14.4.2 "PCI Option ROMs". */
export interface EfiHeader {
  /** Bytes of the image to load: header and driver. */
  readonly initSize: number;
  /** The signature 0x00000ef1 is there; without it firmware loads nothing. */
  readonly signed: boolean;
  /** 0xb boot service driver, 0xc runtime driver. */
  readonly subsystem: number;
  /** A `Machine` value. */
  readonly machine: number;
  readonly compressed: boolean;
  /** Offset of the PE image from the start of this one. */
  readonly peOffset: number;
}

/** One image of an option ROM. */
export interface OptionRomImage {
  /** Offset from the start of the dump, in bytes. */
  readonly offset: number;
  /** Bytes according to the PCI data structure; those of the dump when it ends before. */
  readonly length: number;
  /** Legacy images: bytes to copy to RAM and to sum up, from the image's own header; 0 for others. */
  readonly headerLength: number;
  readonly codeType: number;
  readonly vendor: number;
  readonly device: number;
  /** Further device IDs of a revision 3 structure. */
  readonly deviceList: readonly number[];
  /** 24 bits. */
  readonly classCode: number;
  readonly dataRevision: number;
  /** The vendor's revision of code and data. */
  readonly imageRevision: number;
  /** Indicator bit 7 of the PCI data structure. */
  readonly marksEnd: boolean;
  /** UEFI images only. */
  readonly efi: EfiHeader | undefined;
  /** Legacy images: whether all bytes add up to 0 modulo 256; undefined for others and for truncated ones. */
  readonly checksum: "good" | "bad" | undefined;
  /** The dump ends before the image does. */
  readonly truncated: boolean;
}

/** Something wrong with a dump. */
export interface RomProblem {
  readonly rule: "no-image" | "leading-bytes" | "broken-chain" | "zero-length" | "truncated" | "header-length" | "checksum" | "vendor" | "device" | "efi-signature" | "pe-offset" | "no-end";
  readonly text: string;
}

/** A dump of an option ROM, taken apart. */
export interface OptionRom {
  readonly images: readonly OptionRomImage[];
  readonly problems: readonly RomProblem[];
  /** The chain was followed to its end: nothing behind it was missed. */
  readonly complete: boolean;
}

/** Whose ROM it should be. */
export interface CardIds {
  readonly vendor: number;
  readonly device: number;
}
