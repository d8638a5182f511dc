import { iommuDriverContract } from "@iommu-lab/pci-bus/testing";
import { describe, test } from "vitest";
import { createAmdRig, PROFILES } from "./driver-rig.ts";

const full = Boolean(process.env.IOMMU_LAB_FULL);
const first = Number(process.env.IOMMU_LAB_SEED ?? 1);
const cases = iommuDriverContract({ seeds: Array.from({ length: full ? 20 : 2 }, (_, i) => first + i), steps: full ? 2000 : 200 });

/** Adversarial caches show what the others hide, so that these take few kinds of hardware unless there is time. */
const runs = (["adversarial", "realistic", "none"] as const).flatMap((caches) =>
  PROFILES.filter(({ name, rare }) => full || (caches === "adversarial" && rare !== true) || (caches === "realistic" && name === "guest tables") || (caches === "none" && name === "host tables")).map((profile) => ({ caches, profile, title: `${profile.name}; ${caches} caches` })),
);

describe.each(runs)("the driver contract on AMD-Vi: $title", ({ caches, profile }) => {
  const { features } = createAmdRig(profile);
  test.each(cases.filter(({ applies }) => applies(features)))("$name", ({ run }) => {
    run(createAmdRig(profile, { caches }));
  });
});
