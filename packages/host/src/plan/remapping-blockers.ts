import type { HostEvidence } from "./host-evidence.ts";
import { blocked, lacking, NOTHING, together, type Judgement } from "./judgement.ts";
import { plainWords } from "./quote.ts";

const OFF = /^(?:intel_iommu=(?:.*,)?off\b|amd_iommu=(?:.*,)?off\b|iommu=(?:off|soft)\b|noapic$)/;

const isVirtual = (evidence: HostEvidence): boolean => /^flags\s*:.*\bhypervisor\b/m.test(evidence.text("proc/cpuinfo") ?? "");

const judgeAbsence = (evidence: HostEvidence): Judgement => {
  const { acpi } = evidence.snapshot;
  if (acpi.has("DMAR") || acpi.has("IVRS")) return NOTHING;
  if (acpi.size === 0) return lacking("iommu", "whether the machine has an IOMMU: the ACPI tables are not in the input (sudo iommu snapshot captures them).");
  return blocked("HOST-001", isVirtual(evidence) ? "This is a virtual machine without an IOMMU: give it one on the host that runs it." : "Firmware describes no IOMMU (no DMAR or IVRS table). Switch VT-d or AMD-Vi on in firmware setup; a processor or board without it cannot assign devices.");
};

/** Whether the IOMMU works, or will with the plan's option. */
const judgePresence = (evidence: HostEvidence): Judgement => {
  const off = evidence.option(OFF);
  if (off !== undefined) return blocked("HOST-003", `The kernel's command line has ${plainWords(off)}, which switches the IOMMU off. Take it away first; it is yours, so a plan does not.`);
  if (evidence.active === true) return NOTHING;
  const absence = judgeAbsence(evidence);
  if (absence !== NOTHING) return absence;
  if (evidence.active === undefined) return NOTHING;
  const option = evidence.option(/^intel_iommu=(?:.*,)?on\b/);
  if (evidence.snapshot.acpi.has("DMAR") && option === undefined) return NOTHING;
  return blocked("HOST-005", option === undefined ? "Firmware describes AMD's IOMMU, but the kernel did not start it: its log (AMD-Vi:) says why. No option is needed to switch it on." : `${plainWords(option)} is on the command line, but no IOMMU came up: the kernel's log (DMAR:) says why.`);
};

const REMAPPED = /DMAR-IR: Enabled IRQ remapping in x2?apic mode|Enabled IRQ remapping in x2?apic mode|AMD-Vi: Interrupt remapping enabled/;
const FAILED = /Failed to enable irq remapping|AMD-Vi: Disabling interrupt remapping|on a chipset that contains an erratum/;
const ADVICE = "Without interrupt remapping VFIO refuses, for a device could forge any interrupt. Switch it (or x2APIC) on in firmware setup; allow_unsafe_interrupts gives that protection up and is never written into a plan.";

const judgeInterrupts = (evidence: HostEvidence): Judgement => {
  const { dmesg = "" } = evidence.snapshot;
  const off = evidence.option(/^(?:intremap=(?:.*,)?off\b|nointremap$)/);
  if (off !== undefined) return blocked("IRQ-001", `The kernel's command line has ${plainWords(off)}: take it away. ${ADVICE}`);
  if (REMAPPED.test(dmesg) || /\bIR-(?:IO-APIC|PCI-MSI|HPET)/.test(evidence.text("proc/interrupts") ?? "")) return NOTHING;
  if (FAILED.test(dmesg)) return blocked("IRQ-001", `The kernel could not remap interrupts. ${ADVICE}`);
  if (evidence.dmar && !evidence.dmar.interruptRemapping) return blocked("IRQ-001", `The DMAR table says that this platform does not remap interrupts (flags bit 0 is 0). ${ADVICE}`);
  // What is off now cannot have been seen working; the table says that it can, and verify.sh looks.
  if (evidence.active === false && (evidence.dmar || evidence.snapshot.acpi.has("IVRS"))) return NOTHING;
  return lacking("interrupt-remapping", "whether interrupts are remapped: the kernel log since boot, or /proc/interrupts, is not in the input.");
};

const judgeVendor = (evidence: HostEvidence): Judgement => (evidence.vendor === undefined && evidence.active !== true ? lacking("intel", "whose IOMMU it is: assume intel or amd.") : NOTHING);

/** Whether DMA and interrupts of this host are, or will be, remapped. */
export const judgeRemapping = (evidence: HostEvidence): Judgement => {
  const presence = judgePresence(evidence);
  return presence.blockers.length > 0 ? presence : together([presence, judgeVendor(evidence), judgeInterrupts(evidence)]);
};
