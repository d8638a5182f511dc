import type { AccessSize } from "@iommu-lab/memory";
import type { ConfigWriteListener } from "../config/function-config.ts";
import { HeaderOffset } from "../config/offsets.ts";
import { PluggedFunction, SriovControl } from "./plugged-function.ts";
import { BridgeControl } from "./bridge-windows.ts";
import { linkChanged } from "./hot-plug.ts";
import type { Attachment, Bus } from "./fabric.ts";

const DEVICE_CONTROL = 0x08;
const INITIATE_FLR = 0x8000;
const FLR_CAPABLE = 0x1000_0000;
const LINK_CONTROL = 0x10;
const LINK_DISABLE = 0x10;
const D3_HOT = 3;
const NO_SOFT_RESET = 8;

/** Bits as they stood before a write: effects hang on their edges. */
interface Edges {
  secondaryReset: boolean;
  linkDisabled: boolean;
  powerState: number;
}

const edgesOf = ({ fn, places }: Attachment): Edges => ({
  secondaryReset: fn.secondary !== undefined && (fn.config.read(HeaderOffset.BridgeControl, 2) & BridgeControl.SecondaryBusReset) !== 0,
  linkDisabled: fn.secondary?.kind === "link" && places.express !== 0 && (fn.config.read(places.express + LINK_CONTROL, 2) & LINK_DISABLE) !== 0,
  powerState: places.power ? fn.config.read(places.power + 4, 1) & 3 : 0,
});

/** Whether the written bytes include `mask` of the 16-bit register at `register`, as ones. */
const writesOne = (offset: number, size: AccessSize, value: number, register: number, mask: number): boolean => {
  for (let i = 0; i < 2; i++) {
    const at = register + i - offset;
    if (at >= 0 && at < size && (value >>> (8 * at)) & ((mask >> (8 * i)) & 0xff)) return true;
  }
  return false;
};

const touches = (offset: number, size: number, at: number, length: number): boolean => offset < at + length && offset + size > at;

/** Brings the virtual functions in line with VF Enable and NumVFs. PCIe §9.3.3.3.1 "VF Enable". */
export const syncVirtualFunctions = (seat: Attachment): void => {
  const { fn, places } = seat;
  if (!places.sriov || !fn.virtualFunction) return;
  const enabled = (fn.config.read(places.sriov + 8, 2) & SriovControl.VfEnable) !== 0;
  const wanted = enabled ? Math.min(fn.config.read(places.sriov + 0x10, 2), fn.config.read(places.sriov + 0x0e, 2)) : 0;
  for (const gone of seat.virtual.slice(wanted)) {
    gone.present = false;
    gone.port.silence();
  }
  const virtual = seat.virtual.slice(0, wanted);
  for (let index = virtual.length; index < wanted; index++) {
    const made = new PluggedFunction(fn.virtualFunction(index), seat.bus, 0, { physical: seat, index });
    virtual.push(made);
    observeConfig(made);
    made.fn.connect(made.port);
  }
  seat.virtual = virtual;
};

/** Resets one function, which takes down its virtual functions when VF Enable falls. PCIe §6.6.2, §9.2.2. */
const resetFunction = (seat: Attachment, kind: "function" | "bus" | "cold"): void => {
  seat.port.silence();
  for (const each of seat.virtual) each.fn.fabric?.reset(kind);
  seat.fn.fabric?.reset(kind);
  syncVirtualFunctions(seat);
  seat.hop("reset", kind === "function" ? "PCIe §6.6.2: function-level reset" : `PCIe §6.6.1: ${kind} reset`);
};

/** Resets every function on a bus and below. PCIe §6.6.1 "Conventional Reset". */
export const resetBelow = (bus: Bus, kind: "bus" | "cold"): void => {
  for (const each of bus.functions()) {
    resetFunction(each, kind);
    if (each.fn.secondary) resetBelow(each.fn.secondary, kind);
  }
};

const startsFunctionReset = ({ fn, places }: Attachment, offset: number, size: AccessSize, value: number): boolean => {
  if (places.express && fn.config.read(places.express + 4, 4) & FLR_CAPABLE && writesOne(offset, size, value, places.express + DEVICE_CONTROL, INITIATE_FLR)) return true;
  const { advancedFeatures } = places;
  return advancedFeatures !== 0 && (fn.config.read(advancedFeatures + 3, 1) & 3) === 3 && writesOne(offset, size, value, advancedFeatures + 4, 1);
};

const apply = (seat: Attachment, before: Edges, after: Edges): void => {
  const { secondary } = seat.fn;
  if (secondary && ((after.secondaryReset && !before.secondaryReset) || (after.linkDisabled && !before.linkDisabled))) resetBelow(secondary, "bus");
  if (secondary && after.linkDisabled !== before.linkDisabled) linkChanged(secondary, false);
  const softReset = before.powerState === D3_HOT && after.powerState === 0 && !(seat.fn.config.read(seat.places.power + 4, 1) & NO_SOFT_RESET);
  // PCIe §5.3.1.4: a function without No_Soft_Reset comes out of D3hot as after a reset.
  if (softReset) resetFunction(seat, "function");
};

const effects = (seat: Attachment): ConfigWriteListener => {
  let before = edgesOf(seat);
  return (offset, size, value) => {
    if (!seat.present) return;
    const after = edgesOf(seat);
    const old = before;
    before = after;
    apply(seat, old, after);
    if (startsFunctionReset(seat, offset, size, value)) resetFunction(seat, "function");
    const { sriov, resizableBars } = seat.places;
    if (sriov && touches(offset, size, sriov + 8, 12)) syncVirtualFunctions(seat);
    if (resizableBars && touches(offset, size, resizableBars + 8, 48)) seat.resizeBars();
    if (touches(offset, size, HeaderOffset.Command, 2)) seat.bus.host?.complex.wires.update(seat);
  };
};

const listeners = new WeakMap<Attachment, ConfigWriteListener>();

/** Watches a function's configuration writes for those that do something to the bus. */
export const observeConfig = (seat: Attachment): void => {
  const { config } = seat.fn as { readonly config: { onWrite?: (listener: ConfigWriteListener) => () => void } };
  const listener = effects(seat);
  if (config.onWrite) config.onWrite(listener);
  else listeners.set(seat, listener);
};

/** A configuration write as it arrives at a function, with what follows from it. */
export const writeConfig = (seat: Attachment, offset: number, size: AccessSize, value: number): void => {
  seat.fn.config.write(offset, size, value);
  listeners.get(seat)?.(offset, size, value);
};
