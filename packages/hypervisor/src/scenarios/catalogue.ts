import { guestAddressTrap } from "./guest-address-trap.ts";
import { mmuAndIommu } from "./mmu-and-iommu.ts";
import { rogueDevice } from "./rogue-device.ts";
import type { Scenario } from "./scenario.ts";

/** Every scenario, in the order to see them. */
export const SCENARIOS: readonly Scenario[] = [mmuAndIommu, rogueDevice, guestAddressTrap];

/** The scenario of a name; undefined when there is none. */
export const scenarioNamed = (name: string): Scenario | undefined => SCENARIOS.find((each) => each.name === name);
