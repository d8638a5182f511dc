import { ASSUMPTIONS, DISTROS, GUEST_IOMMUS, GUESTS, parseLibvirtVersion, TARGETS, type Assumption, type Distro, type Guest, type GuestIommu, type Target } from "@iommu-lab/host/plan";
import { parseAddress } from "@iommu-lab/pci-bus";
import { readHostChoice, type HostChoice } from "../../host/host-choice.ts";
import { integer, oneOf, record, text } from "../view.ts";

/** What the planner asks of a person: the same as the options of `iommu plan`. */
export interface PlannerSettings {
  readonly host: HostChoice;
  /** Functions, "0000:01:00.0". */
  readonly devices: readonly string[];
  readonly distro: Distro;
  readonly target: Target;
  readonly guest: Guest;
  readonly guestIommu: GuestIommu;
  readonly hugepages: boolean;
  /** MiB; 0: as the host has. */
  readonly memory: number;
  /** "9.0". */
  readonly libvirt: string;
  readonly assume: readonly Assumption[];
  /** Path of the file that is open. */
  readonly file: string;
  /** The open file as it is, or as a difference from the host's, or from another distribution's plan. */
  readonly against: "file" | "host" | Distro;
}

const [LEAST_MEMORY, MOST_MEMORY, MOST_DEVICES] = [64, 16 * 1024 * 1024, 64];
const SHOWN_AS = ["file", "host", ...DISTROS] as const;

const strings = (value: unknown): readonly string[] => (Array.isArray(value) ? value.filter((each): each is string => typeof each === "string") : []);

export const readPlanner = (kept: unknown): PlannerSettings => {
  const { host, devices, distro, target, guest, guestIommu, hugepages, memory, libvirt, assume, file, against } = record(kept);
  const version = text(libvirt, 12, "9.0");
  return {
    host: readHostChoice(host),
    devices: [...new Set(strings(devices).filter((each) => each.length <= 16 && parseAddress(each)))].slice(0, MOST_DEVICES),
    distro: oneOf(distro, DISTROS),
    target: oneOf(target, TARGETS),
    guest: oneOf(guest ?? "linux", GUESTS),
    guestIommu: oneOf(guestIommu, GUEST_IOMMUS),
    hugepages: hugepages === true,
    memory: integer(memory, [LEAST_MEMORY, MOST_MEMORY], 0),
    libvirt: parseLibvirtVersion(version) ? version : "9.0",
    assume: ASSUMPTIONS.filter((each) => strings(assume).includes(each)),
    file: text(file, 200, "README.md"),
    against: oneOf(against, SHOWN_AS),
  };
};
