import { CHIPSET_PLACES, chipsetOf } from "../hardware/chipsets.ts";
import { processorQuirks } from "../hardware/processor-quirks.ts";
import { judgeProcessor, processorOf } from "../hardware/processors.ts";
import type { HostView } from "./host-view.ts";
import { logRule } from "./log-rule.ts";
import { fail, notConcerned, pass, seen, unknown, type DoctorEvidence, type HostRule, type Outcome } from "./rule.ts";
import { capabilityRegisters } from "./unit-registers.ts";

const TABLES = "sys/firmware/acpi/tables";

const tableEvidence = (host: HostView): DoctorEvidence | undefined => {
  const name = host.tableNames.find((each) => each === "DMAR" || each === "IVRS" || each === "VIOT");
  return name === undefined ? undefined : seen(TABLES, name);
};

/** Why firmware describes no unit, as far as it is known. */
const absentAdvice = (host: HostView): string => {
  if (host.virtual) return "This is a virtual machine: give it a virtual IOMMU on the host it runs on (libvirt <iommu>, QEMU -device intel-iommu, Proxmox viommu=).";
  const processor = processorOf(host.text("proc/cpuinfo"));
  const verdict = processor === undefined ? undefined : judgeProcessor(processor);
  if (processor && verdict?.support === "no") return `This processor (${processor.name}) cannot: ${verdict.source}. No setting helps; it takes another processor.`;
  const chipset = CHIPSET_PLACES.flatMap((place) => chipsetOf(place, host.at(place)?.vendor, host.at(place)?.device) ?? [])[0];
  if (chipset?.support === "none") return `This board's chipset (${chipset.name}) has no VT-d: ${chipset.source}. No setting helps; it takes another board.`;
  const board = chipset === undefined ? "" : chipset.support === "official" ? ` The chipset (${chipset.name}) has it officially.` : ` With the chipset ${chipset.name} it is the board maker's choice: the board's manual tells.`;
  const sure = verdict?.support === "yes" ? ` The processor can (${verdict.source}).` : "";
  return `Switch it on in firmware setup: VT-d (Intel) or IOMMU = Enabled, not Auto (AMD).${sure}${board} Where there is no such setting, look for a firmware update; some boards show it only with virtualization (VT-x, SVM) on.`;
};

const checkPresence = (host: HostView): Outcome => {
  const table = tableEvidence(host);
  const { active } = host;
  if (table || (active.answer === "yes" && !host.otherIommu)) return pass([table, ...(active.answer === "yes" ? active.evidence : [])]);
  if (host.otherIommu) return unknown("a host with an x86 IOMMU; this one has another kind (Arm SMMU, POWER TCE or RISC-V), which these rules do not know", host.otherIommu);
  const said = host.log?.find(/DMAR: No DMAR devices found/);
  const none = host.tableNames.length > 0 ? seen(TABLES, `${host.tableNames.length} tables, neither DMAR nor IVRS`) : undefined;
  if (said || none) return fail([said, none, ...active.evidence], absentAdvice(host));
  return unknown("the names in /sys/firmware/acpi/tables, or the kernel log since boot", active.evidence);
};

/** The last of several values that switch something. */
const lastOf = (values: readonly string[], switches: readonly string[]): string | undefined => values.findLast((value) => switches.includes(value));

const checkIntelSwitch = (host: HostView): Outcome => {
  if (host.active.answer === "yes") return pass(host.active.evidence);
  if (host.vendor !== "intel") return host.vendor === undefined ? unknown("the names in /sys/firmware/acpi/tables") : notConcerned("Only Intel's IOMMU needs an option, and only with kernels that do not switch it on by default.");
  if (!host.tableNames.includes("DMAR")) return host.tableNames.length > 0 || host.log?.find(/No DMAR devices found/) ? notConcerned("There is no DMAR table: see HOST-001.") : unknown("the names in /sys/firmware/acpi/tables");
  if (host.snapshot.commandLine === undefined) return unknown("/proc/cmdline");
  const { intelIommu } = host.parameters;
  if (lastOf(intelIommu, ["on", "off"]) === "on") return notConcerned("intel_iommu=on is given: see HOST-005.");
  if (host.active.answer === "unknown") return unknown("the kernel's groups (find /sys/kernel/iommu_groups -type l)");
  return fail([seen("proc/cmdline", host.snapshot.commandLine.slice(0, 240), 1), seen(TABLES, "DMAR"), ...host.active.evidence], "Add intel_iommu=on to the kernel's command line and boot again. (Kernels built with INTEL_IOMMU_DEFAULT_ON do without; this one did not switch it on.)");
};

