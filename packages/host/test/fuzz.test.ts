import { formatAddress } from "@iommu-lab/pci-bus";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { buildHost } from "../src/bundled/build-host.ts";
import { ivyBridgeZ68 } from "../src/bundled/ivy-bridge-z68.ts";
import { captureHost, looksLikeLspci, lspciSnapshot, MemoryTree, parseCommandLine, parseLspci, readSysfs, readTar, redactText, reportGroups, SnapshotError, type GroupsReport } from "../src/index.ts";
import { hasLspci, runLspci, skippedWithoutLspci } from "../../../test/lspci.ts";
import { twoPorts } from "./lspci-texts.ts";
import { addressesOf, hexDump, hostOf, switchHost, withGroups } from "./made-hosts.ts";
import { randomHost } from "./random-hosts.ts";
import { paxRecord, tarOf } from "./tar-bytes.ts";

/** Milliseconds that no input of the sizes below may take; quadratic work takes minutes on them. */
const BOUND = 20_000;

const report = (text: string): GroupsReport[] => parseLspci(text).map((host) => reportGroups(lspciSnapshot(host, "text"), "computed"));

const timed = (work: () => unknown): number => {
  const start = performance.now();
  work();
  return performance.now() - start;
};

const PIECES = [
  "00:1f.3", "0000:00:01.0", "10000:e1:00.0", "ff:1f.7", " ", "\t", "\n", "\n\n", "\r\n", "> ", ">", "[", "]", "(", ")", ": ", "PCI bridge", "[0604]: ", "Acme Corp Frob [1234:5678]", " (rev 0c)", " (prog-if 00 [Normal decode])", "Capabilities: ", "[40] ", "[2a0 v1] ", "<access denied>", "Express (v2) ",
  "Root Port (Slot+)", "Access Control Services", "ACSCap:\tSrcValid+ TransBlk- ReqRedir+ CmpltRedir+ UpstreamFwd+", "ACSCtl:", "IOMMU group: 5", "IOMMU Group 3:", "Bus: primary=00, secondary=01, subordinate=ff", "Bus: primary=00, secondary=ff, subordinate=00", "Kernel driver in use: x", "Number of VFs: 65535", "VF offset: 65535, stride: 65535",
  "IOVCtl:\tEnable+", "Single Root I/O Virtualization", "00: 86 80 ff ff", "10: 00 00", "-[0000:00]-+-", "+-01.0-[01]--", "\\-", "|", "/sys/kernel/iommu_groups/99999999999/devices/0000:00:00.0", "Slot:\t00:00.0", "Class:\tX", "pcilib: x", "=3D", "=\n", "=20", "&lt;", "&amp;", "\u00a0", "```", "BOOT_IMAGE=/x pci=config_acs=x@", "Linux version 6.1", "DMAR: ", "\0", "\u{1f600}",
] as const;

const lspciLike = fc.array(fc.oneof({ weight: 9, arbitrary: fc.constantFrom(...PIECES) }, { weight: 1, arbitrary: fc.string({ maxLength: 20 }) }), { maxLength: 120 }).map((parts) => parts.join(""));

