import { formatAddress } from "@iommu-lab/pci-bus";
import { AMD_RESET_BUG, AMD_RESET_UNRELIABLE, BROKEN_BUS_RESET, BROKEN_FLR, quirkOf, type DeviceQuirk } from "../hardware/device-quirks.ts";
import { isBridge, type DeviceView } from "./device-view.ts";
import type { HostView } from "./host-view.ts";
import { fail, notConcerned, pass, seen, unknown, type DeviceRule, type DoctorEvidence, type Outcome } from "./rule.ts";

const FLR = 0x1000_0000;

const u32 = (config: Uint8Array, at: number): number => ((config[at] ?? 0) | ((config[at + 1] ?? 0) << 8) | ((config[at + 2] ?? 0) << 16) | ((config[at + 3] ?? 0) << 24)) >>> 0;

const bits = (device: DeviceView, at: number, text: string): DoctorEvidence => seen(`sys/bus/pci/devices/${device.name}/config`, `0x${at.toString(16)}: ${text}`);

/** A reset that the function itself offers: FLR (PCIe §7.5.3.3), the conventional one of Advanced Features, or D3hot (PM §3.2.4). */
const ownReset = (device: DeviceView): DoctorEvidence | undefined => {
  const { config, printed } = device.fn;
  if (config && config.length >= 256) {
    const [express, advanced, power] = [device.capability(0x10) ?? 0, device.capability(0x13) ?? 0, device.capability(0x01) ?? 0];
    if (express > 0 && u32(config, express + 4) & FLR && !quirkOf(BROKEN_FLR, device.fn.vendor, device.fn.device)) return bits(device, express + 4, "Device Capabilities bit 28 (FLR) is 1");
    if (advanced > 0 && ((config[advanced + 3] ?? 0) & 3) === 3) return bits(device, advanced + 3, "Advanced Features: TP and FLR are 1");
    if (power > 0 && !((config[power + 4] ?? 0) & 8)) return bits(device, power + 4, "PMCSR bit 3 (No_Soft_Reset) is 0: D3hot resets it");
    return undefined;
  }
  const lines = printed?.capabilities.flatMap(({ lines: all }) => all) ?? [];
  const line = lines.find((each) => /\bFLReset\+|\bFLR\+|\bNoSoftRst-/.test(each));
  return line === undefined ? undefined : seen("lspci", line.slice(0, 160));
};

const NONE = "It works for one start of a VM; after that it is in whatever state the guest left. QEMU says: Cannot reset device, no available reset mechanism. Try another slot (a bus reset needs a slot of its own), or boot the host between VMs.";

const methodsEvidence = (device: DeviceView): DoctorEvidence => seen(`sys/bus/pci/devices/${device.name}/reset_method`, device.fn.resetMethods?.join(" ") ?? "no such file");

/** The file came with 5.15, and is there only where a method is. */
const hasNoMethod = ({ fn }: DeviceView, host: HostView): boolean => fn.resetMethods?.length === 0 || (fn.resetMethods === undefined && host.snapshot.kind === "sysfs" && host.kernelAtLeast(5, 15) === true && host.snapshot.functions.some((f) => f.resetMethods));

const checkResettable = (device: DeviceView, host: HostView): Outcome => {
  const { resetMethods } = device.fn;
  if (resetMethods && resetMethods.length > 0) return pass(methodsEvidence(device));
  const own = ownReset(device);
  if (hasNoMethod(device, host)) return fail([methodsEvidence(device), own], NONE);
  return own ? pass(own) : unknown(`/sys/bus/pci/devices/${device.name}/reset_method (Linux 5.15 on), or lspci -vvv by root`);
};

const checkBusReset = (device: DeviceView, host: HostView): Outcome => {
  const { resetMethods } = device.fn;
  if (hasNoMethod(device, host)) return notConcerned("It cannot be reset at all: see RST-001.");
  if (!resetMethods) return unknown(`/sys/bus/pci/devices/${device.name}/reset_method`);
  if (resetMethods[0] !== "bus") return pass(methodsEvidence(device));
  const others = device.busSiblings.filter((f) => !isBridge(f) && !device.isSelected(f) && !f.physicalFunction).map((f) => formatAddress(f.address));
  if (others.length === 0) return pass([methodsEvidence(device), seen("bus", "nothing else on its bus stays behind")]);
  return fail([methodsEvidence(device), ...others.map((other) => seen("same bus", other))], others.length > 1 ? `Only a reset of the whole bus is left, and ${others.join(", ")} would be reset with it: give them to the VM too.` : `Only a reset of the whole bus is left, and ${others.join("")} would be reset with it: give it to the VM too.`);
};

const quirkRule = (id: string, title: string, severity: DeviceRule["severity"], rows: readonly DeviceQuirk[], advice: string): DeviceRule => ({
  about: "device",
  id,
  title,
  severity,
  check: ({ fn }) => {
    if (fn.vendor === undefined || fn.device === undefined) return unknown("its ids (lspci -nn)");
    const ids = `${fn.vendor.toString(16).padStart(4, "0")}:${fn.device.toString(16).padStart(4, "0")}`;
    const found = quirkOf(rows, fn.vendor, fn.device);
    return found ? fail([seen("ids", `${ids}, ${found.name}`), seen("hardware base", found.source)], advice) : pass(seen("ids", ids));
  },
});

