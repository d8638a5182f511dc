import { assignADevice } from "./assign-a-device.ts";
import { atsStale } from "./ats-stale.ts";
import { dma32Bounce } from "./dma32-bounce.ts";
import { guestAddressTrap } from "./guest-address-trap.ts";
import { igdAndTheGtx560 } from "./igd-and-the-gtx560.ts";
import { iotlbWall } from "./iotlb-wall.ts";
import { irqMigrateAndPost } from "./irq-migrate-and-post.ts";
import { mmuAndIommu } from "./mmu-and-iommu.ts";
import { msiForgery } from "./msi-forgery.ts";
import { rogueDevice } from "./rogue-device.ts";
import { scatterToContiguous } from "./scatter-to-contiguous.ts";
import type { Scenario } from "./scenario.ts";
import { sriovEightVms } from "./sriov-eight-vms.ts";
import { strictLazyPt } from "./strict-lazy-pt.ts";
import { threeVmsOneWindow } from "./three-vms-one-window.ts";
import { twoBdfTwoDomains } from "./two-bdf-two-domains.ts";
import { vgaCurse } from "./vga-curse.ts";

/** Every scenario, in the order to see them. */
export const SCENARIOS: readonly Scenario[] = [mmuAndIommu, rogueDevice, guestAddressTrap, scatterToContiguous, dma32Bounce, iotlbWall, strictLazyPt, atsStale, twoBdfTwoDomains, msiForgery, irqMigrateAndPost, assignADevice, sriovEightVms, vgaCurse, threeVmsOneWindow, igdAndTheGtx560];

/** The scenario of a name; undefined when there is none. */
export const scenarioNamed = (name: string): Scenario | undefined => SCENARIOS.find((each) => each.name === name);