describe("hostile lspci text", () => {
  test("random texts are read without throwing, and their groups computed", () => {
    fc.assert(
      fc.property(fc.oneof(lspciLike, fc.string({ unit: "binary", maxLength: 400 })), (text) => {
        looksLikeLspci(text);
        for (const { groups, ungrouped, unknown } of report(text)) {
          const all = [...groups.flatMap(({ devices }) => devices), ...ungrouped, ...unknown.map(({ address }) => address)].map(formatAddress);
          expect(new Set(all).size).toBe(all.length);
        }
      }),
      { numRuns: 300 },
    );
  });

  const LONG = ["a ", "[", "]", "(rev ", ": ", " ", "\t", "-", "-+", "+-", "|", "\\", "\\-", "> ", ">", "=", "=3D", "&lt;", "pcilib: ", "00:00.0 ", "00:00.0 a: ", "[1234:5678]", "[0604]: ", "Subsystem: ", "Bus: primary=00, ", "Capabilities: [40] ", "IOMMU Group 1 ", "Flags: ", " 00", "00: 00", "-[0000:00]-", "BOOT_IMAGE=", "Command line: ", "Linux version ", "iommu_groups/", "Device ", "\u00a0", "serial ", "serial number", "aa:", "aa-", "\"", "0:", "pci=", ",", ";", "/0.0", "uuid= "] as const;
  const SHAPES: readonly (readonly [string, (piece: string) => string])[] = [
    ["one line", (piece) => piece.repeat(200_000 / piece.length)],
    ["a title", (piece) => `00:00.0 ${piece.repeat(200_000 / piece.length)}\n`],
    ["many long lines", (piece) => `${piece.repeat(4000 / piece.length)}x\n`.repeat(50)],
    ["many long titles", (piece) => `00:00.0 a: ${piece.repeat(4000 / piece.length)}x\n`.repeat(50)],
    ["many long properties", (piece) => `00:00.0 a: b\n\tControl: I/O+\n${`\t${piece.repeat(4000 / piece.length)}x\n`.repeat(50)}`],
    ["many short lines", (piece) => `${piece}\n`.repeat(20_000)],
  ];

  test.each(SHAPES)("no sign takes more than linear time: %s", (_shape, shape) => {
    for (const piece of LONG) expect(timed(() => [looksLikeLspci(shape(piece)), parseLspci(shape(piece))]), JSON.stringify(piece)).toBeLessThan(BOUND);
  });

  test.each([
    ["functions", Array.from({ length: 0x10000 }, (_, i) => `${(i >> 8).toString(16).padStart(2, "0")}:${((i >> 3) & 0x1f).toString(16).padStart(2, "0")}.${i & 7} a: b\n`).join("")],
    ["hosts", "00:00.0 a: b\n".repeat(20_000)],
    ["groups", Array.from({ length: 20_000 }, (_, i) => `/sys/kernel/iommu_groups/${i}/devices/${(i >> 8).toString(16).padStart(4, "0")}:${(i & 0xff).toString(16).padStart(2, "0")}:00.0\n`).join("")],
    ["records", "Slot:\t00:00.0\nClass:\tx\n".repeat(20_000)],
  ])("tens of thousands of %s are read in bounded time", (_what, text) => {
    expect(timed(() => parseLspci(text))).toBeLessThan(BOUND);
  });

  test("command lines and logs take linear time too", () => {
    for (const piece of LONG) for (const prefix of ["", "pci=config_acs=", "pci=disable_acs_redir=", "pcie_acs_override=", "serial:", "uuid=", 'serial="']) {
      const text = prefix + piece.repeat(200_000 / piece.length);
      expect(timed(() => [parseCommandLine(text), redactText(text)]), prefix + JSON.stringify(piece)).toBeLessThan(BOUND);
    }
  });

  test("random command lines are read without throwing", () => {
    const piece = fc.oneof(fc.constantFrom("pci=", "config_acs=", "disable_acs_redir=", "pcie_acs_override=", "intel_iommu=", "x", "0", "1", "@", "pci:", "10de:1402", ":", ",", ";", "/", "00:1c.0", ".", " ", '"', "noats"), fc.string({ maxLength: 8 }));
    fc.assert(fc.property(fc.array(piece, { maxLength: 40 }).map((parts) => parts.join("")), (line) => {
      for (const { clear, set } of [...parseCommandLine(line).disableAcsRedir, ...parseCommandLine(line).configAcs]) expect(clear >= 0 && clear <= 0xffff && set >= 0 && set <= 0xffff).toBe(true);
    }), { numRuns: 500 });
  });

  test("redaction is done once: what is blank stays as it is", () => {
    const piece = fc.oneof(fc.constantFrom("serial: ", "Serial Number: ", "uuid=", '"', " aa:bb:cc:dd:ee:ff ", " enx001122334455 ", ",", "\n", " ", "x1"), fc.string({ maxLength: 6 }));
    fc.assert(fc.property(fc.array(piece, { maxLength: 30 }).map((parts) => parts.join("")), (line) => {
      const { text } = redactText(line);
      expect(text).not.toContain("aa:bb:cc:dd:ee");
      expect(redactText(redactText(text).text).text).toBe(redactText(text).text);
    }), { numRuns: 300 });
  });
});

