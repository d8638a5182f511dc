import { busOf } from "@iommu-lab/pci-bus";
import { GGC, GGC_OFFSET, planCard, planIgd, romVerdict, type Known, type Plan } from "@iommu-lab/vga-arbiter";
import type { HostFunction } from "../snapshot.ts";
import { hostVga } from "../vga/host-vga.ts";
import { holdsFramebuffer } from "./kernel-options.ts";
import { addressBitsOf, mmioWindowOf } from "./guest.ts";
import { classOf, isBridge, isDisplay, isIgd, nameOf, type HostEvidence } from "./host-evidence.ts";
import type { PlanFinding } from "./plan.ts";
import { plainWords } from "./quote.ts";
import type { Guest, PlanRequest } from "./request.ts";
import { isNamed, type Selection } from "./selection.ts";

const caution = (rule: string, f: HostFunction | undefined, text: string): PlanFinding => ({ rule, text, ...(f ? { device: nameOf(f) } : {}) });

const resets = (f: HostFunction, selection: Selection, { snapshot }: HostEvidence): PlanFinding[] => {
  if (f.physicalFunction || f.resetMethods === undefined) return [];
  if (f.resetMethods.length === 0) return [caution("RST-001", f, "The kernel knows no way to reset it: it works for one start of the guest, then the host must restart.")];
  const neighbours = snapshot.functions.filter((other) => other !== f && !isBridge(other) && other.address.domain === f.address.domain && busOf(other.address.requester) === busOf(f.address.requester) && !selection.assigned.includes(other) && !selection.held.includes(other));
  return f.resetMethods.every((method) => method === "bus") && neighbours.length > 0 ? [caution("RST-002", f, `It can only be reset together with ${neighbours.map(nameOf).join(", ")}, which the guest does not get: no reset.`)] : [];
};

const uses = (f: HostFunction, selection: Selection): PlanFinding[] =>
  isNamed(selection, f) && f.driver !== undefined && [0x01, 0x02].includes(classOf(f) >>> 8) ? [caution("GRP-005", f, "The host uses it now. Make sure that neither its root file system nor the network you reach it by depends on it.")] : [];

const ggcOf = ({ snapshot }: HostEvidence): Known => {
  const config = snapshot.functions.find((f) => nameOf(f) === "0000:00:00.0")?.config;
  return config && config.length > GGC_OFFSET + 1 ? GGC.decode(Uint32Array.of((config[GGC_OFFSET] as number) | ((config[GGC_OFFSET + 1] as number) << 8))).IVD === 1 : "unknown";
};

const told = (plan: Plan): string => [...(plan.verdict === "unknown" ? ["Whether it will show a picture is not known."] : []), ...plan.reasons.map(({ text }) => text), ...plan.conditions].join(" ");

const integrated = (f: HostFunction, evidence: HostEvidence): PlanFinding[] => {
  const plan = planIgd({ era: "modern", mode: "upt", atGuest02: true, lpcBridgeAt1f: false, vgaDecodeDisabled: ggcOf(evidence), isVgaClass: classOf(f) === 0x0300, hostReleased: f.driver === undefined, guestFirmware: "uefi" });
  return [caution("IGD-001", f, `${told(plan)} Legacy mode, which shows a picture from the start, needs a guest of type i440fx and, before QEMU 10, its 1f.0 free; q35 has a bridge there. This plan uses q35, so the picture comes with the guest's driver.`)];
};

const romOf = (f: HostFunction, evidence: HostEvidence): Known => {
  const folder = `sys/bus/pci/devices/${nameOf(f)}`;
  const bytes = evidence.snapshot.files?.read(`${folder}/rom`);
  if (!bytes || bytes.length < 0x20 || f.vendor === undefined || f.device === undefined) return "unknown";
  const { ovmf } = romVerdict(bytes, { vendor: f.vendor, device: f.device });
  return ovmf === "unknown" ? "unknown" : ovmf === "yes";
};

const bootVgaOf = (f: HostFunction, evidence: HostEvidence): boolean => f.bootVga ?? hostVga(evidence.snapshot).bootVga === nameOf(f);

