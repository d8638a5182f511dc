import { formatAddress } from "@iommu-lab/pci-bus";
import type { HostFunction } from "../snapshot.ts";
import { isBridge, isVfioDriver, type DeviceView } from "./device-view.ts";
import type { HostView } from "./host-view.ts";
import { fail, notConcerned, pass, seen, unknown, type DeviceRule, type DoctorEvidence, type Outcome } from "./rule.ts";

const name = (f: HostFunction): string => formatAddress(f.address);

const groupSource = (device: DeviceView): string => (device.fn.group === undefined ? "computed group" : `IOMMU group ${device.fn.group}`);

const checkGrouped = (device: DeviceView, host: HostView): Outcome => {
  const { group } = device.fn;
  if (group !== undefined) return pass(seen(`sys/bus/pci/devices/${device.name}/iommu_group`, `group ${group}`));
  if (host.active.answer === "no") return fail(host.active.evidence, "The kernel made no groups, for no IOMMU is on: see HOST-001 to HOST-005.");
  if (host.snapshot.groups === undefined) return unknown("the kernel's groups: lspci -vvv by root, or find /sys/kernel/iommu_groups -type l", host.active.evidence);
  return fail(seen("sys/kernel/iommu_groups", `${host.snapshot.groups.size} groups, none with ${device.name}`), "No IOMMU translates this function, so it cannot be assigned. That is right for the IOMMU's own function and some host bridges; for others firmware's table leaves it out.");
};

const describeMember = (f: HostFunction): DoctorEvidence => seen(`sys/bus/pci/devices/${name(f)}/driver`, f.driver ?? "no driver");

const foreignAdvice = (foreign: readonly HostFunction[]): string => {
  const fixed = foreign.filter((f) => (f.classCode ?? 0) >>> 16 === 0x06).map(name);
  const movable = foreign.map(name).filter((each) => !fixed.includes(each));
  const choose = movable.length > 1 ? `Give ${movable.join(", ")} to the VM too (or leave them without a driver), or put the card into another slot.` : movable.length > 0 ? `Give ${movable.join("")} to the VM too (or leave it without a driver), or put the card into another slot.` : "Put the card into another slot.";
  const keep = fixed.length > 1 ? [`${fixed.join(", ")} are part of the chipset and stay with the host.`] : fixed.map((each) => `${each} is part of the chipset and stays with the host.`);
  return [choose, ...keep].join(" ");
};

const checkViable = (device: DeviceView): Outcome => {
  const siblings = device.groupSiblings;
  if (!siblings) return unknown("the kernel's groups, or lspci -vvv by root");
  const others = siblings.members.filter((f) => !isBridge(f) && !device.isSelected(f));
  const foreign = others.filter((f) => f.driver !== undefined && !isVfioDriver(f.driver));
  if (foreign.length > 0) return fail([seen(groupSource(device), `with ${siblings.members.map(name).join(", ")}`), ...foreign.map(describeMember)], `${foreignAdvice(foreign)} Else VFIO says: group ${device.fn.group ?? "N"} is not viable.`);
  const unseen = others.filter((f) => !device.showsDriver(f));
  if (unseen.length > 0) return unknown(`the drivers of ${unseen.map(name).join(", ")} (lspci -k)`, seen(groupSource(device), siblings.members.map(name).join(", ")));
  return pass(seen(groupSource(device), others.length === 0 ? "nothing else in it that counts" : `${others.map(name).join(", ")} without a driver of the host`));
};

const checkBridges = (device: DeviceView): Outcome => {
  const bridges = device.groupSiblings?.members.filter(isBridge) ?? [];
  return bridges.length === 0 ? pass() : pass(seen(groupSource(device), `${bridges.map(name).join(", ")}: bridges stay with pcieport and hinder nothing; never bind them to vfio-pci`));
};

const NEVER = new Set([0x0600, 0x0601, 0x0604, 0x0806]);

