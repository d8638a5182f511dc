import { compareAddresses, formatAddress } from "@iommu-lab/pci-bus";
import { decodeIvrsUnits } from "@iommu-lab/iommu-amd/ivrs";
import { decodeDmar, DmarError, type DmarScope } from "@iommu-lab/iommu-intel/dmar";
import type { MachineInput } from "@iommu-lab/pci-bus/machine";
import type { HostFunction, HostSnapshot } from "../snapshot.ts";

type IommuInput = MachineInput["iommus"][number];
type ReservedInput = NonNullable<MachineInput["reserved"]>[number];

/** What firmware's tables say about IOMMUs. */
export interface MachineIommus {
  readonly iommus: IommuInput[];
  readonly reserved: ReservedInput[];
  readonly notes: string[];
}

const [ENDPOINT, SUB_HIERARCHY] = [1, 2];

const hexadecimal = (value: number | bigint): string => `0x${value.toString(16)}`;

const resolve = (functions: readonly HostFunction[], segment: number, scope: DmarScope): HostFunction | undefined => {
  let bus: number | undefined = scope.startBus;
  let found: HostFunction | undefined;
  for (const { device, function: fn } of scope.path) {
    const requester: number = ((bus ?? 0) << 8) | (device << 3) | fn;
    found = functions.find(({ address }) => compareAddresses(address, { domain: segment, requester }) === 0);
    bus = found?.config?.[0x19];
  }
  return found;
};

const namedBy = (functions: readonly HostFunction[], segment: number, scopes: readonly DmarScope[]): string[] =>
  scopes.flatMap((scope) => {
    const found = scope.type === ENDPOINT || scope.type === SUB_HIERARCHY ? resolve(functions, segment, scope) : undefined;
    return found ? [formatAddress(found.address)] : [];
  });

/** CAP and ECAP as the kernel printed them, unit by unit. */
const printedRegisters = (dmesg: string | undefined): ReadonlyMap<string, { readonly cap: string; readonly ecap: string }> =>
  new Map([...(dmesg ?? "").matchAll(/reg_base_addr ([0-9a-f]+) ver \S+ cap ([0-9a-f]{1,16}) ecap ([0-9a-f]{1,16})/g)].map(([, base = "", cap = "", ecap = ""]) => [base, { cap: `0x${cap}`, ecap: `0x${ecap}` }]));

const fromDmar = (table: Uint8Array, { functions, dmesg }: HostSnapshot): MachineIommus => {
  const registers = printedRegisters(dmesg);
  const { structures, interruptRemapping } = decodeDmar(table);
  const iommus = structures.flatMap((each): { readonly all: boolean; readonly unit: IommuInput }[] => {
    if (each.name !== "DRHD") return [];
    const covers = namedBy(functions, each.segment, each.scopes);
    if (!each.includeAll && covers.length === 0) return [];
    const known = registers.get(each.registerBase.toString(16));
    return [{ all: each.includeAll, unit: { vendor: "intel", registerBase: hexadecimal(each.registerBase), segment: each.segment, interruptRemapping, ...(each.includeAll ? {} : { covers }), ...(known ? { registers: known } : {}) } }];
  });
  const reserved = structures.flatMap((each): ReservedInput[] => (each.name === "RMRR" && each.limit > each.base ? [{ base: hexadecimal(each.base), last: hexadecimal(each.limit), functions: namedBy(functions, each.segment, each.scopes) }] : []));
  // A unit for everything stands behind those that name what they cover.
  const ordered = iommus.toSorted((a, b) => Number(a.all) - Number(b.all)).map(({ unit }) => unit);
  return { iommus: ordered, reserved, notes: [] };
};

const fromIvrs = (table: Uint8Array, { functions }: HostSnapshot): MachineIommus => {
  const { units } = decodeIvrsUnits(table);
  return {
    iommus: units.map(({ deviceId, segment, registerBase, ranges }) => {
      const covers = functions.filter(({ address, physicalFunction }) => !physicalFunction && address.domain === segment && address.requester !== deviceId && ranges.some(({ first, last }) => first <= address.requester && address.requester <= last)).map(({ address }) => formatAddress(address));
      return { vendor: "amd", registerBase: hexadecimal(registerBase), segment, function: formatAddress({ domain: segment, requester: deviceId }), ...(units.length > 1 ? { covers } : {}) };
    }),
    reserved: [],
    notes: [],
  };
};

/** Reads IOMMUs and reserved memory from a host's DMAR or IVRS table. */
export const machineIommus = (host: HostSnapshot): MachineIommus => {
  const dmar = host.acpi.get("DMAR");
  const ivrs = host.acpi.get("IVRS");
  try {
    if (dmar) return fromDmar(dmar, host);
    if (ivrs) return fromIvrs(ivrs, host);
  } catch (error) {
    if (!(error instanceof DmarError)) throw error;
    return { iommus: [], reserved: [], notes: [`The DMAR table cannot be read: ${error.message}`] };
  }
  return { iommus: [], reserved: [], notes: [host.acpi.size > 0 ? "Firmware has no DMAR or IVRS table: the machine has no IOMMU." : "The source has no ACPI tables: the machine is made without an IOMMU."] };
};