const checkSwitchedOff = (host: HostView): Outcome => {
  if (host.snapshot.commandLine === undefined) return host.active.answer === "yes" ? pass(host.active.evidence) : unknown("/proc/cmdline");
  const { intelIommu, amdIommu, iommu } = host.parameters;
  const off: (DoctorEvidence | undefined)[] = [];
  if (host.vendor !== "amd" && lastOf(intelIommu, ["on", "off"]) === "off") off.push(host.option(/^intel_iommu=.*\boff\b/));
  if (host.vendor !== "intel" && amdIommu.includes("off")) off.push(host.option(/^amd_iommu=.*\boff\b/));
  const general = lastOf(iommu, ["off", "soft", "force", "on"]);
  if (general === "off" || general === "soft") off.push(host.option(/^iommu=.*\b(?:off|soft)\b/));
  return off.length > 0 ? fail(off, "Take this option off the kernel's command line: it switches the IOMMU off.") : pass(seen("proc/cmdline", "no option switches the IOMMU off", 1));
};

const AMD_OPTIONS = "off, force_enable, force_isolation, fullflush (deprecated), pgtbl_v1, pgtbl_v2, irtcachedis, nohugepages, v2_pgsizes_only";

const checkAmdOn = (host: HostView): Outcome => {
  const said = host.log?.find(/AMD-Vi: Unknown option - '/);
  const on = host.parameters.amdIommu.includes("on") ? host.option(/^amd_iommu=/) : undefined;
  if (said || on) return fail([on, said], `amd_iommu=on is no option: AMD's IOMMU is on by default, and the kernel ignores it. Harmless; leave it out. There are: ${AMD_OPTIONS}.`);
  return host.snapshot.commandLine === undefined ? unknown("/proc/cmdline") : pass();
};

const checkCameUp = (host: HostView): Outcome => {
  if (host.active.answer === "yes") return pass(host.active.evidence);
  const parsed = host.log?.find(/DMAR: IOMMU enabled/);
  const asked = host.option(/^intel_iommu=.*\bon\b/);
  if (host.active.answer === "unknown" && !(parsed && host.log?.hasBoot)) return unknown("/sys/class/iommu, or the kernel log since boot");
  if (parsed || (asked && host.vendor === "intel" && host.tableNames.includes("DMAR"))) return fail([parsed, asked, ...host.active.evidence], "The option was read, but no unit came up: \"DMAR: IOMMU enabled\" is printed while the kernel parses intel_iommu=on, whatever the hardware. Look in the log for lines with DMAR: that tell of errors, and switch VT-d on in firmware setup.");
  if (host.vendor === "amd" && host.tableNames.includes("IVRS")) return fail([seen(TABLES, "IVRS"), ...host.active.evidence], "Firmware describes the IOMMU, but the kernel runs without it. Look in the log for AMD-Vi: lines, and see HOST-003 and HOST-007.");
  return notConcerned("Nothing asked for it yet: see HOST-001 and HOST-002.");
};

const checkPassthroughMode = (host: HostView): Outcome => {
  const option = host.option(/^iommu=.*\b(?:pt|nopt)\b|^iommu\.passthrough=/);
  const said = host.log?.find(/iommu: Default domain type: Passthrough|Initialized for Passthrough Mode/i);
  if (!said && !(option && (host.parameters.iommu.includes("pt") || host.parameters.passthrough === true))) return host.snapshot.commandLine === undefined && !host.log?.hasBoot ? unknown("/proc/cmdline") : pass();
  return fail([option, said], "iommu=pt frees the host's own drivers from translation: faster for them, and no protection from their devices. Assigned devices are translated all the same; assigning needs it not.");
};

const checkOptIn = (host: HostView): Outcome => {
  const said = host.log?.find(/Intel-IOMMU force enabled due to platform opt in/);
  if (said || host.dmar?.dmaControlOptIn) return fail([said, host.dmar?.dmaControlOptIn ? seen("DMAR", "flags bit 2 (DMA_CTRL_PLATFORM_OPT_IN_FLAG) is 1") : undefined], "Firmware asks the kernel to keep DMA protection on: with external ports (Thunderbolt) the IOMMU is on whatever the options say.");
  if (host.dmar) return pass(seen("DMAR", "flags bit 2 (DMA_CTRL_PLATFORM_OPT_IN_FLAG) is 0"));
  return host.vendor === "amd" ? notConcerned("AMD's table has no such flag of Intel's.") : unknown("the DMAR table (as root: /sys/firmware/acpi/tables/DMAR)");
};

const checkSubOptions = (host: HostView): Outcome => {
  const option = host.option(/^(?:intel_iommu|amd_iommu|iommu)=[^,]+,/);
  if (host.snapshot.commandLine === undefined) return unknown("/proc/cmdline");
  return option ? fail(option, "Several values stand behind one option: keep the others when you change one.") : pass();
};

/** Second-stage large-page support: CAP bits 37:34. VT-d §11.4.2 "Capability Register". */
const LARGE_PAGES = 0xfn << 34n;

const checkLargePages = (host: HostView): Outcome => {
  if (host.vendor === "amd") return notConcerned("AMD's IOMMUs all map large pages.");
  const units = capabilityRegisters(host);
  const without = units.filter(({ cap }) => (cap & LARGE_PAGES) === 0n);
  const processor = processorOf(host.text("proc/cpuinfo"));
  const [quirk] = processor ? processorQuirks(processor) : [];
  if (without.length > 0 || (units.length === 0 && quirk)) return fail([...without.map(({ evidence, cap }) => seen(evidence.source, `cap 0x${cap.toString(16)}: bits 37:34 (SLLPS) are 0`, evidence.line)), quirk ? seen("hardware base", `${quirk.text} Source: ${quirk.source}.`) : undefined], "Memory of a VM is mapped in 4 KiB pages: slower, not wrong. Nothing to do.");
  return units.length > 0 ? pass(units.map(({ evidence }) => evidence)) : unknown("the CAP register (/sys/class/iommu/dmar0/intel-iommu/cap, or the log's line with reg_base_addr)");
};

/** Whether there is an IOMMU, and whether it is on. */
export const PRESENCE_RULES: readonly HostRule[] = [
  { about: "host", id: "HOST-001", title: "The machine has an IOMMU that firmware describes", severity: "block", check: checkPresence },
  { about: "host", id: "HOST-002", title: "The kernel was told to use Intel's IOMMU", severity: "block", check: checkIntelSwitch },
  { about: "host", id: "HOST-003", title: "No option switches the IOMMU off", severity: "block", check: checkSwitchedOff },
  { about: "host", id: "HOST-004", title: "amd_iommu= has only values that exist", severity: "info", check: checkAmdOn },
  { about: "host", id: "HOST-005", title: "The IOMMU came up, not only its option", severity: "error", check: checkCameUp },
  logRule({ id: "HOST-006", title: "Firmware's DMAR table is sound", severity: "warning", pattern: /Your BIOS is broken; .*(?:DMAR|RMRR|RHSA)|DMAR reported at address|bad RMRR|RHSA refers to non-existent DMAR unit|RMRR entry for device .* is broken/i, advice: "The table has mistakes; the kernel works around them where it can. Look for a firmware update." }),
  logRule({ id: "HOST-007", title: "Firmware's IVRS table is sound", severity: "error", pattern: /IVRS table error|IVRS invalid checksum|IOAPIC\[\d+\] not in IVRS table|No southbridge IOAPIC found/i, advice: "Without the I/O APIC in the table interrupts are not remapped. Update firmware, or name it: ivrs_ioapic=ID@SSSS:BB:DD.F (before Linux 6.1: ivrs_ioapic[ID]=BB:DD.F).", settled: (host) => (host.vendor === "intel" ? seen("not concerned", "Intel's table is DMAR") : undefined) }),
  { about: "host", id: "HOST-008", title: "The host's own devices are translated too", severity: "info", check: checkPassthroughMode },
  logRule({ id: "HOST-009", title: "Memory encryption does not get in the way", severity: "warning", pattern: /Memory encryption detected - Disabling default IOMMU Passthrough|IOMMU not currently supported when SME is active/i, advice: "Memory encryption (SME, SEV) changes how the IOMMU works: without passthrough mode for the host, or not at all. mem_encrypt=off shows whether it is the cause." }),
  logRule({ id: "HOST-010", title: "All units can do the same", severity: "info", pattern: /DMAR: IOMMU feature \S+ inconsistent/i, advice: "Units differ (often that of the graphics): large pages and the like are used only where all units have them." }),
  logRule({ id: "HOST-011", title: "Units take their commands from a queue", severity: "warning", pattern: /dmar\d+: Using Register based invalidation/i, advice: "Without the queue there is neither interrupt posting nor ATS, and unmapping is slow: hardware of the first generations." }),
  { about: "host", id: "HOST-012", title: "Firmware leaves DMA protection to the user", severity: "info", check: checkOptIn },
  { about: "host", id: "HOST-013", title: "IOMMU options have one value each", severity: "info", check: checkSubOptions },
  { about: "host", id: "HOST-017", title: "Units map large pages", severity: "info", check: checkLargePages },
];
