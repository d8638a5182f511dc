import type { HostFunction } from "../snapshot.ts";
import { isDisplay, type HostEvidence } from "./host-evidence.ts";
import type { PlanRequest } from "./request.ts";
import type { Selection } from "./selection.ts";

/** A kernel option that a plan adds, and why. */
export interface KernelOption {
  readonly text: string;
  readonly why: string;
}

const DRACUT = new Set(["fedora", "opensuse", "silverblue"]);

/** Kernels that have vfio-pci built in, which modprobe's options do not reach. */
export const hasBuiltInVfio = ({ distro }: PlanRequest, evidence: HostEvidence): boolean => {
  const release = evidence.snapshot.kernelRelease ?? "";
  const config = evidence.text(`boot/config-${release}`) ?? evidence.text("proc/config");
  const said = config === undefined ? undefined : /^CONFIG_VFIO_PCI=([ym])/m.exec(config)?.[1];
  return said === undefined ? distro === "ubuntu" || distro === "popos" : said === "y";
};

/** Whether the host keeps another VGA device than those of the guest: then vfio-pci must not take part in VGA arbitration. */
const sharesVga = ({ assigned }: Selection, { snapshot }: HostEvidence): boolean => {
  const isVga = (f: HostFunction): boolean => f.classCode !== undefined && f.classCode >>> 8 === 0x0300;
  return assigned.some(isVga) && snapshot.functions.some((f) => isVga(f) && !assigned.includes(f));
};

/** Options of the vfio-pci module that this selection needs. */
export const vfioOptions = (selection: Selection, evidence: HostEvidence): string[] => {
  const stuck = /Unable to change power state from D3cold to D0|not ready \d+ms after resume; giving up/.test(evidence.snapshot.dmesg ?? "");
  return [...(sharesVga(selection, evidence) ? ["disable_vga=1"] : []), ...(stuck ? ["disable_idle_d3=1"] : [])];
};

const FRAMEBUFFER = /^\s*([0-9a-f]+)-([0-9a-f]+) : (?:BOOTFB|efifb|simplefb|simple-framebuffer|simpledrm|vesafb)/gim;

/** Whether firmware's frame buffer, still held by the host, is in a window of the function. */
export const holdsFramebuffer = (f: HostFunction, evidence: HostEvidence): boolean =>
  isDisplay(f) && [...(evidence.text("proc/iomem") ?? "").matchAll(FRAMEBUFFER)].some(([, start = "", end = ""]) => f.resources?.slice(0, 6).some((window) => window.end > window.start && window.start <= BigInt(`0x${start}`) && BigInt(`0x${end}`) <= window.end && BigInt(`0x${end}`) > 0n) ?? false);

/** The options that are needed and not there yet; the user's own stay as they are. */
export const kernelOptions = (selection: Selection, request: PlanRequest, evidence: HostEvidence): KernelOption[] => {
  const options: KernelOption[] = [];
  const intel = evidence.vendor === "intel" || (evidence.vendor === undefined && request.assume?.has("intel"));
  if (evidence.active !== true && intel) options.push({ text: "intel_iommu=on", why: "VT-d is off; this kernel does not switch it on by itself." });
  if (selection.assigned.some((f) => holdsFramebuffer(f, evidence))) options.push({ text: "initcall_blacklist=sysfb_init", why: "The console's frame buffer is in a window of the card; without this option the host keeps holding it. The host's early messages are not shown then." });
  if (DRACUT.has(request.distro)) options.push({ text: "rd.driver.pre=vfio-pci", why: "vfio-pci is loaded before the drivers of the early system." });
  if (hasBuiltInVfio(request, evidence)) for (const option of vfioOptions(selection, evidence)) options.push({ text: `vfio-pci.${option}`, why: "vfio-pci is part of this kernel, so its options are given to the kernel." });
  return options.filter(({ text }) => !(evidence.snapshot.commandLine ?? "").split(/\s+/).includes(text));
};
