import { formatAddress } from "@iommu-lab/pci-bus";
import { bootVgaAttribute, hasShadowedRom, isVgaClass, kernelProfile, VgaArbiter, type FirmwareFramebuffer, type VgaBridge, type VgaDevice } from "@iommu-lab/vga-arbiter";
import type { HostFunction, HostResource, HostSnapshot } from "../snapshot.ts";
import { recordedConfig } from "./recorded-config.ts";

/** What a snapshot does not show. */
export interface HostVgaOptions {
  /** Kernel whose rules apply; the snapshot's own by default, and 6.12's where it names none. */
  readonly kernel?: string;
  /** Firmware's frame buffer; none by default, as after a boot in text mode. */
  readonly framebuffer?: FirmwareFramebuffer;
  /** Functions whose ACPI companion has a video extension, `dddd:bb:dd.f`. */
  readonly integrated?: ReadonlySet<string>;
}

/** The VGA devices of a host as its kernel's arbiter holds them after boot. */
export interface HostVga {
  readonly arbiter: VgaArbiter;
  /** The kernel's lines about VGA, computed. */
  readonly log: readonly string[];
  /** The address whose `boot_vga` is 1, if any. */
  readonly bootVga: string | undefined;
  /** What `boot_vga` reads, by address, for every function that has that file. */
  readonly bootVgaFiles: ReadonlyMap<string, 0 | 1>;
  /** Addresses whose ROM the kernel takes from RAM at 0xc_0000. */
  readonly shadowedRoms: readonly string[];
  /** What was assumed. */
  readonly notes: readonly string[];
}

const MEMORY_RESOURCE = 0x200n;
const ROM_LINE = 6;

const memoryBars = (resources: readonly HostResource[] = []): { base: number; size: number }[] =>
  resources
    .slice(0, ROM_LINE)
    .filter(({ start, end, flags }) => flags & MEMORY_RESOURCE && start > 0n && end > start)
    .map(({ start, end }) => ({ base: Number(start), size: Number(end - start + 1n) }));

const bridgesAbove = (of: HostFunction, functions: ReadonlyMap<string, HostFunction>, bridges: Map<string, VgaBridge>): VgaBridge[] => {
  const path: VgaBridge[] = [];
  for (let parent = of.parent && functions.get(formatAddress(of.parent)); parent && path.length < 256; parent = parent.parent && functions.get(formatAddress(parent.parent))) {
    const key = formatAddress(parent.address);
    const bridge = bridges.get(key) ?? { address: parent.address, config: recordedConfig(parent.config) };
    bridges.set(key, bridge);
    path.push(bridge);
  }
  return path;
};

const ADDED = "VGA device added";

/**
 * Functions that the log shows being found after the arbiter had looked at all, and of which it does not say that they were
 * added: something kept them from it.
 */
const lateFunctions = (dmesg: string | undefined): ReadonlySet<string> => {
  const late = new Set<string>();
  const loaded = dmesg?.indexOf("vgaarb: loaded") ?? -1;
  if (dmesg === undefined || loaded < 0) return late;
  const after = dmesg.slice(loaded);
  for (const [, address = ""] of after.matchAll(/pci ([0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]): \[[0-9a-f]{4}:[0-9a-f]{4}\] type 00/g)) if (!after.includes(`${address}: vgaarb: ${ADDED}`)) late.add(address);
  return late;
};

const devicesOf = (snapshot: HostSnapshot, integrated: ReadonlySet<string> = new Set()): VgaDevice[] => {
  const functions = new Map(snapshot.functions.map((fn) => [formatAddress(fn.address), fn]));
  const bridges = new Map<string, VgaBridge>();
  return snapshot.functions.map((fn) => ({
    address: fn.address,
    config: recordedConfig(fn.config),
    classCode: fn.classCode ?? 0,
    bridges: bridgesAbove(fn, functions, bridges),
    isIntegrated: integrated.has(formatAddress(fn.address)),
    memoryBars: memoryBars(fn.resources),
  }));
};

const notesOn = (snapshot: HostSnapshot, devices: readonly VgaDevice[], late: readonly VgaDevice[], options: HostVgaOptions): string[] => {
  const notes: string[] = [];
  const unread = snapshot.functions.filter(({ config, address }) => !config && devices.some((device) => device.address === address));
  if (options.kernel === undefined && snapshot.kernelRelease === undefined) notes.push("The kernel is not known; the rules of 6.12 are used.");
  if (!options.framebuffer && devices.length > 1) notes.push("Which device firmware drew on is not in the snapshot; a boot in text mode is assumed.");
  for (const { address } of unread) notes.push(`The configuration space of ${formatAddress(address)} was not read; it counts as switched off.`);
  for (const { address } of late) notes.push(`${formatAddress(address)} came after the arbiter had started, and the log does not show that it was added.`);
  return notes;
};

/**
 * Computes which VGA device a host booted on, and what its arbiter shows, from the recorded command registers and bridges.
 * Linux reads them once, at boot; where a driver has changed them since, the answer may differ from that kernel's.
 * @throws RangeError when the kernel version cannot be read
 */
export const hostVga = (snapshot: HostSnapshot, options: HostVgaOptions = {}): HostVga => {
  const kernel = options.kernel ?? snapshot.kernelRelease ?? "6.12";
  const profile = kernelProfile(kernel);
  const devices = devicesOf(snapshot, options.integrated).filter(({ classCode }) => isVgaClass(classCode, profile));
  const missed = lateFunctions(snapshot.dmesg);
  const late = devices.filter(({ address }) => missed.has(formatAddress(address)));
  const early = devices.filter((device) => !late.includes(device));
  const log: string[] = [];
  const arbiter = new VgaArbiter({ kernel, framebuffer: options.framebuffer, log: (line) => log.push(line) });
  const shadowed = early.filter((device) => hasShadowedRom(device, undefined));
  arbiter.scan(early);
  const { defaultDevice } = arbiter;
  const files = devices.map((device) => [formatAddress(device.address), bootVgaAttribute(device, { defaultDevice, shadowedRom: shadowed.includes(device) })] as const);
  return {
    arbiter,
    log,
    bootVga: files.find(([, value]) => value === 1)?.[0],
    bootVgaFiles: new Map(files),
    shadowedRoms: shadowed.map(({ address }) => formatAddress(address)),
    notes: notesOn(snapshot, devices, late, options),
  };
};
