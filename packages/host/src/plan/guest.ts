import { busOf, deviceOf, formatAddress, functionOf } from "@iommu-lab/pci-bus";
import type { HostFunction } from "../snapshot.ts";
import type { GuestLayout } from "./guest-layout.ts";
import { isDisplay, type HostEvidence } from "./host-evidence.ts";
import type { Guest, GuestIommu } from "./request.ts";

/** A guest as every target writes it down. */
export interface GuestDescription {
  /** [a-z0-9-]. */
  readonly name: string;
  /** MiB. */
  readonly memory: number;
  readonly processors: number;
  readonly os: Guest;
  readonly iommu: GuestIommu;
  readonly hugepages: boolean;
  readonly layout: GuestLayout;
  /** The guest's picture comes from an assigned display. */
  readonly ownDisplay: boolean;
  /** Guest physical address bits, where the host's IOMMU translates fewer than its processor has. BAR-004. */
  readonly addressBits: number | undefined;
  /** MiB of the guest firmware's window for 64-bit BARs, where the usual 32 GiB are too few. BAR-002. */
  readonly mmioWindow: number | undefined;
  /** The guest's driver is better not told of KVM. GST-001. */
  readonly hideHypervisor: boolean;
}

export const guestName = (f: HostFunction): string => `passthrough-${formatAddress(f.address).replace(/[:.]/g, "-")}`;

/** "0000", "01", "00", "0": an address in parts, hexadecimal. */
export const addressParts = ({ address }: HostFunction): readonly [domain: string, bus: string, device: string, fn: string] => {
  const { domain, requester } = address;
  return [domain.toString(16).padStart(4, "0"), busOf(requester).toString(16).padStart(2, "0"), deviceOf(requester).toString(16).padStart(2, "0"), functionOf(requester).toString(16)];
};

const MEMORY_64 = 0x10_0000n;
const GIB = 1n << 30n;

/** Room for all 64-bit BARs twice over, a power of two of MiB; undefined when 32 GiB are enough. */
export const mmioWindowOf = (functions: readonly HostFunction[]): number | undefined => {
  const total = functions.flatMap(({ resources = [] }) => resources.slice(0, 6)).reduce((sum, { start, end, flags }) => (flags & MEMORY_64 && end > start ? sum + end - start + 1n : sum), 0n);
  if (total < 32n * GIB || total > 1n << 50n) return undefined;
  let window = 64n * GIB;
  while (window < 2n * total) window *= 2n;
  return Number(window >> 20n);
};

/** CAP.MGAW, VT-d §11.4.2: bits 21:16, minus one. */
const unitBits = (cap: bigint): number => Number((cap >> 16n) & 0x3fn) + 1;

/** Fewest address bits of the IOMMU units, when they are fewer than the processor's. */
export const addressBitsOf = (evidence: HostEvidence): number | undefined => {
  const processor = Number(/^address sizes\s*:\s*(\d+) bits physical/m.exec(evidence.text("proc/cpuinfo") ?? "")?.[1] ?? Number.NaN);
  const caps = evidence.snapshot.iommus.map((unit) => evidence.text(`sys/class/iommu/${unit}/intel-iommu/cap`)?.trim() ?? "").filter((text) => /^[0-9a-f]{1,16}$/i.test(text));
  const bits = Math.min(...caps.map((text) => unitBits(BigInt(`0x${text}`))));
  return bits >= 32 && bits < processor ? bits : undefined;
};

/** AMD's RDNA 3 and 4, whose Windows driver was reported to need it. */
const isRdna3 = ({ vendor, device = 0 }: HostFunction): boolean => vendor === 0x1002 && ((device >= 0x7440 && device <= 0x74ff) || (device >= 0x7550 && device <= 0x75ff));

export const hidesHypervisor = (functions: readonly HostFunction[], os: Guest): boolean => os === "windows" && functions.some((f) => isDisplay(f) && isRdna3(f));

const MOST_BY_DEFAULT = 8192;

/** Half of the host's memory in whole GiB, at most 8 GiB. */
export const defaultMemory = (host: number | undefined): number => (host === undefined ? MOST_BY_DEFAULT : Math.max(1024, Math.min(MOST_BY_DEFAULT, Math.floor(host / 2048) * 1024)));
