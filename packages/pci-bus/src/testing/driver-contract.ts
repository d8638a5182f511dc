import { ATTACHMENT_CASES } from "./attachment-cases.ts";
import { contractCase } from "./checks.ts";
import { DEVICE_TLB_CASES } from "./device-tlb-cases.ts";
import type { ContractCase, DriverRig } from "./driver-rig.ts";
import { FAULT_CASES } from "./fault-cases.ts";
import { INTERRUPT_CASES } from "./interrupt-cases.ts";
import { MAPPING_CASES } from "./mapping-cases.ts";
import { PASID_CASES } from "./pasid-cases.ts";
import { runRandomHistory } from "./random-history.ts";

/** How long the random histories are. */
export interface ContractBudget {
  /** One history for each; the same seed makes the same history. */
  readonly seeds: readonly number[];
  /** Steps of a history. */
  readonly steps: number;
}

/**
 * What every IOMMU driver must do, whatever its vendor, as cases for any test runner:
 *
 *     for (const { name, applies, run } of iommuDriverContract({ seeds: [1, 2], steps: 300 }))
 *       test.skipIf(!applies(features))(name, () => run(createRig()));
 *
 * Run it on hardware whose caches keep all they may ("adversarial"): then a missing invalidation shows.
 */
export const iommuDriverContract = ({ seeds, steps }: ContractBudget): readonly ContractCase[] => [
  ...ATTACHMENT_CASES,
  ...MAPPING_CASES,
  ...PASID_CASES,
  ...INTERRUPT_CASES,
  ...FAULT_CASES,
  ...DEVICE_TLB_CASES,
  ...seeds.map((seed) => contractCase(`a random history of ${steps} steps equals a plain map of ranges (seed ${seed})`, (rig) => { runRandomHistory(rig, seed, steps); })),
];

/** The first case that a driver breaks, and how; undefined when it keeps the whole contract. */
export const firstViolation = (cases: readonly ContractCase[], createRig: () => DriverRig): { readonly name: string; readonly error: unknown } | undefined => {
  const { features } = createRig();
  for (const { name, applies, run } of cases) {
    if (!applies(features)) continue;
    try {
      run(createRig());
    } catch (error) {
      return { name, error };
    }
  }
  return undefined;
};
