/**
 * Hosts recorded from real kernels, and texts of real machines, with their answers hidden: the computed partition
 * must be the kernel's. They lie beside the repository; a clone without them skips this file.
 */
import { gunzipSync } from "node:zlib";
import { formatAddress } from "@iommu-lab/pci-bus";
import { computeIsolationGroups, withoutCause } from "@iommu-lab/pci-bus/groups";
import { describe, expect, test } from "vitest";
import { hasShared, listShared, readShared, skippedWithoutShared } from "../../../test/shared.ts";
import { hostFacts, lspciSnapshot, parseLspci, readSysfs, readTar, reportGroups, type MemoryTree } from "../src/index.ts";
import { hideAnswers, partitionOf } from "./answers.ts";

interface Truth {
  readonly partition: readonly (readonly string[])[];
  readonly ungrouped: readonly string[];
}

const open = async (archive: string): Promise<MemoryTree> => (await readTar(archive, gunzipSync(readShared(`snapshots/${archive}`)))).tree;
const truthOf = (archive: string): Truth => JSON.parse(new TextDecoder().decode(readShared(`snapshots/${archive.replace(".tar.gz", ".truth.json")}`))) as Truth;
const lines = (partition: Truth["partition"]): string[] => partition.map((group) => [...group].sort().join(" ")).sort();
const archives = listShared("snapshots", ".tar.gz");
/** A host whose kernel had the IOMMU off made no groups; there is nothing to compare with. */
const withGroups = archives.filter((archive) => truthOf(archive).partition.length > 0);

describe.skipIf(!hasShared())(`recorded hosts${skippedWithoutShared}`, () => {
  test.each(withGroups)("%s: the computed partition is the kernel's", async (archive) => {
    const truth = truthOf(archive);
    const report = reportGroups(readSysfs(hideAnswers(await open(archive), false)), "computed");
    expect(partitionOf(report)).toEqual(lines(truth.partition));
    expect(report.ungrouped.map(formatAddress).sort()).toEqual([...truth.ungrouped].sort());
    expect(report.unknown).toEqual([]);
  });

  test.each(withGroups)("%s: coverage read from DMAR or IVRS alone gives the same", async (archive) => {
    const truth = truthOf(archive);
    const report = reportGroups(readSysfs(hideAnswers(await open(archive), true)), "computed");
    expect(partitionOf(report)).toEqual(lines(truth.partition));
    expect(report.ungrouped.map(formatAddress).sort()).toEqual([...truth.ungrouped].sort());
  });

  test.each(withGroups)("%s: kernel and computation agree", async (archive) => {
    expect(reportGroups(readSysfs(await open(archive)), "compare").differences).toEqual([]);
  });

  test.each(archives)("%s: the lspci text of the host gives the same partition as its files", async (archive) => {
    const tree = await open(archive);
    const text = new TextDecoder().decode(tree.read("lspci-vvv-nn-xxxx.txt") ?? new Uint8Array()).replace(/^.*IOMMU group:.*\n/gm, "");
    const hosts = parseLspci(text);
    expect(hosts).toHaveLength(1);
    const truth = truthOf(archive);
    const grouped = new Set(truth.partition.flat());
    const fromText = reportGroups({ ...lspciSnapshot(hosts[0] as (typeof hosts)[number], archive), commandLine: new TextDecoder().decode(tree.read("proc/cmdline")), kernelRelease: readSysfs(tree).kernelRelease }, "computed");
    expect(partitionOf(fromText, grouped)).toEqual(lines(truth.partition));
  });

  test.each(archives.filter((_, i) => i % 4 === 0))("%s: taking away the causes of a group of two splits it", async (archive) => {
    const { facts, policy } = hostFacts(readSysfs(hideAnswers(await open(archive), false)));
    const pairs = computeIsolationGroups(facts, policy).groups.filter(({ members }) => members.length === 2);
    for (const { members, reasons } of pairs) {
      const repaired = computeIsolationGroups(reasons.reduce((host, reason) => withoutCause(host, reason), [...facts]), policy);
      const [a, b] = members.map((member) => repaired.groups.findIndex((group) => group.members.some((other) => formatAddress(other) === formatAddress(member))));
      expect(a).not.toBe(b);
    }
  });
});

describe.skipIf(!hasShared())(`lspci texts of real machines${skippedWithoutShared}`, () => {
  test.each(listShared("lspci", ".txt"))("%s: the computed partition is the one its lines showed", (file) => {
    const text = new TextDecoder().decode(readShared(`lspci/${file}`));
    const [shown] = parseLspci(text);
    const [hidden] = parseLspci(text.replace(/^.*IOMMU group:.*\n/gm, ""));
    expect(shown).toBeDefined();
    expect(hidden).toBeDefined();
    if (!shown || !hidden) return;
    const groups = new Map<number, string[]>();
    for (const { iommuGroup, address } of shown.functions) if (iommuGroup !== undefined) groups.set(iommuGroup, [...(groups.get(iommuGroup) ?? []), formatAddress(address)]);
    expect(partitionOf(reportGroups(lspciSnapshot(hidden, file), "computed"), new Set([...groups.values()].flat()))).toEqual(lines([...groups.values()]));
  });
});
