import { bit, bits, layout } from "@iommu-lab/memory/layout";
import { register, type RegisterValues } from "../config/register.ts";
import type { CapabilityDefinition } from "./definition.ts";
import { capabilityImage, type CapabilityImage, type Placement } from "./image.ts";

/** ARI Capability register. PCIe §7.8.8.2. */
export const ARI_CAPABILITY = layout("ARI Capability", 16, "PCIe §7.8.8.2", {
  MFVCFunctionGroups: bit(0, "Arbitrates by function groups"),
  ACSFunctionGroups: bit(1, "Controls access by function groups"),
  NextFunctionNumber: bits(15, 8, "Next function of the device; 0 ends the list"),
});
/** ARI Control register. PCIe §7.8.8.3. */
export const ARI_CONTROL = layout("ARI Control", 16, "PCIe §7.8.8.3", {
  MFVCFunctionGroupsEnable: bit(0, "Function numbers mean function groups in arbitration"),
  ACSFunctionGroupsEnable: bit(1, "Egress control bits mean function groups"),
  FunctionGroup: bits(6, 4, "Group of this function"),
});

const ari = { Capability: register(4, ARI_CAPABILITY), Control: register(6, ARI_CONTROL, { writable: "all" }) };
const ariShape = { id: 0x0e, extended: true, version: 1, length: 8, registers: ari };

/** Alternative Routing-ID Interpretation (extended id 0x0e): a device of up to 256 functions. PCIe §7.8.8. */
export const alternativeRoutingId = (values: RegisterValues<typeof ari> = {}, placement?: Placement): CapabilityImage => capabilityImage(ariShape, values, placement);

/** How to read an ARI capability. */
export const ALTERNATIVE_ROUTING_ID: CapabilityDefinition = { id: 0x0e, extended: true, shape: () => ariShape };

/** Device serial number, an EUI-64. PCIe §7.9.3.2. */
export const SERIAL_NUMBER = layout("Serial Number", 64, "PCIe §7.9.3.2", { Low: bits(31, 0, "EUI-64, last four bytes"), High: bits(63, 32, "EUI-64, first four bytes") });

const dsn = { SerialNumber: register(4, SERIAL_NUMBER) };
const dsnShape = { id: 0x03, extended: true, version: 1, length: 12, registers: dsn };

/** Device Serial Number (extended id 0x03). `high` and `low` are 32 bits each. PCIe §7.9.3. */
export const deviceSerialNumber = ({ high, low }: { readonly high: number; readonly low: number }, placement?: Placement): CapabilityImage => capabilityImage(dsnShape, { SerialNumber: { High: high, Low: low } }, placement);

/** How to read a device serial number. */
export const DEVICE_SERIAL_NUMBER: CapabilityDefinition = { id: 0x03, extended: true, shape: () => dsnShape };

const SCALE = { 0: "1 ns", 1: "32 ns", 2: "1024 ns", 3: "32768 ns", 4: "1048576 ns", 5: "33554432 ns", 6: "not permitted", 7: "not permitted" } as const;
/** Max Snoop Latency and Max No-Snoop Latency registers. PCIe §7.8.2.2. */
export const LTR_LATENCY = layout("Max Latency", 16, "PCIe §7.8.2.2", { Value: bits(9, 0, "Latency in units of the scale"), Scale: bits(12, 10, "Unit", SCALE) });

const ltr = { MaxSnoopLatency: register(4, LTR_LATENCY, { writable: "all" }), MaxNoSnoopLatency: register(6, LTR_LATENCY, { writable: "all" }) };
const ltrShape = { id: 0x18, extended: true, version: 1, length: 8, registers: ltr };

/** Latency Tolerance Reporting (extended id 0x18). PCIe §7.8.2. */
export const latencyToleranceReporting = (values: RegisterValues<typeof ltr> = {}, placement?: Placement): CapabilityImage => capabilityImage(ltrShape, values, placement);

/** How to read an LTR capability. */
export const LATENCY_TOLERANCE_REPORTING: CapabilityDefinition = { id: 0x18, extended: true, shape: () => ltrShape };

/** PTM Capability register. PCIe §7.9.15.2. */
export const PTM_CAPABILITY = layout("PTM Capability", 32, "PCIe §7.9.15.2", {
  RequesterCapable: bit(0, "Can ask for the time"),
  ResponderCapable: bit(1, "Can tell the time"),
  RootCapable: bit(2, "Can be the source of time"),
  EPTMCapable: bit(3, "Enhanced precision time measurement"),
  LocalClockGranularity: bits(15, 8, "Period of the clock in nanoseconds; 0 no clock, 255 over 254 ns"),
});
/** PTM Control register. PCIe §7.9.15.3. */
export const PTM_CONTROL = layout("PTM Control", 32, "PCIe §7.9.15.3", {
  Enable: bit(0, "Takes part"),
  RootSelect: bit(1, "Is the source of time"),
  EffectiveGranularity: bits(15, 8, "Worst period on the way from the source"),
});

const ptm = { Capability: register(4, PTM_CAPABILITY), Control: register(8, PTM_CONTROL, { writable: "all" }) };
const ptmShape = { id: 0x1f, extended: true, version: 1, length: 12, registers: ptm };

/** Precision Time Measurement (extended id 0x1f). PCIe §7.9.15. */
export const precisionTimeMeasurement = (values: RegisterValues<typeof ptm> = {}, placement?: Placement): CapabilityImage => capabilityImage(ptmShape, values, placement);

/** How to read a PTM capability. */
export const PRECISION_TIME_MEASUREMENT: CapabilityDefinition = { id: 0x1f, extended: true, shape: () => ptmShape };
