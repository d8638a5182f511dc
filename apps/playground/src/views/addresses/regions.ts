import type { HostSnapshot } from "@iommu-lab/host";
import { readText } from "@iommu-lab/host";
import { addressMap } from "@iommu-lab/hypervisor/machine";
import { decodeMcfg } from "@iommu-lab/pci-bus/acpi";
import { formatAddress } from "@iommu-lab/pci-bus";
import { decodeIvrs, IvrsError } from "@iommu-lab/iommu-amd/ivrs";
import { decodeDmar, DmarError } from "@iommu-lab/iommu-intel/dmar";
import type { AddressesSettings } from "./settings.ts";

/** Whose addresses: the machine's, a device's, the guest's. */
type Lane = "hpa" | "iova" | "gpa";
export const LANES = ["hpa", "iova", "gpa"] as const;
type RegionKind = "ram" | "bar" | "registers" | "ecam" | "interrupts" | "reserved" | "firmware" | "window" | "overflow";

/** A range of addresses; `last` inclusive. */
export interface Region {
  readonly lane: Lane;
  readonly kind: RegionKind;
  readonly name: string;
  readonly first: bigint;
  readonly last: bigint;
  readonly device?: string;
}

const GIB = 1n << 30n;
const MIB = 1n << 20n;
const FOUR_GIB = 4n * GIB;

/** What the source shows of widths; undefined where it does not. */
export interface Widths {
  readonly processor: number | undefined;
  readonly iommu: number | undefined;
}

/** The processor's physical address bits and the units' MGAW, as far as the source shows them. VT-d §11.4.2. */
export const widthsOf = ({ files, dmesg, iommus, acpi }: HostSnapshot): Widths => {
  const processor = /^address sizes\s*:\s*(\d+) bits physical/m.exec((files && readText(files, "proc/cpuinfo")) ?? "")?.[1];
  const caps = [...(dmesg ?? "").matchAll(/reg_base_addr [0-9a-f]+ ver \S+ cap ([0-9a-f]{1,16})/g)].map(([, cap = "0"]) => cap);
  const shown = iommus.flatMap((unit) => (files && readText(files, `sys/class/iommu/${unit}/intel-iommu/cap`)?.trim()) ?? []).filter((text) => /^[0-9a-f]{1,16}$/i.test(text));
  const bits = [...caps, ...shown].map((cap) => Number((BigInt(`0x${cap}`) >> 16n) & 0x3fn) + 1);
  const ivrs = acpi.get("IVRS");
  const amd = ivrs ? tryIvrs(ivrs)?.virtualAddressSize : undefined;
  return { processor: processor === undefined ? undefined : Number(processor), iommu: bits.length > 0 ? Math.min(...bits) : amd };
};

const tryIvrs = (table: Uint8Array): ReturnType<typeof decodeIvrs> | undefined => {
  try {
    return decodeIvrs(table);
  } catch (error) {
    if (error instanceof IvrsError) return undefined;
    throw error;
  }
};
const tryDmar = (table: Uint8Array): ReturnType<typeof decodeDmar> | undefined => {
  try {
    return decodeDmar(table);
  } catch (error) {
    if (error instanceof DmarError) return undefined;
    throw error;
  }
};

const IOMEM = /^([0-9a-f]{8,16})-([0-9a-f]{8,16}) : System RAM/gm;

const ramOf = ({ files }: HostSnapshot): Region[] => {
  const shown = [...((files && readText(files, "proc/iomem")) ?? "").matchAll(IOMEM)].map(([, first = "0", last = "0"]) => ({ first: BigInt(`0x${first}`), last: BigInt(`0x${last}`) })).filter(({ first, last }) => last > first);
  const total = /^MemTotal:\s+(\d{1,12}) kB/m.exec((files && readText(files, "proc/meminfo")) ?? "")?.[1];
  const ranges = shown.length > 0 ? shown : addressMap(total === undefined ? 2 ** 33 : Number(total) * 1024).ram.map(({ start, size }) => ({ first: BigInt(start), last: BigInt(start) + BigInt(size) - 1n }));
  return ranges.slice(0, 64).map((range) => ({ lane: "hpa", kind: "ram", name: "RAM", ...range }));
};

const MEMORY = 0x200n;
const barsOf = ({ functions }: HostSnapshot): Region[] =>
  functions.flatMap(({ address, resources = [] }) => resources.slice(0, 6).flatMap(({ start, end, flags }, i): Region[] => (flags & MEMORY && start > 0n && end > start ? [{ lane: "hpa", kind: "bar", name: `BAR ${i} ${formatAddress(address)}`, first: start, last: end, device: formatAddress(address) }] : [])));

