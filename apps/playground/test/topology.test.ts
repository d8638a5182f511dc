import { packTree } from "@iommu-lab/host";
import { bundledHosts, bundledTree, readBundled } from "@iommu-lab/host/bundled";
import { formatAddress } from "@iommu-lab/pci-bus";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { BOOT_NVME, TWO_GPUS } from "../src/gallery/example-hosts.ts";
import { MOST_TEXT, readHostChoice } from "../src/host/host-choice.ts";
import { openBundled, openPieces, openTexts } from "../src/host/open-host.ts";
import { redactPaste } from "../src/host/redact.ts";
import { HOST_TITLES } from "../src/host/text.ts";
import { badgeText } from "../src/views/topology/acs-badges.ts";
import { drawTree } from "../src/views/topology/layout.ts";
import { peerLine, peerOf } from "../src/views/topology/peer.ts";
import { readTopology, type TopologySettings } from "../src/views/topology/settings.ts";
import { buildTopology, compareGroups, flatten, pathOf, type Topology } from "../src/views/topology/topology.ts";

const built = (host: string, kept: Partial<TopologySettings> = {}): Topology => buildTopology(readBundled(host), readTopology({ host: { bundled: host }, ...kept }));
const groupsOf = ({ groups }: Topology): string[][] => groups.map(({ members }) => [...members]).filter((members) => members.length > 1);
const I7 = "i7-3770-p8z68-v";
const GPU = ["0000:00:01.0", "0000:01:00.0", "0000:01:00.1"];

const LSPCI = "00:00.0 Host bridge [0600]: Intel Corporation Device [8086:0150]\n00:02.0 VGA compatible controller [0300]: Intel Corporation HD Graphics [8086:0162]\n\tKernel driver in use: i915\n";

describe("the host that is looked at", () => {
  test("every bundled host has a title in every language", () => {
    expect(Object.keys(HOST_TITLES)).toEqual(bundledHosts.map(({ name }) => name));
  });
  test("a choice is read out of anything, and bounded", () => {
    fc.assert(fc.property(fc.jsonValue(), (value) => { expect(readHostChoice(readHostChoice(value))).toEqual(readHostChoice(value)); }));
    expect(readHostChoice({ texts: ["a".repeat(MOST_TEXT), "b"], files: ["../x", "abc-1"] })).toEqual({ texts: ["a".repeat(MOST_TEXT)], files: ["abc-1"] });
  });
  test("pasted texts tell of one machine together", () => {
    const { snapshot, given, recognised } = openTexts([LSPCI, "BOOT_IMAGE=/vmlinuz root=/dev/sda1 intel_iommu=on", "nothing at all"]);
    expect(snapshot.functions.map(({ driver }) => driver)).toEqual([undefined, "i915"]);
    expect(snapshot.commandLine).toContain("intel_iommu=on");
    expect(given.map(({ kinds }) => kinds)).toEqual([["lspci"], ["/proc/cmdline"], []]);
    expect(recognised).toEqual(["lspci", "/proc/cmdline"]);
  });
  test("a packed snapshot is the host that was captured; a damaged one is a sentence", async () => {
    const tar = await packTree(bundledTree(I7));
    const packed = new Uint8Array(await new Response(new Blob([tar.slice()]).stream().pipeThrough(new CompressionStream("gzip"))).arrayBuffer());
    const whole = await openPieces([], [{ name: "host.tar.gz", bytes: packed }]);
    expect(whole.snapshot.functions.length).toBe(openBundled(I7).snapshot.functions.length);
    const cut = await openPieces([], [{ name: "cut.tar.gz", bytes: packed.subarray(0, 200) }]);
    expect(cut.given[0]?.problem).toBe("cut.tar.gz is a damaged gzip file.");
    expect(cut.snapshot.functions).toEqual([]);
  });
  test("no text makes it throw", () => {
    fc.assert(fc.property(fc.array(fc.oneof(fc.string({ maxLength: 200 }), fc.stringMatching(/^[0-9a-f: \n[\]DMARAPIC.]{0,200}$/)), { maxLength: 3 }), (texts) => {
      const { snapshot } = openTexts([...texts, LSPCI]);
      expect(() => buildTopology(snapshot, readTopology({}))).not.toThrow();
    }));
  });
  test("numbers and names of the owner are blanked", () => {
    expect(redactPaste("Nov 20 10:00:00 mybox kernel: eth0: 52:54:00:12:34:56\nLinux mybox 6.1.0-13-amd64 #1 SMP\nserial number: AB12")).toEqual({ text: "Nov 20 10:00:00 host kernel: eth0: 00:00:00:00:00:00\nLinux host 6.1.0-13-amd64 #1 SMP\nserial number: (redacted)", count: 4 });
    expect(redactPaste("Linux version 6.1.0\nNov 20 10:00:00 host kernel: x").count).toBe(0);
  });
});

