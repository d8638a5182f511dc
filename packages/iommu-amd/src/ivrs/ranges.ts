import { diagnosis, type Diagnosis } from "./diagnosis.ts";
import type { AliasEntry, ExtendedEntry, Ivhd, IvhdEntry, IvrsStructure, SelectEntry } from "./table.ts";

/** DeviceIDs (requester IDs) that one IVHD device entry speaks of. AMD-Vi §5.2.2 "IVHD Device Entries". */
export interface IvhdRange {
  readonly offset: number;
  /** Entry type byte. */
  readonly type: number;
  readonly first: number;
  readonly last: number;
  /** The DeviceID under which the requests of these functions arrive; undefined: their own. */
  readonly alias?: number | undefined;
}

const isIvhd = (s: IvrsStructure): s is Ivhd => s.name === "IVHD";

/** What makes two blocks speak of one IOMMU. */
export const unitKey = ({ segment, deviceId }: Ivhd): number => segment * 0x1_0000 + deviceId;

/** The block that counts for each IOMMU: of several, the first with the highest known type, as in Linux. */
export const countingBlocks = (structures: readonly IvrsStructure[]): readonly Ivhd[] => {
  const units = new Map<number, Ivhd>();
  for (const block of structures.filter(isIvhd)) {
    const known = units.get(unitKey(block));
    if (!known || known.type < block.type) units.set(unitKey(block), block);
  }
  return [...units.values()];
};

/** Every IVHD block of a table. */
export const hardwareBlocks = (structures: readonly IvrsStructure[]): readonly Ivhd[] => structures.filter(isIvhd);

type RangeStart = SelectEntry | AliasEntry | ExtendedEntry;

const hex = (value: number): string => `0x${value.toString(16)}`;

/** The DeviceIDs of a block's entries, and what is wrong with its ranges. */
export const rangesOf = (entries: readonly IvhdEntry[]): { readonly ranges: readonly IvhdRange[]; readonly diagnoses: readonly Diagnosis[] } => {
  const [ranges, diagnoses]: [IvhdRange[], Diagnosis[]] = [[], []];
  let open: RangeStart | undefined;
  const abandon = (start: RangeStart | undefined): void => {
    if (start) diagnoses.push(diagnosis("range-not-closed", start.offset, `The range that starts at device ${hex(start.deviceId)} has no end.`));
  };
  for (const entry of entries) {
    const { offset, type } = entry;
    switch (entry.name) {
      case "all":
        ranges.push({ offset, type, first: 0, last: 0xffff });
        break;
      case "select":
      case "extended-select":
      case "acpi-device":
        ranges.push({ offset, type, first: entry.deviceId, last: entry.deviceId });
        break;
      case "alias-select":
        ranges.push({ offset, type, first: entry.deviceId, last: entry.deviceId, alias: entry.sourceId });
        break;
      case "range-start":
      case "alias-range-start":
      case "extended-range-start":
        abandon(open);
        open = entry;
        break;
      case "range-end":
        if (!open) diagnoses.push(diagnosis("range-end-alone", offset, `A range ends at device ${hex(entry.deviceId)} that never started.`));
        else if (entry.deviceId < open.deviceId) diagnoses.push(diagnosis("range-reversed", offset, `The range ends at device ${hex(entry.deviceId)}, before its start at ${hex(open.deviceId)}.`));
        else ranges.push({ offset: open.offset, type: open.type, first: open.deviceId, last: entry.deviceId, ...(open.name === "alias-range-start" ? { alias: open.sourceId } : {}) });
        open = undefined;
        break;
      case "padding":
      case "special":
      case "raw":
        break;
    }
  }
  abandon(open);
  return { ranges, diagnoses };
};
