import { resolveScope, type HostFunction, type HostSnapshot } from "@iommu-lab/host";
import { compareAddresses, formatAddress, type FunctionAddress } from "@iommu-lab/pci-bus";
import { decodeIvrs, decodeIvrsUnits, IvrsError } from "@iommu-lab/iommu-amd/ivrs";
import { decodeDmar, DmarError, type DmarScope, type DmarTable } from "@iommu-lab/iommu-intel/dmar";

/** An IOMMU as firmware's table names it. */
interface Unit {
  /** "U0": its place in the table. */
  readonly id: string;
  readonly name: "DRHD" | "IVHD";
  /** HPA of its registers, hexadecimal. */
  readonly base: string;
  /** Whether it has all that no other unit names. */
  readonly rest: boolean;
  /** What it names, as text. */
  readonly scopes: readonly string[];
}

/** What firmware's tables say about the functions of a host. */
export interface Firmware {
  readonly units: readonly Unit[];
  /** The unit of a function, by address. */
  readonly unitOf: ReadonlyMap<string, string>;
  /** Memory that firmware keeps for a function: "RMRR 0x… – 0x…", by address. */
  readonly reserved: ReadonlyMap<string, readonly string[]>;
}

const NOTHING: Firmware = { units: [], unitOf: new Map(), reserved: new Map() };
const [ENDPOINT, SUB_HIERARCHY] = [1, 2];
const hex = (value: number | bigint): string => `0x${value.toString(16)}`;
const SCOPE_NAMES: Readonly<Record<number, string>> = { 3: "I/O APIC", 4: "HPET", 5: "ACPI" };

const chain = (f: HostFunction, functions: ReadonlyMap<string, HostFunction>): FunctionAddress[] => {
  const path: FunctionAddress[] = [];
  for (let at: HostFunction | undefined = f; at && path.length < 256; at = at.parent && functions.get(formatAddress(at.parent))) path.push(at.physicalFunction ?? at.address);
  return path;
};

const named = (functions: readonly HostFunction[], segment: number, scopes: readonly DmarScope[]): FunctionAddress[] =>
  scopes.flatMap((scope) => (scope.type === ENDPOINT || scope.type === SUB_HIERARCHY ? (resolveScope(functions, segment, scope)?.address ?? []) : []));

const scopeText = (functions: readonly HostFunction[], segment: number, scope: DmarScope): string => {
  const found = scope.type === ENDPOINT || scope.type === SUB_HIERARCHY ? resolveScope(functions, segment, scope) : undefined;
  const path = scope.path.map(({ device, function: fn }) => `${device.toString(16).padStart(2, "0")}.${fn}`).join("/");
  return found ? formatAddress(found.address) : `${SCOPE_NAMES[scope.type] ?? "?"} ${scope.startBus.toString(16).padStart(2, "0")}:${path}`;
};

const add = (into: Map<string, string[]>, at: string, text: string): void => { into.set(at, [...(into.get(at) ?? []), text]); };

const fromDmar = ({ structures }: DmarTable, all: readonly HostFunction[]): Firmware => {
  const functions = new Map(all.map((f) => [formatAddress(f.address), f]));
  const drhds = structures.flatMap((each) => (each.name === "DRHD" ? [each] : [])).map((drhd, i) => ({ drhd, id: `U${i}`, names: named(all, drhd.segment, drhd.scopes) }));
  const unitOf = new Map<string, string>();
  const reserved = new Map<string, string[]>();
  for (const f of all) {
    const path = chain(f, functions);
    const of = drhds.find(({ drhd, names }) => drhd.segment === f.address.domain && names.some((each) => path.some((at) => compareAddresses(at, each) === 0))) ?? drhds.find(({ drhd }) => drhd.includeAll && drhd.segment === f.address.domain);
    if (of) unitOf.set(formatAddress(f.address), of.id);
  }
  for (const each of structures) if (each.name === "RMRR") for (const at of named(all, each.segment, each.scopes)) add(reserved, formatAddress(at), `RMRR ${hex(each.base)} – ${hex(each.limit)}`);
  return { units: drhds.map(({ drhd, id }) => ({ id, name: "DRHD", base: hex(drhd.registerBase), rest: drhd.includeAll, scopes: drhd.scopes.map((scope) => scopeText(all, drhd.segment, scope)) })), unitOf, reserved };
};

const fromIvrs = (table: Uint8Array, all: readonly HostFunction[]): Firmware => {
  const { units } = decodeIvrsUnits(table);
  const unitOf = new Map<string, string>();
  const reserved = new Map<string, string[]>();
  for (const f of all) {
    const { domain, requester } = f.physicalFunction ?? f.address;
    const i = units.findIndex((unit) => unit.segment === domain && unit.deviceId !== requester && unit.ranges.some(({ first, last }) => first <= requester && requester <= last));
    if (i >= 0) unitOf.set(formatAddress(f.address), `U${i}`);
  }
  for (const each of decodeIvrs(table).structures) {
    if (each.name !== "IVMD") continue;
    const [first, last] = each.type === 0x20 ? [0, 0xffff] : each.type === 0x21 ? [each.deviceId, each.deviceId] : [each.deviceId, each.lastDeviceId];
    for (const { address } of all) if (address.domain === each.segment && first <= address.requester && address.requester <= last) add(reserved, formatAddress(address), `IVMD ${hex(each.start)} + ${hex(each.size)}`);
  }
  return { units: units.map((unit, i) => ({ id: `U${i}`, name: "IVHD", base: hex(unit.registerBase), rest: false, scopes: unit.ranges.slice(0, 64).map(({ first, last }) => (first === last ? hex(first) : `${hex(first)}–${hex(last)}`)) })), unitOf, reserved };
};

/** Reads units and reserved memory from a host's DMAR or IVRS table. Never throws: a table that cannot be read says nothing. */
export const readFirmware = ({ acpi, functions }: HostSnapshot): Firmware => {
  const [dmar, ivrs] = [acpi.get("DMAR"), acpi.get("IVRS")];
  try {
    return dmar ? fromDmar(decodeDmar(dmar), functions) : ivrs ? fromIvrs(ivrs, functions) : NOTHING;
  } catch (error) {
    if (error instanceof DmarError || error instanceof IvrsError) return NOTHING;
    throw error;
  }
};
