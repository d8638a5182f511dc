import { formatAddress } from "@iommu-lab/pci-bus";
import { quirkOf, VFIO_DENYLIST } from "../hardware/device-quirks.ts";
import type { HostFunction } from "../snapshot.ts";
import { isVfioDriver, type DeviceView } from "./device-view.ts";
import type { HostView } from "./host-view.ts";
import { fail, notConcerned, pass, seen, unknown, type DeviceRule, type DoctorEvidence, type HostRule, type Outcome } from "./rule.ts";

const COMPANIONS = new Set([0x0403, 0x0c03, 0x0c80]);

const checkSlot = (device: DeviceView): Outcome => {
  const left = device.slotSiblings.filter((f) => !device.isSelected(f) && COMPANIONS.has((f.classCode ?? 0) >>> 8));
  if (!device.isDisplay || left.length === 0) return pass(seen("slot", device.slotSiblings.length === 0 ? "it is alone" : "nothing of its card stays behind"));
  return fail(left.map((f) => seen("same card", `${formatAddress(f.address)}, class ${((f.classCode ?? 0) >>> 8).toString(16).padStart(4, "0")}, ${f.driver ?? "no driver"}`)), `The card's sound, USB and other functions belong to it: give ${left.map((f) => formatAddress(f.address)).join(", ")} to the VM too.`);
};

const vfsOf = (device: DeviceView, host: HostView): readonly HostFunction[] => host.snapshot.functions.filter((f) => f.physicalFunction && formatAddress(f.physicalFunction) === device.name);

const checkVirtualFunctions = (device: DeviceView, host: HostView): Outcome => {
  const file = host.functionText(device.fn, "sriov_numvfs");
  const vfs = vfsOf(device, host);
  if (Number(file ?? 0) > 0 || vfs.length > 0) return fail(seen(`sys/bus/pci/devices/${device.name}/sriov_numvfs`, file ?? `${vfs.length} virtual functions`), `Its virtual functions are on, and vfio-pci refuses it then: echo 0 > /sys/bus/pci/devices/${device.name}/sriov_numvfs. Or assign virtual functions in its place.`);
  if (file !== undefined) return pass(seen(`sys/bus/pci/devices/${device.name}/sriov_numvfs`, file));
  return device.extended(0x10, /Single Root I\/O Virtualization/i) === undefined && host.snapshot.kind === "lspci" && vfs.length === 0 && device.fn.printed?.capabilitiesShown !== "yes" ? unknown("lspci -vvv by root") : pass(seen("functions", "no virtual function of it"));
};

const checkDenied = (device: DeviceView): Outcome => {
  const { vendor, device: id } = device.fn;
  if (vendor === undefined || id === undefined) return unknown("its ids (lspci -nn)");
  const found = quirkOf(VFIO_DENYLIST, vendor, id);
  return found ? fail([seen("ids", found.name), seen("hardware base", found.source)], "vfio-pci refuses this device, for a guest can break out with it: \"exists in vfio-pci device denylist\". vfio-pci.disable_denylist=1 overrules that, unsafely.") : pass(seen("ids", `${vendor.toString(16).padStart(4, "0")}:${id.toString(16).padStart(4, "0")}`));
};

/** The ids that the kernel's command line or modprobe's configuration give to vfio-pci, and where. */
const boundIds = (host: HostView): readonly { readonly id: number; readonly evidence: DoctorEvidence }[] => {
  const sources = [host.option(/^vfio[-_]pci\.ids=/), ...host.configuration(/^\s*options\s+vfio[-_]pci\s.*\bids=/)].filter((each) => each !== undefined);
  return sources.flatMap((evidence) => [...(/\bids=([^\s]+)/.exec(evidence.text)?.[1] ?? "").matchAll(/([0-9a-f]{1,4}):([0-9a-f]{1,4})/gi)].map((match) => ({ evidence, id: Number.parseInt(match[1] ?? "0", 16) * 0x10000 + Number.parseInt(match[2] ?? "0", 16) })));
};

const idOf = (f: HostFunction): number | undefined => (f.vendor === undefined || f.device === undefined ? undefined : f.vendor * 0x10000 + f.device);

const canSeeConfiguration = (host: HostView): boolean => host.snapshot.commandLine !== undefined;