const UNIT_WINDOW = 0x1000n;
const tablesOf = ({ acpi }: HostSnapshot): Region[] => {
  const [dmar, ivrs, mcfg] = [acpi.get("DMAR"), acpi.get("IVRS"), acpi.get("MCFG")];
  const both = (name: string, first: bigint, last: bigint): Region[] => (last >= first ? [{ lane: "hpa", kind: "reserved", name, first, last }, { lane: "iova", kind: "reserved", name: `${name}, 1:1`, first, last }] : []);
  return [
    ...(dmar ? (tryDmar(dmar)?.structures ?? []) : []).flatMap((each): Region[] => (each.name === "DRHD" ? [{ lane: "hpa", kind: "registers", name: "DRHD", first: each.registerBase, last: each.registerBase + UNIT_WINDOW - 1n }] : each.name === "RMRR" ? both("RMRR", each.base, each.limit) : [])),
    ...(ivrs ? (tryIvrs(ivrs)?.structures ?? []) : []).flatMap((each): Region[] => (each.name === "IVHD" ? [{ lane: "hpa", kind: "registers", name: "IVHD", first: each.registerBase, last: each.registerBase + 4n * UNIT_WINDOW - 1n }] : each.name === "IVMD" && each.size > 0n ? both("IVMD", each.start, each.start + each.size - 1n) : [])),
    ...(mcfg ? decodeMcfg(mcfg).allocations.map(({ base, firstBus, lastBus }): Region => ({ lane: "hpa", kind: "ecam", name: "ECAM", first: BigInt(base) + BigInt(firstBus) * MIB, last: BigInt(base) + BigInt(lastBus + 1) * MIB - 1n })) : []),
  ];
};

/** What every x86 machine has at fixed places. */
const fixed = (lane: Lane): Region[] => [
  ...(lane === "iova" ? [] : [{ lane, kind: "registers", name: "I/O APIC", first: 0xfec0_0000n, last: 0xfec0_0fffn } as const]),
  { lane, kind: "interrupts", name: "MSI", first: 0xfee0_0000n, last: 0xfeef_ffffn },
  ...(lane === "gpa" ? [{ lane, kind: "firmware", name: "OVMF flash", first: 0xffc0_0000n, last: 0xffff_ffffn } as const] : []),
];

/** RAM of a q35 guest below 4 GiB, at most. */
const LOW = 2n * GIB;
const up = (value: bigint, to: bigint): bigint => ((value + to - 1n) / to) * to;

/** A guest's memory and the window that its firmware gives to 64-bit BARs. */
export interface GuestWindow {
  readonly regions: readonly Region[];
  readonly window: Region;
  /** Where the BAR comes to lie; undefined when the window cannot hold it. */
  readonly bar: Region | undefined;
}

export const guestWindow = ({ guestMemory, window, place, bar }: AddressesSettings, processorBits: number): GuestWindow => {
  const memory = BigInt(guestMemory) * MIB;
  const [size, room] = [MIB << BigInt(bar), BigInt(window) * GIB];
  const top = memory > LOW ? FOUR_GIB + memory - LOW : FOUR_GIB;
  const first = place === "top" ? up(1n << BigInt(processorBits), room) - room : up(top, room);
  const at = up(first, size);
  const shown: Region = { lane: "gpa", kind: "window", name: `64-bit window ${window} GiB`, first, last: first + room - 1n };
  return {
    regions: [{ lane: "gpa", kind: "ram", name: "RAM", first: 0n, last: (memory < LOW ? memory : LOW) - 1n }, ...(memory > LOW ? [{ lane: "gpa", kind: "ram", name: "RAM", first: FOUR_GIB, last: top - 1n } as const] : [])],
    window: shown,
    bar: at + size - 1n <= shown.last ? { lane: "gpa", kind: "bar", name: "BAR", first: at, last: at + size - 1n } : undefined,
  };
};

/** Where the host's firmware finds room for the BAR. */
export interface HostPlace {
  readonly bar: Region | undefined;
  /** Bytes free in the largest gap below 4 GiB. */
  readonly free: bigint;
}

/** Devices live between here and the I/O APIC, where RAM does not reach. */
const [HOLE, HOLE_END] = [0x8000_0000n, 0xfec0_0000n];

/** The first aligned place below 4 GiB that nothing takes; with "Above 4G decoding", above RAM. */
export const hostPlace = (taken: readonly Region[], { bar, above4g }: AddressesSettings, processorBits: number): HostPlace => {
  const size = MIB << BigInt(bar);
  const own = taken.filter(({ lane }) => lane === "hpa").toSorted((a, b) => (a.first < b.first ? -1 : 1));
  let [free, at, found] = [0n, HOLE, undefined as bigint | undefined];
  for (const { first, last } of [...own.filter(({ last: end, first: start }) => end >= HOLE && start < HOLE_END), { first: HOLE_END, last: HOLE_END }]) {
    if (first > at) {
      if (first - at > free) free = first - at;
      if (found === undefined && up(at, size) + size <= first) found = up(at, size);
    }
    if (last + 1n > at) at = last + 1n;
  }
  const highest = own.reduce((most, { last }) => (last > most ? last : most), FOUR_GIB - 1n);
  const above = up(highest + 1n, size);
  const start = found ?? (above4g && above + size <= 1n << BigInt(processorBits) ? above : undefined);
  return { free, bar: start === undefined ? undefined : { lane: "hpa", kind: "bar", name: "BAR", first: start, last: start + size - 1n } };
};

/** All that the source tells, and what every machine has. Never throws. */
export const hostRegions = (snapshot: HostSnapshot): Region[] => [...ramOf(snapshot), ...barsOf(snapshot), ...tablesOf(snapshot), ...fixed("hpa"), ...fixed("iova"), ...fixed("gpa")];
