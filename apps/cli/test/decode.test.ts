import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { decodeInput, DecodeInputError } from "@iommu-lab/host/decode";
import { encodeIvrs } from "@iommu-lab/iommu-amd/ivrs";
import { encodeDmar } from "@iommu-lab/iommu-intel/dmar";
import { encodeMcfg, encodeSdt, findTables, isText } from "@iommu-lab/pci-bus/acpi";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { runDecode } from "../src/commands/decode.ts";
import { decodeJson } from "../src/output/decode-json.ts";
import { iommu, shareCompiled } from "./run-iommu.ts";

const folder = mkdtempSync(join(tmpdir(), "iommu-lab-decode-"));
const at = (name: string): string => join(folder, name);

const DMAR = encodeDmar({
  structures: [
    { name: "DRHD", registerBase: 0xfed9_0000, scopes: [{ type: 1, path: [{ device: 2, function: 0 }] }] },
    { name: "DRHD", registerBase: 0xfed9_1000, includeAll: true, scopes: [{ type: 3, enumerationId: 2, startBus: 0xf0, path: [{ device: 31, function: 0 }] }] },
    { name: "RMRR", base: 0x1_8b80_0000n, limit: 0x1_8fff_ffffn, scopes: [{ type: 1, path: [{ device: 2, function: 0 }] }] },
  ],
});
const BROKEN = encodeDmar({ structures: [{ name: "DRHD", registerBase: 0, includeAll: true }], odd: { checksum: 1, trailing: Uint8Array.of(1, 2) } });
const IVRS = encodeIvrs({
  structures: [
    {
      name: "IVHD",
      type: 0x40,
      deviceId: 2,
      capabilityOffset: 0x40,
      registerBase: 0x1_feb8_0000n,
      extendedFeatures: 0x58f_77ef_2229_4aden,
      entries: [
        { name: "range-start", deviceId: 8 },
        { name: "range-end", deviceId: 0xfffe },
        { name: "alias-select", deviceId: 0xffff, sourceId: 0xa4 },
        { name: "special", setting: 0xd7, handle: 33, sourceId: 0xa0, variety: 1 },
        { name: "acpi-device", deviceId: 0xa0, hid: "AMDI0020", uidFormat: 2, uid: new TextEncoder().encode("\\_SB.FUR0") },
      ],
    },
    { name: "IVMD", type: 0x22, flags: 7, deviceId: 0x200, lastDeviceId: 0x2ff, start: 0x1_7132_c000n, size: 0x2_6000 },
  ],
});
const MCFG = encodeMcfg([{ base: 0xe000_0000, segment: 0, firstBus: 0, lastBus: 255 }]);

const pairs = (bytes: Uint8Array): string[] => [...bytes].map((byte) => byte.toString(16).padStart(2, "0"));
const rows = (bytes: Uint8Array): { readonly offset: number; readonly row: string[]; readonly text: string }[] =>
  Array.from({ length: Math.ceil(bytes.length / 16) }, (_, i) => {
    const row = bytes.subarray(16 * i, 16 * i + 16);
    return { offset: 16 * i, row: pairs(row), text: [...row].map((byte) => (byte > 0x20 && byte < 0x7f ? String.fromCharCode(byte) : ".")).join("") };
  });
const acpidump = (name: string, bytes: Uint8Array): string => `${name} @ 0x0000000000000000\n${rows(bytes).map(({ offset, row, text }) => `    ${offset.toString(16).toUpperCase().padStart(4, "0")}: ${row.join(" ").toUpperCase().padEnd(48)} ${text}`).join("\n")}\n\n`;
const hexdump = (bytes: Uint8Array): string => `${rows(bytes).map(({ offset, row, text }) => `${offset.toString(16).padStart(8, "0")}  ${`${row.slice(0, 8).join(" ")}  ${row.slice(8).join(" ")}`.padEnd(48)}  |${text}|`).join("\n")}\n${bytes.length.toString(16).padStart(8, "0")}\n`;
const xxd = (bytes: Uint8Array): string => rows(bytes).map(({ offset, row, text }) => `${offset.toString(16).padStart(8, "0")}: ${row.map((pair, i) => pair + (i % 2 ? " " : "")).join("").padEnd(40)} ${text}`).join("\n");