const checkIds = (sound: boolean) => (device: DeviceView, host: HostView): Outcome => {
  if (((device.fn.classCode ?? 0) >>> 8 === 0x0403) !== sound) return notConcerned(sound ? "It is no sound function." : "See AUD-002.");
  if (!canSeeConfiguration(host)) return unknown("/proc/cmdline and /etc/modprobe.d");
  const bound = boundIds(host).find(({ id }) => id === device.id);
  if (!bound) return pass(seen("proc/cmdline", "nothing binds it by its id", 1));
  const twins = host.snapshot.functions.filter((f) => f !== device.fn && idOf(f) === device.id && !device.isSelected(f));
  if (twins.length === 0) return pass([bound.evidence, seen("ids", "no other function has them")]);
  return fail([bound.evidence, ...twins.map((f) => seen("same id", formatAddress(f.address)))], `ids= takes ${twins.map((f) => formatAddress(f.address)).join(", ")} too. Bind by address: driverctl set-override ${device.name} vfio-pci, or a udev rule that sets driver_override.`);
};

const override = (device: DeviceView, host: HostView): string | undefined => {
  const text = host.functionText(device.fn, "driver_override")?.trim();
  return text === "(null)" || text === "" ? undefined : text;
};

const driverEvidence = (device: DeviceView): DoctorEvidence => seen(`sys/bus/pci/devices/${device.name}/driver`, device.fn.driver ?? "no driver");

const checkBound = (device: DeviceView, host: HostView): Outcome => {
  const { driver } = device.fn;
  if (driver === undefined && !device.showsDriver(device.fn)) return unknown("its driver (lspci -k)");
  if (driver === undefined || isVfioDriver(driver)) return pass(driverEvidence(device));
  const planned = [boundIds(host).find(({ id }) => id === device.id)?.evidence, override(device, host) === undefined ? undefined : seen(`sys/bus/pci/devices/${device.name}/driver_override`, override(device, host) ?? "")].filter((each) => each !== undefined);
  if (planned.length > 0) return fail([driverEvidence(device), ...planned], `${driver} was there before vfio-pci. Load vfio-pci in the initial file system, before it: softdep ${driver} pre: vfio-pci in /etc/modprobe.d, and make the initramfs anew.`);
  return fail(driverEvidence(device), `${driver} has it now. libvirt (managed='yes') takes it away when the VM starts; for a display bind vfio-pci at boot.`, "info");
};

const checkOverride = (device: DeviceView, host: HostView): Outcome => {
  if (host.snapshot.kind !== "sysfs") return unknown(`/sys/bus/pci/devices/${device.name}/driver_override`);
  const text = override(device, host);
  if (text === undefined || isVfioDriver(text)) return pass(seen(`sys/bus/pci/devices/${device.name}/driver_override`, text ?? "(null)"));
  return fail(seen(`sys/bus/pci/devices/${device.name}/driver_override`, text), `Only ${text} may have it, so vfio-pci cannot: echo > /sys/bus/pci/devices/${device.name}/driver_override (a line break; an empty write changes nothing).`);
};

const checkBusy = (device: DeviceView): Outcome => {
  if (!device.isDisplay) return notConcerned("It is no display.");
  const { driver } = device.fn;
  if (driver === undefined && !device.showsDriver(device.fn)) return unknown("its driver (lspci -k)");
  if (driver === undefined || isVfioDriver(driver)) return pass(driverEvidence(device));
  if (device.fn.bootVga) return fail([driverEvidence(device), seen(`sys/bus/pci/devices/${device.name}/boot_vga`, "1")], "The host's console and perhaps its desktop are on it: unbinding it while they run can hang the machine. Stop the display manager and detach the consoles first (echo 0 > /sys/class/vtconsole/vtcon1/bind), or bind vfio-pci at boot.");
  return unknown("what holds it open (fuser -v /dev/dri/* /dev/nvidia*)", driverEvidence(device));
};

/** Drivers and their order. */
export const DRIVER_RULES: readonly DeviceRule[] = [
  { about: "device", id: "AUD-001", title: "The whole card goes to the VM", severity: "warning", check: checkSlot },
  { about: "device", id: "AUD-002", title: "Its sound is not bound by an id that others share", severity: "error", check: checkIds(true) },
  { about: "device", id: "SRV-001", title: "Its virtual functions are off", severity: "block", check: checkVirtualFunctions },
  { about: "device", id: "SRV-002", title: "vfio-pci takes such devices", severity: "block", check: checkDenied },
  { about: "device", id: "DRV-001", title: "vfio-pci gets it before the host's driver does", severity: "error", check: checkBound },
  { about: "device", id: "DRV-004", title: "It is not bound by an id that others share", severity: "error", check: checkIds(false) },
  { about: "device", id: "DRV-005", title: "Nothing of the host shows its picture on it", severity: "error", optional: true, check: checkBusy },
  { about: "device", id: "DRV-006", title: "No stale driver_override keeps vfio-pci out", severity: "warning", check: checkOverride },
];

