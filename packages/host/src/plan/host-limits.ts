import type { HostEvidence } from "./host-evidence.ts";
import type { PlanFinding } from "./plan.ts";

const finding = (rule: string, text: string): PlanFinding => ({ rule, text });

/** MiB that a host keeps for itself. */
const HOST_KEEPS = 1024;

/** What keeps the captured machine from running such a guest, whatever is assigned. */
export const hostLimits = (evidence: HostEvidence, memory: number): PlanFinding[] => {
  const flags = /^flags\s*:.*$/m.exec(evidence.text("proc/cpuinfo") ?? "")?.[0];
  const virtual = flags !== undefined && /\bhypervisor\b/.test(flags);
  const findings: PlanFinding[] = [];
  if (flags !== undefined && !/\b(?:vmx|svm)\b/.test(flags)) findings.push(finding("HOST-014", virtual ? "This machine is a guest itself and its processor shows no VT-x or SVM: nested virtualization must be switched on by the host that runs it." : "The processor shows no VT-x or SVM: switch virtualization on in firmware setup. That is a setting of its own, beside the IOMMU's."));
  if (virtual && evidence.snapshot.iommus.length === 0) findings.push(finding("HOST-015", "This machine is a guest itself and no IOMMU is on in it: the host that runs it must give it one (viommu=intel or virtio)."));
  const file = evidence.text("etc/security/limits.d/vfio.conf");
  if (file !== undefined && /memlock\s+0\b/.test(file)) findings.push(finding("MEM-001", "etc/security/limits.d/vfio.conf allows no locked memory: VFIO locks all of the guest's."));
  const total = evidence.memory;
  if (total !== undefined && memory + HOST_KEEPS > total) findings.push(finding("MEM-004", `The host has ${total} MiB of memory and needs about ${HOST_KEEPS} itself: too little for a guest of ${memory} MiB, all of which is locked.`));
  return findings;
};
