import { iommuDriverContract } from "@iommu-lab/pci-bus/testing";
import { describe, test } from "vitest";
import { createVtdRig, PROFILES } from "./driver-rig.ts";

const full = Boolean(process.env.IOMMU_LAB_FULL);
const first = Number(process.env.IOMMU_LAB_SEED ?? 1);
const cases = iommuDriverContract({ seeds: Array.from({ length: full ? 20 : 2 }, (_, i) => first + i), steps: full ? 2000 : 250 });

describe.each(["adversarial", "realistic", "none"] as const)("the driver contract on VT-d, %s caches", (caches) => {
  describe.each(PROFILES)("$name", (profile) => {
    const { features } = createVtdRig(profile);
    test.each(cases.filter(({ applies }) => applies(features)))("$name", ({ run }) => {
      run(createVtdRig(profile, { caches }));
    });
  });
});
