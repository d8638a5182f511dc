import { hex } from "@iommu-lab/memory";
import type { DeliveryMode, Interrupt, InterruptMessage } from "@iommu-lab/pci-bus";

/** The window that turns a memory write into an interrupt: address bits 31:20. */
const MESSAGE_BASE = 0xfee0_0000;

/** Address and data of a message without its sender. */
export type MessageWrite = Pick<InterruptMessage, "address" | "data">;

/** Delivery modes 3 and 6 are reserved. */
export const isDeliveryMode = (mode: number): mode is DeliveryMode => mode !== 3 && mode !== 6;

/** A record for `decodeMessage` and remappers to fill, once per caller. */
export const newInterrupt = (): Interrupt => ({ vector: 0, deliveryMode: 0, destination: 0, destinationMode: "physical", trigger: "edge", redirectionHint: false });

/**
 * Reads a message in compatibility format. Intel SDM vol. 3 §11.11 "Message Signalled Interrupts".
 * The format bit and the reserved bits are not looked at, nor is Level: chipsets send assertions only.
 * @param out filled in
 * @returns false, with `out` untouched, when the delivery mode is reserved: no local APIC accepts such a message
 */
export const decodeMessage = ({ address, data }: Readonly<MessageWrite>, out: Interrupt): boolean => {
  const mode = (data >>> 8) & 7;
  if (!isDeliveryMode(mode)) return false;
  out.vector = data & 0xff;
  out.deliveryMode = mode;
  out.destination = (address >>> 12) & 0xff;
  out.destinationMode = (address & 4) === 0 ? "physical" : "logical";
  out.trigger = (data & 0x8000) === 0 ? "edge" : "level";
  out.redirectionHint = (address & 8) !== 0;
  return true;
};

/**
 * Writes a message in compatibility format. Intel SDM vol. 3 §11.11.
 * @param out its `address` and `data` are filled in
 * @throws RangeError when the vector or the destination has more than 8 bits; a wider APIC ID needs interrupt remapping
 */
export const encodeMessage = (interrupt: Readonly<Interrupt>, out: MessageWrite): void => {
  const { vector, destination } = interrupt;
  if (!(Number.isInteger(vector) && vector >= 0 && vector <= 0xff)) throw new RangeError(`Interrupt vector ${vector} does not fit a message; vectors are 0 to 255.`);
  if (!(Number.isInteger(destination) && destination >= 0 && destination <= 0xff))
    throw new RangeError(`APIC ID ${Number.isInteger(destination) && destination > 0 ? hex(destination) : destination} does not fit a message in compatibility format, which has 8 bits for it; a remapping entry has 32.`);
  out.address = MESSAGE_BASE + destination * 0x1000 + (interrupt.redirectionHint ? 8 : 0) + (interrupt.destinationMode === "logical" ? 4 : 0);
  out.data = vector | (interrupt.deliveryMode << 8) | 0x4000 | (interrupt.trigger === "level" ? 0x8000 : 0);
};
