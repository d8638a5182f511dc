import { decodeSdt, type TableProblem } from "@iommu-lab/pci-bus/acpi";

/** One element of a device scope's path. VT-d §8.3.1 "Device Scope Structure". */
export interface DmarPathStep {
  readonly device: number;
  readonly function: number;
}

/** A device scope entry. */
export interface DmarScope {
  readonly offset: number;
  /** 1 PCI endpoint, 2 PCI sub-hierarchy, 3 I/O APIC, 4 HPET, 5 ACPI namespace device. */
  readonly type: number;
  readonly enumerationId: number;
  readonly startBus: number;
  readonly path: readonly DmarPathStep[];
}

/** A DMA remapping hardware unit definition. VT-d §8.3 "DMA Remapping Hardware Unit Definition Structure". */
export interface DmarUnit {
  readonly offset: number;
  /** INCLUDE_PCI_ALL: every function of the segment that no other unit names. */
  readonly includeAll: boolean;
  readonly segment: number;
  /** HPA of the register window. */
  readonly registerBase: number;
  readonly scopes: readonly DmarScope[];
}

/** The part of a DMAR table that says which unit covers which function. */
export interface DmarUnits {
  readonly units: readonly DmarUnit[];
  readonly problems: readonly TableProblem[];
}

const HEADER = 48;
const DRHD = 0;
const u16 = (bytes: Uint8Array, at: number): number => (bytes[at] ?? 0) | ((bytes[at + 1] ?? 0) << 8);
const u32 = (bytes: Uint8Array, at: number): number => (u16(bytes, at) | (u16(bytes, at + 2) << 16)) >>> 0;

const decodeScopes = (bytes: Uint8Array, start: number, end: number, problems: TableProblem[]): DmarScope[] => {
  const scopes: DmarScope[] = [];
  for (let at = start; at < end; ) {
    const length = bytes[at + 1] ?? 0;
    if (length < 8 || length % 2 || at + length > end) {
      problems.push({ kind: "content", field: "Device Scope", offset: at, text: `device scope states ${length} bytes; ${end - at} are left in its structure` });
      break;
    }
    const path: DmarPathStep[] = [];
    for (let step = at + 6; step < at + length; step += 2) path.push({ device: bytes[step] ?? 0, function: bytes[step + 1] ?? 0 });
    scopes.push({ offset: at, type: bytes[at] ?? 0, enumerationId: bytes[at + 4] ?? 0, startBus: bytes[at + 5] ?? 0, path });
    at += length;
  }
  return scopes;
};

/**
 * Reads the remapping units of a DMAR table (signature to end, as in /sys/firmware/acpi/tables/DMAR).
 * Never throws: what is damaged is in `problems`, what stands before it is still read.
 */
export const decodeDmarUnits = (bytes: Uint8Array): DmarUnits => {
  const { header, problems: found } = decodeSdt(bytes, "DMAR");
  const problems = [...found];
  const units: DmarUnit[] = [];
  if (header.signature !== "DMAR") return { units, problems };
  const end = Math.min(header.length, bytes.length);
  for (let at = HEADER; at + 4 <= end; ) {
    const length = u16(bytes, at + 2);
    if (length < 4 || at + length > end) {
      problems.push({ kind: "content", field: "Remapping Structure", offset: at, text: `structure of type ${u16(bytes, at)} states ${length} bytes; ${end - at} are left in the table` });
      break;
    }
    if (u16(bytes, at) === DRHD) {
      if (length < 16) problems.push({ kind: "content", field: "DRHD", offset: at, text: `DRHD of ${length} bytes; it has at least 16` });
      else
        units.push({
          offset: at,
          includeAll: ((bytes[at + 4] ?? 0) & 1) === 1,
          segment: u16(bytes, at + 6),
          registerBase: u32(bytes, at + 8) + u32(bytes, at + 12) * 0x1_0000_0000,
          scopes: decodeScopes(bytes, at + 16, at + length, problems),
        });
    }
    at += length;
  }
  return { units, problems };
};
