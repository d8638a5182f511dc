import type { FunctionAddress } from "@iommu-lab/pci-bus";

/** Distributions whose way of setting kernel options and early modules is known. */
export const DISTROS = ["debian", "ubuntu", "fedora", "arch", "opensuse", "popos", "silverblue", "nixos", "proxmox"] as const;
export type Distro = (typeof DISTROS)[number];

/** What runs the guest. */
export const TARGETS = ["libvirt", "qemu", "proxmox", "kubevirt"] as const;
export type Target = (typeof TARGETS)[number];

export const GUESTS = ["windows", "linux"] as const;
export type Guest = (typeof GUESTS)[number];

/** An IOMMU for the guest itself; "none" is what a guest needs that assigns nothing further. */
export const GUEST_IOMMUS = ["none", "intel", "virtio"] as const;
export type GuestIommu = (typeof GUEST_IOMMUS)[number];

/** What may be taken for granted when the snapshot does not show it. */
export const ASSUMPTIONS = ["iommu", "intel", "amd", "groups", "drivers", "interrupt-remapping", "reserved-memory", "unused"] as const;
export type Assumption = (typeof ASSUMPTIONS)[number];

/** A version of libvirt, [major, minor]. */
export type LibvirtVersion = readonly [major: number, minor: number];

/** The oldest libvirt that a plan is written for: firmware is chosen by `firmware='efi'` from 5.2 on. */
const OLDEST_LIBVIRT: LibvirtVersion = [5, 2];

/** What is asked of a plan. */
export interface PlanRequest {
  /** Functions to assign; what must go with them is added. */
  readonly devices: readonly FunctionAddress[];
  readonly distro: Distro;
  readonly target: Target;
  /** 9.0 by default. */
  readonly libvirt?: LibvirtVersion;
  /** "linux" by default. */
  readonly guest?: Guest;
  /** "none" by default. */
  readonly guestIommu?: GuestIommu;
  /** Back the guest's memory with pages of 2 MiB that the host sets aside at boot. */
  readonly hugepages?: boolean;
  /** MiB of the guest's memory; by default half of the host's, at most 8192. */
  readonly memory?: number;
  readonly assume?: ReadonlySet<Assumption>;
}

export const atLeast = ([major, minor]: LibvirtVersion, [wantMajor, wantMinor]: LibvirtVersion): boolean => major > wantMajor || (major === wantMajor && minor >= wantMinor);

/** Reads "9.0", "10.0.0" or "9"; undefined for anything else, and for versions before 5.2. */
export const parseLibvirtVersion = (text: string): LibvirtVersion | undefined => {
  const match = /^(\d{1,3})(?:\.(\d{1,3}))?(?:\.\d{1,3})?$/.exec(text);
  if (!match) return undefined;
  const version: LibvirtVersion = [Number(match[1]), Number(match[2] ?? 0)];
  return atLeast(version, OLDEST_LIBVIRT) ? version : undefined;
};
