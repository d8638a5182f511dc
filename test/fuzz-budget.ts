/** The gate's seed and thoroughness for property tests: IOMMU_LAB_SEED makes a run repeatable, IOMMU_LAB_FULL makes it five times as long. */
import fc from "fast-check";

const seed = process.env.IOMMU_LAB_SEED;

fc.configureGlobal({
  ...(seed === undefined ? {} : { seed: Number(seed) }),
  ...(process.env.IOMMU_LAB_FULL ? { numRuns: 500 } : {}),
});