const FAULT = "[    1.0] DMAR: [DMA Read NO_PASID] Request device [02:00.0] fault addr 0xfffe0000 [fault reason 0x06] text\n";
const UNIT = "[    0.0] DMAR: dmar0: reg_base_addr fed90000 ver 1:0 cap d2008c222f0606 ecap f00f4a\n";
const AMD_FAULT = "[    2.0] nvme 0000:01:00.0: AMD-Vi: Event logged [IO_PAGE_FAULT domain=0x0011 address=0xfffc0000 flags=0x0070]\n";
const EVIL = "x\u001b[2J\u009b31m\b\u0007";

const put = (name: string, contents: string | Uint8Array): void => {
  writeFileSync(at(name), contents);
};

beforeAll(async () => {
  shareCompiled(at("compiled"));
  put("DMAR", DMAR);
  put("broken.bin", BROKEN);
  put("MCFG", MCFG);
  put("acpidump.txt", acpidump("FACP", encodeSdt("FACP", new Uint8Array(40))) + acpidump("DMAR", DMAR) + acpidump("MCFG", MCFG));
  put("dmesg.txt", `unrelated\n${UNIT}${FAULT}`);
  put("cap", "d2008c222f0606\n");
  put("cap.txt", "d2008c222f0606\n");
  put("prose.txt", "my computer does not work\n");
  put("empty.txt", "");
  put("noise.bin", Uint8Array.from({ length: 5000 }, (_, i) => (i * 7919) & 0xff));
  put("IVRS", IVRS);
  put("broken-ivrs.bin", encodeIvrs({ structures: [{ name: "IVHD", type: 0x10, registerBase: 0, rest: Uint8Array.of(0xf0) }], odd: { checksum: 1, trailing: Uint8Array.of(1, 2) } }));
  put("apic.bin", encodeSdt("APIC", new Uint8Array(40)));
  put("evil-ivrs.bin", encodeIvrs({ structures: [{ name: "IVHD", type: 0x40, registerBase: 0, entries: [{ name: "acpi-device", deviceId: 1, hid: "\u001b[2J\b", uidFormat: 2, uid: Uint8Array.of(0x1b, 0x5b, 0x9b, 8) }] }], header: { oemId: "\u001b[2J" } }));
  put("gap.txt", acpidump("DMAR", DMAR).split("\n").filter((_, i) => i !== 3).join("\n"));
  put("evil.txt", `${FAULT}AMD-Vi: ivrs, add hid:${EVIL.slice(0, 4)}, uid:${EVIL}, rdevid:a0\nnv${EVIL} 0000:01:00.0: AMD-Vi: Event logged [IO_PAGE_FAULT domain=0x1 address=0x1 flags=0x0]\nDMAR: ANDD device: 1 name: ${EVIL}\nDMAR: Dump ${EVIL} table entries for IOVA 0x1\n`);
  put("evil.bin", encodeDmar({ structures: [{ name: "ANDD", deviceNumber: 1, objectName: "\\\u001b[2J\u009b\b" }] }));
  await iommu(["decode", "--json", at("DMAR")]);
});

afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
});

const json = async (...args: string[]): Promise<Record<string, unknown>> => {
  const { stdout, stderr, code } = await iommu(["decode", "--json", ...args]);
  expect([code, stderr]).toEqual([0, ""]);
  return JSON.parse(stdout) as Record<string, unknown>;
};

/** What --json prints for an input, without the cost of a process. */
const decoded = (kind: string | undefined, input: string | Uint8Array): unknown[] =>
  decodeInput("standard input", typeof input === "string" ? new TextEncoder().encode(input) : input, kind).map((each) => JSON.parse(JSON.stringify(decodeJson(each), (_key, item: unknown) => (typeof item === "bigint" ? `0x${item.toString(16)}` : item))) as unknown);