const cards = (f: HostFunction, evidence: HostEvidence): PlanFinding[] => {
  const { functions } = evidence.snapshot;
  const igdHost = functions.some((other) => isIgd(other) && other !== f);
  const cardIsBootVga = bootVgaOf(f, evidence);
  const plan = planCard({ igdHost, cardHasGop: romOf(f, evidence), guestFirmware: "uefi", era: "modern", cardIsBootVga });
  const findings = plan.verdict === "works" ? [] : [caution(plan.verdict === "does-not-work" ? "ROM-002" : "ROM-001", f, `${told(plan)}${plan.verdict === "unknown" ? " Its ROM was not captured; if the guest shows nothing, give it a ROM file that was read while another card was the boot device (libvirt: <rom file='...'/>, QEMU: romfile=)." : ""}`)];
  if (!cardIsBootVga) return findings;
  const others = functions.filter((other) => isDisplay(other) && other !== f);
  return [...findings, caution("VGA-001", f, others.length > 0 ? `The host starts on it. Make ${others.map(nameOf).join(" or ")} the first display in firmware setup.` : "It is the host's only display: the host will have no screen. Make sure that you can reach it over the network or a serial line before you apply the plan.")];
};

const frames = (f: HostFunction, evidence: HostEvidence): PlanFinding[] =>
  holdsFramebuffer(f, evidence) ? [caution("VGA-002", f, "The console's frame buffer is in one of its windows; without help vfio-pci says \"BAR can't reserve\". From Linux 6.0 on vfio-pci takes such frame buffers away when it binds.")] : [];

const displays = (f: HostFunction, evidence: HostEvidence): PlanFinding[] => (!isDisplay(f) ? [] : [...(isIgd(f) ? integrated(f, evidence) : cards(f, evidence)), ...frames(f, evidence)]);

const nvidia = (functions: readonly HostFunction[], guest: Guest): PlanFinding[] => {
  const card = guest === "windows" ? functions.find((f) => isDisplay(f) && f.vendor === 0x10de) : undefined;
  return card ? [caution("GST-001", card, "NVIDIA's driver before 465 refuses to run in a guest that it recognises (error 43); newer ones do not need KVM hidden, so the plan does not hide it.")] : [];
};

/** What may go wrong with the functions of a plan, by the rules of the doctor. */
export const cautionsOf = (selection: Selection, request: PlanRequest, evidence: HostEvidence): PlanFinding[] => {
  const each = selection.assigned.flatMap((f) => [...resets(f, selection, evidence), ...uses(f, selection), ...displays(f, evidence)]);
  const bits = addressBitsOf(evidence);
  const override = evidence.option(/^pcie_acs_override=/);
  const unsafe = evidence.option(/^(?:vfio_iommu_type1|iommufd)\.allow_unsafe_interrupts=[yY1]/);
  return [
    ...(override === undefined ? [] : [caution("GRP-008", undefined, "pcie_acs_override is on the command line: the groups it makes are a claim, devices can reach each other past the IOMMU. The plan rests on those groups.")]),
    ...(unsafe === undefined ? [] : [caution("IRQ-002", undefined, `${plainWords(unsafe)} lets a guest's device forge interrupts of the host: take it away.`)]),
    ...each,
    ...(request.target === "kubevirt" && (request.guestIommu ?? "none") !== "none" ? [caution("GST-004", undefined, "KubeVirt has no virtual IOMMU for its guests: this guest gets none, although one was asked for. Take another target where the guest needs one.")] : []),
    ...nvidia(selection.assigned, request.guest ?? "linux"),
    ...(mmioWindowOf(selection.assigned) === undefined ? [] : [caution("BAR-002", undefined, "The windows of these functions are larger than the 32 GiB that older guest firmware has for them; the guest is given more.")]),
    ...(bits === undefined ? [] : [caution("BAR-004", undefined, `The IOMMU translates ${bits} address bits, fewer than the processor has: the guest is limited to them.`)]),
  ];
};
