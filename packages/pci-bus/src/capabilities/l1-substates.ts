import { bit, bits, layout } from "@iommu-lab/memory/layout";
import { register, type RegisterMap, type RegisterValues } from "../config/register.ts";
import type { CapabilityDefinition } from "./definition.ts";
import { capabilityImage, type CapabilityImage, type Placement } from "./image.ts";

const POWER_ON = { 0: "2 µs", 1: "10 µs", 2: "100 µs", 3: "reserved" } as const;

/** L1 PM Substates Capabilities register. PCIe §7.8.3.2. */
export const L1SS_CAPABILITIES = layout("L1 PM Substates Capabilities", 32, "PCIe §7.8.3.2", {
  PCIPML12Supported: bit(0, "L1.2 when software puts the function into D3hot"),
  PCIPML11Supported: bit(1, "L1.1 when software puts the function into D3hot"),
  ASPML12Supported: bit(2, "L1.2 by the link itself"),
  ASPML11Supported: bit(3, "L1.1 by the link itself"),
  L1PMSubstatesSupported: bit(4, "Has L1 substates at all"),
  LinkActivationSupported: bit(5, "Software can keep the link out of L1"),
  PortCommonModeRestoreTime: bits(15, 8, "Microseconds to restore common mode"),
  PortTPowerOnScale: bits(17, 16, "Unit of the next field", POWER_ON),
  PortTPowerOnValue: bits(23, 19, "Time after power on before the link is driven, in units of the scale"),
});
/** L1 PM Substates Control 1 register. PCIe §7.8.3.3. */
export const L1SS_CONTROL_1 = layout("L1 PM Substates Control 1", 32, "PCIe §7.8.3.3", {
  PCIPML12Enable: bit(0, "Enters L1.2 in D3hot"),
  PCIPML11Enable: bit(1, "Enters L1.1 in D3hot"),
  ASPML12Enable: bit(2, "Enters L1.2 by itself"),
  ASPML11Enable: bit(3, "Enters L1.1 by itself"),
  LinkActivationInterruptEnable: bit(4, "Interrupts when the link is active"),
  LinkActivationControl: bit(5, "Keeps the link active"),
  CommonModeRestoreTime: bits(15, 8, "Microseconds to restore common mode"),
  LTRL12ThresholdValue: bits(25, 16, "Tolerated latency from which L1.2 pays, in units of the scale"),
  LTRL12ThresholdScale: bits(31, 29, "Unit of the threshold", { 0: "1 ns", 1: "32 ns", 2: "1024 ns", 3: "32768 ns", 4: "1048576 ns", 5: "33554432 ns", 6: "not permitted", 7: "not permitted" }),
});
/** L1 PM Substates Control 2 register. PCIe §7.8.3.4. */
export const L1SS_CONTROL_2 = layout("L1 PM Substates Control 2", 32, "PCIe §7.8.3.4", {
  TPowerOnScale: bits(1, 0, "Unit of the next field", POWER_ON),
  TPowerOnValue: bits(7, 3, "Time after power on before the link is driven, in units of the scale"),
});
/** L1 PM Substates Status register. PCIe §7.8.3.5. */
export const L1SS_STATUS = layout("L1 PM Substates Status", 32, "PCIe §7.8.3.5", { LinkActivationStatus: bit(0, "The link became active") });

const KEPT = { writable: "all", keptByFunctionReset: "all" } as const;
const registers = { Capabilities: register(4, L1SS_CAPABILITIES), Control1: register(8, L1SS_CONTROL_1, KEPT), Control2: register(0xc, L1SS_CONTROL_2, KEPT) };
const withStatus = { ...registers, Status: register(0x10, L1SS_STATUS, { writeOneToClear: "all" }) };
const shapeOf = (activation: number) => ({ id: 0x1e, extended: true, version: 1, length: activation ? 0x14 : 0x10, registers: (activation ? withStatus : registers) as RegisterMap });

/** L1 PM Substates (extended id 0x1e). PCIe §7.8.3. */
export const l1Substates = (values: RegisterValues<typeof withStatus> = {}, placement?: Placement): CapabilityImage => {
  const given = Object.fromEntries(Object.entries(values).map(([name, fields]) => [name, { ...fields }]));
  return capabilityImage(shapeOf(values.Capabilities?.LinkActivationSupported ?? 0), given, placement);
};

/** How to read an L1 PM Substates capability. */
export const L1_SUBSTATES: CapabilityDefinition = { id: 0x1e, extended: true, shape: (view) => shapeOf(view.dword(4) & 0x20) };
