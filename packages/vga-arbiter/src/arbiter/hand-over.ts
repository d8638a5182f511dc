import { busOf } from "@iommu-lab/pci-bus";
import { Command } from "@iommu-lab/pci-bus/model";
import { LEGACY_RESOURCES, VgaResource, type VgaResources } from "../legacy/resources.ts";
import type { VgaDevice } from "./device.ts";
import { addLocks, withLegacy } from "./locks.ts";
import { setRouting } from "./routing.ts";
import type { MutableState } from "./vga-state.ts";

/** How an attempt to get resources ended: locked (`moved`: legacy ranges changed their owner), somebody holds what is needed, or a bridge cannot pass the ranges down. */
export type HandOver = { readonly kind: "locked"; readonly moved: boolean } | { readonly kind: "conflict"; readonly holder: MutableState } | { readonly kind: "no-vga-enable" };

const MEMORY = VgaResource.LegacyMemory | VgaResource.NormalMemory;
const IO = VgaResource.LegacyIo | VgaResource.NormalIo;

const commandOf = (resources: VgaResources): number => (resources & MEMORY ? Command.MemorySpace : 0) | (resources & IO ? Command.IoSpace : 0);

const onOneBus = (a: VgaDevice, b: VgaDevice): boolean => a.address.domain === b.address.domain && busOf(a.address.requester) === busOf(b.address.requester);

/**
 * Takes legacy ranges away from one other device. Where its bridge serves it alone, closing the bridge is enough; otherwise its
 * command register is the only means, and that takes its BARs away too.
 */
const takeFrom = (other: MutableState, match: VgaResources, changeBridge: boolean): void => {
  const command = other.bridgeHasOneVga ? 0 : commandOf(match & other.decodes);
  setRouting(other.device, false, { command, bridges: changeBridge });
  other.owns &= ~match;
  if (command & Command.MemorySpace) other.owns &= ~VgaResource.NormalMemory;
  if (command & Command.IoSpace) other.owns &= ~VgaResource.NormalIo;
};

/** The device that holds a needed range, after everything before it in the list already lost what was in the way; and whether anything did. */
const clearTheWay = (state: MutableState, all: readonly MutableState[], legacy: VgaResources): { readonly holder?: MutableState; readonly moved: boolean } => {
  let moved = false;
  for (const other of all) {
    if (other === state) continue;
    const changeBridge = !onOneBus(other.device, state.device);
    // VGA Enable of a bridge passes both ranges or none.
    const wanted = changeBridge ? LEGACY_RESOURCES : legacy;
    if (other.locks & wanted) return { holder: other, moved };
    const match = wanted & other.owns;
    if (!match) continue;
    takeFrom(other, match, changeBridge);
    moved = true;
  }
  return { moved };
};

/** Routes what a device wants to it, taking it from those that own it now, and locks it. Linux vgaarb.c, __vga_tryget(). */
export const handOver = (state: MutableState, requested: VgaResources, all: readonly MutableState[]): HandOver => {
  const resources = withLegacy(requested, state.decodes);
  const wants = resources & ~state.owns;
  const legacy = wants & LEGACY_RESOURCES;
  const { holder, moved } = legacy ? clearTheWay(state, all, legacy) : { moved: false };
  if (holder) return { kind: "conflict", holder };
  if (wants) {
    const command = state.bridgeHasOneVga ? 0 : commandOf(wants);
    if (!setRouting(state.device, true, { command, bridges: legacy !== 0 })) return { kind: "no-vga-enable" };
    state.owns |= wants;
  }
  addLocks(state, resources);
  return { kind: "locked", moved };
};
