import type { HostFunction } from "../snapshot.ts";
import type { DistroSteps, HostFile } from "./distro.ts";
import { classOf, nameOf, type HostEvidence } from "./host-evidence.ts";
import type { KernelOption } from "./kernel-options.ts";
import type { MissingFact, PlanFile, PlanFinding } from "./plan.ts";
import { plainWords } from "./quote.ts";
import type { PlanRequest, Target } from "./request.ts";
import type { Selection } from "./selection.ts";

/** What a plan's README tells. */
export interface ReadmeInput {
  readonly request: PlanRequest;
  readonly selection: Selection;
  readonly evidence: HostEvidence;
  readonly host: readonly PlanFinding[];
  readonly cautions: readonly PlanFinding[];
  readonly assumed: readonly MissingFact[];
  readonly options: readonly KernelOption[];
  readonly steps: DistroSteps;
  readonly hostFiles: readonly HostFile[];
  readonly guestFiles: readonly PlanFile[];
}

const digits = (value: number | undefined): string => (value === undefined ? "????" : value.toString(16).padStart(4, "0"));
const titled = (f: HostFunction): string => `\`${nameOf(f)}\` [${digits(f.vendor)}:${digits(f.device)}], class ${digits(classOf(f))}${f.driver === undefined ? "" : `, now with ${plainWords(f.driver)}`}`;
const findingLine = ({ rule, device, text }: PlanFinding): string => `- **${rule}**${device === undefined ? "" : ` \`${device}\``}: ${text}`;
const section = (title: string, lines: readonly string[]): string => (lines.length === 0 ? "" : `## ${title}\n\n${lines.join("\n")}\n\n`);

const GUEST: Readonly<Record<Target, readonly string[]>> = {
  libvirt: ["- Create its disk: `qemu-img create -f qcow2 /var/lib/libvirt/images/NAME.qcow2 64G`, with the name that `guest.xml` gives it.", "- `virsh define guest.xml`, then `virsh start NAME`. To undo: `virsh undefine --nvram NAME`."],
  qemu: ["- `./start-guest.sh -drive file=disk.qcow2,if=virtio -nic user`.", "- As another user than root: the memory it may lock (`ulimit -l`) must hold all of the guest's, and `/dev/vfio/N` must be its own. `iommu-lab-guest.service` sets the first for a system service."],
  proxmox: ["- Make a VM with its disks in Proxmox VE, then take the lines of `proxmox-guest.conf` into `/etc/pve/qemu-server/VMID.conf`. To undo: take them out."],
  kubevirt: ["- Add the entries of `kubevirt-permitted-devices.yaml` to the cluster's KubeVirt object, then `kubectl apply -f kubevirt-vm.yaml`. To undo: `kubectl delete -f kubevirt-vm.yaml`, and take the entries out."],
};

const amdNote = (evidence: HostEvidence): string[] => {
  if (evidence.option(/^amd_iommu=(?:.*,)?on\b/) !== undefined) return ["- Your command line has `amd_iommu=on`. AMD's IOMMU is on by default and has no such option: the kernel says `AMD-Vi: Unknown option - 'on'` and goes on. It does no harm; you can take it away."];
  return evidence.vendor === "amd" ? ["- AMD's IOMMU is on by default: no option switches it on."] : [];
};

const kernelNotes = ({ options, evidence }: ReadmeInput): string[] => [
  ...(options.length === 0 ? ["- None is needed."] : options.map(({ text, why }) => `- \`${text}\`: ${why}`)),
  ...amdNote(evidence),
  "- Your own options stay as they are. `iommu=pt` only concerns devices that the host keeps; it is not needed for this.",
];

const steps = ({ steps: { byHand } }: ReadmeInput): string[] => [
  ...byHand.map((text) => `- By hand: ${text}`),
  "- To try it out first: `./apply.sh FOLDER` works on a system mounted at FOLDER and only shows the commands.",
  "- Apply: `sudo ./apply.sh`, then restart the machine.",
  "- Verify: `sudo ./verify.sh` after the restart. It changes nothing.",
  "- Undo: `sudo ./undo.sh`, then restart the machine.",
];

/** The plan in words, what stands against it first. */
export const readme = (input: ReadmeInput): string => {
  const { request, selection, evidence, host, cautions, assumed, hostFiles, guestFiles } = input;
  return `# Assigning ${selection.named.map(nameOf).join(", ")} to a guest

${section("This machine", host.map(findingLine))}${section("Look out", cautions.map(findingLine))}${section("Assumed, not seen", assumed.map(({ key, text }) => `- \`${key ?? ""}\`: you said that it is well: ${text}`))}Made for ${request.distro} and ${request.target}, from ${plainWords(evidence.snapshot.origin)}${evidence.snapshot.kernelRelease === undefined ? "" : `, kernel ${plainWords(evidence.snapshot.kernelRelease)}`}. Nothing was changed: these are files.

${section("What the guest gets", selection.assigned.map((f) => `- ${titled(f)}`))}${section("What is held for the group's sake, not given to the guest", selection.held.map((f) => `- ${titled(f)}`))}${section("Steps", steps(input))}${section("Kernel options", kernelNotes(input))}${section("Files on the host", hostFiles.map(({ path }) => `- \`${path}\``))}${section("The guest", [...guestFiles.map(({ path }) => `- \`${path}\``), ...GUEST[request.target]])}`.trimEnd().concat("\n");
};
