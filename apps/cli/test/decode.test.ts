import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { encodeDmar } from "@iommu-lab/iommu-intel/dmar";
import { encodeMcfg, encodeSdt } from "@iommu-lab/pci-bus/acpi";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { findTables, isText } from "../src/input/acpi-bytes.ts";
import { runDecode } from "../src/commands/decode.ts";
import { decodeInput } from "../src/input/decode-input.ts";
import { isCommandError } from "../src/exit-code.ts";
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
  put("ivrs.bin", encodeSdt("IVRS", new Uint8Array(40)));
  put("gap.txt", acpidump("DMAR", DMAR).split("\n").filter((_, i) => i !== 3).join("\n"));
  put("evil.txt", `${FAULT}DMAR: ANDD device: 1 name: ${EVIL}\nDMAR: Dump ${EVIL} table entries for IOVA 0x1\n`);
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
    [["ivrs.bin"], "but no table that is decoded here"],
    [["dmar", "MCFG"], "but no DMAR table"],
    [["dmar", "prose.txt"], "holds no DMAR table"],
    [["log", "prose.txt"], "has no line of the Intel IOMMU driver"],
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
  test.each([["evil.txt"], ["evil.txt", "--json"], ["evil.bin"], ["evil.bin", "--json"]])("%s %s: nothing in it reaches the terminal as a command", async (name, ...options) => {
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
    const kinds = fc.constantFrom(undefined, "dmar", "mcfg", "log", "debugfs", "cap", "fault", "iqe", "irte", "context", "pasid", "pte");
    const bytes = fc.oneof(fc.uint8Array({ maxLength: 300 }), fc.uint8Array({ maxLength: 100 }).map((rest) => new Uint8Array([...DMAR.subarray(0, 60), ...rest])), fc.string({ maxLength: 200 }).map((text) => new TextEncoder().encode(text)), fc.stringMatching(/^[0-9a-fx: \n]{0,120}$/).map((text) => new TextEncoder().encode(text)));
    fc.assert(fc.property(bytes, kinds, (input, kind) => {
      try {
        expect(decodeInput("input", input, kind).length).toBeGreaterThan(0);
      } catch (error) {
        if (!isCommandError(error)) throw error;
        expect(error.exitCode).toBe(2);
      }
    }));
  });
  test("a text with a zero byte is binary, one with colours is text", () => {
    expect([isText(new TextEncoder().encode("a\u0000b")), isText(new TextEncoder().encode("\u001b[31mred\u001b[0m text"))]).toEqual([false, true]);
  });
});
