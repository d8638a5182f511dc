import * as amd from "@iommu-lab/iommu-amd/decode";
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

const COMMAND_NAMES = ["COMPLETION_WAIT", "INVALIDATE_DEVTAB_ENTRY", "INVALIDATE_IOMMU_PAGES", "INVALIDATE_IOTLB_PAGES", "INVALIDATE_INTERRUPT_TABLE", "PREFETCH_IOMMU_PAGES", "COMPLETE_PPR_REQUEST", "INVALIDATE_IOMMU_ALL"];

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
  dte: bitsKind(256, "device table entry", amd.decodeDeviceTableEntry, "device table entry"),
  "amd-pte": bitsKind(64, "host page table entry", amd.decodeHostEntry, "host page table entry", "host page directory entry"),
  "amd-guest-pte": bitsKind(64, "guest page table entry", amd.decodeGuestEntry, "guest page table entry"),
  gcr3: bitsKind(64, "GCR3 table entry", amd.decodeGcr3Entry, "GCR3 table entry"),
  "amd-command": bitsKind(128, "command", amd.decodeCommand, ...COMMAND_NAMES),
  "amd-event": bitsKind(128, "event log entry", amd.decodeEvent, ...amd.EVENT_CODES.keys()),
  "amd-irte": bitsKind(128, "interrupt remapping table entry", (value, offset) => amd.decodeIrte(value, 128, offset)),
  "amd-irte32": bitsKind(32, "interrupt remapping table entry of 32 bits", (value, offset) => amd.decodeIrte(value, 32, offset)),
  "ppr-log": bitsKind(128, "PPR log entry", amd.decodePprLogEntry),
  "ga-log": bitsKind(64, "GA log entry", amd.decodeGaLogEntry),
};

/** Names of AMD's registers that need no prefix: no other register has them. */
const AMD_ALONE = ["EFR", "EFR2"];

/** Register kinds by the register's short name in lower case: cap, ecap, gsts, fsts, iqa; AMD's as efr, efr2, amd-control, amd-cmd-head. */
const REGISTER_KINDS = new Map([
  ...[...REGISTERS].map(([name, register]) => [name.toLowerCase(), bitsKind(register.width, `${register.name} value`, (value, offset) => decodeRegister(name, value, offset), register.name)] as const),
  ...[...amd.REGISTERS].map(([name, register]) => [`${AMD_ALONE.includes(name) ? "" : "amd-"}${name.toLowerCase().replaceAll("_", "-")}`, bitsKind(register.width, `${name} value`, (value, offset) => amd.decodeRegister(name, value, offset), name)] as const),
]);

/** A row kind by name. */
export const bitsKindOf = (kind: string): BitsKind | undefined => (Object.hasOwn(STRUCTURES, kind) ? STRUCTURES[kind] : REGISTER_KINDS.get(kind));

const TEXT_KINDS = ["log", "debugfs"] as const;
const TABLE_KINDS = ["dmar", "ivrs", "mcfg"] as const;

/** Names of all row kinds: structures first. */
export const BITS_KINDS: readonly string[] = [...Object.keys(STRUCTURES), ...REGISTER_KINDS.keys()];

/** For messages and help; the other registers go by their names too. */
export const KIND_LIST = [...TABLE_KINDS, "cap", "ecap", "gsts", "fsts", "efr", "efr2", "amd-control", "amd-status", ...TEXT_KINDS, ...Object.keys(STRUCTURES)].join(", ");

export const isKind = (kind: string): boolean => (TEXT_KINDS as readonly string[]).includes(kind) || (TABLE_KINDS as readonly string[]).includes(kind) || bitsKindOf(kind) !== undefined;
