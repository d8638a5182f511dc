/** Damaged hosts: whatever their files hold, the doctor answers, and never better for what is missing. */
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { compareWithBaseline, diagnose, type Verdict } from "../../src/doctor/index.ts";
import { readSysfs } from "../../src/index.ts";
import { address } from "../made-hosts.ts";
import { GPU, SOUND, treeWith } from "./sound-host.ts";

const devices = [address(GPU), address(SOUND)];
const paths = treeWith({}).paths().filter((path) => treeWith({}).read(path) !== undefined);

const damaged = (path: string, at: number, bytes: Uint8Array): Verdict => {
  const tree = treeWith({});
  const before = tree.read(path) ?? new Uint8Array();
  tree.addFile(path, Uint8Array.from([...before.slice(0, at), ...bytes, ...before.slice(at + bytes.length)]));
  return diagnose(readSysfs(tree), { devices }).verdict;
};

describe("diagnose", () => {
  test("answers for every host with damaged files", () => {
    fc.assert(
      fc.property(fc.constantFrom(...paths), fc.nat(300), fc.uint8Array({ maxLength: 24 }), (path, at, bytes) => {
        expect(["ready", "warnings", "errors", "not-enough-data", "blocked"]).toContain(damaged(path, at, bytes));
      }),
      { numRuns: 300 },
    );
  });

  test("taking files away never makes a yes of what was seen by nothing else", () => {
    // The sound host without what proves that it can run VMs, remaps interrupts and isolates.
    for (const gone of [["proc/cpuinfo"], ["proc/interrupts", "dmesg.txt"]]) {
      const tree = treeWith({});
      for (const path of gone) tree.remove(path);
      expect([gone, diagnose(readSysfs(tree), { devices }).verdict]).toEqual([gone, "not-enough-data"]);
    }
  });

  test("a host compared with itself did not change", () => {
    expect(compareWithBaseline(readSysfs(treeWith({})), readSysfs(treeWith({})))).toEqual([]);
  });

  test("GRP-012: a function that joins a group is told, a new number of the same group is not", () => {
    const before = readSysfs(treeWith({}));
    const renumbered = readSysfs(treeWith({ groups: [[100, ["0000:00:00.0"]], [101, ["0000:00:01.0"]], [102, ["0000:00:02.0"]], [105, ["0000:00:1c.0"]], [106, ["0000:00:1d.0"]], [111, [GPU, SOUND]], [112, ["0000:02:00.0"]], [113, ["0000:03:00.0"]]] }));
    const joined = readSysfs(treeWith({ groups: [[0, ["0000:00:00.0"]], [1, ["0000:00:01.0"]], [2, ["0000:00:02.0"]], [5, ["0000:00:1c.0"]], [6, ["0000:00:1d.0"]], [11, [GPU, SOUND, "0000:03:00.0"]], [12, ["0000:02:00.0"]]] }));
    const answer = (after: typeof before) => diagnose(after, { devices, baseline: before }).host.find(({ id }) => id === "GRP-012");
    expect(answer(renumbered)?.status).toBe("pass");
    expect(answer(joined)).toMatchObject({ status: "fail", severity: "warning" });
    expect(answer(joined)?.evidence.map(({ source }) => source)).toEqual([`group of ${GPU}`, `group of ${SOUND}`, "group of 0000:03:00.0"]);
  });

  test("an IOMMU that is none of x86's is named, and nothing is claimed of it", () => {
    const tree = treeWith({ groups: [], files: { "sys/class/iommu": undefined, "proc/cpuinfo": "processor\t: 0\nCPU implementer\t: 0x41\n" }, host: { tables: { IORT: new Uint8Array(64) }, commandLine: "quiet", dmesg: ["Linux version 6.12.0"] } });
    tree.addLink("sys/class/iommu/smmu3.0x0000000009050000", "../../devices/platform/x");
    const result = diagnose(readSysfs(tree), { devices }).host.find(({ id }) => id === "HOST-001");
    expect(result).toMatchObject({ status: "unknown", advice: expect.stringContaining("Arm SMMU") as string });
  });
});