describe.concurrent("iommu decode of a DMAR table", () => {
  test("JSON has every structure with its addresses as lower-case hexadecimal strings", async () => {
    expect(await json(at("DMAR"))).toMatchObject({
      kind: "dmar",
      header: { signature: "DMAR", hostAddressWidth: 39, interruptRemapping: true },
      structures: [
        { type: 0, name: "DRHD", offset: 48, length: 24, registerBase: "0xfed90000", scopes: [{ typeName: "pci-endpoint", path: [{ device: 2, function: 0 }] }] },
        { type: 0, name: "DRHD", offset: 72, registerBase: "0xfed91000", includeAll: true },
        { type: 1, name: "RMRR", offset: 96, base: "0x18b800000", limit: "0x18fffffff" },
      ],
      diagnoses: [],
    });
  });
  test("a table with mistakes is decoded, exit 0, and they are named", async () => {
    const { kind, diagnoses } = (await json("dmar", at("broken.bin"))) as { kind: string; diagnoses: { id: string; offset: number; text: string }[] };
    expect([kind, diagnoses.map(({ id, offset }) => [id, offset])]).toEqual(["dmar", [["table-checksum-wrong", 9], ["ioapic-missing", 37], ["drhd-base-zero", 56], ["table-trailing-bytes", 64]]]);
    const text = await iommu(["decode", at("broken.bin")]);
    expect(text.code).toBe(0);
    expect(text.stdout).toContain("4 diagnoses");
  });
  test("raw, acpidump, hexdump, xxd and plain hexadecimal say the same, from a file or a pipe", async () => {
    const raw = await json(at("DMAR"));
    for (const input of [DMAR, acpidump("DMAR", DMAR), hexdump(DMAR), xxd(DMAR), pairs(DMAR).join(" "), pairs(DMAR).join("")]) expect(decoded(undefined, input)).toEqual([raw]);
    const piped = await iommu(["decode", "-", "--json"], { stdin: DMAR });
    expect(JSON.parse(piped.stdout)).toEqual(raw);
  });
  test("acpidump's text with several tables gives those that are decoded here", async () => {
    expect(await json(at("acpidump.txt"))).toMatchObject({ tables: [{ kind: "dmar" }, { kind: "mcfg", structures: [{ base: "0xe0000000", firstBus: 0, lastBus: 255 }] }] });
    expect(decoded("mcfg", acpidump("DMAR", DMAR) + acpidump("MCFG", MCFG))).toMatchObject([{ kind: "mcfg" }]);
  });
});

describe.concurrent("iommu decode of an IVRS table", () => {
  test("JSON has every block and device entry with its addresses as lower-case hexadecimal strings", async () => {
    expect(await json(at("IVRS"))).toMatchObject({
      kind: "ivrs",
      header: { signature: "IVRS", revision: 2, physicalAddressSize: 48, extendedFeatureReporting: true },
      structures: [
        {
          type: 0x40,
          name: "IVHD",
          offset: 48,
          deviceId: 2,
          device: "0000:00:00.2",
          registerBase: "0x1feb80000",
          extendedFeatures: "0x58f77ef22294ade",
          extendedFeatureFacts: { hostLevels: 6, x2apic: true },
          entries: [
            { type: 3, name: "range-start", offset: 88, length: 4, device: "0000:00:01.0" },
            { type: 4, name: "range-end", device: "0000:ff:1f.6" },
            { type: 0x42, name: "alias-select", device: "0000:ff:1f.7", source: "0000:00:14.4" },
            { type: 0x48, name: "special", varietyName: "ioapic", handle: 33, settingNames: ["INITPass", "EIntPass", "NMIPass", "SysMgt", "Lint0Pass", "Lint1Pass"] },
            { type: 0xf0, name: "acpi-device", hid: "AMDI0020", uidText: "\\_SB.FUR0" },
          ],
        },
        { type: 0x22, name: "IVMD", start: "0x17132c000", size: "0x26000", last: "0x171351fff", lastDevice: "0000:02:1f.7", flagNames: ["Unity", "IR", "IW"] },
      ],
      diagnoses: [{ id: "ivmd-unity" }],
    });
  });
  test("a table with mistakes is decoded, exit 0, and they are named", async () => {
    const { kind, diagnoses } = (await json("ivrs", at("broken-ivrs.bin"))) as { kind: string; diagnoses: { id: string; offset: number }[] };
    expect([kind, diagnoses.map(({ id }) => id)]).toEqual(["ivrs", ["table-checksum-wrong", "ivhd-serves-nothing", "ioapic-missing", "ivhd-capability-misplaced", "ivhd-base-zero", "entry-length-invalid", "table-trailing-bytes"]]);
  });
  test("text for people", async () => {
    const { code, stdout } = await iommu(["decode", at("IVRS")]);
    expect(code).toBe(0);
    for (const line of ["type 40h: IOMMU 00:00.2, segment 0, registers at 0x1feb80000", "devices from 00:01.0", "device ff:1f.7, sends as 00:14.4", "I/O APIC 33, sends as 00:14.0", "ACPI device AMDI0020, unique ID \\_SB.FUR0", "memory 0x17132c000, 0x26000 bytes, for devices 02:00.0 to 02:1f.7 of segment 0: Unity, IR, IW", "1 diagnosis"]) expect(stdout).toContain(line);
  });
  test("raw, acpidump, hexdump, xxd and plain hexadecimal say the same", async () => {
    const raw = await json(at("IVRS"));
    for (const input of [IVRS, acpidump("IVRS", IVRS), hexdump(IVRS), xxd(IVRS), pairs(IVRS).join(" ")]) expect(decoded(undefined, input)).toEqual([raw]);
  });
});