const checkBuiltin = (host: HostView): Outcome => {
  const options = host.configuration(/^\s*options\s+vfio[-_]pci\s/);
  if (options.length === 0) return notConcerned("No modprobe options for vfio-pci are shown.");
  const builtin = host.kernelConfig(/^CONFIG_VFIO_PCI=y/) ?? host.lineOf(`lib/modules/${host.snapshot.kernelRelease ?? ""}/modules.builtin`, /\/vfio-pci\.ko/);
  if (builtin) return fail([builtin, ...options], "vfio-pci is built into this kernel, so modprobe's options do not reach it: write vfio-pci.ids=… on the kernel's command line.");
  return host.hasKernelConfig ? pass(options) : unknown("the kernel's configuration (/boot/config-*, as a file)", options);
};

const INITRAMFS = ["etc/initramfs-tools/modules", "etc/mkinitcpio.conf", "etc/modules"] as const;
const INITRAMFS_FOLDERS = ["etc/dracut.conf.d", "etc/mkinitcpio.conf.d", "etc/modules-load.d"] as const;

const initramfsFiles = (host: HostView): string[] => [...INITRAMFS.filter((path) => host.text(path) !== undefined), ...INITRAMFS_FOLDERS.flatMap((folder) => (host.snapshot.files?.list(folder) ?? []).map((name) => `${folder}/${name}`))];

const checkVirqfd = (host: HostView): Outcome => {
  const files = initramfsFiles(host);
  const found = files.flatMap((path) => host.lineOf(path, /^[^#]*\bvfio_virqfd\b/) ?? []);
  if (found.length === 0) return files.length > 0 ? pass(seen(files[0] ?? "", "no vfio_virqfd")) : unknown("the initramfs's configuration (/etc/initramfs-tools/modules, /etc/mkinitcpio.conf, /etc/dracut.conf.d)");
  const modern = host.kernelAtLeast(6, 2);
  if (modern === undefined) return unknown("the kernel's version (uname -r)", found);
  return modern ? fail(found, "vfio_virqfd is no module since Linux 6.2 (it is part of vfio), and making the initramfs fails for it: take it out of the list.") : pass(found);
};

const checkNewId = (host: HostView): Outcome => {
  const folders = ["etc/libvirt/hooks", "etc/rc.local.d", "usr/local/bin", "etc/systemd/system"];
  const { files } = host.snapshot;
  const paths = ["etc/rc.local", ...folders.flatMap((folder) => (files?.list(folder) ?? []).map((name) => `${folder}/${name}`))].filter((path) => host.text(path) !== undefined);
  const found = paths.flatMap((path) => host.lineOf(path, /^[^#]*vfio-pci\/new_id/) ?? []);
  if (found.length > 0) return fail(found, "new_id stays in force for every such device that appears later: write the address to driver_override and drivers_probe.");
  return paths.length > 0 ? pass(paths.slice(0, 3).map((path) => seen(path, "no new_id"))) : unknown("the scripts that bind devices (/etc/libvirt/hooks, /etc/rc.local)");
};

const checkDracut = (host: HostView): Outcome => {
  const { files } = host.snapshot;
  const system = host.lineOf("etc/os-release", /^ID(?:_LIKE)?=.*(?:fedora|rhel|suse)/) ?? ((files?.list("etc/dracut.conf.d").length ?? 0) > 0 ? seen("etc/dracut.conf.d", "dracut") : undefined);
  if (!system) return host.text("etc/os-release") === undefined ? unknown("/etc/os-release") : notConcerned("This system does not make its initramfs by dracut.");
  if (boundIds(host).length === 0) return notConcerned("Nothing binds vfio-pci at boot.");
  const option = host.option(/^rd\.driver\.pre=.*vfio-pci/);
  const forced = (files?.list("etc/dracut.conf.d") ?? []).flatMap((name) => host.lineOf(`etc/dracut.conf.d/${name}`, /^\s*force_drivers\+=.*vfio/) ?? []);
  if (option || forced.length > 0) return pass([option, ...forced]);
  return fail(system, "dracut must be told to load vfio-pci early: force_drivers+=\" vfio vfio_iommu_type1 vfio_pci \" in /etc/dracut.conf.d (the spaces count), or rd.driver.pre=vfio-pci on the command line.");
};

/** How the host loads its modules. */
export const MODULE_RULES: readonly HostRule[] = [
  { about: "host", id: "DRV-002", title: "vfio-pci's options reach it", severity: "error", check: checkBuiltin },
  { about: "host", id: "DRV-003", title: "The initramfs asks for no module that is gone", severity: "error", optional: true, check: checkVirqfd },
  { about: "host", id: "DRV-007", title: "No script adds ids to vfio-pci while it runs", severity: "warning", check: checkNewId },
  { about: "host", id: "DRV-008", title: "dracut loads vfio-pci early", severity: "warning", check: checkDracut },
];