const checkAmdReset = (device: DeviceView, host: HostView): Outcome => {
  const { fn } = device;
  if (fn.vendor === undefined || fn.device === undefined) return unknown("its ids (lspci -nn)");
  const found = quirkOf(AMD_RESET_BUG, fn.vendor, fn.device);
  if (!found) return notConcerned("It is none of AMD's graphics that need vendor-reset.");
  const evidence = [seen("ids", `${fn.vendor.toString(16)}:${fn.device.toString(16)}, ${found.name}`), seen("hardware base", found.source)];
  const loaded = host.lineOf("proc/modules", /^vendor[-_]reset\b/);
  const specific = fn.resetMethods?.[0] === "device_specific";
  if (loaded && (specific || host.kernelAtLeast(5, 15) === false)) return pass([...evidence, loaded, methodsEvidence(device)]);
  return fail([...evidence, loaded, methodsEvidence(device)], `These cards hang when a VM starts them a second time. Load the vendor-reset module and, from Linux 5.15 on, write device_specific into /sys/bus/pci/devices/${device.name}/reset_method. The module is not kept up for kernels past about 6.12.`);
};

const checkAlive = (device: DeviceView, host: HostView): Outcome => {
  const { config, printed } = device.fn;
  const said = host.log?.find(device.logPattern("unknown header type 7f"));
  const dead = config && config.length >= 16 && (((config[14] as number) & 0x7f) === 0x7f || config.subarray(0, 16).every((byte) => byte === 0xff));
  const text = printed && (printed.revision === 0xff || /Unknown header type 7f/i.test(printed.title) || printed.capabilities.some(({ title }) => /Unknown header type 7f/i.test(title)));
  if (dead || text || said) return fail([dead ? bits(device, 0x0e, `header type 0x${(config[14] as number).toString(16)}: the function does not answer`) : undefined, text ? seen("lspci", "rev ff: the function does not answer") : undefined, said], "It is dead until power is cut: shut the machine down, wait, start it. It got there by a failed reset or power state: see RST-001 to RST-006 and PWR-001 before you try again.");
  return config || printed ? pass(seen(config ? `sys/bus/pci/devices/${device.name}/config` : "lspci", "it answers")) : unknown("its configuration space");
};

/** Whether a function comes back when its VM ends. */
export const RESET_RULES: readonly DeviceRule[] = [
  { about: "device", id: "RST-001", title: "It can be reset", severity: "error", check: checkResettable },
  { about: "device", id: "RST-002", title: "Its reset hits nothing of the host", severity: "error", check: checkBusReset },
  quirkRule("RST-003", "Its function-level reset is not known to be broken", "warning", BROKEN_FLR, "The kernel does not use this function's own reset, for it does not work; another method must do (reset_method)."),
  quirkRule("RST-004", "A bus reset is not known to break it", "warning", BROKEN_BUS_RESET, "The kernel does not reset this function's bus, for it does not come back from it; another method must do (reset_method)."),
  { about: "device", id: "RST-005", title: "It needs no reset module of its own", severity: "error", check: checkAmdReset },
  quirkRule("RST-006", "Its resets are not reported as unreliable", "warning", AMD_RESET_UNRELIABLE, "Users report that it does not always come back for the next VM, and vendor-reset does not know it. Reported to help: suspend and resume the host between runs."),
  { about: "device", id: "RST-007", title: "It answers", severity: "block", check: checkAlive },
];

const checkPower = (device: DeviceView, host: HostView): Outcome => {
  const said = host.log?.find(device.logPattern("Unable to change power state from D3cold to D0"));
  const state = host.functionText(device.fn, "power_state");
  const asleep = state === "D3cold" && device.fn.driver !== undefined;
  if (said || asleep) return fail([said, asleep ? seen(`sys/bus/pci/devices/${device.name}/power_state`, "D3cold") : undefined], `It was switched off and may not wake up: options vfio-pci disable_idle_d3=1, and echo 0 > /sys/bus/pci/devices/${device.name}/d3cold_allowed.`, said ? undefined : "warning");
  if (state !== undefined) return pass(seen(`sys/bus/pci/devices/${device.name}/power_state`, state));
  return host.log?.hasBoot ? pass(seen("dmesg", "no such line since boot")) : unknown(`/sys/bus/pci/devices/${device.name}/power_state, or the kernel log since boot`);
};

const checkResume = (device: DeviceView, host: HostView): Outcome => {
  const said = host.log?.find(device.logPattern("not ready \\d+ms after (?:resume|FLR|bus reset|D3cold->D0)[^;]*; giving up"));
  if (said) return fail(said, "The kernel waited a minute and it did not answer: see PWR-001, reseat the card, and try without power management (pcie_aspm=off) or another slot.");
  return host.log?.hasBoot ? pass(seen("dmesg", "no such line since boot")) : unknown("the kernel log since boot");
};

/** Whether it wakes up. */
export const POWER_RULES: readonly DeviceRule[] = [
  { about: "device", id: "PWR-001", title: "It wakes up from power saving", severity: "error", check: checkPower },
  { about: "device", id: "PWR-002", title: "It was ready in time after each resume and reset", severity: "error", check: checkResume },
];
