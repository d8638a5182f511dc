import { bit, bits, layout } from "@iommu-lab/memory/layout";
import { register, type RegisterMap } from "../config/register.ts";
import type { CapabilityDefinition, CapabilityView } from "./definition.ts";
import { capabilityImage, type CapabilityImage, type CapabilityShape, type Placement } from "./image.ts";

/** Command register of a HyperTransport capability that is neither primary nor secondary interface. HyperTransport §7.4. */
export const HT_COMMAND = layout("HyperTransport Command", 16, "HyperTransport §7.4", { CapabilityType: bits(15, 11, "What kind of HyperTransport capability this is") });

/** Command register of the MSI mapping. HyperTransport §7.12. */
export const HT_MSI_MAPPING = layout("HyperTransport MSI Mapping", 16, "HyperTransport §7.12", {
  Enable: bit(0, "Writes to the MSI window become HyperTransport interrupts"),
  Fixed: bit(1, "The window is at 0xfee0_0000; there are no address registers"),
  CapabilityType: bits(15, 11, "10101b"),
});
/** Window address, low half. HyperTransport §7.12. */
export const HT_MSI_ADDRESS = layout("HyperTransport MSI Address", 32, "HyperTransport §7.12", { Address: bits(31, 20, "Address bits 31:20") });
/** Window address, high half. HyperTransport §7.12. */
export const HT_MSI_UPPER_ADDRESS = layout("HyperTransport MSI Upper Address", 32, "HyperTransport §7.12", { Address: bits(31, 0, "Address bits 63:32") });

const MSI_MAPPING = 0b10101;
const TYPES: Readonly<Record<number, string>> = {
  0b01000: "Switch",
  0b01001: "Reserved",
  0b10000: "Interrupt discovery and configuration",
  0b10001: "Revision ID",
  0b10010: "Unit ID clumping",
  0b10011: "Extended configuration space access",
  0b10100: "Address mapping",
  [MSI_MAPPING]: "MSI mapping",
  0b10110: "Direct route",
  0b10111: "VC set",
  0b11000: "Retry mode",
  0b11001: "X86 encoding",
  0b11010: "Gen3",
  0b11011: "Function-level extension",
  0b11100: "Power management",
};

const typeOf = (view: CapabilityView): number => view.word(2) >>> 11;

const mappingShape = (fixed: boolean): CapabilityShape => {
  const registers: RegisterMap = {
    Command: register(2, HT_MSI_MAPPING, { writable: ["Enable"] }),
    ...(fixed ? {} : { Address: register(4, HT_MSI_ADDRESS, { writable: "all" }), UpperAddress: register(8, HT_MSI_UPPER_ADDRESS, { writable: "all" }) }),
  };
  return { id: 0x08, extended: false, length: fixed ? 4 : 12, registers };
};

/** HyperTransport MSI mapping capability (id 0x08, type 10101b). Without `address` the window is fixed at 0xfee0_0000. */
export const hypertransportMsiMapping = ({ enable = false, address }: { readonly enable?: boolean; readonly address?: { readonly low: number; readonly high: number } }, placement?: Placement): CapabilityImage =>
  capabilityImage(
    mappingShape(address === undefined),
    { Command: { Enable: Number(enable), Fixed: Number(address === undefined), CapabilityType: MSI_MAPPING }, Address: { Address: (address?.low ?? 0) >>> 20 }, UpperAddress: { Address: address?.high ?? 0 } },
    placement,
  );

/** How to read a HyperTransport capability: the MSI mapping in full, of others the type. */
export const HYPERTRANSPORT: CapabilityDefinition = {
  id: 0x08,
  extended: false,
  shape: (view) => (typeOf(view) === MSI_MAPPING ? mappingShape((view.word(2) & 2) !== 0) : { id: 0x08, extended: false, length: 4, registers: { Command: register(2, HT_COMMAND) } }),
  type: (view) => {
    const type = typeOf(view);
    if (type >>> 2 === 0) return "Slave or primary interface";
    if (type >>> 2 === 1) return "Host or secondary interface";
    return TYPES[type];
  },
};
