import {
  decodeContextEntry,
  decodeDescriptor,
  decodeFaultRecord,
  decodeFirstStageEntry,
  decodeIrte,
  decodePasidDirectoryEntry,
  decodePasidEntry,
  decodeRegister,
  decodeRootEntry,
  decodeScalableContextEntry,
  decodeScalableRootEntry,
  decodeSecondStageEntry,
  REGISTERS,
  type Told,
} from "@iommu-lab/iommu-intel/decode";

/** A kind whose input is a row of equally wide structures. */
export interface BitsKind {
  readonly width: number;
  readonly text: string;
  readonly decode: (value: bigint, offset: number) => Told;
  /** Names under which the same structure appears in logs and debugfs files. */
  readonly names: readonly string[];
}

const bitsKind = (width: number, text: string, decode: BitsKind["decode"], ...names: string[]): BitsKind => ({ width, text, decode, names });

const DESCRIPTOR_NAMES = ["context-cache", "IOTLB", "device-TLB", "interrupt entry cache", "PASID-based IOTLB", "PASID-cache", "PASID-based device-TLB"].map((name) => `${name} invalidate descriptor`).concat("invalidation wait descriptor", "page group response descriptor");

/** Structures in memory and records. */
const STRUCTURES: Readonly<Record<string, BitsKind>> = {
  fault: bitsKind(128, "fault recording register", decodeFaultRecord, "fault", "fault record"),
  iqe: bitsKind(128, "invalidation queue descriptor", (value, offset) => decodeDescriptor(value, 128, offset), ...DESCRIPTOR_NAMES),
  iqe256: bitsKind(256, "invalidation queue descriptor of scalable mode", (value, offset) => decodeDescriptor(value, 256, offset), ...DESCRIPTOR_NAMES),
  irte: bitsKind(128, "interrupt remapping table entry", decodeIrte, "IRTE, remapped", "IRTE, posted"),
  root: bitsKind(128, "root entry", decodeRootEntry, "root entry"),
  "scalable-root": bitsKind(128, "scalable-mode root entry", decodeScalableRootEntry, "scalable-mode root entry"),
  context: bitsKind(128, "context entry", decodeContextEntry, "context entry"),
  "scalable-context": bitsKind(256, "scalable-mode context entry", decodeScalableContextEntry, "scalable-mode context entry"),
  pasid: bitsKind(512, "PASID table entry", decodePasidEntry, "PASID table entry"),
  "pasid-directory": bitsKind(64, "PASID directory entry", decodePasidDirectoryEntry, "PASID directory entry"),
  pte: bitsKind(64, "second-stage paging entry", decodeSecondStageEntry, "second-stage paging entry"),
  "first-stage-pte": bitsKind(64, "first-stage paging entry", decodeFirstStageEntry, "first-stage paging entry"),
};

/** Register kinds by the register's short name in lower case: cap, ecap, gsts, fsts, iqa. */
const REGISTER_KINDS = new Map([...REGISTERS].map(([name, register]) => [name.toLowerCase(), bitsKind(register.width, `${register.name} value`, (value, offset) => decodeRegister(name, value, offset), register.name)] as const));

/** A row kind by name. */
export const bitsKindOf = (kind: string): BitsKind | undefined => (Object.hasOwn(STRUCTURES, kind) ? STRUCTURES[kind] : REGISTER_KINDS.get(kind));

const TEXT_KINDS = ["log", "debugfs"] as const;
const TABLE_KINDS = ["dmar", "mcfg"] as const;

/** For messages and help; the other registers go by their names too. */
export const KIND_LIST = [...TABLE_KINDS, "cap", "ecap", "gsts", "fsts", ...TEXT_KINDS, ...Object.keys(STRUCTURES)].join(", ");

export const isKind = (kind: string): boolean => (TEXT_KINDS as readonly string[]).includes(kind) || (TABLE_KINDS as readonly string[]).includes(kind) || bitsKindOf(kind) !== undefined;