describe("hosts of examples", () => {
  test.each([["two slots of one port", TWO_GPUS, 6], ["a chipset's switch", BOOT_NVME, 8]] as const)("%s: the kernel's groups are the computed ones", (_what, text, largest) => {
    const { snapshot, given } = openTexts([text]);
    expect(given[0]?.kinds).toEqual(["lspci"]);
    const topology = buildTopology(snapshot, readTopology({}));
    expect(topology.differences).toEqual([]);
    expect(Math.max(...topology.groups.map(({ members }) => members.length))).toBe(largest);
  });
});

describe("topology", () => {
  test("settings are read out of anything", () => {
    fc.assert(fc.property(fc.jsonValue(), (value) => { expect(readTopology(readTopology(value))).toEqual(readTopology(value)); }));
  });
  test("a card behind a port without ACS is one group with it; each function has the unit that firmware names", () => {
    const topology = built(I7);
    expect(groupsOf(topology)[0]).toEqual(GPU);
    expect(topology.firmware.unitOf.get("0000:00:02.0")).toBe("U0");
    expect(topology.firmware.unitOf.get("0000:01:00.1")).toBe("U1");
    expect(pathOf(topology, "0000:01:00.0")).toEqual(["0000:01:00.0", "0000:00:01.0"]);
  });
  test.each(bundledHosts.filter(({ name }) => readBundled(name).groups !== undefined).map(({ name }) => name))("%s: groups are the kernel's, with its numbers", (name) => {
    const topology = built(name);
    expect(topology.differences).toEqual([]);
    expect(topology.groups.map(({ label }) => Number(label)).every(Number.isInteger)).toBe(true);
  });
  test("giving the port ACS parts the card from it; its own functions stay together", () => {
    const topology = built(I7, { edits: [{ kind: "acs", at: "0000:00:01.0", control: 0x1d }] });
    expect(groupsOf(topology)).toContainEqual(GPU.slice(1));
    expect(badgeText(topology.edited.facts.find(({ address }) => address.requester === 8)!)).toBe("SV+ RR+ CR+ UF+ EC· DT·");
    expect(topology.changes).toEqual([{ before: [GPU], after: [GPU.slice(0, 1), GPU.slice(1)] }]);
  });
  test("taking a bit away joins, and the reason names it", () => {
    const topology = built("q35-intel-iommu", { edits: [{ kind: "acs", at: "0000:00:02.0", control: 0x1c }] });
    expect(topology.groupOf.get("0000:01:00.0")?.reasons[0]?.text).toContain("SrcValid");
  });
  test("a card moved to another port gets its bus; its group follows the port", () => {
    const topology = built(I7, { edits: [{ kind: "move", from: "0000:00:01.0", to: "0000:00:1c.4" }] });
    expect(topology.edited.was.get("0000:03:00.0")).toBe("0000:01:00.0");
    expect(topology.edited.was.get("0000:01:00.0")).toBe("0000:03:00.0");
    expect(groupsOf(topology)).toContainEqual(["0000:03:00.0", "0000:03:00.1"]);
    expect(groupsOf(topology)).toContainEqual(["0000:00:01.0", "0000:01:00.0"]);
  });
  test("a bridge to conventional PCI joins all behind it", () => {
    const topology = built("q35-intel-iommu", { edits: [{ kind: "bridge", below: "0000:00:02.0" }] });
    const added = [...topology.edited.added][0]!;
    expect(topology.groupOf.get(added)?.members.length).toBeGreaterThan(2);
    expect(topology.groupOf.get(added)?.reasons.some(({ rule }) => rule === "dma-alias")).toBe(true);
  });
  test("pcie_acs_override splits groups on paper, and says so", () => {
    const topology = built(I7, { downstream: true, multifunction: true });
    expect(topology.unsafe).toBe(true);
    expect(topology.groups.length).toBeGreaterThan(built(I7).groups.length);
  });
  test("a write between two cards of one slot's ports goes past the IOMMU until a port redirects it; the override changes nothing of that", () => {
    const { snapshot } = openTexts([TWO_GPUS]);
    const way = (kept: Partial<TopologySettings>): string[] | undefined => {
      const topology = buildTopology(snapshot, readTopology(kept));
      const path = peerOf(topology, "0000:01:00.0", "0000:02:00.0");
      return path && [path.end, ...path.hops.map(({ at, decision }) => `${formatAddress(at)} ${decision}`), ...path.down.map(formatAddress), peerLine(drawTree(topology.roots, topology.groups), path).replaceAll(/[\d.]+/g, "").replaceAll(" ", "")];
    };
    const past = ["peer", "0000:01:00.0 sent", "0000:00:01.0 forwarded", "0000:00:01.0 direct", "0000:00:01.1", "0000:02:00.0", "MHVHHVHHVH"];
    expect(way({})).toEqual(past);
    expect(way({ downstream: true, multifunction: true })).toEqual(past);
    expect(way({ edits: [{ kind: "acs", at: "0000:00:01.0", control: 0x1d }] })).toEqual(["root", "0000:01:00.0 sent", "0000:00:01.0 forwarded", "0000:00:01.0 redirected", "MHVHHV"]);
    expect(way({ edits: [{ kind: "acs", at: "0000:00:01.0", control: 0x20 }] })?.[0]).toBe("unknown");
  });
  test("a way is told between any two functions of every bundled host, and drawn", () => {
    for (const { name } of bundledHosts) {
      const topology = built(name);
      const drawing = drawTree(topology.roots, topology.groups);
      const names = flatten(topology.roots.flatMap(({ nodes }) => nodes)).map((node) => node.name);
      for (const from of names) for (const to of names) expect(peerLine(drawing, peerOf(topology, from, to) ?? { end: "root", hops: [], down: [] }) !== "", `${from} ${to}`).toBe(from !== to);
    }
    expect(peerOf(built(I7), undefined, "0000:00:02.0")).toBeUndefined();
    expect(peerOf(built(I7), "0000:00:02.0", "")).toBeUndefined();
  });
  test("edits that name nothing are refused, none throws, no function is lost or doubled", () => {
    const names = built("q35-intel-iommu").edited.facts.map(({ address }) => `0000:${(address.requester >> 8).toString(16).padStart(2, "0")}:${((address.requester >> 3) & 31).toString(16).padStart(2, "0")}.${address.requester & 7}`);
    const name = fc.constantFrom(...names, "0000:ff:1f.7");
    const edits = fc.array(fc.oneof(fc.record({ kind: fc.constant("acs" as const), at: name, control: fc.nat(0x7f) }), fc.record({ kind: fc.constant("move" as const), from: name, to: name }), fc.record({ kind: fc.constant("bridge" as const), below: name })), { maxLength: 6 });
    fc.assert(fc.property(edits, (list) => {
      const topology = built("q35-intel-iommu", { edits: list });
      const all = flatten(topology.roots.flatMap(({ nodes }) => nodes)).map((node) => node.name);
      expect(new Set(all).size).toBe(all.length);
      expect(all.length).toBe(names.length + topology.edited.added.size);
      expect(drawTree(topology.roots, topology.groups).nodes.length).toBe(all.length);
    }), { numRuns: 60 });
  });
  test("boxes do not overlap", () => {
    for (const { name } of bundledHosts) {
      const topology = built(name);
      const { nodes, height } = drawTree(topology.roots, topology.groups);
      expect(new Set(nodes.map(({ x, y }) => `${x} ${y}`)).size).toBe(nodes.length);
      expect(Math.max(...nodes.map(({ y }) => y))).toBeLessThan(height);
    }
  });
  test("partitions are compared by smallest sets", () => {
    expect(compareGroups([["a", "b"], ["c"], ["d"]], [["a"], ["b"], ["c", "d"]])).toEqual([{ before: [["a", "b"]], after: [["a"], ["b"]] }, { before: [["c"], ["d"]], after: [["c", "d"]] }]);
    expect(compareGroups([["a"]], [["a"]])).toEqual([]);
  });
});
