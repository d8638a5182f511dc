import { bit, bits, layout } from "@iommu-lab/memory/layout";
import { register, type RegisterMap } from "../config/register.ts";
import type { CapabilityDefinition, FieldValues } from "./definition.ts";
import { capabilityImage, type CapabilityImage, type CapabilityShape, type Placement } from "./image.ts";

/** Port VC Capability register 1. PCIe §7.9.1.2. */
export const PORT_VC_CAPABILITY_1 = layout("Port VC Capability 1", 32, "PCIe §7.9.1.2", {
  ExtendedVCCount: bits(2, 0, "Virtual channels beside VC 0"),
  LowPriorityExtendedVCCount: bits(6, 4, "How many of them are of low priority"),
  ReferenceClock: bits(9, 8, "Clock of time-based arbitration", { 0: "100 ns" }),
  PortArbitrationTableEntrySize: bits(11, 10, "Size of an entry", { 0: "1 bit", 1: "2 bits", 2: "4 bits", 3: "8 bits" }),
});
/** Port VC Capability register 2. PCIe §7.9.1.3. */
export const PORT_VC_CAPABILITY_2 = layout("Port VC Capability 2", 32, "PCIe §7.9.1.3", {
  FixedArbitration: bit(0, "Fixed arbitration"),
  WRR32: bit(1, "Weighted round robin, 32 phases"),
  WRR64: bit(2, "Weighted round robin, 64 phases"),
  WRR128: bit(3, "Weighted round robin, 128 phases"),
  VCArbitrationTableOffset: bits(31, 24, "Offset of the table in 16-byte units; 0 for none"),
});
/** Port VC Control register. PCIe §7.9.1.4. */
export const PORT_VC_CONTROL = layout("Port VC Control", 16, "PCIe §7.9.1.4", {
  LoadVCArbitrationTable: bit(0, "Writing one loads the table; reads as zero"),
  VCArbitrationSelect: bits(3, 1, "Arbitration in use", { 0: "fixed", 1: "WRR, 32 phases", 2: "WRR, 64 phases", 3: "WRR, 128 phases" }),
});
/** Port VC Status register. PCIe §7.9.1.5. */
export const PORT_VC_STATUS = layout("Port VC Status", 16, "PCIe §7.9.1.5", { VCArbitrationTableStatus: bit(0, "The table changed and was not loaded yet") });
/** VC Resource Capability register. PCIe §7.9.1.6. */
export const VC_RESOURCE_CAPABILITY = layout("VC Resource Capability", 32, "PCIe §7.9.1.6", {
  FixedArbitration: bit(0, "Fixed arbitration"),
  WRR32: bit(1, "Weighted round robin, 32 phases"),
  WRR64: bit(2, "Weighted round robin, 64 phases"),
  WRR128: bit(3, "Weighted round robin, 128 phases"),
  TWRR128: bit(4, "Time-based weighted round robin, 128 phases"),
  WRR256: bit(5, "Weighted round robin, 256 phases"),
  RejectSnoopTransactions: bit(15, "Requests without no snoop are errors"),
  MaximumTimeSlots: bits(22, 16, "Time slots minus one"),
  PortArbitrationTableOffset: bits(31, 24, "Offset of the table in 16-byte units; 0 for none"),
});
/** VC Resource Control register. PCIe §7.9.1.7. */
export const VC_RESOURCE_CONTROL = layout("VC Resource Control", 32, "PCIe §7.9.1.7", {
  TCVCMap: bits(7, 0, "Traffic classes that use this channel"),
  LoadPortArbitrationTable: bit(16, "Writing one loads the table; reads as zero"),
  PortArbitrationSelect: bits(19, 17, "Arbitration in use", { 0: "fixed", 1: "WRR, 32 phases", 2: "WRR, 64 phases", 3: "WRR, 128 phases", 4: "TWRR, 128 phases", 5: "WRR, 256 phases" }),
  VCID: bits(26, 24, "Number of the channel"),
  VCEnable: bit(31, "The channel is in use"),
});
/** VC Resource Status register. PCIe §7.9.1.8. */
export const VC_RESOURCE_STATUS = layout("VC Resource Status", 16, "PCIe §7.9.1.8", {
  PortArbitrationTableStatus: bit(0, "The table changed and was not loaded yet"),
  VCNegotiationPending: bit(1, "The other side is not ready yet"),
});

/** All of the virtual channel capability is excepted from function-level reset. PCIe §6.6.2. */
const shapeOf = (extra: number, id = 0x02): CapabilityShape => {
  const registers: Record<string, RegisterMap[string]> = {
    PortCapability1: register(4, PORT_VC_CAPABILITY_1),
    PortCapability2: register(8, PORT_VC_CAPABILITY_2),
    PortControl: register(0xc, PORT_VC_CONTROL, { writable: ["VCArbitrationSelect"], keptByFunctionReset: "all" }),
    PortStatus: register(0xe, PORT_VC_STATUS),
  };
  for (let vc = 0; vc <= extra; vc++) {
    const at = 0x10 + 0xc * vc;
    registers[`VC${vc}Capability`] = register(at, VC_RESOURCE_CAPABILITY);
    registers[`VC${vc}Control`] = register(at + 4, VC_RESOURCE_CONTROL, { writable: ["TCVCMap", "PortArbitrationSelect", "VCID", "VCEnable"], keptByFunctionReset: "all" });
    registers[`VC${vc}Status`] = register(at + 0xa, VC_RESOURCE_STATUS);
  }
  return { id, extended: true, version: 1, length: 0x10 + 0xc * (extra + 1), registers };
};

/** What a virtual channel capability without arbitration tables says at first. */
export interface VirtualChannelDescription {
  readonly PortCapability1?: FieldValues<typeof PORT_VC_CAPABILITY_1>;
  readonly PortCapability2?: FieldValues<typeof PORT_VC_CAPABILITY_2>;
  readonly PortControl?: FieldValues<typeof PORT_VC_CONTROL>;
  readonly PortStatus?: FieldValues<typeof PORT_VC_STATUS>;
  /** One per channel: `PortCapability1.ExtendedVCCount` plus one. */
  readonly channels?: readonly { readonly Capability?: FieldValues<typeof VC_RESOURCE_CAPABILITY>; readonly Control?: FieldValues<typeof VC_RESOURCE_CONTROL>; readonly Status?: FieldValues<typeof VC_RESOURCE_STATUS> }[];
}

/** Virtual Channel (extended id 0x02). PCIe §7.9.1. By default one channel, VC 0 with all traffic classes. */
export const virtualChannel = ({ channels = [{ Control: { TCVCMap: 0xff, VCEnable: 1 } }], ...port }: VirtualChannelDescription = {}, placement?: Placement): CapabilityImage => {
  const values: Record<string, Readonly<Record<string, number>>> = Object.fromEntries(Object.entries(port).map(([name, fields]) => [name, { ...fields }]));
  for (const [vc, each] of channels.entries()) for (const [name, fields] of Object.entries(each)) values[`VC${vc}${name}`] = { ...fields };
  return capabilityImage(shapeOf(port.PortCapability1?.ExtendedVCCount ?? 0), values, placement);
};

/** How to read a virtual channel capability. */
export const VIRTUAL_CHANNEL: CapabilityDefinition = { id: 0x02, extended: true, shape: (view) => shapeOf(view.byte(4) & 7) };
/** How to read a virtual channel capability of a device with a multi-function virtual channel capability. */
export const VIRTUAL_CHANNEL_WITH_MFVC: CapabilityDefinition = { id: 0x09, extended: true, shape: (view) => shapeOf(view.byte(4) & 7, 0x09) };
