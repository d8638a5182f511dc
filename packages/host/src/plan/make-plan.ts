import type { HostSnapshot } from "../snapshot.ts";
import { cautionsOf } from "./cautions.ts";
import { judgeDevices } from "./device-blockers.ts";
import { diagnoseSelection, type PlanDiagnosis } from "./diagnosis.ts";
import { distroSteps, type HostFile } from "./distro.ts";
import { bindScript, BIND_SCRIPT, HUGEPAGES_CONFIG, hugepagesConfig, MODPROBE_CONFIG, modprobeConfig, MODULES_LOAD, modulesLoad, UDEV_RULES, udevRules } from "./early-binding.ts";
import { addressBitsOf, defaultMemory, guestName, hidesHypervisor, mmioWindowOf, type GuestDescription } from "./guest.ts";
import { layOut } from "./guest-layout.ts";
import { HostEvidence, isDisplay, nameOf } from "./host-evidence.ts";
import { hostLimits } from "./host-limits.ts";
import { together, type Judgement } from "./judgement.ts";
import { hasBuiltInVfio, kernelOptions, vfioOptions, type KernelOption } from "./kernel-options.ts";
import { permittedDevices, virtualMachine } from "./kubevirt-manifests.ts";
import { libvirtDomain } from "./libvirt-domain.ts";
import { nixosModule } from "./nixos-module.ts";
import type { MissingFact, NotEnoughData, PlanFile, PlanFinding, PlanResult, Refusal, UnknownFunction } from "./plan.ts";
import { proxmoxConfig } from "./proxmox-config.ts";
import { qemuScript, qemuService } from "./qemu-script.ts";
import { readme } from "./readme.ts";
import { judgeRemapping } from "./remapping-blockers.ts";
import type { LibvirtVersion, PlanRequest } from "./request.ts";
import { applyScript, undoScript, verifyScript } from "./scripts.ts";
import { boundFunctions, selectFunctions, type Selection } from "./selection.ts";

const DEFAULT_LIBVIRT: LibvirtVersion = [9, 0];
const PROCESSORS = 4;

const hostFiles = (selection: Selection, request: PlanRequest, evidence: HostEvidence, options: readonly KernelOption[], memory: number): HostFile[] => {
  const bound = boundFunctions(selection);
  const vfio = vfioOptions(selection, evidence);
  if (request.distro === "nixos")
    return [{ path: "/etc/nixos/iommu-lab.nix", text: nixosModule({ functions: bound, kernelOptions: options.map(({ text }) => text), vfioOptions: vfio, hugepages: request.hugepages ? memory : undefined }), mode: 0o644 }];
  return [
    { path: BIND_SCRIPT, text: bindScript(bound), mode: 0o755 },
    { path: UDEV_RULES, text: udevRules(bound), mode: 0o644 },
    { path: MODPROBE_CONFIG, text: modprobeConfig(bound, vfio, hasBuiltInVfio(request, evidence)), mode: 0o644 },
    { path: MODULES_LOAD, text: modulesLoad(), mode: 0o644 },
    ...(request.hugepages && request.target !== "proxmox" ? [{ path: HUGEPAGES_CONFIG, text: hugepagesConfig(memory), mode: 0o644 } as const] : []),
    ...distroSteps(request.distro, options.map(({ text }) => text)).files,
  ];
};

const describeGuest = ({ assigned, named }: Selection, request: PlanRequest, evidence: HostEvidence, memory: number): GuestDescription => {
  const os = request.guest ?? "linux";
  const iommu = request.guestIommu ?? "none";
  const [first = assigned[0]] = named;
  if (!first) throw new RangeError("A plan needs a function.");
  return {
    name: guestName(first),
    memory,
    processors: PROCESSORS,
    os,
    iommu,
    hugepages: request.hugepages ?? false,
    layout: layOut(assigned, evidence, iommu !== "none"),
    ownDisplay: assigned.some(isDisplay),
    addressBits: addressBitsOf(evidence),
    mmioWindow: mmioWindowOf(assigned),
    hideHypervisor: hidesHypervisor(assigned, os),
  };
};

const guestFiles = (guest: GuestDescription, request: PlanRequest): PlanFile[] => {
  switch (request.target) {
    case "libvirt":
      return [{ path: "guest.xml", text: libvirtDomain(guest, request.libvirt ?? DEFAULT_LIBVIRT), mode: 0o644 }];
    case "qemu":
      return [{ path: "start-guest.sh", text: qemuScript(guest), mode: 0o755 }, { path: "iommu-lab-guest.service", text: qemuService(guest), mode: 0o644 }];
    case "proxmox":
      return [{ path: "proxmox-guest.conf", text: proxmoxConfig(guest), mode: 0o644 }];
    case "kubevirt":
      return [{ path: "kubevirt-permitted-devices.yaml", text: permittedDevices(guest), mode: 0o644 }, { path: "kubevirt-vm.yaml", text: virtualMachine(guest), mode: 0o644 }];
  }
};

