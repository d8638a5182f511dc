import { describe, expect, test } from "vitest";
import { diagnose, RULES, UnknownDeviceError } from "../../src/doctor/index.ts";
import { readBundled } from "../../src/bundled/index.ts";
import { address } from "../made-hosts.ts";

describe("diagnose", () => {
  test("the source documents' machine is blocked by its missing option, and the advice names it", () => {
    const diagnosis = diagnose(readBundled("i7-3770-p8z68-v"), { devices: [address("01:00.0"), address("01:00.1")] });
    expect(diagnosis.verdict).toBe("blocked");
    expect(diagnosis.host.find(({ id }) => id === "HOST-002")).toMatchObject({ status: "fail", severity: "block", advice: expect.stringContaining("intel_iommu=on") as string });
  });

  test("every rule answers once for the machine or once for each function", () => {
    const diagnosis = diagnose(readBundled("q35-intel-iommu"));
    const ids = RULES.map(({ id }) => id).sort();
    expect([...diagnosis.host, ...(diagnosis.devices[0]?.results ?? [])].map(({ id }) => id).sort()).toEqual(ids);
  });

  test("ids of rules are unique", () => {
    expect(new Set(RULES.map(({ id }) => id)).size).toBe(RULES.length);
  });

  test("a function that is not there is a mistake of the caller", () => {
    expect(() => diagnose(readBundled("q35-intel-iommu"), { devices: [address("77:00.0")] })).toThrow(UnknownDeviceError);
  });
});
