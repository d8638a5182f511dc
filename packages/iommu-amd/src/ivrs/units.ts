import { decodeSdt, type TableProblem } from "@iommu-lab/pci-bus/acpi";
import { decodeIvrs, IvrsError } from "./decode.ts";
import type { DiagnosisId } from "./diagnosis.ts";
import { countingBlocks, rangesOf, type IvhdRange } from "./ranges.ts";

/** What an IOMMU covers. AMD-Vi §5.2.2 "I/O Virtualization Hardware Definition". */
export interface IvrsUnit {
  readonly offset: number;
  /** Block type: 10h, 11h or 40h. */
  readonly type: number;
  /** The IOMMU's own DeviceID. */
  readonly deviceId: number;
  readonly segment: number;
  /** HPA of the register window; past 2^53 rounded. */
  readonly registerBase: number;
  readonly ranges: readonly IvhdRange[];
}

/** The part of an IVRS table that says which IOMMU covers which DeviceID. */
export interface IvrsUnits {
  readonly units: readonly IvrsUnit[];
  /** Damage that may hide an IOMMU or a device; `decodeIvrs` has every other finding. */
  readonly problems: readonly TableProblem[];
}

const DAMAGE: Partial<Record<DiagnosisId, Pick<TableProblem, "kind" | "field">>> = {
  "table-length-wrong": { kind: "length", field: "Length" },
  "table-trailing-bytes": { kind: "length", field: "Length" },
  "table-checksum-wrong": { kind: "checksum", field: "Checksum" },
  "structure-length-zero": { kind: "content", field: "Block" },
  "structure-overruns-table": { kind: "content", field: "Block" },
  "structure-too-short": { kind: "content", field: "Block" },
  "entry-length-invalid": { kind: "content", field: "Device Entry" },
  "range-not-closed": { kind: "content", field: "Device Entry" },
  "range-end-alone": { kind: "content", field: "Device Entry" },
  "range-reversed": { kind: "content", field: "Device Entry" },
};

/**
 * Reads the IOMMUs of an IVRS table (signature to end, as in /sys/firmware/acpi/tables/IVRS). Of several blocks for one
 * IOMMU the one with the highest known type counts, as in Linux. Never throws: what is damaged is in `problems`, what
 * stands before it is still read.
 */
export const decodeIvrsUnits = (bytes: Uint8Array): IvrsUnits => {
  try {
    const { structures, diagnoses } = decodeIvrs(bytes);
    return {
      units: countingBlocks(structures).map(({ offset, type, deviceId, segment, registerBase, entries }) => ({ offset, type, deviceId, segment, registerBase: Number(registerBase), ranges: rangesOf(entries).ranges })),
      problems: diagnoses.flatMap(({ id, offset, text }) => {
        const damage = DAMAGE[id];
        return damage ? [{ ...damage, offset, text }] : [];
      }),
    };
  } catch (error) {
    if (error instanceof IvrsError) return { units: [], problems: decodeSdt(bytes, "IVRS").problems };
    throw error;
  }
};
