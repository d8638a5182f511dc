/** Plans for hosts recorded from real kernels. They lie beside the repository; a clone without them skips this file. */
import { gunzipSync } from "node:zlib";
import { formatAddress } from "@iommu-lab/pci-bus";
import { describe, expect, test } from "vitest";
import { hasShared, listShared, readShared, skippedWithoutShared } from "../../../../test/shared.ts";
import { readSysfs, readTar } from "../../src/index.ts";
import { ASSUMPTIONS, makePlan } from "../../src/plan/index.ts";

const archives = listShared("snapshots", ".tar.gz").filter((_archive, i) => i % 7 === 0);

describe.skipIf(!hasShared())(`recorded hosts${skippedWithoutShared}`, () => {
  test.each(archives)("%s: every function has an answer, and no bridge is ever bound", async (archive) => {
    const snapshot = readSysfs((await readTar(archive, gunzipSync(readShared(`snapshots/${archive}`)))).tree);
    for (const f of snapshot.functions) {
      const result = makePlan(snapshot, { devices: [f.address], distro: "debian", target: "libvirt", assume: new Set(ASSUMPTIONS) });
      if ((f.classCode ?? 0) >>> 16 === 0x06) expect(result.kind, formatAddress(f.address)).toBe("refusal");
      if (result.kind !== "plan") continue;
      const rules = result.files.find(({ path }) => path.endsWith(".rules"))?.text ?? "";
      for (const other of snapshot.functions) if ((other.classCode ?? 0) >>> 16 === 0x06) expect(rules).not.toContain(`"${formatAddress(other.address)}"`);
    }
  });
});
