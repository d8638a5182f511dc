import { compareAddresses, formatAddress } from "@iommu-lab/pci-bus";
import { hex } from "@iommu-lab/memory";
import { resolveScope } from "../groups/iommu-coverage.ts";
import type { HostFunction } from "../snapshot.ts";
import { classOf, isBridge, isDisplay, nameOf, type HostEvidence } from "./host-evidence.ts";
import { blocked, lacking, NOTHING, together, type Judgement } from "./judgement.ts";
import { plainWords } from "./quote.ts";
import { boundFunctions, isNamed, listNames, staysWithHost, type Selection } from "./selection.ts";

const VFIO = /^(?:vfio-pci|vfio_pci|pci-stub|pci_stub|[\w-]+[-_]vfio[-_]pci|vfio[-_]pci[-_][\w-]+)$/;

const judgeClass = (f: HostFunction): Judgement =>
  staysWithHost(f) ? blocked("GRP-004", "It is a bridge or part of the chipset: vfio-pci cannot take it, and the host needs it.", nameOf(f)) : NOTHING;

const judgeLife = ({ config, ...f }: HostFunction): Judgement =>
  config && config.length > 14 && ((config[14] as number) & 0x7f) === 0x7f ? blocked("RST-007", "Its configuration space reads all ones: it is dead until the machine's power is switched off.", formatAddress(f.address)) : NOTHING;

const judgeVirtualFunctions = (f: HostFunction, evidence: HostEvidence): Judgement =>
  evidence.snapshot.functions.some(({ physicalFunction }) => physicalFunction && compareAddresses(physicalFunction, f.address) === 0)
    ? blocked("SRV-001", "It has virtual functions; vfio-pci does not take a physical function with SR-IOV on. Write 0 to its sriov_numvfs first, or assign the virtual functions.", nameOf(f))
    : NOTHING;

const judgeVmd = (f: HostFunction): Judgement =>
  f.dmaFunction || f.address.domain > 0xffff ? blocked("GRP-010", "It is behind a VMD, whose functions share one requester ID. Switch VMD (RST) off in firmware setup.", nameOf(f)) : NOTHING;

const showsDrivers = ({ snapshot }: HostEvidence): boolean => snapshot.kind === "sysfs" || snapshot.functions.some(({ driver }) => driver !== undefined);

const judgeGroup = (f: HostFunction, selection: Selection, evidence: HostEvidence): Judgement => {
  const others = evidence.groupOf(f);
  const name = nameOf(f);
  if (!others) {
    const unknown = evidence.groups.unknown.find(({ address }) => formatAddress(address) === name);
    return unknown ? lacking("groups", `the IOMMU group of ${name}: ${plainWords(unknown.text)} (lspci -vvv by root shows it).`) : blocked("GRP-001", "It is in no IOMMU group: no IOMMU translates it.", name);
  }
  const bound = boundFunctions(selection);
  const strangers = others.filter((other) => !bound.includes(other) && !isBridge(other));
  const foreign = strangers.filter(({ driver }) => driver !== undefined && !VFIO.test(driver));
  const fixed = foreign.filter(staysWithHost);
  const movable = foreign.filter((other) => !fixed.includes(other));
  if (fixed.length > 0) return blocked("GRP-002", `Its group also holds ${listNames(fixed)}, part of the chipset and in use by the host: the group is not viable. Put the card into another slot.`, name);
  if (movable.length > 0) return blocked("GRP-002", `Its group also holds ${movable.map((other) => `${nameOf(other)} (driver ${plainWords(other.driver ?? "")})`).join(", ")}: the group is not viable while the host uses that. Name it with --device as well to give it to the guest too, or put the card into another slot.`, name);
  return showsDrivers(evidence) || others.every((other) => bound.includes(other) || staysWithHost(other)) ? NOTHING : lacking("drivers", `the drivers of the group's other members (lspci -k).`);
};

const STORAGE = 0x01;
const NETWORK = 0x02;
const ROOT: readonly (readonly [option: RegExp, classes: readonly number[]])[] = [
  [/^root=\/dev\/nvme/, [0x0108]],
  [/^root=\/dev\/sd/, [0x0100, 0x0101, 0x0104, 0x0106, 0x0107]],
];

/** A storage controller is surely the root disk's when it is the only one of the kind that the command line names. */
const holdsRoot = (f: HostFunction, evidence: HostEvidence): boolean =>
  f.driver !== undefined && ROOT.some(([option, classes]) => evidence.option(option) !== undefined && classes.includes(classOf(f)) && evidence.snapshot.functions.filter((other) => classes.includes(classOf(other)) && other.driver !== undefined).length === 1);

const judgeUse = (f: HostFunction, selection: Selection, evidence: HostEvidence): Judgement => {
  if (holdsRoot(f, evidence)) return blocked("GRP-005", `The host's root file system (${plainWords(evidence.option(/^root=/) ?? "")}) is behind it.`, nameOf(f));
  const kind = classOf(f) >>> 8;
  if (isNamed(selection, f) || f.driver === undefined || VFIO.test(f.driver) || (kind !== STORAGE && kind !== NETWORK)) return NOTHING;
  return lacking("unused", `whether the host's disks or network hang on ${nameOf(f)}, which must go along: name it with --device if they do not.`);
};

const ADVICE = "Firmware keeps using that memory by the function's DMA, so the kernel gives it to no guest. Switch the firmware feature off that uses it, or use another slot.";

const judgeReservedMemory = (f: HostFunction, evidence: HostEvidence): Judgement => {
  const { snapshot, dmar } = evidence;
  const regions = f.group === undefined ? undefined : snapshot.groups?.get(f.group)?.reservedRegions;
  if (regions?.some((line) => /\bdirect\s*$/.test(line))) return blocked("RMRR-002", `Its group has reserved memory that is mapped one to one. ${ADVICE}`, nameOf(f));
  const relaxable = isDisplay(f) || classOf(f) === 0x0c03;
  const region = dmar?.structures.flatMap((each) => (each.name === "RMRR" && each.segment === f.address.domain && each.scopes.some((scope) => resolveScope(snapshot.functions, each.segment, scope) === f) ? [each] : []))[0];
  if (region && !relaxable) return blocked("RMRR-001", `The DMAR table reserves ${hex(region.base)} to ${hex(region.limit)} for it. ${ADVICE}`, nameOf(f));
  const known = dmar !== undefined || (regions !== undefined && regions.length > 0) || snapshot.acpi.has("IVRS");
  return known ? NOTHING : lacking("reserved-memory", `whether firmware reserves memory for ${nameOf(f)}: neither the DMAR table nor /sys/kernel/iommu_groups/*/reserved_regions is in the input.`);
};

/** What keeps the selected functions from being assigned. */
export const judgeDevices = (selection: Selection, evidence: HostEvidence): Judgement => {
  const judgements = selection.assigned.map((f) => {
    const itself = together([judgeClass(f), judgeLife(f), judgeVirtualFunctions(f, evidence), judgeVmd(f)]);
    return itself.blockers.length > 0 ? itself : together([judgeGroup(f, selection, evidence), judgeUse(f, selection, evidence), judgeReservedMemory(f, evidence)]);
  });
  const held = selection.held.map((f) => judgeUse(f, selection, evidence));
  return together([...judgements, ...held]);
};
