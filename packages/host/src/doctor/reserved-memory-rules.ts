import { hex } from "@iommu-lab/memory";
import { resolveScope } from "../groups/iommu-coverage.ts";
import type { HostFunction } from "../snapshot.ts";
import type { DeviceView } from "./device-view.ts";
import type { HostView } from "./host-view.ts";
import { logRule } from "./log-rule.ts";
import { fail, pass, seen, unknown, type DeviceRule, type DoctorEvidence, type HostRule, type Outcome } from "./rule.ts";

const ADVICE = "Firmware keeps using this memory by the function's DMA, so the kernel gives it to no guest. Switch the firmware feature off that uses it (management controller's shared memory, RAID or USB emulation), or use another slot; patches that relax this risk memory corruption.";

/** USB controllers and displays let go of their regions when a driver takes over: Linux assigns them. */
const isRelaxable = (device: DeviceView): boolean => device.class === 0x0c03 || device.isDisplay;

const SUB_HIERARCHY = 2;

/** The bridges above a function. */
const pathOf = (f: HostFunction, host: HostView): readonly HostFunction[] => {
  const path: HostFunction[] = [];
  for (let parent = f.parent && host.at(f.parent); parent && path.length < 256; parent = parent.parent && host.at(parent.parent)) path.push(parent);
  return path;
};

/** The reserved regions that the DMAR table names a function for. VT-d §8.4. */
const rmrrsOf = (device: DeviceView, host: HostView): DoctorEvidence[] =>
  (host.dmar?.structures ?? []).flatMap((structure) => {
    if (structure.name !== "RMRR" || structure.segment !== device.fn.address.domain) return [];
    const above = pathOf(device.fn, host);
    // A scope names an endpoint, or a bridge with all that is below it.
    const named = structure.scopes.some((scope) => {
      const found = resolveScope(host.snapshot.functions, structure.segment, scope);
      return found !== undefined && (found === device.fn || (scope.type === SUB_HIERARCHY && above.includes(found)));
    });
    return named ? [seen("DMAR", `RMRR ${hex(structure.base)} to ${hex(structure.limit)} for ${device.name}`)] : [];
  });

/** The blocks of an IVRS table that map memory one to one for a function. AMD-Vi §5.2.3. */
const ivmdsOf = (device: DeviceView, host: HostView): DoctorEvidence[] =>
  (host.ivrs?.structures ?? []).flatMap((structure) => {
    if (structure.name !== "IVMD" || structure.segment !== device.fn.address.domain) return [];
    const [first, last] = structure.type === 0x20 ? [0, 0xffff] : structure.type === 0x21 ? [structure.deviceId, structure.deviceId] : [structure.deviceId, structure.lastDeviceId];
    const { requester } = device.fn.address;
    return first <= requester && requester <= last ? [seen("IVRS", `IVMD type ${structure.type.toString(16)}h: ${hex(structure.start)}, ${hex(structure.size)} bytes, for ${device.name}`)] : [];
  });

const kernelRegions = (device: DeviceView): readonly string[] | undefined => (device.recordedGroup && device.recordedGroup.reservedRegions.length > 0 ? device.recordedGroup.reservedRegions : undefined);

const direct = (device: DeviceView): DoctorEvidence[] => (device.recordedGroup?.reservedRegions ?? []).flatMap((line, i) => (/\bdirect\s*$/.test(line) ? [seen(`sys/kernel/iommu_groups/${device.fn.group ?? 0}/reserved_regions`, line.trim(), i + 1)] : []));

const checkTables = (device: DeviceView, host: HostView): Outcome => {
  const named = [...rmrrsOf(device, host), ...ivmdsOf(device, host)];
  if (named.length > 0 && host.dmar && isRelaxable(device)) return pass([...named, seen("rule", "USB controllers and displays are let off: their region is relaxable")]);
  if (named.length > 0) return fail(named, ADVICE);
  if (host.dmar || host.ivrs) return pass(seen(host.dmar ? "DMAR" : "IVRS", `no reserved memory names ${device.name}`));
  if (kernelRegions(device) && direct(device).length === 0) return pass(seen(`sys/kernel/iommu_groups/${device.fn.group ?? 0}/reserved_regions`, "nothing of type direct"));
  if (host.tableNames.length > 0 && !host.tableNames.includes("DMAR") && !host.tableNames.includes("IVRS")) return pass(seen("sys/firmware/acpi/tables", "no table that could reserve memory"));
  return unknown("the DMAR or IVRS table (as root), or /sys/kernel/iommu_groups/*/reserved_regions");
};

const checkRegions = (device: DeviceView, host: HostView): Outcome => {
  const found = direct(device);
  if (found.length > 0) return fail(found, ADVICE);
  const regions = kernelRegions(device);
  if (regions) return pass(seen(`sys/kernel/iommu_groups/${device.fn.group ?? 0}/reserved_regions`, regions.map((line) => line.trim().split(/\s+/).at(-1)).join(", ")));
  const tables = checkTables(device, host);
  return tables.status === "unknown" ? unknown(`/sys/kernel/iommu_groups/${device.fn.group ?? "N"}/reserved_regions`) : tables;
};

const checkRejected = (device: DeviceView, host: HostView): Outcome => {
  const said = host.log?.find(device.logPattern("(?:requested this device have a 1:1 IOMMU mapping, rejecting|ineligible for IOMMU domain attach)"));
  if (said) return fail(said, ADVICE);
  const tables = checkTables(device, host);
  return tables.status === "unknown" ? (host.log?.hasBoot ? pass(seen("dmesg", "no such line since boot")) : unknown("the kernel log")) : tables.status === "pass" ? tables : pass(seen("dmesg", "not tried yet; see RMRR-001"));
};

/** Memory that firmware's devices use. */
export const RESERVED_MEMORY_RULES: readonly DeviceRule[] = [
  { about: "device", id: "RMRR-001", title: "Firmware reserves no memory for it", severity: "block", check: checkTables },
  { about: "device", id: "RMRR-002", title: "The kernel keeps no one-to-one mapping for its group", severity: "block", check: checkRegions },
  { about: "device", id: "RMRR-003", title: "The kernel did not refuse it because of firmware's memory", severity: "block", check: checkRejected },
];

export const RELAXED_RULES: readonly HostRule[] = [
  logRule({ id: "RMRR-004", title: "The kernel heeds firmware's reserved memory", severity: "error", pattern: /Intel-IOMMU: assuming all RMRRs are relaxable/i, advice: "This kernel is patched to ignore firmware's reservations: memory corruption is possible. Boot without relax_rmrr.", settled: (host) => (host.snapshot.commandLine !== undefined && !host.snapshot.commandLine.includes('relax_rmrr') ? seen("proc/cmdline", "no relax_rmrr", 1) : undefined) }),
];
