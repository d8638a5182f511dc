import { DeliveryMode, type Interrupt, type InterruptMessage } from "../interrupt.ts";

const MODES = new Set<number>(Object.values(DeliveryMode));

/**
 * Reads an MSI without remapping: destination in address bits 19:12, vector, mode and trigger in the data.
 * Intel SDM vol. 3 §11.11 "Message Signalled Interrupts". Undefined for reserved delivery modes, which reach no processor.
 */
export const decodeCompatible = ({ address, data }: Readonly<InterruptMessage>): Interrupt | undefined => {
  const mode = (data >>> 8) & 7;
  if (!MODES.has(mode)) return undefined;
  return {
    vector: data & 0xff,
    deliveryMode: mode as DeliveryMode,
    destination: (address >>> 12) & 0xff,
    destinationMode: address & 4 ? "logical" : "physical",
    trigger: data & 0x8000 ? "level" : "edge",
    redirectionHint: (address & 8) !== 0,
  };
};
