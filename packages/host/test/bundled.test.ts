import { formatAddress } from "@iommu-lab/pci-bus";
import { describe, expect, test } from "vitest";
import { capturedJson } from "../../../scripts/capture/captured-json.ts";
import { buildHost, bundledHosts, bundledTree, ivyBridgeZ68, readBundled, withProcessorAcs } from "../src/bundled/index.ts";
import { capturedTree, type CapturedHost } from "../src/bundled/captured-host.ts";
import amd from "../src/bundled/captured/q35-amd-iommu.json" with { type: "json" };
import intelOff from "../src/bundled/captured/q35-intel-iommu-off.json" with { type: "json" };
import intel from "../src/bundled/captured/q35-intel-iommu.json" with { type: "json" };
import { readSysfs, reportGroups, SnapshotError, type MemoryTree } from "../src/index.ts";
import { hideAnswers, partitionOf } from "./answers.ts";

const names = bundledHosts.map(({ name }) => name);
const recorded = names.filter((name) => readBundled(name).groups !== undefined);
const partition = (tree: MemoryTree): string[] => partitionOf(reportGroups(readSysfs(tree), "computed"));
const contents = (tree: MemoryTree): (readonly [string, unknown])[] => tree.paths().map((path) => [path, tree.link(path) ?? tree.read(path)]);

describe("bundled hosts", () => {
  test("at least one Intel and one AMD host show the groups that their kernel made", () => {
    const tables = recorded.flatMap((name) => [...readBundled(name).acpi.keys()]);
    expect(tables).toContain("DMAR");
    expect(tables).toContain("IVRS");
  });

  test.each(names)("%s: nothing that a report needs is missing, and no function's isolation is unknown", (name) => {
    const snapshot = readBundled(name);
    expect(snapshot.missing).toEqual([]);
    expect(reportGroups(snapshot, "computed").unknown).toEqual([]);
  });

  test.each(recorded)("%s: without the kernel's groups, the computed partition is the kernel's", (name) => {
    const truth = reportGroups(readBundled(name), "recorded");
    for (const units of [false, true]) {
      const report = reportGroups(readSysfs(hideAnswers(bundledTree(name), units)), "computed");
      expect(partitionOf(report)).toEqual(partitionOf(truth));
      expect(report.ungrouped.map(formatAddress)).toEqual(truth.ungrouped.map(formatAddress));
      expect(report.acs).toBe("read");
    }
  });

  test.each(recorded)("%s: kernel and computation agree", (name) => {
    expect(reportGroups(readBundled(name), "compare").differences).toEqual([]);
  });

  test("a name that is none is refused with the names there are", () => {
    expect(() => bundledTree("i486")).toThrow(`No bundled host is named "i486"; there are ${names.join(", ")}.`);
  });
});

describe("q35-intel-iommu-off, the machine of q35-intel-iommu booted with intel_iommu=off", () => {
  test("its kernel made no groups, so what ACS would be set to is predicted", () => {
    const report = reportGroups(readBundled("q35-intel-iommu-off"));
    expect(report.mode).toBe("computed");
    expect(report.acs).toBe("predicted");
  });

  test("the prediction is what the kernel made of the same machine with intel_iommu=on", () => {
    const predicted = reportGroups(readBundled("q35-intel-iommu-off"));
    const made = reportGroups(readBundled("q35-intel-iommu"), "recorded");
    expect(partitionOf(predicted)).toEqual(partitionOf(made));
    expect(predicted.ungrouped.map(formatAddress)).toEqual(made.ungrouped.map(formatAddress));
  });
});

describe("i7-3770-p8z68-v, written from public facts", () => {
  // Linux drivers/iommu/iommu.c, pci_device_group(): functions of a slot without ACS stay together; a device joins
  // each bridge above it up to the last without ACS. The chipset's ports count as isolated: pci_quirk_intel_pch_acs().
  const alone = ["00:00.0", "00:02.0", "00:16.0", "00:19.0", "00:1a.0", "00:1b.0", "00:1c.0", "00:1c.4", "00:1c.6", "00:1d.0", "03:00.0", "04:00.0"];
  const lines = (...groups: readonly (readonly string[])[]): string[] => groups.map((group) => group.map((address) => `0000:${address}`).join(" ")).sort();
  const others = [...alone.map((address) => [address]), ["00:1f.0", "00:1f.2", "00:1f.3"]];

  test("the processor's port has no ACS: graphics, its sound and the port are one group", () => {
    expect(partition(buildHost(ivyBridgeZ68))).toEqual(lines(...others, ["00:01.0", "01:00.0", "01:00.1"]));
  });

  test("with ACS the port is alone; the card's two functions, without ACS themselves, stay together", () => {
    expect(partition(buildHost(withProcessorAcs))).toEqual(lines(...others, ["00:01.0"], ["01:00.0", "01:00.1"]));
  });
});

describe("captured hosts as JSON", () => {
  const captures: readonly (readonly [string, CapturedHost])[] = [["q35-intel-iommu", intel], ["q35-intel-iommu-off", intelOff], ["q35-amd-iommu", amd]];

  test.each(captures)("%s: files and JSON give each other", (name, data) => {
    const tree = capturedTree(name, data);
    expect(capturedJson(tree, data.provenance)).toEqual(data);
    expect(contents(capturedTree(name, JSON.parse(JSON.stringify(data))))).toEqual(contents(tree));
  });

  const empty: CapturedHost = { provenance: "", links: {}, files: {}, config: {}, tables: {} };

  test("rows that are left out are zero, and the last may be short", () => {
    const tree = capturedTree("x", { ...empty, config: { d: { size: 20, rows: { "0x010": "0a0b0c0d" } } } });
    expect(tree.read("d/config")).toEqual(Uint8Array.from([...new Array<number>(16).fill(0), 10, 11, 12, 13]));
  });

  test.each<readonly [string, unknown]>([
    ["the file is no object", [empty]],
    ["provenance is no text", { ...empty, provenance: 1 }],
    ["links is missing", { ...empty, links: undefined }],
    ['files["proc"] is no object', { ...empty, files: { proc: "version" } }],
    ['links["a"]["b"] is no text', { ...empty, links: { a: { b: 1 } } }],
    ['"../etc/passwd" is not a path inside the tree', { ...empty, files: { "../etc": { passwd: "" } } }],
    ["the size of d/config is no number of bytes from 0 to 0x100000", { ...empty, config: { d: { size: 2 ** 30, rows: {} } } }],
    ["the row list of DMAR is missing", { ...empty, tables: { DMAR: { size: 16 } } }],
    ['DMAR has a row at "0x008"; rows start at multiples of 0x10 below its size, 0x10', { ...empty, tables: { DMAR: { size: 16, rows: { "0x008": "00" } } } }],
    ['DMAR has a row at "0x010"; rows start at multiples of 0x10 below its size, 0x10', { ...empty, tables: { DMAR: { size: 16, rows: { "0x010": "00" } } } }],
    ["the row 0x000 of DMAR is not 32 hexadecimal digits", { ...empty, tables: { DMAR: { size: 16, rows: { "0x000": "00" } } } }],
  ])("malformed data is refused: %s", (problem, data) => {
    expect(() => capturedTree("x", data)).toThrow(new SnapshotError(`The captured host x is malformed: ${problem}.`));
  });
});
