import type { DmarContents } from "./diagnose.ts";
import { diagnosis, type Diagnosis } from "./diagnosis.ts";
import type { Drhd, DmarScope, Rhsa } from "./table.ts";

const hex = (value: bigint | number): string => `0x${value.toString(16)}`;
const ALL_ONES = (1n << 64n) - 1n;
const IO_APIC = 3;

/** Register windows of the units, by address; addresses that are none are left out. */
export interface Window {
  readonly unit: Drhd;
  readonly first: bigint;
  readonly last: bigint;
  /** Highest `last` of this and all windows before it. */
  readonly reach: bigint;
}

/** Every unit's register window in the order of addresses. */
export const registerWindows = (units: readonly Drhd[]): readonly Window[] => {
  let reach = -1n;
  return units
    .filter(({ registerBase }) => registerBase !== 0n && registerBase !== ALL_ONES)
    .toSorted((a, b) => (a.registerBase < b.registerBase ? -1 : a.registerBase > b.registerBase ? 1 : a.offset - b.offset))
    .map((unit) => {
      const last = unit.registerBase + (4096n << BigInt(unit.size)) - 1n;
      if (last > reach) reach = last;
      return { unit, first: unit.registerBase, last, reach };
    });
};

export const unitsOf = ({ structures }: DmarContents): readonly Drhd[] => structures.filter((s): s is Drhd => s.name === "DRHD");

const diagnoseBase = ({ registerBase, offset, size }: Drhd, width: number): Diagnosis[] => {
  const at = offset + 8;
  if (registerBase === 0n) return [diagnosis("drhd-base-zero", at, "The unit's register base is 0.")];
  if (registerBase === ALL_ONES) return [diagnosis("drhd-base-all-ones", at, "The unit's register base is 0xffffffffffffffff.")];
  const found: Diagnosis[] = [];
  if (registerBase % (4096n << BigInt(size)) !== 0n) found.push(diagnosis("drhd-base-unaligned", at, `The unit's register base ${hex(registerBase)} is not aligned to its window of ${hex(4096 * 2 ** size)} bytes.`));
  if (registerBase >> BigInt(width) !== 0n) found.push(diagnosis("drhd-base-beyond-width", at, `The unit's register base ${hex(registerBase)} needs more than the ${width} bits of the host address width.`));
  return found;
};

const diagnoseOverlaps = (windows: readonly Window[]): Diagnosis[] =>
  windows.flatMap(({ unit, first }, i) => {
    const before = windows[i - 1];
    return before && before.reach >= first ? [diagnosis("drhd-windows-overlap", unit.offset + 8, `The unit's register window at ${hex(first)} overlaps that of another unit, which begins at or below it (${hex(before.first)}).`)] : [];
  });

const diagnoseIncludeAll = (units: readonly Drhd[]): Diagnosis[] => {
  const found: Diagnosis[] = [];
  const holder = new Map<number, Drhd>();
  const told = new Set<Drhd>();
  for (const unit of units) {
    const earlier = holder.get(unit.segment);
    if (unit.includeAll && earlier) found.push(diagnosis("drhd-include-all-repeated", unit.offset + 4, `The unit claims the rest of segment ${unit.segment}; the unit at offset ${earlier.offset} does so already.`));
    else if (unit.includeAll) holder.set(unit.segment, unit);
    else if (earlier && !told.has(earlier)) {
      told.add(earlier);
      found.push(diagnosis("drhd-include-all-not-last", earlier.offset + 4, `The unit claims the rest of segment ${unit.segment}, but another unit of the segment follows at offset ${unit.offset}.`));
    }
    if (unit.includeAll && unit.scopes.some(({ type }) => type === 1 || type === 2)) found.push(diagnosis("drhd-include-all-names-pci", unit.offset + 16, `The unit claims the rest of segment ${unit.segment} and names single functions of it too.`));
    if (!unit.includeAll && unit.scopes.length === 0) found.push(diagnosis("drhd-serves-nothing", unit.offset, "The unit has neither INCLUDE_PCI_ALL nor a device scope."));
  }
  return found;
};

const placeOf = (segment: number, { startBus, path }: DmarScope): string => `${segment.toString(16)}:${startBus.toString(16).padStart(2, "0")}:${path.map((step) => `${step.device.toString(16).padStart(2, "0")}.${step.function.toString(16)}`).join("/")}`;

/** Functions and I/O APICs that several units claim. */
const diagnoseClaims = (units: readonly Drhd[], interruptRemapping: boolean): Diagnosis[] => {
  const found: Diagnosis[] = [];
  const functions = new Map<string, Drhd>();
  const apics = new Map<number, DmarScope>();
  for (const unit of units)
    for (const scope of unit.scopes) {
      if (scope.type === 1 || scope.type === 2) {
        const place = placeOf(unit.segment, scope);
        const owner = functions.get(place);
        if (owner && owner !== unit) found.push(diagnosis("device-in-two-drhds", scope.offset, `The function ${place} is named here and under the unit at offset ${owner.offset}.`));
        else functions.set(place, unit);
      } else if (scope.type === IO_APIC) {
        const earlier = apics.get(scope.enumerationId);
        if (earlier) found.push(diagnosis("ioapic-repeated", scope.offset, `I/O APIC ${scope.enumerationId} is named here and at offset ${earlier.offset}.`));
        else apics.set(scope.enumerationId, scope);
      }
    }
  if (interruptRemapping && units.length > 0 && apics.size === 0) found.push(diagnosis("ioapic-missing", 37, "The table reports interrupt remapping, but no unit has a scope for an I/O APIC."));
  return found;
};

const diagnoseAffinity = (units: readonly Drhd[], affinities: readonly Rhsa[]): Diagnosis[] => {
  const bases = new Set(units.map(({ registerBase }) => registerBase));
  const seen = new Set<bigint>();
  return affinities.flatMap(({ registerBase, offset }) => {
    if (!bases.has(registerBase)) return [diagnosis("rhsa-unit-unknown", offset + 8, `The affinity is for a unit at ${hex(registerBase)}, which the table does not have.`)];
    if (seen.has(registerBase)) return [diagnosis("rhsa-repeated", offset + 8, `The unit at ${hex(registerBase)} has an affinity already.`)];
    seen.add(registerBase);
    return [];
  });
};

/** What is wrong with DRHD and RHSA structures. */
export const diagnoseUnits = (table: DmarContents): Diagnosis[] => {
  const units = unitsOf(table);
  const affinities = table.structures.filter((s): s is Rhsa => s.name === "RHSA");
  return [
    ...(units.length === 0 ? [diagnosis("drhd-missing", 48, "The table has no remapping unit.")] : []),
    ...units.flatMap((unit) => diagnoseBase(unit, table.hostAddressWidth)),
    ...diagnoseOverlaps(registerWindows(units)),
    ...diagnoseIncludeAll(units),
    ...diagnoseClaims(units, table.interruptRemapping),
    ...diagnoseAffinity(units, affinities),
  ];
};
