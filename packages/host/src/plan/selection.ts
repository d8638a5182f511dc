import { compareAddresses, deviceOf, busOf, formatAddress, type FunctionAddress } from "@iommu-lab/pci-bus";
import type { HostFunction } from "../snapshot.ts";
import { classOf, isBridge, isDisplay, nameOf, type HostEvidence } from "./host-evidence.ts";

/** Which functions a plan touches. */
export interface Selection {
  /** What was asked for by name. */
  readonly named: readonly HostFunction[];
  /** What the guest gets, in order of address: the named ones and what belongs to them. */
  readonly assigned: readonly HostFunction[];
  /** Members of their groups that go to vfio-pci so that no driver of the host takes them, but not to the guest. */
  readonly held: readonly HostFunction[];
}

export const sameSlot = (a: HostFunction, b: HostFunction): boolean => a.address.domain === b.address.domain && busOf(a.address.requester) === busOf(b.address.requester) && deviceOf(a.address.requester) === deviceOf(b.address.requester);

/** Bridges, chipset functions and the IOMMU itself stay with the host. PCI Code and ID Assignment, classes 06h and 08h/06h. */
export const staysWithHost = (f: HostFunction): boolean => isBridge(f) || classOf(f) >>> 8 === 0x06 || classOf(f) === 0x0806;

const AUDIO = 0x0403;
const [USB, SERIAL_BUS_OTHER] = [0x0c03, 0x0c80];

/** The sound, USB and USB-C functions of a card, whichever groups they are in; not what else a processor has in the slot. */
const isCardPart = (display: HostFunction, f: HostFunction): boolean =>
  sameSlot(display, f) && f.vendor === display.vendor && !f.physicalFunction && [AUDIO, USB, SERIAL_BUS_OTHER].includes(classOf(f));

const onRootBus = (f: HostFunction): boolean => f.parent === undefined;

/**
 * Adds what must go with the named functions: a card's other functions, the other functions of the same slot and group.
 * What shares the group from another slot is held when it has no driver; with one, it must be named.
 */
export const selectFunctions = (evidence: HostEvidence, devices: readonly FunctionAddress[]): Selection | { readonly unknown: FunctionAddress } => {
  const { functions } = evidence.snapshot;
  const named: HostFunction[] = [];
  for (const address of devices) {
    const f = functions.find((each) => compareAddresses(each.address, address) === 0);
    if (!f) return { unknown: address };
    if (!named.includes(f)) named.push(f);
  }
  const cards = named.flatMap((f) => functions.filter((each) => isDisplay(each) && sameSlot(each, f) && (each === f || isCardPart(each, f))));
  const assigned = new Set([...named, ...cards, ...cards.flatMap((display) => functions.filter((f) => isCardPart(display, f)))]);
  const held = new Set<HostFunction>();
  for (const f of assigned)
    for (const member of evidence.groupOf(f) ?? []) {
      if (assigned.has(member) || staysWithHost(member)) continue;
      if (sameSlot(member, f) && !onRootBus(member)) assigned.add(member);
      else if (sameSlot(member, f) || member.driver === undefined) held.add(member);
    }
  const sorted = (set: ReadonlySet<HostFunction>): HostFunction[] => [...set].sort((a, b) => compareAddresses(a.address, b.address));
  for (const f of assigned) held.delete(f);
  return { named, assigned: sorted(assigned), held: sorted(held) };
};

/** Everything that is bound to vfio-pci. */
export const boundFunctions = ({ assigned, held }: Selection): HostFunction[] => [...assigned, ...held].sort((a, b) => compareAddresses(a.address, b.address));

/** Names for people: "0000:01:00.0, 0000:01:00.1". */
export const listNames = (functions: readonly HostFunction[]): string => functions.map(nameOf).join(", ");

export const isNamed = (selection: Selection, f: HostFunction): boolean => selection.named.some((each) => formatAddress(each.address) === nameOf(f));
