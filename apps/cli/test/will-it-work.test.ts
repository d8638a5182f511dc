import { gunzipSync } from "node:zlib";
import { readSysfs, readTar } from "@iommu-lab/host";
import { diagnose } from "@iommu-lab/host/doctor";
import { runScenario } from "@iommu-lab/hypervisor/scenarios";
import { describe, expect, test } from "vitest";
import { hasShared, listShared, readShared, skippedWithoutShared } from "../../../test/shared.ts";
import { willItWork } from "../src/scenarios/will-it-work.ts";

const failed = (options: Parameters<typeof runScenario>[1]): string[] => runScenario(willItWork, options).result.assertions.filter(({ ok }) => !ok).map(({ id }) => id).toSorted();

describe("will-it-work", () => {
  test.each(["intel", "amd"] as const)("everything it states holds, on %s", (iommu) => {
    expect(failed({ iommu })).toEqual([]);
  });
  test("both vendors tell the same story", () => {
    const [intel, amd] = (["intel", "amd"] as const).map((iommu) => runScenario(willItWork, { iommu }));
    expect([amd?.story, amd?.result.assertions]).toEqual([intel?.story, intel?.result.assertions]);
  });
  test.each(Object.entries(willItWork.protections))("without %s exactly what it protects fails", (name, fails) => {
    expect(failed({ without: [name] })).toEqual(fails.toSorted());
  });
});

describe.skipIf(!hasShared())(`the source documents' check beside ours${skippedWithoutShared}`, () => {
  const archives = listShared("snapshots", ".tar.gz");

  test.each(archives)("%s: ours does not say that DMA is translated where the kernel made no groups, nor the other way round", async (archive) => {
    const { tree } = await readTar(archive, gunzipSync(readShared(`snapshots/${archive}`)));
    const host = readSysfs(tree);
    const { groups: truth, ...rest } = host;
    // The groups themselves are the answer: they are hidden.
    const judged = diagnose({ ...rest, groups: undefined }, { devices: [] }).host.find(({ id }) => id === "HOST-005");
    if (judged?.status === "pass" && judged.evidence.some(({ text }) => /Virtualization Technology for Directed I\/O|AMD-Vi/.test(text))) expect(truth).toBeDefined();
    if (truth === undefined) expect(judged?.evidence.every(({ text }) => !text.includes('Virtualization Technology for Directed I/O'))).toBe(true);
  });

  test("looking for one word in the log is wrong where ours is not", async () => {
    const wrong: string[] = [];
    for (const archive of archives) {
      const { tree } = await readTar(archive, gunzipSync(readShared(`snapshots/${archive}`)));
      const { dmesg, groups } = readSysfs(tree);
      if ((dmesg ?? "").toLowerCase().includes("enabled") !== (groups !== undefined)) wrong.push(archive);
    }
    // The one recorded host whose kernel had its IOMMU off says "enabled" of much else.
    expect(wrong).toEqual(archives.filter((name) => name.startsWith("intel-s063")));
  });
});
