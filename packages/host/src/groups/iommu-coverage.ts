import { busOf, compareAddresses, deviceOf, devfnOf, functionOf, type FunctionAddress } from "@iommu-lab/pci-bus";
import { decodeIvrsUnits } from "@iommu-lab/iommu-amd/ivrs";
import { decodeDmarUnits, type DmarScope, type DmarUnit } from "@iommu-lab/iommu-intel/dmar";
import type { HostFunction } from "../snapshot.ts";

/** Which functions an IOMMU covers according to firmware's tables, and what else they say. */
export interface Coverage {
  readonly covers: (f: HostFunction) => boolean;
  /** Functions of the same bus whose requester ID a function may use (IVRS alias entries), as device and function numbers. */
  readonly aliases: (f: HostFunction) => readonly number[];
  readonly problems: readonly string[];
}

const ENDPOINT = 1;
const SUB_HIERARCHY = 2;

/** The functions of a host found by place. */
class Hierarchy {
  readonly #functions: readonly HostFunction[];
  constructor(functions: readonly HostFunction[]) {
    this.#functions = functions;
  }

  at(domain: number, bus: number, device: number, fn: number): HostFunction | undefined {
    return this.#functions.find(({ address: a }) => a.domain === domain && busOf(a.requester) === bus && deviceOf(a.requester) === device && functionOf(a.requester) === fn);
  }

  /** The function itself and the bridges above it, nearest first; a virtual function stands where its physical one does. */
  pathOf(f: HostFunction): FunctionAddress[] {
    const path: FunctionAddress[] = [f.physicalFunction ?? f.address];
    for (let parent = f.parent; parent && path.length < 256; ) {
      path.push(parent);
      const address: FunctionAddress = parent;
      parent = this.at(address.domain, busOf(address.requester), deviceOf(address.requester), functionOf(address.requester))?.parent;
    }
    return path;
  }

  /** Follows a device scope's path through the bridges' secondary buses. VT-d §8.3.1. */
  resolve(domain: number, scope: DmarScope): HostFunction | undefined {
    let bus = scope.startBus;
    let found: HostFunction | undefined;
    for (const [i, step] of scope.path.entries()) {
      found = this.at(domain, bus, step.device, step.function);
      if (!found) return undefined;
      if (i < scope.path.length - 1) bus = found.config?.[0x19] ?? found.printed?.buses?.secondary ?? -1;
    }
    return found;
  }
}

/** The function that a device scope's path leads to. VT-d §8.3.1. */
export const resolveScope = (functions: readonly HostFunction[], domain: number, scope: DmarScope): HostFunction | undefined => new Hierarchy(functions).resolve(domain, scope);

const isBridge = (f: HostFunction): boolean => ((f.config?.[14] ?? 0) & 0x7f) === 1 || (f.classCode ?? 0) >>> 8 === 0x0604;

const scopeFunctions = (hierarchy: Hierarchy, unit: DmarUnit): HostFunction[] =>
  unit.scopes.flatMap((scope) => {
    if (scope.type !== ENDPOINT && scope.type !== SUB_HIERARCHY) return [];
    const f = hierarchy.resolve(unit.segment, scope);
    // Linux drops a scope whose type contradicts the function's header.
    return f && (scope.type === ENDPOINT ? !isBridge(f) : isBridge(f) || (f.classCode ?? 0) >>> 16 === 0x06) ? [f] : [];
  });

/** Coverage by a DMAR table: a unit that names the function or a bridge above it, else the segment's INCLUDE_PCI_ALL unit. */
export const coverageByDmar = (table: Uint8Array, functions: readonly HostFunction[], graphicsOff: boolean): Coverage => {
  const hierarchy = new Hierarchy(functions);
  const { units, problems } = decodeDmarUnits(table);
  const named = units.map((unit) => ({ unit, functions: scopeFunctions(hierarchy, unit) }));
  const ignored = (entry: (typeof named)[number]): boolean =>
    !entry.unit.includeAll && (entry.functions.length === 0 || (graphicsOff && entry.functions.every((f) => (f.classCode ?? 0) >>> 16 === 0x03)));
  const unitOf = (f: HostFunction): (typeof named)[number] | undefined => {
    const path = hierarchy.pathOf(f);
    return (
      named.find((entry) => entry.unit.segment === f.address.domain && entry.functions.some((g) => path.some((address) => compareAddresses(address, g.address) === 0))) ??
      named.find((entry) => entry.unit.includeAll && entry.unit.segment === f.address.domain)
    );
  };
  return {
    covers: (f) => {
      const entry = unitOf(f);
      return entry !== undefined && !ignored(entry);
    },
    aliases: () => [],
    problems: problems.map(({ offset, text }) => `DMAR at offset 0x${offset.toString(16)}: ${text}`),
  };
};

/** Coverage by an IVRS table: a device entry for the function's own requester ID. The IOMMU's own function has none. */
export const coverageByIvrs = (table: Uint8Array): Coverage => {
  const { units, problems } = decodeIvrsUnits(table);
  const rangesOf = (f: HostFunction): { alias?: number | undefined }[] =>
    units
      .filter((unit) => unit.segment === f.address.domain && unit.deviceId !== f.address.requester)
      .flatMap((unit) => unit.ranges)
      .filter((range) => range.first <= f.address.requester && f.address.requester <= range.last);
  return {
    covers: (f) => rangesOf(f.physicalFunction ? { ...f, address: f.physicalFunction } : f).length > 0 || rangesOf(f).length > 0,
    aliases: (f) => rangesOf(f).flatMap(({ alias }) => (alias !== undefined && alias !== f.address.requester && busOf(alias) === busOf(f.address.requester) ? [devfnOf(alias)] : [])),
    problems: problems.map(({ offset, text }) => `IVRS at offset 0x${offset.toString(16)}: ${text}`),
  };
};
