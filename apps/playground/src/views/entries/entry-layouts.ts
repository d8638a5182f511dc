import { DEVICE_TABLE_ENTRY, GCR3_ENTRY, GUEST_PTE, HOST_PDE, HOST_PTE } from "@iommu-lab/iommu-amd/layouts";
import { CONTEXT_ENTRY, FIRST_STAGE_ENTRY, PASID_DIRECTORY_ENTRY, PASID_ENTRY, ROOT_ENTRY, SCALABLE_CONTEXT_ENTRY, SCALABLE_ROOT_ENTRY, SECOND_STAGE_ENTRY } from "@iommu-lab/iommu-intel/layouts";
import { IRTE_128, IRTE_128_GUEST, IRTE_32 } from "@iommu-lab/interrupt-remap/amd";
import { IRTE_POSTED, IRTE_REMAPPED, POSTED_INTERRUPT_DESCRIPTOR } from "@iommu-lab/interrupt-remap/vtd";
import type { ExplanationStep } from "@iommu-lab/pci-bus";
import type { AnyLayout } from "../bench/tables.ts";

/** What an entry is part of: tables that find a source, tables of one stage, interrupts. */
type Track = "source" | "single" | "outer" | "interrupt";

/** What is known of the structures that explanations name. */
export interface EntryKind {
  readonly layout: AnyLayout;
  /** "single": the stage that a device's addresses go through; "outer": the one that a guest's go through after that. */
  readonly track: Track;
  /** Level of a paging entry, 0 for the others. */
  readonly level: number;
}

const SOURCES: Readonly<Record<string, AnyLayout>> = {
  "root entry": ROOT_ENTRY,
  "context entry": CONTEXT_ENTRY,
  "scalable-mode root entry": SCALABLE_ROOT_ENTRY,
  "scalable-mode context entry": SCALABLE_CONTEXT_ENTRY,
  "PASID directory entry": PASID_DIRECTORY_ENTRY,
  "PASID table entry": PASID_ENTRY,
  "device table entry": DEVICE_TABLE_ENTRY,
};

const PAGING = /^(second-stage|first-stage|host|guest|GCR3) entry, level (\d)$/;
const POSTED = 0x8000;
const GUEST_MODE = 0x80;
/** NextLevel of an AMD host entry: 0 and 7 say page. */
const nextLevel = (raw: readonly number[]): number => ((raw[0] ?? 0) >>> 9) & 7;

const pagingLayout = (name: string, level: number, raw: readonly number[]): AnyLayout => {
  switch (name) {
    case "second-stage": return SECOND_STAGE_ENTRY;
    case "first-stage": return FIRST_STAGE_ENTRY;
    case "guest": return GUEST_PTE;
    case "GCR3": return GCR3_ENTRY;
    default: return level === 1 || nextLevel(raw) === 0 || nextLevel(raw) === 7 ? HOST_PTE : HOST_PDE;
  }
};

const irteLayout = (raw: readonly number[], section: string): AnyLayout => {
  if (section.startsWith("VT-d")) return ((raw[0] ?? 0) & POSTED) === 0 ? IRTE_REMAPPED : IRTE_POSTED;
  if (raw.length === 1) return IRTE_32;
  return ((raw[0] ?? 0) & GUEST_MODE) === 0 ? IRTE_128 : IRTE_128_GUEST;
};

/** The layout of a step's structure; undefined where it is none in memory. */
export const kindOf = ({ structure, address, raw, section }: ExplanationStep): EntryKind | undefined => {
  if (address === undefined || raw === undefined) return undefined;
  const source = SOURCES[structure];
  if (source) return { layout: source, track: "source", level: 0 };
  const [, name, digits] = PAGING.exec(structure) ?? [];
  if (name !== undefined) {
    const level = Number(digits);
    return { layout: pagingLayout(name, level, raw), track: name === "GCR3" ? "source" : name === "second-stage" || name === "host" ? "outer" : "single", level: name === "GCR3" ? 0 : level };
  }
  if (structure.startsWith("IRTE")) return { layout: irteLayout(raw, section), track: "interrupt", level: 0 };
  return structure === "posted-interrupt descriptor" ? { layout: POSTED_INTERRUPT_DESCRIPTOR, track: "interrupt", level: 0 } : undefined;
};

const POINTERS = ["ADDR", "Address", "CTP", "LCTP", "UCTP", "PASIDDIRPTR", "SMPTBLPTR", "SSPTPTR", "FSPTPTR", "HostRoot"] as const;

/** The page number that an entry leads to, by the first of its pointers that is not 0. */
export const pointerOf = (fields: Readonly<Record<string, number>>): number | undefined => POINTERS.flatMap((name) => (fields[name] ? [fields[name]] : []))[0];