describe.concurrent("iommu decode of everything else", () => {
  test.each<[string, string | undefined, string, object]>([
    ["a kernel log", undefined, UNIT + FAULT, { kind: "log", structures: [{ name: "remapping unit", registerBase: "0xfed90000" }, { name: "CAP_REG" }, { name: "ECAP_REG" }, { name: "fault", requester: "02:00.0", address: "0xfffe0000", reason: 6, reasonName: "LGN.3" }] }],
    ["a capability value", "cap", "d2008c222f0606", { kind: "cap", structures: [{ name: "CAP_REG", value: "0xd2008c222f0606", fields: { ND: 6, MGAW: 47 }, domains: 65_536 }] }],
    ["the capability of a log line", "ecap", UNIT, { kind: "ecap", structures: [{ name: "ECAP_REG" }] }],
    ["capabilities with their names", undefined, "cap=d2008c222f0606 ecap=f00f4a", { kind: "registers", structures: [{ name: "CAP_REG" }, { name: "ECAP_REG" }] }],
    ["a status", "gsts", "0xc7000000", { structures: [{ fields: { TES: 1, QIES: 1 } }] }],
    ["a fault record", "fault", "c000000600000200 00000000fffe0000".replace(" ", ""), { kind: "fault", structures: [{ requester: "02:00.0", address: "0xfffe0000", access: "read" }] }],
    ["a fault line, called a fault", "fault", FAULT, { kind: "fault", structures: [{ name: "fault", requester: "02:00.0" }] }],
    ["a queue descriptor", "iqe", "0x200000025 0x100052604", { kind: "iqe", structures: [{ statusAddress: "0x100052604" }] }],
    ["a wide queue descriptor", "iqe", `${"0".repeat(32)}${"0".repeat(16)}0000000000000037`.replace(/^0/, "1"), { diagnoses: [{ id: "reserved-bits" }] }],
    ["an IRTE", "irte", "00000000000400fa0000030000310001", { kind: "irte", structures: [{ vector: 49, requester: "00:1f.2" }] }],
    ["a context entry", "context", "0x100000001 0x502", { structures: [{ pageTable: "0x100000000", addresses: { SSPTPTR: "0x100000000" } }] }],
    ["paging entries", "pte", "0x123456003 0x0", { structures: [{ present: true }, { present: false }] }],
    ["an AMD kernel log", undefined, AMD_FAULT, { kind: "log", structures: [{ name: "IO_PAGE_FAULT", requester: "0000:01:00.0", domain: 17, address: "0xfffc0000", flags: 0x70, flagNames: ["PR", "RW", "PE"], access: "write" }] }],
    ["a log with both vendors' lines, in their order", undefined, AMD_FAULT + FAULT, { kind: "log", header: { lines: 3, recognised: 2 }, structures: [{ name: "IO_PAGE_FAULT", offset: 0 }, { name: "fault", requester: "02:00.0" }] }],
    ["an event line, called an event", "amd-event", AMD_FAULT, { kind: "amd-event", structures: [{ name: "IO_PAGE_FAULT" }] }],
    ["an event", "amd-event", "0x2020001100000100 0xfffc0000", { structures: [{ name: "IO_PAGE_FAULT", requester: "01:00.0", domain: 17, address: "0xfffc0000" }] }],
    ["extended features", "efr", "58f77ef22294ade", { kind: "efr", structures: [{ name: "EFR", hostLevels: 6, fields: { XTSup: 1 } }] }],
    ["extended features of the kernel's line", "efr", "AMD-Vi: Extended features (0x58f77ef22294ade, 0x100): PPR X2APIC NX GT IA GA PC", { structures: [{ name: "EFR", value: "0x58f77ef22294ade" }] }],
    ["extended features, with their names", undefined, "EFR 0x58f77ef22294ade EFR2=0x100", { kind: "registers", structures: [{ name: "EFR" }, { name: "EFR2", interruptTableEntries: 2048 }] }],
    ["extended features, both as sysfs has them", "efr", "58f77ef22294ade:100\n", { structures: [{ name: "EFR", offset: 0 }, { name: "EFR2", offset: 16 }] }],
    ["the second feature register", "efr2", "100", { structures: [{ name: "EFR2" }] }],
    ["a control register", "amd-control", "0x1001", { structures: [{ name: "CONTROL", fields: { IommuEn: 1, CmdBufEn: 1 } }] }],
    ["a device table entry", "dte", "6000000123456603 5 2000000100000013 0", { kind: "dte", structures: [{ domain: 5, levels: 3, pageTable: "0x123456000", interruptTable: "0x100000000" }] }],
    ["a device table entry of a log", "dte", "AMD-Vi: DTE[0]: 6000000123456603\nAMD-Vi: DTE[1]: 0000000000000005\nAMD-Vi: DTE[2]: 2000000100000013\nAMD-Vi: DTE[3]: 0000000000000000\n", { kind: "dte", structures: [{ domain: 5 }] }],
    ["host page table entries", "amd-pte", "0x6000000123456001 0x6000000123456401", { structures: [{ leaf: true, address: "0x123456000" }, { leaf: false, nextLevel: 2 }] }],
    ["a guest page table entry", "amd-guest-pte", "0x123456007", { structures: [{ present: true, address: "0x123456000" }] }],
    ["a GCR3 table entry", "gcr3", "0x123456001", { structures: [{ valid: true, address: "0x123456000" }] }],
    ["a command", "amd-command", "0x3000000500000000 0x7ffffffffffff003", { structures: [{ name: "INVALIDATE_IOMMU_PAGES", domain: 5, everything: true }] }],
    ["an AMD IRTE", "amd-irte", "0x341 0x31", { structures: [{ vector: 49, destination: 3, guestMode: false }] }],
    ["an AMD IRTE of 32 bits", "amd-irte", "0x00310201", { kind: "amd-irte", structures: [{ vector: 49, destination: 2, value: "0x310201" }] }],
    ["AMD IRTEs of 32 bits", "amd-irte32", "0x00310201 0x00320201", { structures: [{ vector: 49 }, { vector: 50 }] }],
    ["a PPR log entry", "ppr-log", "0x1160060523450100 0x7f0000001000", { structures: [{ requester: "01:00.0", address: "0x7f0000001000" }] }],
    ["a GA log entry", "ga-log", "0x1000010012345678", { structures: [{ tag: 0x1234_5678, requester: "01:00.0" }] }],
    ["a debugfs file", undefined, "IOMMU: dmar0 Register Base Address: fed90000\nName\t\t\tOffset\t\tContents\nGSTS            \t0x1c\t\t0x00000000c7000000\n", { kind: "debugfs", header: { file: "iommu_regset" }, structures: [{ name: "GSTS_REG", unit: "dmar0" }] }],
  ])("%s", (_what, kind, input, expected) => {
    expect(decoded(kind, input)).toMatchObject([expected]);
  });
  test("a kind, a pipe and an option in any order", async () => {
    const runs = await Promise.all([iommu(["decode", "cap", "-", "--json"], { stdin: "d2008c222f0606" }), iommu(["decode", "--json", "CAP", "-"], { stdin: "d2008c222f0606" })]);
    expect(runs.map(({ code, stdout }) => [code, (JSON.parse(stdout) as { kind: string }).kind])).toEqual([[0, "cap"], [0, "cap"]]);
  });
  test("a file of sysfs says by its name what it is", async () => {
    expect(await json(at("cap"))).toMatchObject({ kind: "cap" });
  });
  test("the feature file of sysfs says by its name what it is, AMD's capability file is not Intel's", () => {
    const sysfs = (path: string, text: string): unknown => decodeInput(`/sys/class/iommu/ivhd0/amd-iommu/${path}`, new TextEncoder().encode(text), undefined).map(decodeJson);
    expect(sysfs("features", "29d3:0\n")).toMatchObject([{ kind: "efr", structures: [{ name: "EFR", value: 0x29d3n }, { name: "EFR2" }] }]);
    expect(sysfs("features", "f77ef22294ada\n")).toMatchObject([{ kind: "efr", structures: [{ name: "EFR" }] }]);
    expect(() => sysfs("cap", "1f03000f\n")).toThrow(/give the kind/);
  });
  test("raw bytes are decoded one structure after another", () => {
    expect(decoded("pte", Uint8Array.of(3, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0x20, 0, 0, 0, 0, 0, 0))).toMatchObject([{ structures: [{ offset: 0, address: "0x1000" }, { offset: 16, address: "0x2000" }] }]);
  });
  test("text for people has the meaning and the fields", async () => {
    const { stdout } = await iommu(["decode", at("dmesg.txt")]);
    expect(stdout).toContain("02:00.0 asked for a read at 0xfffe0000, which was blocked.");
    expect(stdout).toMatch(/21:16\s+MGAW\s+0x2f/);
  });
});

