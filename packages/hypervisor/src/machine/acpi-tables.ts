import { encodeIvrs, type IvrsStructureInput } from "@iommu-lab/iommu-amd/ivrs";
import { encodeDmar, type DmarScopeInput, type DmarStructureInput } from "@iommu-lab/iommu-intel/dmar";
import type { MmioHandler } from "@iommu-lab/memory";
import { parseAddress, type FunctionAddress, type RequesterId } from "@iommu-lab/pci-bus";
import type { Machine } from "./machine.ts";
import type { MachineUnit } from "./machine-units.ts";
import { bridgesAbove } from "./topology.ts";

const IDENTITY = { oemId: "IOMMUL", oemTableId: "IOMMULAB" } as const;
const [ENDPOINT, SUB_HIERARCHY, IO_APIC] = [1, 2, 3];
const IO_APIC_ID = 0;
const IVHD_EXTENDED = 0x11;
const CAPABILITY = 0x40;
const [EFR, EFR2] = [0x30, 0x1a0];
/** IVMD flags: unity-mapped, readable, writable. AMD-Vi §5.2.3. */
const UNITY = 0x07;
/** IVMD for one DeviceID. */
const IVMD_SELECT = 0x21;

/** The way to a function from its root bus, as device scopes have it. VT-d §8.3.1. */
const scopeOf = (machine: Machine, text: string): DmarScopeInput[] => {
  const address = parseAddress(text);
  const seat = address && machine.complex.find(address);
  if (!seat) return [];
  const line = [seat, ...bridgesAbove(seat)].reverse();
  const startBus = line[0]?.bus.number ?? 0;
  return [{ type: seat.isBridge ? SUB_HIERARCHY : ENDPOINT, startBus, path: line.map(({ devfn }) => ({ device: devfn >> 3, function: devfn & 7 })) }] as DmarScopeInput[];
};

const dmar = (machine: Machine, units: readonly MachineUnit[], ioApic: RequesterId): Uint8Array => {
  const remapping = units.some(({ description }) => description.interruptRemapping !== false);
  const ioApicScope = { type: IO_APIC, enumerationId: IO_APIC_ID, startBus: ioApic >> 8, path: [{ device: (ioApic >> 3) & 31, function: ioApic & 7 }] } as DmarScopeInput;
  const structures: DmarStructureInput[] = [
    ...units.map(({ description: { covers }, segment, registerBase }, i): DmarStructureInput => ({
      name: "DRHD",
      segment,
      includeAll: covers === undefined,
      registerBase,
      scopes: [...(covers ?? []).flatMap((text) => scopeOf(machine, text)), ...(remapping && i === units.length - 1 ? [ioApicScope] : [])],
    })),
    ...(machine.description.reserved ?? []).map(({ base, last, functions }): DmarStructureInput => ({ name: "RMRR", base, limit: last, scopes: functions.flatMap((text) => scopeOf(machine, text)) })),
    { name: "ATSR", allPorts: true },
  ];
  return encodeDmar({ header: IDENTITY, hostAddressWidth: units[0]?.addressWidth ?? 46, interruptRemapping: remapping, structures });
};

const wide = (registers: MmioHandler, offset: number): bigint => {
  const words = new Uint32Array(2);
  registers.read64(offset, words);
  return BigInt(words[0] as number) | (BigInt(words[1] as number) << 32n); // two words
};

/** Functions of a unit, as the kernel will ask for them. */
const deviceIds = (machine: Machine, unit: MachineUnit): RequesterId[] =>
  machine.placed.map(({ seat }) => seat.address).filter((address: FunctionAddress) => machine.unitOf(address) === unit).map(({ requester }) => requester).toSorted((a, b) => a - b);

const ivrs = (machine: Machine, units: readonly MachineUnit[], ioApic: RequesterId): Uint8Array => {
  const blocks = units.map((unit, i): IvrsStructureInput => ({
    name: "IVHD",
    type: IVHD_EXTENDED,
    deviceId: unit.own?.address.requester ?? 0,
    capabilityOffset: CAPABILITY,
    registerBase: unit.registerBase,
    segment: unit.segment,
    extendedFeatures: wide(unit.iommu.registers, EFR),
    extendedFeatures2: wide(unit.iommu.registers, EFR2),
    entries: [...deviceIds(machine, unit).map((deviceId) => ({ name: "select", type: 0x02, deviceId }) as const), ...(i === 0 ? [{ name: "special", type: 0x48, handle: IO_APIC_ID, sourceId: ioApic, variety: 1 } as const] : [])],
  }));
  const reserved = (machine.description.reserved ?? []).flatMap(({ base, last, functions }) =>
    functions.flatMap((text): IvrsStructureInput[] => {
      const deviceId = parseAddress(text)?.requester;
      return deviceId === undefined ? [] : [{ name: "IVMD", type: IVMD_SELECT, flags: UNITY, deviceId, start: base, size: last - base + 1 }];
    }),
  );
  return encodeIvrs({ header: IDENTITY, extendedFeatureReporting: true, physicalAddressSize: units[0]?.addressWidth ?? 48, virtualAddressSize: 64, structures: [...blocks, ...reserved] });
};

/**
 * What firmware tells operating systems of the machine's IOMMUs: DMAR or IVRS, by signature; nothing where there is none, or where it
 * is switched off in the setup.
 * @param ioApic requester ID of the I/O APIC's messages
 */
export const acpiTables = (machine: Machine, ioApic: RequesterId): ReadonlyMap<string, Uint8Array> => {
  const { units } = machine;
  const [first] = units;
  if (!first) return new Map();
  return first.vendor === "intel" ? new Map([["DMAR", dmar(machine, units, ioApic)]]) : new Map([["IVRS", ivrs(machine, units, ioApic)]]);
};