describe("hostile archives", () => {
  const archive = tarOf({ name: "sys/a", body: "a".repeat(700) }, { name: "pax", type: "x", body: paxRecord("path", `sys/${"b".repeat(120)}`) }, { name: "b", body: "b" }, { name: "././@LongLink", type: "L", body: "sys/long\0" }, { name: "c", body: "c" }, { name: "sys/link", type: "2", link: "a" });

  /** A flipped name byte leaves a wrong checksum; this makes it right again, so that the contents are what is tried. */
  const withChecksums = (bytes: Uint8Array): Uint8Array => {
    for (let at = 0; at + 512 <= bytes.length; at += 512) {
      if (String.fromCharCode(...bytes.subarray(at + 257, at + 262)) !== "ustar") continue;
      bytes.fill(32, at + 148, at + 156);
      const sum = bytes.subarray(at, at + 512).reduce((total, byte) => total + byte, 0);
      bytes.set(new TextEncoder().encode(`${sum.toString(8).padStart(6, "0")}\0 `), at + 148);
    }
    return bytes;
  };

  const acceptable = async (bytes: Uint8Array): Promise<void> => {
    const start = performance.now();
    const outcome = await readTar("x.tar", bytes).catch((error: unknown) => error);
    expect(performance.now() - start).toBeLessThan(BOUND);
    if (outcome instanceof Error) expect(outcome).toBeInstanceOf(SnapshotError);
    else for (const path of (outcome as { tree: MemoryTree }).tree.paths()) expect(path.split("/")).not.toContain("..");
  };

  test("random bytes are damage or an empty tree", async () => {
    await fc.assert(fc.asyncProperty(fc.uint8Array({ maxLength: 3000 }), acceptable), { numRuns: 100 });
  });

  test("an archive with any bytes changed is read or is damage", async () => {
    const change = fc.tuple(fc.nat(archive.length - 1), fc.oneof(fc.nat(255), fc.constantFrom(0, 0x2e, 0x2f, 0x30, 0x37, 0x80, 0xff)));
    await fc.assert(
      fc.asyncProperty(fc.array(change, { minLength: 1, maxLength: 6 }), fc.boolean(), async (changes, repair) => {
        const bytes = archive.slice();
        for (const [at, value] of changes) bytes[at] = value;
        await acceptable(repair ? withChecksums(bytes) : bytes);
      }),
      { numRuns: 300 },
    );
  });
});