describe.concurrent("iommu decode of what it cannot read ends with 2 and one sentence", () => {
  test.each([
    [[], "say what to decode"],
    [["dmar"], "give the file that holds the dmar"],
    [["missing.bin"], "there is no such file"],
    [["nonsense", "DMAR"], "is no kind of input"],
    [["a", "b", "c"], "is too many"],
    [["prose.txt"], "is nothing that can be recognised"],
    [["noise.bin"], "it is binary"],
    [["empty.txt"], "is empty"],
    [["apic.bin"], "but no table that is decoded here"],
    [["dmar", "MCFG"], "but no DMAR table"],
    [["ivrs", "DMAR"], "but no IVRS table"],
    [["dte", "cap.txt"], "has 4 quadwords; the text has 1"],
    [["dmar", "prose.txt"], "holds no DMAR table"],
    [["log", "prose.txt"], "has no line of an IOMMU driver"],
    [["debugfs", "prose.txt"], "none of their headings"],
    [["cap", "prose.txt"], "has something else in it"],
    [["irte", "cap.txt"], "has 2 quadwords; the text has 1"],
    [["gap.txt"], "lines are missing"],
    [["."], "is a folder"],
  ])("%j", async (args, message) => {
    const error = await runDecode(args.map((arg) => (/\.|^[A-Z]+$/.test(arg) ? at(arg) : arg)), { json: false }).catch((reason: unknown) => reason);
    expect(error).toMatchObject({ name: "CommandError", exitCode: 2, message: expect.stringContaining(message) as string });
    expect((error as Error).message).not.toContain("\n");
  });
  test("nothing is on standard output then", async () => {
    const { code, stdout, stderr } = await iommu(["decode", "--json", at("prose.txt")]);
    expect([code, stdout]).toEqual([2, ""]);
    expect(stderr).toMatch(/^iommu: [^\n]+\n$/);
  });
  test.each([
    ["fault", "c000000600000200000000000fffe000"],
    ["cap", "d2008c222f0606"],
  ])("a %s shows by its bits, which is said", (kind, text) => {
    expect(decoded(undefined, text)).toMatchObject([{ kind, diagnoses: [{ id: "kind-guessed" }] }]);
  });
  test("other hexadecimal asks for its kind", () => {
    expect(() => decoded(undefined, "123456003")).toThrow(/give the kind before it: iommu decode KIND -/);
  });
});

