import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { gzipSync } from "node:zlib";
import { buildHost, ivyBridgeZ68 } from "@iommu-lab/host/bundled";
import { packTree, readSysfs, reportGroups, type MemoryTree } from "@iommu-lab/host";
import { formatAddress } from "@iommu-lab/pci-bus";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { iommu, shareCompiled, type Run } from "./run-iommu.ts";

const folder = mkdtempSync(join(tmpdir(), "iommu-lab-cli-"));
const at = (name: string): string => join(folder, name);

const put = (name: string, contents: string | Uint8Array): void => {
  mkdirSync(dirname(at(name)), { recursive: true });
  writeFileSync(at(name), contents);
};

/** A tree as files and links of a real folder. */
const unpack = (tree: MemoryTree, name: string): void => {
  for (const path of tree.paths()) {
    const target = tree.link(path);
    if (target === undefined) put(`${name}/${path}`, tree.read(path) ?? "");
    else {
      mkdirSync(dirname(at(`${name}/${path}`)), { recursive: true });
      symlinkSync(target, at(`${name}/${path}`));
    }
  }
};

/** The kernel's groups in a tree: what the rules give, or every function by itself. */
const withRecordedGroups = (tree: MemoryTree, right: boolean): MemoryTree => {
  const groups = reportGroups(readSysfs(tree), "computed").groups.map(({ devices }) => devices.map(formatAddress));
  for (const [id, members] of (right ? groups : groups.flat().map((member) => [member])).entries()) for (const member of members) tree.addLink(`sys/kernel/iommu_groups/${id}/devices/${member}`, `../../../../bus/pci/devices/${member}`);
  return tree;
};

const TITLES = "00:00.0 Host bridge [0600]: Acme Corp Frob [1234:0000]\n00:02.0 VGA compatible controller [0300]: Acme Corp Frob GPU [1234:5678]\n";
const VERBOSE = "00:00.0 Host bridge [0600]: Acme Corp Frob [1234:0000]\n\tControl: I/O+\n\tCapabilities: [40] Power Management version 3\n\tKernel driver in use: acme\n\n00:02.0 SMBus [0c05]: Acme Corp Frob [1234:5678]\n\tControl: I/O+\n\tCapabilities: [40] Power Management version 3\n\tKernel driver in use: frob\n";
const DENIED = "00:01.0 PCI bridge [0604]: Acme Corp Frob [1234:0001]\n\tFlags: fast devsel\n\tBus: primary=00, secondary=01, subordinate=01\n\tCapabilities: <access denied>\n\n01:00.0 SMBus [0c05]: Acme Corp Frob [1234:5678]\n\tFlags: fast devsel\n\tCapabilities: <access denied>\n";
/** What a terminal would obey: escape sequences, C1 controls, a backspace, a forged line. */
const EVIL = "x\u001b[2J\u009b31m\b\u0007";

beforeAll(async () => {
  shareCompiled(at("compiled"));
  const archive = await packTree(buildHost(ivyBridgeZ68));
  put("host.tar", archive);
  put("host.tar.gz", gzipSync(archive));
  put("right.tar", await packTree(withRecordedGroups(buildHost(ivyBridgeZ68), true)));
  put("wrong.tar", await packTree(withRecordedGroups(buildHost(ivyBridgeZ68), false)));
  unpack(buildHost(ivyBridgeZ68), "root");
  put("texts/lspci-vvv.txt", VERBOSE);
  put("empty-folder/readme", "nothing here");
  put("verbose.txt", VERBOSE);
  put("denied.txt", DENIED);
  put("twice.txt", `before\n\n${VERBOSE}\nafter\n\n${VERBOSE}`);
  put("empty.txt", "");
  put("prose.txt", "my computer does not work\n");
  put("garbage.bin", Uint8Array.from({ length: 5000 }, (_, i) => (i * 7919) & 0xff));
  put("text.xz", Uint8Array.from([0xfd, 0x37, 0x7a, 0x58, 0x5a, 0, 0, 4]));
  put("text.zst", Uint8Array.from([0x28, 0xb5, 0x2f, 0xfd, 0, 0]));
  put("broken.gz", gzipSync(archive).subarray(0, 700));
  put("cut.tar", archive.subarray(0, archive.length / 2 - 300));
  const evil = withRecordedGroups(buildHost(ivyBridgeZ68), true).addLink("sys/devices/pci0000:00/0000:00:02.0/driver", `../drivers/${EVIL}`).addFile("sys/kernel/iommu_groups/0/type", `${EVIL}\n`).addFile("sys/devices/pci0000:00/0000:00:02.0/reset_method", `${EVIL}\n`).addLink(`sys/kernel/iommu_groups/0/devices/${EVIL}`, "../x");
  evil.addFile("proc/version", `Linux version 6.1${EVIL} (x)\n`).addFile("sys/class/iommu/x", EVIL);
  put("evil.tar", await packTree(evil));
  // The first run fills the cache for all that follow.
  await iommu(["groups", "--json", "--from", at("host.tar.gz")]);
  put("evil.txt", `00:00.0 Host bridge: ${EVIL} Frob\n\tCapabilities: [40] ${EVIL}\n\t\t${EVIL}\n\tKernel driver in use: ${EVIL}\n\nLinux version 6.1${EVIL}\n`);
});

afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
});

describe.concurrent("exit codes", () => {
  test.each<[number, string, readonly string[]]>([
    [0, "groups of a packed snapshot", ["groups", "--from", "host.tar.gz"]],
    [0, "groups that the rules explain", ["groups", "--from", "right.tar", "--compare"]],
    [1, "groups that they do not", ["groups", "--from", "wrong.tar", "--compare"]],
    [4, "a text made without root", ["groups", "--from", "denied.txt"]],
    [4, "the kernel's groups, which are not in it", ["groups", "--from", "host.tar", "--recorded"]],
    [4, "a comparison with groups that are not in it", ["groups", "--from", "host.tar", "--compare"]],
    [0, "the PCI tree of a folder", ["pci", "--from", "root"]],
    [0, "one function, every byte known", ["pci", "01:00.0", "--from", "host.tar"]],
    [4, "one function of a text without bytes", ["pci", "00:02.0", "--from", "verbose.txt"]],
    [2, "a function that is not there", ["pci", "77:00.0", "--from", "host.tar"]],
    [4, "a folder to capture that is no host", ["snapshot", "--root", "empty-folder", "-o", "no.tar.gz"]],
    [2, "a place that cannot be written", ["snapshot", "--root", "root", "-o", "no/such/folder/x.tar.gz"]],
    [0, "--help", ["--help"]],
    [0, "--version", ["--version"]],
    [2, "no command", []],
  ])("%i: %s", async (code, _what, args) => {
    const run = await iommu(args.map((arg) => (/\.(?:tar|gz|txt)$|^root$|folder/.test(arg) ? at(arg) : arg)));
    expect(run.code, run.stderr).toBe(code);
  });
});

describe.concurrent("input that cannot be read ends with 2, a sentence on standard error, and nothing else", () => {
  test.each([
    ["missing.txt", "there is no such file"],
    ["empty.txt", "is empty"],
    ["prose.txt", "is neither a snapshot"],
    ["garbage.bin", "it is binary, but no tar archive"],
    ["text.xz", "packed with xz; unpack it first (xz -d)"],
    ["text.zst", "packed with zstd"],
    ["broken.gz", "damaged gzip file"],
    ["cut.tar", "damaged tar archive"],
    ["empty-folder", "holds no sys/bus/pci/devices and no lspci text"],
  ])("%s", async (name, message) => {
    const { code, stdout, stderr } = await iommu(["groups", "--json", "--from", at(name)]);
    expect([code, stdout]).toEqual([2, ""]);
    expect(stderr).toMatch(/^iommu: [^\n]+\n$/);
    expect(stderr).toContain(message);
  });

  test.each([
    [["groups", "--from", "a", "--from", "b"], "given twice"],
    [["groups", "--computed", "--compare"], "exclude each other"],
    [["groups", "--acs-override", "nonsense"], "has none of them"],
    [["groups", "--acs-override=", "--from", "x"], "acs-override"],
  ])("%j", async (args, message) => {
    const { code, stdout, stderr } = await iommu(args);
    expect([code, stdout]).toEqual([2, ""]);
    expect(stderr).toContain(message);
  });
});