describe("hostile trees", () => {
  /** Bytes as broken devices show them: all ones, loops in both lists, lists that leave the space, wrong lengths. */
  const config = fc.oneof(
    fc.uint8Array({ maxLength: 300 }),
    fc.constantFrom(64, 128, 256, 4096, 5000).map((length) => new Uint8Array(length).fill(0xff)),
    fc.record({ length: fc.constantFrom(63, 64, 255, 256, 257, 4095, 4096), header: fc.constantFrom(0, 1, 2, 0x80, 0x81, 0xff), first: fc.nat(255), seed: fc.uint8Array({ minLength: 8, maxLength: 64 }), buses: fc.tuple(fc.nat(6), fc.nat(6)) }).map(({ length, header, first, seed, buses }) => {
      const bytes = new Uint8Array(5000).map((_, i) => seed[i % seed.length] ?? 0);
      bytes.set([6, 0x10], 5);
      bytes.set([header, 0], 0x0e);
      bytes[0x34] = first;
      bytes.set(buses, 0x19);
      for (let at = 0x40; at < 0x100; at += 4) bytes.set([[1, 5, 0x10, 7][(at >> 2) % 4] ?? 0, seed[at % seed.length] ?? 0], at);
      for (let at = 0x100; at < 0x1000; at += 4) bytes.set([[0x0d, 3, 0x10, 0x0e][(at >> 2) % 4] ?? 0, 0, 0x01 | ((seed[at % seed.length] ?? 0) & 0xf0), seed[(at + 1) % seed.length] ?? 0], at);
      return bytes.slice(0, length);
    }),
  );
  const text = fc.oneof(fc.string({ maxLength: 30 }), fc.constantFrom("0x8086\n", "0xffffffffffffffffffff", "-1", "0x060400", "1", "0x0000000000000000 0xffffffffffffffff 0x0000000000140204\n"));
  const where = fc.record({ bus: fc.nat(6), slot: fc.nat(2), fn: fc.nat(2) }).map(({ bus, slot, fn }) => `0000:0${bus}:0${slot}.${fn}`);
  const device = fc.record({ name: fc.oneof({ weight: 8, arbitrary: where }, { weight: 1, arbitrary: fc.string({ minLength: 1, maxLength: 12 }) }), target: fc.oneof(where.map((name) => `../../../devices/pci0000:00/${name}`), fc.tuple(where, where).map(([a, b]) => `../../../devices/pci0000:00/${a}/${b}`), fc.string({ maxLength: 30 }), fc.constant(undefined)), config: fc.option(config, { nil: undefined }), files: fc.dictionary(fc.constantFrom("vendor", "device", "class", "revision", "resource", "reset_method", "boot_vga"), text), group: fc.option(fc.constantFrom("../0", "../7", "../x", "..", "../99999999999999999999"), { nil: undefined }) });

  test("random files of random hosts are read, captured and grouped without throwing", () => {
    fc.assert(
      fc.property(fc.array(device, { maxLength: 12 }), fc.option(fc.uint8Array({ minLength: 36, maxLength: 200 }), { nil: undefined }), fc.constantFrom("DMAR", "IVRS"), text, (devices, table, signature, line) => {
        const tree = new MemoryTree("random");
        const put = (work: () => unknown): void => {
          try {
            work();
          } catch (error) {
            // The tree itself refuses names outside of it, and folders below files.
            expect(error).toBeInstanceOf(RangeError);
          }
        };
        for (const { name, target, config: bytes, files, group } of devices) {
          const folder = target?.startsWith("../../../devices/") ? `sys/${target.slice(9)}` : `sys/bus/pci/devices/${name}`;
          if (target !== undefined) put(() => tree.addLink(`sys/bus/pci/devices/${name}`, target));
          if (bytes) put(() => tree.addFile(`${folder}/config`, bytes));
          for (const [file, contents] of Object.entries(files)) put(() => tree.addFile(`${folder}/${file}`, contents));
          if (group !== undefined) put(() => tree.addLink(`${folder}/iommu_group`, group));
        }
        if (table) tree.addFile(`sys/firmware/acpi/tables/${signature}`, table);
        tree.addFile("proc/cmdline", line).addFile("dmesg.txt", line);
        const snapshot = readSysfs(tree);
        for (const mode of ["auto", "recorded", "computed", "compare"] as const) reportGroups(snapshot, mode);
        expect(readSysfs(captureHost(tree).tree).functions.length).toBe(snapshot.functions.length);
      }),
      { numRuns: 250 },
    );
  });

  test("any bytes in place of a function's configuration space are read", () => {
    const host = switchHost();
    const names = addressesOf(host);
    fc.assert(
      fc.property(fc.dictionary(fc.constantFrom(...names), config, { maxKeys: 4 }), (broken) => {
        const tree = withGroups(host, [[0, names]]);
        for (const path of tree.paths()) {
          const bytes = path.endsWith("/config") ? broken[path.split("/").at(-2) ?? ""] : undefined;
          if (bytes) tree.addFile(path, bytes);
        }
        const { groups, ungrouped, unknown } = reportGroups(readSysfs(tree), "computed");
        expect(groups.flatMap(({ devices }) => devices).length + ungrouped.length + unknown.length).toBe(names.length);
      }),
      { numRuns: 200 },
    );
  });

  test("parents in a circle end the walk", () => {
    const loop = (address: string, secondary: number): readonly [string, Uint8Array] => {
      const bytes = new Uint8Array(256);
      bytes.set([1], 0x0e);
      bytes.set([secondary, 9], 0x19);
      return [`sys/bus/pci/devices/${address}/config`, bytes];
    };
    const tree = new MemoryTree("circle").addFile(...loop("0000:01:00.0", 2)).addFile(...loop("0000:02:00.0", 1)).addFile(...loop("0000:03:00.0", 3));
    expect(reportGroups(readSysfs(tree), "computed").groups.flatMap(({ devices }) => devices)).toHaveLength(3);
    expect(reportGroups(readSysfs(buildHost(hostOf([]))), "computed").groups).toEqual([]);
  });
});

