import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { diagnose, makeReport, parseReport, ReportError } from "../../src/doctor/index.ts";
import { readSysfs } from "../../src/index.ts";
import { address } from "../made-hosts.ts";
import { GPU, treeWith } from "../doctor/sound-host.ts";

const SECRETS = ["anna", "192.168", "WD-WX12A3456789", "00:1b:21:aa:bb:cc"] as const;

const snapshot = () => readSysfs(treeWith({ host: { commandLine: "root=/dev/anna intel_iommu=on" }, log: ["wlan0: 00:1b:21:aa:bb:cc", "host anna 192.168.0.7"], files: { "sys/class/dmi/id/board_vendor": "Some Maker\n", "sys/class/dmi/id/board_name": "Board ü1 Serial: WD-WX12A3456789\n", "sys/class/dmi/id/bios_vendor": "AMI\n", "sys/class/dmi/id/bios_version": "1.2\n", "sys/class/dmi/id/bios_date": "01/02/2026\n" } }));
const report = () => makeReport(snapshot(), diagnose(snapshot(), { devices: [address(GPU)] }), { worked: "yes" });

describe("a report", () => {
  test("tells hardware, answers and the owner's word, and reads back", () => {
    const made = report();
    expect(made).toMatchObject({ processor: "Intel(R) Core(TM) i7-8700 CPU @ 3.20GHz", board: { vendor: "Some Maker" }, kernel: "6.12", iommu: "intel", active: "yes", devices: [{ vendor: "10de", device: "1402", class: "030000", groupSize: 2, resetMethods: ["flr", "bus"], worked: "yes" }] });
    expect(made.rules["HOST-001"]).toBe("pass");
    expect(parseReport(JSON.parse(JSON.stringify(made)))).toEqual(made);
  });

  test("tells nothing of whose machine it is, and no address", () => {
    const text = JSON.stringify(report());
    for (const secret of SECRETS) expect(text).not.toContain(secret);
    expect(text).not.toMatch(/[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]/);
  });

  test.each([
    ["another format", { format: "x" }],
    ["a later version", { version: 2 }],
    ["a field that does not exist", { owner: "anna" }],
    ["an answer that is none", { rules: { "HOST-001": "maybe" } }],
    ["a rule with a strange name", { rules: { "<script>": "pass" } }],
    ["control characters", { processor: "\u001b[31m" }],
    ["a verdict that is none", { verdict: "87 %" }],
  ])("is refused with %s", (_what, change) => {
    expect(() => parseReport({ ...report(), ...change })).toThrow(ReportError);
  });

  test("anything at all is a report or refused", () => {
    fc.assert(fc.property(fc.jsonValue(), (value) => {
      expect(() => parseReport(value)).toThrow(ReportError);
    }));
  });
});
