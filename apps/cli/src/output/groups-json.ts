import { formatAddress, type FunctionAddress } from "@iommu-lab/pci-bus";
import type { MergeReason } from "@iommu-lab/pci-bus/groups";
import type { GroupsReport, HostSnapshot } from "@iommu-lab/host";
import { describeFunction } from "../names/describe.ts";
import type { PciNames } from "../names/pci-ids.ts";

const texts = (addresses: readonly FunctionAddress[]): string[] => addresses.map(formatAddress);

const reasonJson = ({ rule, members, at, evidence, quirk, text }: MergeReason): object => ({ rule, members: texts(members), at: formatAddress(at), evidence, ...(quirk === undefined ? {} : { quirk }), text });

/** A groups report as the JSON that `iommu groups --json` prints: addresses as dddd:bb:dd.f. */
export const groupsJson = (report: GroupsReport, snapshot: HostSnapshot, names: PciNames): object => ({
  mode: report.mode,
  origin: report.origin,
  kernel: report.kernelRelease ?? null,
  acs: report.acs,
  predicted: texts(report.predicted),
  ...(report.unsafe ? { unsafe: true } : {}),
  groups: report.groups.map(({ id, devices, others, type, reasons }) => ({
    id,
    devices: texts(devices),
    ...(others.length > 0 ? { others } : {}),
    ...(type === undefined ? {} : { type }),
    reasons: reasons.map(reasonJson),
  })),
  ungrouped: texts(report.ungrouped),
  unknown: report.unknown.map(({ address }) => formatAddress(address)),
  ...(report.unknown.length > 0 ? { unknownBecause: Object.fromEntries(report.unknown.map(({ address, text }) => [formatAddress(address), text])) } : {}),
  ...(report.differences
    ? {
        agree: report.differences.length === 0,
        differences: report.differences.map(({ recorded, computed, unknown }) => ({ recorded: recorded.map(texts), computed: computed.map(texts), unknown: texts(unknown) })),
      }
    : {}),
  functions: Object.fromEntries(snapshot.functions.map((f) => [formatAddress(f.address), { name: describeFunction(f, names), driver: f.driver ?? null }])),
  notes: report.notes,
  missing: snapshot.missing,
  warnings: snapshot.warnings,
});
