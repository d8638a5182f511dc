/**
 * What an experiment stands on. The experiment's own worker imports this file first, then hands over its code: see
 * sandbox.ts. It runs under the page's policy: no network, no code from elsewhere.
 */
import * as hypervisorBoard from "@iommu-lab/hypervisor/board";
import * as hypervisorDevices from "@iommu-lab/hypervisor/devices";
import * as hypervisorMachine from "@iommu-lab/hypervisor/machine";
import * as hypervisorScenarios from "@iommu-lab/hypervisor/scenarios";
import * as hypervisorVm from "@iommu-lab/hypervisor/vm";
import * as interruptRemap from "@iommu-lab/interrupt-remap";
import * as iommuAmd from "@iommu-lab/iommu-amd";
import * as iommuAmdDriver from "@iommu-lab/iommu-amd/driver";
import * as iommuAmdHardware from "@iommu-lab/iommu-amd/hardware";
import * as iommuIntel from "@iommu-lab/iommu-intel";
import * as iommuIntelDriver from "@iommu-lab/iommu-intel/driver";
import * as iommuIntelHardware from "@iommu-lab/iommu-intel/hardware";
import * as memory from "@iommu-lab/memory";
import * as pciBus from "@iommu-lab/pci-bus";
import * as pciBusGroups from "@iommu-lab/pci-bus/groups";
import * as pciBusMachine from "@iommu-lab/pci-bus/machine";
import * as vfio from "@iommu-lab/vfio";
import * as vgaArbiter from "@iommu-lab/vga-arbiter";
import { EXPERIMENT, playScenario } from "../../run/play.ts";
import type { RunChoice } from "../../state/app-state.ts";
import { guardMemory, newBudget } from "./budget.ts";
import type { Told } from "./sandbox.ts";

const MODULES: Readonly<Record<string, object>> = {
  "@iommu-lab/hypervisor/board": hypervisorBoard,
  "@iommu-lab/hypervisor/devices": hypervisorDevices,
  "@iommu-lab/hypervisor/machine": hypervisorMachine,
  "@iommu-lab/hypervisor/scenarios": hypervisorScenarios,
  "@iommu-lab/hypervisor/vm": hypervisorVm,
  "@iommu-lab/interrupt-remap": interruptRemap,
  "@iommu-lab/iommu-amd": iommuAmd,
  "@iommu-lab/iommu-amd/driver": iommuAmdDriver,
  "@iommu-lab/iommu-amd/hardware": iommuAmdHardware,
  "@iommu-lab/iommu-intel": iommuIntel,
  "@iommu-lab/iommu-intel/driver": iommuIntelDriver,
  "@iommu-lab/iommu-intel/hardware": iommuIntelHardware,
  "@iommu-lab/memory": memory,
  "@iommu-lab/pci-bus": pciBus,
  "@iommu-lab/pci-bus/groups": pciBusGroups,
  "@iommu-lab/pci-bus/machine": pciBusMachine,
  "@iommu-lab/vfio": vfio,
  "@iommu-lab/vga-arbiter": vgaArbiter,
};

const MOST_MEMORY = 2 ** 30;
const MOST_LINES = 1_000;
const MOST_CHARACTERS = 10_000;

const shown = (value: unknown): string => {
  if (typeof value === "string") return value;
  try {
    // Functions and undefined have no JSON.
    const text = JSON.stringify(value, (_, each: unknown) => (typeof each === "bigint" ? `0x${each.toString(16)}` : ArrayBuffer.isView(each) ? Array.from(each as Uint8Array) : each)) as string | undefined;
    return text ?? String(value);
  } catch {
    return Object.prototype.toString.call(value);
  }
};

/** The experiment's code, as the compiler leaves it. */
type Code = (require: (name: string) => object, exports: object, tick: () => void) => Promise<void>;

const run = async (choice: RunChoice, code: Code): Promise<void> => {
  const tell = (told: Told): void => { postMessage(told); };
  const budget = newBudget(MOST_MEMORY);
  let lines = 0;
  const playground = {
    CARD: hypervisorScenarios.CARD,
    laboratory: hypervisorScenarios.laboratory,
    slot: hypervisorScenarios.slot,
    print: (...values: readonly unknown[]) => { if (lines++ < MOST_LINES) tell({ kind: "print", text: values.map(shown).join(" ").slice(0, MOST_CHARACTERS) }); },
    scenario: (title: string, play: (stage: hypervisorScenarios.Stage) => void) => {
      tell({ kind: "run", run: playScenario({ name: EXPERIMENT, title, about: "", covers: [], protections: {}, run: play }, { ...choice, scenario: EXPERIMENT, without: [] }) });
    },
  };
  guardMemory(globalThis, budget);
  tell({ kind: "started" });
  try {
    await code((name) => {
      if (name === "@iommu-lab/playground") return playground;
      const found = Object.hasOwn(MODULES, name) ? MODULES[name] : undefined;
      if (!found) throw new Error(`There is no module "${name}" here; there are @iommu-lab/playground, ${Object.keys(MODULES).join(", ")}.`);
      return found;
    }, {}, budget.tick);
    tell({ kind: "done" });
  } catch (error) {
    tell({ kind: "failed", error: error instanceof Error ? `${error.name}: ${error.message}` : String(error) });
  }
};

Object.assign(globalThis, { iommuLaboratory: run });