const optionsFile = (options: readonly KernelOption[]): PlanFile[] => (options.length === 0 ? [] : [{ path: "kernel-options.txt", text: `${options.map(({ text }) => text).join(" ")}\n`, mode: 0o644 }]);

/** The findings, and those of the doctor's that say something else. */
const onlyNew = (findings: readonly PlanFinding[], more: readonly PlanFinding[]): PlanFinding[] => [...findings, ...more.filter(({ rule, device }) => !findings.some((each) => each.rule === rule && each.device === device))];

const writePlan = (selection: Selection, request: PlanRequest, evidence: HostEvidence, assumed: readonly MissingFact[], diagnosis: PlanDiagnosis): PlanResult => {
  const memory = request.memory ?? defaultMemory(evidence.memory);
  const options = kernelOptions(selection, request, evidence);
  const files = hostFiles(selection, request, evidence, options, memory);
  const guest = describeGuest(selection, request, evidence, memory);
  const steps = distroSteps(request.distro, options.map(({ text }) => text));
  const forGuest = guestFiles(guest, request);
  const host = onlyNew(hostLimits(evidence, memory), diagnosis.host);
  const cautions = onlyNew(cautionsOf(selection, request, evidence), diagnosis.cautions);
  const scripts = { name: guest.name, files, steps, kernelOptions: options.map(({ text }) => text) };
  const bound = boundFunctions(selection);
  const members = new Set([...bound, ...bound.flatMap((f) => evidence.groupOf(f) ?? [])].map(nameOf));
  return {
    kind: "plan",
    functions: selection.assigned.map(({ address }) => address),
    host,
    cautions,
    files: [
      { path: "README.md", text: readme({ request, selection, evidence, host, cautions, assumed, options, steps, hostFiles: files, guestFiles: forGuest }), mode: 0o644 },
      { path: "apply.sh", text: applyScript(scripts), mode: 0o755 },
      { path: "verify.sh", text: verifyScript({ bound, kernelOptions: scripts.kernelOptions, expectedMembers: [...members], hugepages: request.hugepages && request.target !== "proxmox" ? memory : undefined }), mode: 0o755 },
      { path: "undo.sh", text: undoScript(scripts), mode: 0o755 },
      ...optionsFile(options),
      ...forGuest,
      ...files.map(({ path, text, mode }): PlanFile => ({ path: `host${path}`, text, mode })),
    ],
  };
};

const isAssumed = ({ key }: MissingFact, { assume }: PlanRequest): boolean => key !== undefined && (assume?.has(key) === true || (key === "intel" && assume?.has("amd") === true));

const forTarget = (selection: Selection, { target }: PlanRequest): Judgement => {
  const nameless = selection.assigned.filter(({ vendor, device }) => vendor === undefined || device === undefined);
  return { blockers: [], missing: target === "kubevirt" && nameless.length > 0 ? [{ text: `vendor and device ids of ${nameless.map(nameOf).join(", ")}, by which KubeVirt finds devices (lspci -nn).` }] : [] };
};

/**
 * Plans the assignment of functions of a host to a guest: every file that it takes, and how to take it back. Nothing is changed.
 * Blockers of the functions, their groups or of remapping refuse it; what the snapshot does not show is asked for.
 * @throws RangeError when `request.devices` is empty
 */
export const makePlan = (snapshot: HostSnapshot, request: PlanRequest): PlanResult | Refusal | NotEnoughData | UnknownFunction => {
  const evidence = new HostEvidence(snapshot);
  const selection = selectFunctions(evidence, request.devices);
  if ("unknown" in selection) return { kind: "unknown-function", address: selection.unknown };
  const { blockers, missing } = together([judgeRemapping(evidence), judgeDevices(selection, evidence), forTarget(selection, request)]);
  const diagnosis = diagnoseSelection(snapshot, selection);
  const all = onlyNew(blockers, diagnosis.blockers);
  if (all.length > 0) return { kind: "refusal", blockers: all };
  const open = missing.filter((fact) => !isAssumed(fact, request));
  if (open.length > 0) return { kind: "not-enough-data", missing: open };
  return writePlan(selection, request, evidence, missing, diagnosis);
};
