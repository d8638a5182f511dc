import { bit, bits, layout } from "@iommu-lab/memory/layout";
import { register, type RegisterMap } from "../config/register.ts";
import type { CapabilityDefinition, FieldValues } from "./definition.ts";
import { capabilityImage, type CapabilityImage, type CapabilityShape, type Placement } from "./image.ts";

const VECTORS = { 0: "1", 1: "2", 2: "4", 3: "8", 4: "16", 5: "32", 6: "reserved", 7: "reserved" } as const;

/** MSI Message Control register. PCIe §7.7.1.2. */
export const MSI_CONTROL = layout("MSI Message Control", 16, "PCIe §7.7.1.2", {
  Enable: bit(0, "Interrupts are sent as messages"),
  MultipleMessageCapable: bits(3, 1, "Vectors the function asks for", VECTORS),
  MultipleMessageEnable: bits(6, 4, "Vectors software has given", VECTORS),
  Address64Capable: bit(7, "The message address has 64 bits"),
  PerVectorMaskingCapable: bit(8, "Has mask and pending bits"),
  ExtendedMessageDataCapable: bit(9, "The message data can have 32 bits"),
  ExtendedMessageDataEnable: bit(10, "The message data has 32 bits"),
});

/** Low half of the message address. PCIe §7.7.1.3. */
export const MSI_ADDRESS = layout("MSI Message Address", 32, "PCIe §7.7.1.3", { Address: bits(31, 2, "Address bits 31:2") });
/** High half of the message address. PCIe §7.7.1.4. */
export const MSI_UPPER_ADDRESS = layout("MSI Message Upper Address", 32, "PCIe §7.7.1.4", { Address: bits(31, 0, "Address bits 63:32") });
/** Message data, low 16 bits. PCIe §7.7.1.5. */
export const MSI_DATA = layout("MSI Message Data", 16, "PCIe §7.7.1.5", { Data: bits(15, 0, "Data bits 15:0; the low bits become the vector's number") });
/** Message data, high 16 bits. PCIe §7.7.1.6. */
export const MSI_EXTENDED_DATA = layout("MSI Extended Message Data", 16, "PCIe §7.7.1.6", { Data: bits(15, 0, "Data bits 31:16") });
/** Mask bits, one per vector. PCIe §7.7.1.7. */
export const MSI_MASK = layout("MSI Mask Bits", 32, "PCIe §7.7.1.7", { Mask: bits(31, 0, "Vector n may not be sent") });
/** Pending bits, one per vector. PCIe §7.7.1.8. */
export const MSI_PENDING = layout("MSI Pending Bits", 32, "PCIe §7.7.1.8", { Pending: bits(31, 0, "Vector n waits for its mask bit to be cleared") });

/** What an MSI capability looks like and holds at first. */
export interface MsiDescription {
  /** 1, 2, 4, 8, 16 or 32; the default is 1. */
  readonly vectors?: number;
  /** The message address has 64 bits; the default is true. */
  readonly address64?: boolean;
  /** Mask and pending bits exist. */
  readonly perVectorMasking?: boolean;
  readonly extendedMessageData?: boolean;
  /** Initial values, where they are not zero. */
  readonly control?: Pick<FieldValues<typeof MSI_CONTROL>, "Enable" | "MultipleMessageEnable" | "ExtendedMessageDataEnable">;
  /** 32 bits, a multiple of 4. */
  readonly address?: number;
  readonly upperAddress?: number;
  readonly data?: number;
  readonly extendedData?: number;
  readonly mask?: number;
  readonly pending?: number;
}

const shapeOf = (wide: boolean, masking: boolean, extendedData: boolean): CapabilityShape => {
  const data = wide ? 0xc : 8;
  const registers: RegisterMap = {
    Control: register(2, MSI_CONTROL, { writable: ["Enable", "MultipleMessageEnable", ...(extendedData ? (["ExtendedMessageDataEnable"] as const) : [])] }),
    Address: register(4, MSI_ADDRESS, { writable: "all" }),
    ...(wide ? { UpperAddress: register(8, MSI_UPPER_ADDRESS, { writable: "all" }) } : {}),
    Data: register(data, MSI_DATA, { writable: "all" }),
    ...(extendedData ? { ExtendedData: register(data + 2, MSI_EXTENDED_DATA, { writable: "all" }) } : {}),
    ...(masking ? { Mask: register(data + 4, MSI_MASK, { writable: "all" }), Pending: register(data + 8, MSI_PENDING) } : {}),
  };
  return { id: 0x05, extended: false, length: data + (masking ? 0xc : 4), registers };
};

/**
 * Message-signalled interrupts capability (id 0x05). PCIe §7.7.1.
 * @throws RangeError when `vectors` is not a power of two from 1 to 32
 */
export const msi = (description: MsiDescription = {}, placement?: Placement): CapabilityImage => {
  const { vectors = 1, address64 = true, perVectorMasking = false, extendedMessageData = false, control, address = 0 } = description;
  const capable = Math.log2(vectors);
  if (!Number.isInteger(capable) || capable > 5) throw new RangeError(`MSI has ${vectors} vectors; allowed are 1, 2, 4, 8, 16 and 32.`);
  if (address % 4 !== 0) throw new RangeError(`The MSI address is 0x${address.toString(16)}; it is a multiple of 4.`);
  const flags = { MultipleMessageCapable: capable, Address64Capable: Number(address64), PerVectorMaskingCapable: Number(perVectorMasking), ExtendedMessageDataCapable: Number(extendedMessageData) };
  return capabilityImage(
    shapeOf(address64, perVectorMasking, extendedMessageData),
    {
      Control: { ...control, ...flags },
      Address: { Address: address / 4 },
      UpperAddress: { Address: description.upperAddress ?? 0 },
      Data: { Data: description.data ?? 0 },
      ExtendedData: { Data: description.extendedData ?? 0 },
      Mask: { Mask: description.mask ?? 0 },
      Pending: { Pending: description.pending ?? 0 },
    },
    placement,
  );
};

/** How to read an MSI capability. */
export const MSI: CapabilityDefinition = {
  id: 0x05,
  extended: false,
  shape: (view) => {
    const control = view.word(2);
    return shapeOf((control & 0x80) !== 0, (control & 0x100) !== 0, (control & 0x200) !== 0);
  },
};
