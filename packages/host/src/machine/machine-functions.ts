import { busOf, compareAddresses, formatAddress, type FunctionAddress } from "@iommu-lab/pci-bus";
import { PcieType, pcieType } from "@iommu-lab/pci-bus/capabilities";
import type { MachineFunctionInput } from "@iommu-lab/pci-bus/machine";
import type { HostFunction, HostResource } from "../snapshot.ts";

type BarInput = NonNullable<MachineFunctionInput["bars"]>[number];

/** IORESOURCE bits as the `resource` file prints them. Linux include/linux/ioport.h. */
const Resource = { Io: 0x100n, Memory: 0x200n, Prefetchable: 0x2000n, Memory64: 0x10_0000n } as const;
const ROM = 6;
/** A segment number that ECAM knows; VMD's domains are past it. */
const SEGMENTS = 0x1_0000;

const sizeOf = ({ start, end }: HostResource): number => Number(end - start) + 1;
const isPower = (size: number): boolean => size > 1 && Number.isInteger(Math.log2(size));

const barOf = (resource: HostResource, index: number): BarInput | undefined => {
  const size = sizeOf(resource);
  if (resource.end === 0n || !isPower(size) || size < 16) return resource.end !== 0n && (resource.flags & Resource.Io) !== 0n && isPower(size) && size >= 4 ? { index, kind: "io", size } : undefined;
  const has = (bit: bigint): boolean => (resource.flags & bit) !== 0n;
  if (has(Resource.Io)) return { index, kind: "io", size };
  if (!has(Resource.Memory)) return undefined;
  return { index, kind: has(Resource.Memory64) && index < 5 ? "memory64" : "memory32", size: size, ...(has(Resource.Prefetchable) ? { prefetchable: true } : {}) };
};

const KINDS: Readonly<Record<number, NonNullable<MachineFunctionInput["kind"]>>> = { [PcieType.RootPort]: "root-port", [PcieType.UpstreamPort]: "upstream-port", [PcieType.DownstreamPort]: "downstream-port", [PcieType.PcieToPciBridge]: "pcie-to-pci" };

const headerOf = (f: HostFunction): number => (f.config?.[14] ?? 0) & 0x7f;
const kindOf = (f: HostFunction): NonNullable<MachineFunctionInput["kind"]> => (headerOf(f) === 1 && f.config ? (KINDS[pcieType(f.config)] ?? "pci-to-pci") : "endpoint");

const withoutZeros = (bytes: Uint8Array): string => {
  let end = bytes.length;
  while (end > 64 && bytes[end - 1] === 0) end--;
  return Array.from(bytes.subarray(0, end), (byte) => byte.toString(16).padStart(2, "0")).join("");
};

const hexadecimal = (value: number): string => `0x${value.toString(16)}`;
const placeOf = ({ requester }: FunctionAddress): string => `${((requester >> 3) & 0x1f).toString(16).padStart(2, "0")}.${requester & 7}`;

/** Identity as captured bytes, or as far as the source tells it. */
const identityOf = (f: HostFunction): Partial<MachineFunctionInput> =>
  f.config && f.config.length >= 64
    ? { config: withoutZeros(f.config) }
    : { vendor: hexadecimal(f.vendor ?? 0xffff), device: hexadecimal(f.device ?? 0xffff), classCode: hexadecimal(f.classCode ?? 0) };

/** Turns the functions of a host into those of a machine, and says what it leaves out. */
export class MachineFunctions {
  readonly notes: string[] = [];
  readonly #functions: readonly HostFunction[];

  /** @param own IOMMUs that are functions themselves: the machine brings them along */
  constructor(functions: readonly HostFunction[], own: readonly string[]) {
    this.#functions = functions.filter(({ address }) => !own.includes(formatAddress(address)));
  }

  /** Host bridges: one for each root bus that has functions. */
  hostBridges(): { readonly segment: number; readonly firstBus: number; readonly lastBus: number; readonly functions: MachineFunctionInput[] }[] {
    const roots = this.#functions.filter((f) => f.parent === undefined && f.physicalFunction === undefined && this.#kept(f));
    const keys = [...new Set(roots.map(({ address }) => address.domain * 256 + busOf(address.requester)))].toSorted((a, b) => a - b);
    return keys.map((key, i) => {
      const segment = Math.floor(key / 256);
      const next = keys[i + 1];
      const lastBus = next !== undefined && Math.floor(next / 256) === segment ? (next % 256) - 1 : 0xff;
      return { segment, firstBus: key % 256, lastBus, functions: roots.filter(({ address }) => address.domain * 256 + busOf(address.requester) === key).map((f) => this.#describe(f)) };
    });
  }

  #kept(f: HostFunction): boolean {
    const reason = f.address.domain >= SEGMENTS ? "it is behind a VMD controller, whose domain is none of the machine's segments" : headerOf(f) === 2 ? "CardBus bridges are not modelled" : undefined;
    if (reason !== undefined) this.notes.push(`${formatAddress(f.address)} is left out: ${reason}.`);
    return reason === undefined;
  }

  #describe(f: HostFunction): MachineFunctionInput {
    const kind = kindOf(f);
    const bars = this.#barsOf(f, kind === "endpoint" ? 6 : 2);
    const rom = f.resources?.[ROM];
    const romSize = rom && rom.end !== 0n && isPower(sizeOf(rom)) && sizeOf(rom) >= 2048 && sizeOf(rom) <= 2 ** 24 ? sizeOf(rom) : undefined;
    const below = kind === "endpoint" ? [] : this.#functions.filter((each) => each.parent !== undefined && each.physicalFunction === undefined && compareAddresses(each.parent, f.address) === 0 && this.#kept(each));
    const [secondary, subordinate] = [f.config?.[0x19] ?? 0, f.config?.[0x1a] ?? 0];
    return {
      at: placeOf(f.address),
      ...(kind === "endpoint" ? {} : { kind }),
      ...identityOf(f),
      ...(bars.length > 0 ? { bars } : {}),
      ...(romSize === undefined ? {} : { romSize: hexadecimal(romSize) }),
      ...(f.driver === undefined ? {} : { driver: f.driver }),
      ...(isDisplay(f) ? { behaviour: "vga" } : {}),
      ...(kind !== "endpoint" && secondary > 0 ? { secondaryBus: secondary, subordinateBus: subordinate } : {}),
      ...(below.length > 0 ? { below: below.map((each) => this.#describe(each)) } : {}),
    };
  }

  #barsOf(f: HostFunction, most: number): BarInput[] {
    if (!f.resources) {
      this.notes.push(`${formatAddress(f.address)} has no BARs in the model: the source does not show their sizes.`);
      return [];
    }
    return f.resources.slice(0, most).flatMap((resource, index) => {
      const bar = barOf(resource, index);
      return bar ? [{ ...bar, size: hexadecimal(Number(bar.size)) }] : [];
    });
  }
}

const isDisplay = (f: HostFunction): boolean => (f.classCode ?? 0) >>> 8 === 0x0300;
