import type { HostView } from "./host-view.ts";
import { fail, notConcerned, pass, seen, unknown, type HostRule, type Outcome } from "./rule.ts";

const checkVirtualization = (host: HostView): Outcome => {
  const cpu = host.text("proc/cpuinfo");
  if (cpu === undefined || !/^flags\s*:/m.test(cpu)) return unknown("/proc/cpuinfo");
  const flag = /^flags\s*:.*\b(vmx|svm)\b/m.exec(cpu)?.[1];
  if (flag !== undefined) return pass(seen("proc/cpuinfo", `flags: ${flag}`));
  const advice = host.virtual ? "This is a virtual machine without nested virtualization: switch that on where it runs." : "Switch VT-x (Intel) or SVM (AMD) on in firmware setup. It is another setting than VT-d or IOMMU, and both are needed.";
  return fail(seen("proc/cpuinfo", "flags have neither vmx nor svm"), advice);
};

const checkNested = (host: HostView): Outcome => {
  const { virtual, active } = host;
  if (!virtual) return host.text("proc/cpuinfo") === undefined && !host.log?.hasBoot ? unknown("/proc/cpuinfo, or the kernel log since boot") : pass(seen(host.text("proc/cpuinfo") === undefined ? "dmesg" : "proc/cpuinfo", "no hypervisor below this kernel"));
  if (active.answer === "yes") return pass([virtual, ...active.evidence]);
  if (active.answer === "unknown") return unknown("/sys/class/iommu", virtual);
  return fail([virtual, ...active.evidence], "This kernel runs in a virtual machine that has no IOMMU. Add a virtual one where it runs (libvirt <iommu model='intel'>, QEMU -device intel-iommu or virtio-iommu-pci, Proxmox viommu=intel or virtio); firmware setup of the real machine does not help.");
};

/** What says that Secure Boot is on, or that it is off. */
const secureBoot = (host: HostView): { readonly on: boolean; readonly text: string; readonly source: string } | undefined => {
  const bytes = host.snapshot.files?.read("sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c");
  if (bytes && bytes.length >= 5) return { on: bytes[4] === 1, source: "sys/firmware/efi/efivars", text: `SecureBoot = ${bytes[4] ?? 0}` };
  const lockdown = host.text("sys/kernel/security/lockdown");
  if (lockdown !== undefined) return { on: !lockdown.includes("[none]"), source: "sys/kernel/security/lockdown", text: lockdown };
  const found = host.log?.find(/(?:secureboot|Secure boot).* (?:enabled|disabled)|Kernel is locked down from EFI Secure Boot/i);
  return found ? { on: !/disabled/i.test(found.text), source: "dmesg", text: found.text } : undefined;
};

const checkSecureBoot = (host: HostView): Outcome => {
  const module = host.lineOf("proc/modules", /^vendor[-_]reset\b/) ?? host.log?.find(/vendor[-_]reset/);
  const boot = secureBoot(host);
  const rejected = host.log?.find(/Loading of (?:unsigned )?module .*rejected|module verification failed.*vendor|Loading of unsigned module is rejected/i);
  const evidence = boot && seen(boot.source, boot.text);
  if (rejected && boot?.on) return fail([evidence, rejected], "Secure Boot refuses unsigned modules such as vendor-reset: sign the module with a key of yours (mokutil --import), or do without it.");
  if (!module) return notConcerned("No module from outside of the kernel (vendor-reset) is used.");
  if (!boot) return unknown("the Secure Boot state (mokutil --sb-state, or /sys/kernel/security/lockdown)", module);
  return pass([evidence, module]);
};

/** What the machine is, apart from its IOMMU. */
export const MACHINE_RULES: readonly HostRule[] = [
  { about: "host", id: "HOST-014", title: "The processor can run virtual machines", severity: "block", check: checkVirtualization },
  { about: "host", id: "HOST-015", title: "A virtual machine as host has an IOMMU of its own", severity: "block", check: checkNested },
  { about: "host", id: "HOST-016", title: "Secure Boot lets the modules load that are used", severity: "error", check: checkSecureBoot },
];