describe("a text that is cut anywhere", () => {
  /** Group number of each function, only those that are in a group for certain. */
  const numbers = ({ groups, predicted }: GroupsReport): Map<string, number> => {
    const found = new Map(groups.flatMap(({ devices }, i) => devices.map((device) => [formatAddress(device), i] as const)));
    // What was predicted because the cut took the control word is said to be predicted.
    for (const address of predicted) found.delete(formatAddress(address));
    return found;
  };

  /** Sets of functions that the whole text joins for reasons that the part shows in full. */
  const joined = (whole: GroupsReport, shown: ReadonlySet<string>): Map<string, Set<string>> => {
    const sets = new Map([...shown].map((address) => [address, new Set([address])]));
    for (const { members, at } of whole.groups.flatMap(({ reasons }) => reasons)) {
      const [a, b, place] = [formatAddress(members[0]), formatAddress(members[1]), formatAddress(at)];
      const [one, other] = [sets.get(a), sets.get(b)];
      if (!one || !other || !shown.has(place)) continue;
      for (const address of other) sets.set(address, one.add(address));
    }
    return sets;
  };

  /** Functions that the part shows apart although the whole text has them together. */
  const torn = (whole: GroupsReport, part: GroupsReport): string[] => {
    if (part.acs !== whole.acs || part.predicted.length > whole.predicted.length) return [];
    const [before, after] = [numbers(whole), numbers(part)];
    const sets = joined(whole, new Set([...after.keys()].filter((address) => before.has(address))));
    return [...new Set(sets.values())].filter((set) => new Set([...set].map((address) => after.get(address))).size > 1).map((set) => [...set].join(" "));
  };

  const check = (text: string, step: number): void => {
    const [whole] = report(text);
    if (!whole) throw new Error("The text shows no host.");
    for (let length = 0; length < text.length; length += step) {
      const hosts = report(text.slice(0, length));
      expect(hosts.length).toBeLessThan(2);
      if (hosts[0]) expect(torn(whole, hosts[0]), `cut at ${length}`).toEqual([]);
      // The same cut at the last whole line: nothing shows that there was more.
      const [lines] = report(text.slice(0, text.lastIndexOf("\n", length) + 1));
      if (lines) expect(torn(whole, lines), `cut before the line at ${length}`).toEqual([]);
    }
  };

  test("functions that belong together are not shown apart: a written text", () => {
    check(twoPorts(), 3);
  });

  test.skipIf(!hasLspci())(`functions that belong together are not shown apart: lspci's texts${skippedWithoutLspci}`, () => {
    for (const host of [switchHost(), ivyBridgeZ68]) check(runLspci(hexDump(readSysfs(buildHost(host))), "-vvv", "-nn"), 501);
    fc.assert(
      fc.property(randomHost, (host) => {
        check(runLspci(hexDump(readSysfs(buildHost(host))), "-vvv", "-nn"), 1501);
      }),
      { numRuns: 10 },
    );
  });

  test("a hex dump that is cut anywhere tears nothing apart", () => {
    check(hexDump(readSysfs(buildHost(hostOf(switchHost().functions.slice(0, 2))))), 997);
  });
});