describe.concurrent("iommu decode and terminals", () => {
  // eslint-disable-next-line no-control-regex -- control characters are what is looked for
  const CONTROL = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/;
  test.each([["evil.txt"], ["evil.txt", "--json"], ["evil.bin"], ["evil.bin", "--json"], ["evil-ivrs.bin"], ["evil-ivrs.bin", "--json"]])("%s %s: nothing in it reaches the terminal as a command", async (name, ...options) => {
    const { code, stdout, stderr } = await iommu(["decode", at(name), ...options.filter(Boolean)]);
    expect(code).toBe(0);
    expect(stdout + stderr).not.toMatch(CONTROL);
  });
  test("iommu decode --help has an example", async () => {
    const { code, stdout } = await iommu(["decode", "--help"]);
    expect(code).toBe(0);
    expect(stdout).toMatch(/Examples:\n\s+\$ (?:sudo )?(?:cat \S+ \| )?iommu decode/);
  });
});

describe("inputs of any kind", () => {
  test("dumps of any bytes that begin like a table give those bytes again", () => {
    fc.assert(fc.property(fc.uint8Array({ minLength: 8, maxLength: 100 }), fc.constantFrom(xxd, hexdump, (bytes: Uint8Array) => acpidump("DMAR", bytes), (bytes: Uint8Array) => pairs(bytes).join(" ")), (rest, dump) => {
      const bytes = new Uint8Array([0x44, 0x4d, 0x41, 0x52, ...rest]);
      expect(findTables(bytes, dump(bytes))).toEqual([{ signature: "DMAR", bytes }]);
    }));
  });
  test("a column of characters that looks like hexadecimal is no byte", () => {
    const bytes = Uint8Array.from({ length: 24 }, (_, i) => (i < 4 ? (DMAR[i] as number) : i < 16 ? 0x41 : 0x42));
    const dump = `    0000: ${pairs(bytes.subarray(0, 16)).join(" ")}  AB CD EF\n    0010: ${pairs(bytes.subarray(16)).join(" ").padEnd(47)}  AB CD\n`;
    expect(findTables(bytes, dump)).toEqual([{ signature: "DMAR", bytes }]);
  });
  test("any bytes and any text, under any kind, end in a result or a sentence", () => {
    const kinds = fc.constantFrom(undefined, "dmar", "ivrs", "mcfg", "log", "debugfs", "cap", "fault", "iqe", "irte", "context", "pasid", "pte", "efr", "dte", "amd-pte", "gcr3", "amd-command", "amd-event", "amd-irte", "ga-log");
    const bytes = fc.oneof(fc.uint8Array({ maxLength: 300 }), fc.uint8Array({ maxLength: 100 }).map((rest) => new Uint8Array([...DMAR.subarray(0, 60), ...rest])), fc.uint8Array({ maxLength: 100 }).map((rest) => new Uint8Array([...IVRS.subarray(0, 88), ...rest])), fc.string({ maxLength: 200 }).map((text) => new TextEncoder().encode(text)), fc.stringMatching(/^[0-9a-fx: \n]{0,120}$/).map((text) => new TextEncoder().encode(text)));
    fc.assert(fc.property(bytes, kinds, (input, kind) => {
      try {
        expect(decodeInput("input", input, kind).length).toBeGreaterThan(0);
      } catch (error) {
        if (!(error instanceof DecodeInputError)) throw error;
        expect(error.message.length).toBeGreaterThan(0);
      }
    }));
  });
  test("a text with a zero byte is binary, one with colours is text", () => {
    expect([isText(new TextEncoder().encode("a\u0000b")), isText(new TextEncoder().encode("\u001b[31mred\u001b[0m text"))]).toEqual([false, true]);
  });
});
