import { functionOf } from "@iommu-lab/pci-bus";
import type { HostFunction } from "../snapshot.ts";
import { isIgd, nameOf, type HostEvidence } from "./host-evidence.ts";
import { sameSlot } from "./selection.ts";

/** A function of the host at its place in the guest. */
export interface PlacedFunction {
  readonly host: HostFunction;
  /** Device and function number on its guest bus. */
  readonly device: number;
  readonly fn: number;
  /** The guest's firmware must look for functions above 0: bit 7 of the header type. */
  readonly multifunction: boolean;
}

/** A PCI Express root port of the guest and what is below it. */
export interface GuestPort {
  /** From 1; also its chassis number and the libvirt index of its bus. */
  readonly index: number;
  /** Its own place on the root bus. */
  readonly device: number;
  readonly fn: number;
  readonly multifunction: boolean;
  /** A PCI Express to PCI bridge stands between, which makes all below it one requester for the guest's IOMMU. */
  readonly bridge: boolean;
  readonly functions: readonly PlacedFunction[];
}

/** Where a guest of machine type q35 finds what it is given. */
export interface GuestLayout {
  /** On the root bus itself: integrated graphics at 00:02.0. */
  readonly root: readonly PlacedFunction[];
  readonly ports: readonly GuestPort[];
}

/** Ports stand at 10h to 1eh of the root bus, eight in each slot: clear of 00:02.0 and of what q35 has at 1fh. */
const FIRST_PORT_SLOT = 0x10;

/** Functions of one host slot stay together when function 0 is among them; a guest does not find the others without it. */
const slotsOf = (functions: readonly HostFunction[]): (readonly HostFunction[])[] => {
  const slots: HostFunction[][] = [];
  for (const f of functions) {
    const slot = f.physicalFunction ? undefined : slots.find(([first]) => first && !first.physicalFunction && functionOf(first.address.requester) === 0 && sameSlot(first, f));
    if (slot) slot.push(f);
    else slots.push([f]);
  }
  return slots;
};

const place = (slot: readonly HostFunction[], device: number): PlacedFunction[] =>
  slot.map((host, i) => {
    const fn = i === 0 ? 0 : functionOf(host.address.requester);
    return { host, device, fn, multifunction: fn === 0 && slot.length > 1 };
  });

/** Slots that one IOMMU of the guest must see as one: those whose functions share a group of the host. QEMU: "group used in multiple address spaces". */
const byGroup = (slots: readonly (readonly HostFunction[])[], evidence: HostEvidence): (readonly HostFunction[])[][] => {
  const clusters: (readonly HostFunction[])[][] = [];
  for (const slot of slots) {
    const friends = new Set(slot.flatMap((f) => evidence.groupOf(f) ?? []).map(nameOf));
    const cluster = clusters.find((each) => each.some((other) => other.some((f) => friends.has(nameOf(f)))));
    if (cluster) cluster.push(slot);
    else clusters.push([slot]);
  }
  return clusters;
};

/** Places functions; with an IOMMU in the guest, those of one group behind one bridge. */
export const layOut = (functions: readonly HostFunction[], evidence: HostEvidence, guestHasIommu: boolean): GuestLayout => {
  const igd = functions.filter(isIgd);
  const slots = slotsOf(functions.filter((f) => !igd.includes(f)));
  const clusters = guestHasIommu ? byGroup(slots, evidence) : slots.map((slot) => [slot]);
  const ports = clusters.map((cluster, i): GuestPort => {
    const bridge = guestHasIommu && cluster.flat().length > 1;
    return {
      index: i + 1,
      device: FIRST_PORT_SLOT + Math.floor(i / 8),
      fn: i % 8,
      multifunction: i % 8 === 0 && clusters.length > i + 1,
      bridge,
      // Slot 0 of a conventional bus behind a bridge is left to its hot-plug controller.
      functions: cluster.flatMap((slot, j) => place(slot, bridge ? j + 1 : 0)),
    };
  });
  return { root: igd.flatMap((f) => place([f], 2)), ports };
};