const checkAssignable = (device: DeviceView): Outcome => {
  if (device.fn.classCode === undefined) return unknown("its class (lspci -nn)");
  const text = `class ${device.class.toString(16).padStart(4, "0")}`;
  if (NEVER.has(device.class) || isBridge(device.fn)) return fail(seen(`sys/bus/pci/devices/${device.name}/class`, text), "This is a bridge or the IOMMU itself: it cannot be assigned. Leave it out; it hinders no other function of its group.");
  return pass(seen(`sys/bus/pci/devices/${device.name}/class`, text));
};

const VITAL = / (?:\/|\/boot|\/boot\/efi|\/usr|\/var|\/home) /;

/** What the system has mounted where it cannot do without. */
const vitalMounts = (host: HostView): readonly { readonly device: string; readonly evidence: DoctorEvidence }[] =>
  (host.text("proc/mounts") ?? "").split("\n").flatMap((line, i) => (VITAL.test(line) ? [{ device: line.slice(0, line.indexOf(" ")), evidence: seen("proc/mounts", line.slice(0, 160), i + 1) }] : []));

const linksTo = (host: HostView, folder: string, f: HostFunction): readonly string[] => {
  const { files } = host.snapshot;
  return (files?.list(folder) ?? []).filter((each) => `${files?.link(`${folder}/${each}`) ?? ""}/`.includes(`/${name(f)}/`));
};

const isOn = (disk: string, device: string): boolean => new RegExp(`^/dev/${disk}(?:p?\\d+)?$`).test(device);

/** The system's mounts and routes that hang on a function. */
const usersOf = (host: HostView, f: HostFunction): DoctorEvidence[] => {
  const disks = linksTo(host, "sys/block", f);
  const mounted = vitalMounts(host).filter(({ device }) => disks.some((disk) => isOn(disk, device))).map(({ evidence }) => evidence);
  const routes = (host.text("proc/net/route") ?? "").split("\n");
  const routed = linksTo(host, "sys/class/net", f).flatMap((net) => routes.flatMap((line, i) => (line.startsWith(`${net}\t`) ? [seen("proc/net/route", line.trim().slice(0, 160), i + 1)] : [])));
  return [...mounted, ...routed.slice(0, 1)];
};

/** Every mount the system needs is on a disk that is seen; else (LVM, encryption, RAID, ZFS) it may be on any. */
const mountsAreClear = (host: HostView): boolean => {
  const disks = host.snapshot.files?.list("sys/block") ?? [];
  const mounts = vitalMounts(host);
  return mounts.length > 0 && mounts.every(({ device }) => disks.some((disk) => isOn(disk, device)));
};

const STORAGE = 0x01;
const NETWORK = 0x02;

const checkInUse = (device: DeviceView, host: HostView): Outcome => {
  const members = [device.fn, ...(device.groupSiblings?.members ?? [])].filter((f) => device.isSelected(f) || !isBridge(f));
  const used = members.flatMap((f) => usersOf(host, f));
  if (used.length > 0) return fail(used, "The host runs on this: its system disk or its network would go away with it. Do not assign it; use another slot.");
  const held = members.filter((f) => device.isSelected(f) && (f.driver === undefined ? !device.showsDriver(f) : !isVfioDriver(f.driver)));
  const suspects = held.filter((f) => ((f.classCode ?? 0) >>> 16 === STORAGE && !mountsAreClear(host)) || ((f.classCode ?? 0) >>> 16 === NETWORK && host.text("proc/net/route") === undefined));
  if (suspects.length > 0) return unknown(`/proc/mounts, the links in /sys/block and /proc/net/route, to see whether the host needs ${suspects.map(name).join(", ")}`, vitalMounts(host).slice(0, 2).map(({ evidence }) => evidence));
  return pass(seen(groupSource(device), "neither the system's disks nor its network hang on what is assigned"));
};

