import { capabilityRegisters } from "./unit-registers.ts";
import type { HostView } from "./host-view.ts";
import { logRule } from "./log-rule.ts";
import { fail, pass, seen, unknown, type DoctorEvidence, type HostRule, type Outcome } from "./rule.ts";

/** What shows that interrupts are remapped now. */
const remapped = (host: HostView): DoctorEvidence | undefined => host.lineOf("proc/interrupts", /\bIR-(?:IO-APIC|PCI-MSI|HPET)/) ?? host.log?.find(/DMAR-IR: Enabled IRQ remapping in (?:x2apic|xapic) mode|Enabled IRQ remapping in x2?apic mode|AMD-Vi: Interrupt remapping enabled/i);

const FAILED = /Failed to enable (?:irq|Interrupt) remapping|AMD-Vi: Disabling interrupt remapping|IRQ remapping doesn't support X2APIC mode, disable x2apic/i;

const checkRemapping = (host: HostView): Outcome => {
  const yes = remapped(host);
  if (yes) return pass(yes);
  if (host.active.answer === "no") return fail(host.active.evidence, "No IOMMU is on, so nothing remaps interrupts: see HOST-001 to HOST-005.");
  const advice = "Without it VFIO refuses (EPERM): a device could send any interrupt. Switch VT-d with interrupt remapping, or x2APIC, on in firmware setup, and take intremap=off and noapic off the command line. allow_unsafe_interrupts=1 gives up that protection: a last resort.";
  const off = [host.option(/^(?:intremap=off|nointremap|noapic)$/), host.log?.find(FAILED), host.dmar && !host.dmar.interruptRemapping ? seen("DMAR", "flags bit 0 (INTR_REMAP) is 0: firmware says that the platform does not support it") : undefined, host.lineOf("proc/interrupts", /\bPCI-MSI\b|\bIO-APIC\b/)].filter((each) => each !== undefined);
  if (off.length > 0) return fail(off, advice);
  if (host.log?.hasBoot && host.active.answer === "yes") return fail(seen("dmesg", "no line says that interrupts are remapped"), advice);
  return unknown("/proc/interrupts, or the kernel log since boot");
};

const PARAMETERS = ["sys/module/vfio_iommu_type1/parameters/allow_unsafe_interrupts", "sys/module/iommufd/parameters/allow_unsafe_interrupts"] as const;

const checkUnsafe = (host: HostView): Outcome => {
  const on = [...PARAMETERS.map((path) => host.lineOf(path, /^[Yy1]/)), host.option(/^(?:vfio_iommu_type1|iommufd)\.allow_unsafe_interrupts=[yY1]/), ...host.configuration(/^\s*options\s+(?:vfio_iommu_type1|iommufd)\s.*allow_unsafe_interrupts=[yY1]/)].filter((each) => each !== undefined);
  if (on.length > 0) return fail(on, remapped(host) ? "Take allow_unsafe_interrupts away: interrupt remapping works here, and with the option a guest's device may forge interrupts of the host." : "allow_unsafe_interrupts lets a guest's device forge interrupts of the host. Get interrupt remapping to work (IRQ-001), then take it away.");
  const read = PARAMETERS.some((path) => host.text(path) !== undefined);
  return read || host.snapshot.commandLine !== undefined ? pass(seen(read ? "sys/module" : "proc/cmdline", "allow_unsafe_interrupts is not set")) : unknown("/proc/cmdline");
};

const checkPosting = (host: HostView): Outcome => {
  if (host.vendor === "amd") {
    const said = host.log?.find(/AMD-Vi: Virtual APIC enabled/);
    return said ? pass(said) : host.log?.hasBoot ? fail(seen("dmesg", "no line \"AMD-Vi: Virtual APIC enabled\""), "Interrupts for guests cost an exit each. Nothing to do; newer hardware posts them.") : unknown("the kernel log since boot");
  }
  const units = capabilityRegisters(host);
  if (units.length === 0) return unknown("the CAP register (/sys/class/iommu/dmar0/intel-iommu/cap, or the log's line with reg_base_addr)");
  const without = units.filter(({ cap }) => ((cap >> 59n) & 1n) === 0n);
  return without.length > 0 ? fail(without.map(({ evidence, cap }) => seen(evidence.source, `cap 0x${cap.toString(16)}: bit 59 (PI) is 0`, evidence.line)), "Interrupts for guests cost an exit each: this hardware does not post them. Nothing to do.") : pass(units.map(({ evidence }) => evidence));
};

const amd = (host: HostView): DoctorEvidence | undefined => (host.vendor === "amd" ? seen("not concerned", "the machine has AMD's IOMMU") : undefined);

const X58 = new Set([0x3403, 0x3405, 0x3406]);

/** The chipsets with the erratum are known by their host bridges. */
const notX58 = (host: HostView): DoctorEvidence | undefined => {
  const bridge = host.at("0000:00:00.0");
  if (bridge?.vendor === undefined || bridge.device === undefined || (bridge.vendor === 0x8086 && X58.has(bridge.device))) return undefined;
  return seen("sys/bus/pci/devices/0000:00:00.0", `${bridge.vendor.toString(16).padStart(4, "0")}:${bridge.device.toString(16).padStart(4, "0")} is none of the chipsets with that erratum`);
};

/** Whether assigned functions can be kept from forging interrupts. */
export const INTERRUPT_RULES: readonly HostRule[] = [
  { about: "host", id: "IRQ-001", title: "Interrupts are remapped", severity: "block", check: checkRemapping },
  { about: "host", id: "IRQ-002", title: "Unsafe interrupts are not allowed", severity: "error", check: checkUnsafe },
  logRule({ id: "IRQ-003", title: "Firmware leaves x2APIC mode to the kernel", severity: "info", pattern: /x2apic is disabled because BIOS sets x2apic opt out bit/i, advice: "intremap=no_x2apic_optout overrules firmware; xAPIC mode is enough below 255 processors.", settled: (host) => amd(host) ?? (host.dmar && !host.dmar.x2apicOptOut ? seen("DMAR", "flags bit 1 (X2APIC_OPT_OUT) is 0") : undefined) }),
  logRule({ id: "IRQ-004", title: "The chipset's interrupt remapping has no known fault", severity: "block", pattern: /enabled interrupt remapping\s+on a chipset that contains an erratum|interrupt remapping is being disabled.*erratum|chipset.*contains an erratum/i, advice: "Intel's 5500, 5520 and X58 chipsets of early steppings cannot remap interrupts soundly, and the kernel leaves it off. Only unsafe mode is left: better another machine.", settled: (host) => remapped(host) ?? amd(host) ?? notX58(host) }),
  logRule({ id: "IRQ-005", title: "Switching interrupt remapping on did not fail", severity: "error", pattern: /Failed to enable irq remapping\.\s+You are vulnerable to irq-injection attacks/i, advice: "See IRQ-001: the kernel tried and could not. Lines with DMAR-IR: before it tell why.", settled: remapped }),
  { about: "host", id: "IRQ-006", title: "Interrupts can be posted into running guests", severity: "info", check: checkPosting },
];
