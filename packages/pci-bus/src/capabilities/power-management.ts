import { bit, bits, layout } from "@iommu-lab/memory/layout";
import { register, type RegisterValues } from "../config/register.ts";
import type { CapabilityDefinition } from "./definition.ts";
import { capabilityImage, type CapabilityImage, type Placement } from "./image.ts";

/** Power Management Capabilities register. PCIe §7.5.2.1. */
export const PMC = layout("Power Management Capabilities", 16, "PCIe §7.5.2.1", {
  Version: bits(2, 0, "3 in PCIe"),
  PMEClock: bit(3, "Needs the bus clock for PME#; zero in PCIe"),
  ImmediateReadinessOnReturnToD0: bit(4, "Needs no recovery time after D3hot"),
  DeviceSpecificInitialization: bit(5, "Needs its driver's initialization before use"),
  AuxCurrent: bits(8, 6, "Current drawn from auxiliary power", { 0: "0 mA", 1: "55 mA", 2: "100 mA", 3: "160 mA", 4: "220 mA", 5: "270 mA", 6: "320 mA", 7: "375 mA" }),
  D1Support: bit(9, "Has power state D1"),
  D2Support: bit(10, "Has power state D2"),
  PMEFromD0: bit(11, "Can signal PME in D0"),
  PMEFromD1: bit(12, "Can signal PME in D1"),
  PMEFromD2: bit(13, "Can signal PME in D2"),
  PMEFromD3hot: bit(14, "Can signal PME in D3hot"),
  PMEFromD3cold: bit(15, "Can signal PME in D3cold"),
});

/** Power Management Control/Status register. PCIe §7.5.2.2. */
export const PMCSR = layout("Power Management Control/Status", 16, "PCIe §7.5.2.2", {
  PowerState: bits(1, 0, "Current power state", { 0: "D0", 1: "D1", 2: "D2", 3: "D3hot" }),
  NoSoftReset: bit(3, "Keeps its state from D3hot to D0; without it that transition is a reset"),
  PMEEnable: bit(8, "May signal PME"),
  DataSelect: bits(12, 9, "What the data register shows"),
  DataScale: bits(14, 13, "Unit of the data register"),
  PMEStatus: bit(15, "Has signalled PME"),
});

/** Bridge support extensions of conventional bridges. PCI Bus Power Management §3.2.5. */
export const PMCSR_BSE = layout("PMCSR Bridge Support Extensions", 8, "PCI PM §3.2.5", {
  B2B3Support: bit(6, "Stops the secondary clock (B2) instead of removing power (B3) in D3hot"),
  BusPowerClockControlEnable: bit(7, "The bridge's power state controls power and clock of the bus below"),
});

/** Data register. PCIe §7.5.2.3. */
export const PM_DATA = layout("Power Management Data", 8, "PCIe §7.5.2.3", { Data: bits(7, 0, "The value that DataSelect asks for") });

const registers = {
  PMC: register(2, PMC),
  PMCSR: register(4, PMCSR, { writable: ["PowerState", "PMEEnable", "DataSelect"], writeOneToClear: ["PMEStatus"], sticky: ["PMEEnable", "PMEStatus"] }),
  PMCSR_BSE: register(6, PMCSR_BSE),
  Data: register(7, PM_DATA),
};
const shape = { id: 0x01, extended: false, length: 8, registers };

/** Power management capability (id 0x01). PCIe §7.5.2. */
export const powerManagement = (values: RegisterValues<typeof registers> = {}, placement?: Placement): CapabilityImage =>
  capabilityImage(shape, { ...values, PMC: { Version: 3, ...values.PMC } }, placement);

/** How to read a power management capability. */
export const POWER_MANAGEMENT: CapabilityDefinition = { id: 0x01, extended: false, shape: () => shape };