const checkReasons = (device: DeviceView, host: HostView): Outcome => {
  const siblings = device.groupSiblings;
  if (!siblings) return unknown("the kernel's groups, or lspci -vvv by root");
  if (siblings.members.every((f) => isBridge(f) || device.slotSiblings.includes(f))) return pass(seen(groupSource(device), "it shares its group with nothing but its own slot and bridges"));
  const group = host.groups.groups.find(({ devices }) => devices.some((address) => formatAddress(address) === device.name));
  const sentences = [...new Set(group?.reasons.map(({ text }) => text))];
  return fail(sentences.length > 0 ? sentences.slice(0, 6).map((text) => seen(groupSource(device), text)) : [seen(groupSource(device), siblings.members.map(name).join(", "))], "iommu groups tells it for every group. Another slot, firmware's ACS setting or a newer firmware can change it; pcie_acs_override= only hides it.");
};

const checkComputed = (device: DeviceView, host: HostView): Outcome => {
  if (host.snapshot.groups === undefined) return notConcerned("There are no groups of the kernel to compare with.");
  const { differences = [] } = host.compared;
  const mine = differences.filter(({ recorded, computed }) => [...recorded, ...computed].some((set) => set.some((address) => formatAddress(address) === device.name)));
  if (mine.length === 0) return pass(seen("sys/kernel/iommu_groups", "its group is the one that the rules give"));
  if (mine.every(({ unknown: unseen }) => unseen.length > 0)) return unknown("the capabilities of every function (lspci -vvv by root)");
  return fail(mine.flatMap(({ recorded, computed }) => [seen("kernel's groups", recorded.map((set) => set.map(formatAddress).join(" ")).join(" | ")), seen("computed groups", computed.map((set) => set.map(formatAddress).join(" ")).join(" | "))]), "The kernel's group is not the one that the rules give. Causes: pcie_acs_override=, pci=config_acs= or disable_acs_redir=, a kernel with other rules (device quirks, patches of its distributor), ACS changed since boot.");
};

const checkVmd = (device: DeviceView): Outcome =>
  device.fn.address.domain >= 0x10000 ? fail(seen("PCI domain", device.name), "It is behind an Intel VMD: its requests carry the VMD's identity. Switch VMD (often \"RST\" or \"RAID\") off in firmware setup; check first that the host's own disks still boot.") : pass(seen("PCI domain", device.name));

const checkType = (device: DeviceView, host: HostView): Outcome => {
  const said = host.log?.find(device.logPattern("Device needs domain type|in the same iommu group requires type"));
  if (said) return fail(said, "Devices of this group ask for different kinds of domains; the kernel uses its default for all. It does not hinder assigning.");
  const type = device.recordedGroup?.type;
  return type === undefined && !host.log?.hasBoot ? unknown(`/sys/kernel/iommu_groups/${device.fn.group ?? "N"}/type`) : pass(type === undefined ? undefined : seen(`sys/kernel/iommu_groups/${device.fn.group ?? "N"}/type`, type));
};

/** What a function shares its isolation with. */
export const GROUP_RULES: readonly DeviceRule[] = [
  { about: "device", id: "GRP-001", title: "It is in an IOMMU group", severity: "block", check: checkGrouped },
  { about: "device", id: "GRP-002", title: "No driver of the host holds anything else in its group", severity: "block", check: checkViable },
  { about: "device", id: "GRP-003", title: "Bridges in its group stay where they are", severity: "info", check: checkBridges },
  { about: "device", id: "GRP-004", title: "It is no bridge and no IOMMU", severity: "block", check: checkAssignable },
  { about: "device", id: "GRP-005", title: "The host does not run on it", severity: "block", check: checkInUse },
  { about: "device", id: "GRP-006", title: "It has its group for itself", severity: "info", check: checkReasons },
  { about: "device", id: "GRP-007", title: "Its group is the one that the rules give", severity: "warning", check: checkComputed },
  { about: "device", id: "GRP-010", title: "It is not behind a VMD", severity: "warning", check: checkVmd },
  { about: "device", id: "GRP-011", title: "Its group has the kind of domain that the kernel wants", severity: "info", check: checkType },
];