describe.concurrent("where input comes from", () => {
  const countOf = ({ stdout }: Run): number => (JSON.parse(stdout) as { groups: unknown[] }).groups.length;

  test("archive, packed archive, folder and standard input say the same", async () => {
    const json = ["groups", "--json", "--from"];
    const runs = await Promise.all([iommu([...json, at("host.tar")]), iommu([...json, at("host.tar.gz")]), iommu([...json, at("root")]), iommu([...json, "-"], { stdin: readFileSync(at("host.tar.gz")) })]);
    expect(runs.map(({ code }) => code)).toEqual([0, 0, 0, 0]);
    expect(new Set(runs.map(countOf)).size).toBe(1);
  });

  test("a folder with an lspci text in it will do", async () => {
    expect(countOf(await iommu(["groups", "--json", "--from", at("texts")]))).toBe(2);
  });

  test("lspci text comes through a pipe, also a quoted one", async () => {
    expect(countOf(await iommu(["groups", "--json", "--from", "-"], { stdin: VERBOSE.replaceAll(/^/gm, "> ") }))).toBe(2);
    expect((await iommu(["groups", "--from=-"], { stdin: TITLES })).code).toBe(0);
  });

  test("nothing in the pipe is an error", async () => {
    expect(await iommu(["groups", "--from", "-"])).toMatchObject({ code: 2, stdout: "", stderr: expect.stringContaining("standard input is empty") as string });
  });

  test("two hosts in one text: a warning, and a list", async () => {
    const json = await iommu(["groups", "--json", "--from", at("twice.txt")]);
    expect(json.stderr).toContain("holds 2 hosts");
    const { hosts } = JSON.parse(json.stdout) as { hosts: { groups: unknown[] }[] };
    expect([Object.keys(JSON.parse(json.stdout) as object), hosts.map(({ groups }) => groups.length)]).toEqual([["hosts"], [2, 2]]);
    const tree = await iommu(["pci", "--json", "--from", at("twice.txt")]);
    expect((JSON.parse(tree.stdout) as { hosts: unknown[] }).hosts).toHaveLength(2);
  });

  test("a capture of a folder is read back with the same groups", async () => {
    const run = await iommu(["snapshot", "--root", at("root"), "-o", at("captured.tar.gz"), "--json"]);
    expect(JSON.parse(run.stdout)).toMatchObject({ output: at("captured.tar.gz"), functions: 18 });
    const [before, after] = await Promise.all([iommu(["groups", "--json", "--from", at("root")]), iommu(["groups", "--json", "--from", at("captured.tar.gz")])]);
    expect((JSON.parse(after.stdout) as { groups: unknown }).groups).toEqual((JSON.parse(before.stdout) as { groups: unknown }).groups);
  });
});

