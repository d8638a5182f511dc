import { decodeSdt, type TableProblem } from "@iommu-lab/pci-bus/acpi";
import { decodeDmar, DmarError } from "./decode.ts";
import type { DiagnosisId } from "./diagnosis.ts";
import type { DmarScope } from "./table.ts";

/** What a remapping unit covers. VT-d §8.3 "DMA Remapping Hardware Unit Definition Structure". */
export interface DmarUnit {
  readonly offset: number;
  /** INCLUDE_PCI_ALL: every function of the segment that no other unit names. */
  readonly includeAll: boolean;
  readonly segment: number;
  /** HPA of the register window; past 2^53 rounded. */
  readonly registerBase: number;
  readonly scopes: readonly DmarScope[];
}

/** The part of a DMAR table that says which unit covers which function. */
export interface DmarUnits {
  readonly units: readonly DmarUnit[];
  /** Damage that may hide a unit or a scope; `decodeDmar` has every other finding. */
  readonly problems: readonly TableProblem[];
}

const DAMAGE: Partial<Record<DiagnosisId, Pick<TableProblem, "kind" | "field">>> = {
  "table-length-wrong": { kind: "length", field: "Length" },
  "table-trailing-bytes": { kind: "length", field: "Length" },
  "table-checksum-wrong": { kind: "checksum", field: "Checksum" },
  "structure-length-zero": { kind: "content", field: "Remapping Structure" },
  "structure-overruns-table": { kind: "content", field: "Remapping Structure" },
  "structure-too-short": { kind: "content", field: "Remapping Structure" },
  "scope-length-invalid": { kind: "content", field: "Device Scope" },
};

/**
 * Reads the remapping units of a DMAR table (signature to end, as in /sys/firmware/acpi/tables/DMAR).
 * Never throws: what is damaged is in `problems`, what stands before it is still read.
 */
export const decodeDmarUnits = (bytes: Uint8Array): DmarUnits => {
  try {
    const { structures, diagnoses } = decodeDmar(bytes);
    return {
      units: structures.flatMap((s) => (s.name === "DRHD" ? [{ offset: s.offset, includeAll: s.includeAll, segment: s.segment, registerBase: Number(s.registerBase), scopes: s.scopes }] : [])),
      problems: diagnoses.flatMap(({ id, offset, text }) => {
        const damage = DAMAGE[id];
        return damage ? [{ ...damage, offset, text }] : [];
      }),
    };
  } catch (error) {
    if (error instanceof DmarError) return { units: [], problems: decodeSdt(bytes, "DMAR").problems };
    throw error;
  }
};
