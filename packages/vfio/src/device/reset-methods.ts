import { type FunctionAddress } from "@iommu-lab/pci-bus";
import type { Attachment, RootComplex } from "@iommu-lab/pci-bus/model";
import type { DeviceQuirks } from "./device-quirks.ts";

/** Ways to reset one function, in the order Linux tries them. `reset_method` in sysfs. */
export type ResetMethod = "device_specific" | "flr" | "af_flr" | "pm" | "bus";

const BRIDGE_CONTROL = 0x3e;
const SECONDARY_BUS_RESET = 0x40;

/** What a reset loses and the host puts back: the header, and control registers of capabilities. Linux pci_save_state. */
export interface SavedState {
  readonly words: readonly { readonly at: number; readonly value: number }[];
}

/** Reads what `restoreState` puts back. */
export const saveState = (complex: RootComplex, { address, places }: Attachment): SavedState => {
  const offsets = Array.from({ length: 16 }, (_, index) => 4 * index);
  if (places.express) offsets.push(places.express + 0x08, places.express + 0x10, places.express + 0x28);
  if (places.ats) offsets.push(places.ats + 4);
  return { words: offsets.map((at) => ({ at, value: complex.configRead(address, at, 4) })) };
};

/** Puts it back: addresses before the command register lets the function use them. */
export const restoreState = (complex: RootComplex, { address, places }: Attachment, { words }: SavedState): void => {
  const command = words.find(({ at }) => at === 4);
  for (const { at, value } of words) {
    if (at === 4) continue;
    // Status halves hold bits that a written one clears, and FLR is started by a one.
    if (places.express && (at === places.express + 8 || at === places.express + 0x10)) complex.configWrite(address, at, 2, value & (at === places.express + 8 ? 0x7fff : 0xffff));
    else complex.configWrite(address, at, 4, value);
  }
  if (command) complex.configWrite(address, 4, 2, command.value & 0xffff);
};

/** Whether the bus above can be reset with nobody else on it. Linux pci_parent_bus_reset. */
const aloneOnBus = ({ bus, fn, virtualOf }: Attachment): boolean => bus.bridge !== undefined && fn.secondary === undefined && virtualOf === undefined && bus.everything().length === 1;

/** The methods a function has, best first. Linux pci_init_reset_methods; ACPI's and CXL's are not modelled. */
export const resetMethods = (complex: RootComplex, seat: Attachment, quirks: DeviceQuirks): readonly ResetMethod[] => {
  const { address, places } = seat;
  const read = (at: number, size: 1 | 2 | 4): number => complex.configRead(address, at, size);
  const found: ResetMethod[] = [];
  if (quirks.reset) found.push("device_specific");
  if (!quirks.noFlr && places.express && read(places.express + 4, 4) & 0x1000_0000) found.push("flr");
  if (!quirks.noFlr && places.advancedFeatures && (read(places.advancedFeatures + 3, 1) & 3) === 3) found.push("af_flr");
  if (places.power && !seat.virtualOf && !(read(places.power + 4, 1) & 8)) found.push("pm");
  if (!quirks.noBusReset && aloneOnBus(seat)) found.push("bus");
  return found;
};

/** Resets the bus below a bridge. PCIe §7.5.1.3.13 "Bridge Control Register". */
export const resetBus = (complex: RootComplex, bridge: FunctionAddress): void => {
  const control = complex.configRead(bridge, BRIDGE_CONTROL, 2);
  complex.configWrite(bridge, BRIDGE_CONTROL, 2, control | SECONDARY_BUS_RESET);
  complex.configWrite(bridge, BRIDGE_CONTROL, 2, control & ~SECONDARY_BUS_RESET);
};

/** Resets a function by one method; its registers are as a reset leaves them afterwards. */
export const resetBy = (complex: RootComplex, { address, places, bus }: Attachment, method: ResetMethod, quirks: DeviceQuirks): void => {
  const change = (at: number, size: 1 | 2, of: (old: number) => number): void => {
    complex.configWrite(address, at, size, of(complex.configRead(address, at, size)));
  };
  if (method === "device_specific") quirks.reset?.();
  else if (method === "flr") change(places.express + 8, 2, (old) => old | 0x8000);
  else if (method === "af_flr") change(places.advancedFeatures + 4, 1, (old) => old | 1);
  else if (method === "pm") {
    change(places.power + 4, 2, (old) => (old & ~3) | 3);
    change(places.power + 4, 2, (old) => old & ~3);
  } else if (bus.bridge) resetBus(complex, bus.bridge.address);
};