describe.concurrent("groups --json", () => {
  const ADDRESS = /^[0-9a-f]{4,8}:[0-9a-f]{2}:[01][0-9a-f]\.[0-7]$/;
  const addresses = expect.arrayContaining([]) as string[];

  /** The shape that scripts rely on; more keys may stand beside these. */
  const checkShape = (value: unknown, mode: string): void => {
    const report = value as { mode: string; groups: { id: number | null; devices: string[]; reasons: Record<string, unknown>[] }[]; ungrouped: string[]; unknown: string[] };
    expect(report).toMatchObject({ mode, groups: addresses, ungrouped: addresses, unknown: addresses });
    for (const text of [...report.groups.flatMap(({ devices }) => devices), ...report.ungrouped, ...report.unknown]) expect(text).toMatch(ADDRESS);
    for (const { id, devices, reasons } of report.groups) {
      expect(id === null || Number.isInteger(id)).toBe(true);
      expect(devices.length).toBeGreaterThan(0);
      for (const reason of reasons) {
        expect(reason).toMatchObject({ rule: expect.stringMatching(/^(?:acs-path|multifunction|dma-alias|quirk)$/) as string, members: [expect.stringMatching(ADDRESS), expect.stringMatching(ADDRESS)] as string[], at: expect.stringMatching(ADDRESS) as string });
        const evidence = reason.evidence as Record<string, unknown>;
        expect(Object.keys(evidence).sort()).toEqual(["missing", "offset", "register", "value"]);
        expect([typeof evidence.register, Array.isArray(evidence.missing)]).toEqual(["string", true]);
        for (const number of [evidence.offset, evidence.value]) expect(number === null || Number.isInteger(number)).toBe(true);
      }
    }
  };

  test.each([
    ["host.tar", [], "computed"],
    ["right.tar", [], "recorded"],
    ["right.tar", ["--computed"], "computed"],
    ["right.tar", ["--compare"], "compare"],
    ["wrong.tar", ["--compare"], "compare"],
    ["denied.txt", [], "computed"],
  ] as const)("%s %j is one JSON value in the agreed shape", async (name, options, mode) => {
    const { stdout } = await iommu(["groups", "--json", "--from", at(name), ...options]);
    checkShape(JSON.parse(stdout), mode);
  });

  test("group numbers are the kernel's, or null when computed", async () => {
    const ids = async (...options: string[]): Promise<unknown[]> => (JSON.parse((await iommu(["groups", "--json", "--from", at("right.tar"), ...options])).stdout) as { groups: { id: unknown }[] }).groups.map(({ id }) => id);
    const [recorded, computed] = await Promise.all([ids(), ids("--computed")]);
    expect(recorded).toEqual(recorded.map((_, i) => i));
    expect(new Set(computed)).toEqual(new Set([null]));
  });

  test("a reason names the register: the x16 port has no ACS", async () => {
    const { stdout } = await iommu(["groups", "--json", "--from", at("host.tar")]);
    const { groups } = JSON.parse(stdout) as { groups: { devices: string[]; reasons: object[] }[] };
    expect(groups.find(({ devices }) => devices.includes("0000:01:00.0"))).toMatchObject({
      devices: ["0000:00:01.0", "0000:01:00.0", "0000:01:00.1"],
      reasons: expect.arrayContaining([expect.objectContaining({ rule: "acs-path", at: "0000:00:01.0", evidence: { register: "ACS Capability", offset: null, value: null, missing: ["SrcValid", "ReqRedir", "CmpltRedir", "UpstreamFwd"] } })]) as object[],
    });
  });

  test("an override is marked unsafe", async () => {
    const { stdout } = await iommu(["groups", "--json", "--from", at("host.tar"), "--computed", "--acs-override", "downstream,multifunction"]);
    expect(JSON.parse(stdout)).toMatchObject({ unsafe: true });
  });
});

describe.concurrent("terminals", () => {
  // eslint-disable-next-line no-control-regex -- control characters are what is looked for
  const CONTROL = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/;

  test("piped output has no colours, with and without NO_COLOR", async () => {
    for (const env of [{}, { NO_COLOR: "1" }]) {
      const { stdout, stderr } = await iommu(["groups", "--from", at("host.tar")], { env });
      expect(stdout).toContain("Group");
      expect(stdout + stderr).not.toMatch(CONTROL);
    }
  });

  test.each([
    ["evil.tar", ["groups"]],
    ["evil.tar", ["groups", "--json"]],
    ["evil.tar", ["groups", "--compare"]],
    ["evil.tar", ["pci"]],
    ["evil.tar", ["pci", "00:02.0"]],
    ["evil.tar", ["pci", "--json", "00:02.0"]],
    ["evil.txt", ["groups"]],
    ["evil.txt", ["groups", "--json"]],
    ["evil.txt", ["pci", "00:00.0"]],
    [`no${EVIL.replaceAll("/", "")}`, ["groups"]],
  ])("%j with %j: nothing in it reaches the terminal as a command", async (name, args) => {
    const { code, stdout, stderr } = await iommu([...args, "--from", at(name)]);
    expect([0, 2, 4]).toContain(code);
    expect(stdout + stderr).not.toMatch(CONTROL);
    expect(stderr).not.toContain("fault of the program");
  });

  test("a reader that goes away is no error", async () => {
    expect(await iommu(["groups", "--from", at("host.tar")], { closeStdout: true })).toMatchObject({ stderr: "" });
    expect(await iommu(["pci", "01:00.0", "--json", "--from", at("host.tar")], { closeStdout: true })).toMatchObject({ stderr: "" });
  });

  test.each(["groups", "pci", "snapshot", "demo"])("iommu %s --help has an example", async (command) => {
    const { code, stdout, stderr } = await iommu([command, "--help"]);
    expect([code, stderr]).toEqual([0, ""]);
    expect(stdout).toMatch(new RegExp(`Examples:\\n\\s+\\$ (?:sudo )?iommu ${command}`));
  });
});
