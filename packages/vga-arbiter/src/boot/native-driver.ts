import { formatAddress } from "@iommu-lab/pci-bus";
import { barBase, type RootComplex } from "@iommu-lab/pci-bus/model";
import type { VgaArbiter } from "../arbiter/arbiter.ts";
import type { VgaDevice } from "../arbiter/device.ts";
import { nativeDecodes } from "../arbiter/driver-decodes.ts";
import { LEGACY_DISABLE, REGISTERS_BAR } from "../card/vga-card.ts";
import { LEGACY_RESOURCES, VgaResource } from "../legacy/resources.ts";

/** How a driver makes its card deaf for the legacy ranges: by the card's own switch, or not at all, so that only the command register is left. */
export type LegacyOff = "card-switch" | "command-register";

/** A native driver that took a card over. */
export interface NativeDriver {
  readonly method: LegacyOff;
  /** A sentence. */
  readonly text: string;
}

/** Writes the switch, and looks whether the card obeys. */
const setSwitch = (complex: RootComplex, device: VgaDevice, disabled: boolean): boolean => {
  const seat = complex.find(device.address);
  const bar = seat?.bars.find(({ index }) => index === REGISTERS_BAR);
  if (!seat || !bar) return false;
  complex.memoryWrite(barBase(seat.fn.config, bar) + LEGACY_DISABLE, Uint8Array.of(Number(disabled)));
  return (seat.fn.legacyVga === undefined) === disabled;
};

/**
 * Lets a native driver take a `VgaCard` over: the console on text mode goes, the card's own switch makes it deaf for the legacy
 * ranges, and the arbiter is told. Where the switch is ignored the card keeps decoding, and all that the arbiter can take is the
 * command register, with which the BARs go too.
 */
export const loadNativeDriver = (complex: RootComplex, arbiter: VgaArbiter, device: VgaDevice): NativeDriver => {
  const name = formatAddress(device.address);
  arbiter.removeConsole(device);
  if (!setSwitch(complex, device, true)) {
    arbiter.register(device, () => LEGACY_RESOURCES | nativeDecodes(false));
    return { method: "command-register", text: `${name} ignores its own switch: only its command register stops it, and its BARs with it.` };
  }
  arbiter.setLegacyDecoding(device, VgaResource.None);
  arbiter.register(device, (legacy) => (setSwitch(complex, device, !legacy) ? nativeDecodes(legacy) : LEGACY_RESOURCES));
  return { method: "card-switch", text: `${name} no longer answers to the legacy ranges, and its BARs stay.` };
};
