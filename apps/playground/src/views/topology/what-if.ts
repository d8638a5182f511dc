import { busOf, compareAddresses, formatAddress, parseAddress, type FunctionAddress } from "@iommu-lab/pci-bus";
import { ISOLATION_BITS, PcieType, type FunctionFacts } from "@iommu-lab/pci-bus/groups";
import type { Edit } from "./settings.ts";

/** A machine that is being changed. */
export interface EditedFacts {
  readonly facts: readonly FunctionFacts[];
  /** Where functions were before, for those that moved: new address to old. */
  readonly was: ReadonlyMap<string, string>;
  /** Buses below bridges. */
  readonly below: ReadonlyMap<string, number>;
  /** Bridges that were put in. */
  readonly added: ReadonlySet<string>;
  /** Edits that could not be made: something they name is not there. */
  readonly refused: readonly number[];
}

type Same = Pick<FunctionFacts, "parent" | "physicalFunction" | "dmaFunction">;
const key = formatAddress;
const sortFacts = (facts: readonly FunctionFacts[]): FunctionFacts[] => facts.toSorted((a, b) => compareAddresses(a.address, b.address));

const childrenOf = (facts: readonly FunctionFacts[], port: string): FunctionFacts[] => facts.filter(({ parent }) => parent && key(parent) === port);

/** Gives functions other addresses, wherever they are named. */
const renumber = (state: EditedFacts, moved: ReadonlyMap<string, FunctionAddress>, parentOf: (f: FunctionFacts) => FunctionAddress | undefined): EditedFacts => {
  const to = (address: FunctionAddress | undefined): FunctionAddress | undefined => address && (moved.get(key(address)) ?? address);
  const was = new Map(state.was);
  const below = new Map(state.below);
  const added = new Set(state.added);
  for (const old of moved.keys()) {
    was.delete(old);
    below.delete(old);
    added.delete(old);
  }
  for (const [old, address] of moved) {
    const [now, bus] = [key(address), state.below.get(old)];
    was.set(now, state.was.get(old) ?? old);
    if (bus !== undefined) below.set(now, bus);
    if (state.added.has(old)) added.add(now);
  }
  const facts = state.facts.map((f): FunctionFacts => {
    const named: Same = { parent: moved.has(key(f.address)) ? parentOf(f) : to(f.parent), physicalFunction: to(f.physicalFunction), dmaFunction: to(f.dmaFunction) };
    return { ...f, ...named, address: to(f.address) ?? f.address };
  });
  return { ...state, facts: sortFacts(facts), was, below, added };
};

/** Addresses of a card on another bus; nothing when they do not fit there. */
const onBus = (card: readonly FunctionFacts[], from: number, to: number): Map<string, FunctionAddress> | undefined => {
  const moved = new Map<string, FunctionAddress>();
  for (const { address } of card) {
    const requester = address.requester + (to - from) * 256;
    if (requester < 0 || requester > 0xffff) return undefined;
    moved.set(key(address), { domain: address.domain, requester });
  }
  return moved;
};

const setControl = (state: EditedFacts, at: string, control: number): EditedFacts | undefined => {
  if (!state.facts.some(({ address }) => key(address) === at)) return undefined;
  const facts = state.facts.map((f): FunctionFacts => {
    if (key(f.address) !== at) return f;
    const acs = typeof f.acs === "string" ? { offset: 0x100, capability: ISOLATION_BITS, control } : f.acs;
    return { ...f, acs: { ...acs, capability: (acs.capability ?? 0) | control, control, ...(acs.wide ? { wide: { capability: acs.wide.capability | control, control } } : {}) } };
  });
  return { ...state, facts };
};

/** A function and the bridges above it. */
const above = (facts: readonly FunctionFacts[], from: FunctionFacts): FunctionFacts[] => {
  const path = [from];
  for (let parent = from.parent; parent && path.length < 256; parent = path.at(-1)?.parent) {
    const name = key(parent);
    const found = facts.find(({ address }) => key(address) === name);
    if (!found) break;
    path.push(found);
  }
  return path;
};

const swap = (state: EditedFacts, from: string, to: string): EditedFacts | undefined => {
  const [source, target] = [state.facts.find(({ address }) => key(address) === from), state.facts.find(({ address }) => key(address) === to)];
  const [busFrom, busTo] = [state.below.get(from), state.below.get(to)];
  if (!source || !target || source === target || busFrom === undefined || busTo === undefined || source.address.domain !== target.address.domain) return undefined;
  const [going, coming] = [childrenOf(state.facts, from), childrenOf(state.facts, to)];
  // A port cannot move below itself.
  if (above(state.facts, target).some((f) => going.includes(f)) || above(state.facts, source).some((f) => coming.includes(f))) return undefined;
  const [there, here] = [onBus(going, busFrom, busTo), onBus(coming, busTo, busFrom)];
  return there && here && renumber(state, new Map([...there, ...here]), (f) => (going.some(({ address }) => compareAddresses(address, f.address) === 0) ? target.address : source.address));
};

const freeBus = (state: EditedFacts, domain: number): number | undefined => {
  const used = new Set([...state.below.values(), ...state.facts.filter(({ address }) => address.domain === domain).map(({ address }) => busOf(address.requester))]);
  for (let bus = 1; bus < 256; bus++) if (!used.has(bus)) return bus;
  return undefined;
};

/** What stands behind a bridge to conventional PCI is conventional. */
const conventional = (f: FunctionFacts): FunctionFacts => ({ ...f, portType: "none", acs: "none", expressOffset: undefined });

const insertBridge = (state: EditedFacts, below: string): EditedFacts | undefined => {
  const port = state.facts.find(({ address }) => key(address) === below);
  const bus = state.below.get(below);
  if (!port || bus === undefined) return undefined;
  const card = childrenOf(state.facts, below);
  const free = freeBus(state, port.address.domain);
  const moved = free === undefined ? undefined : onBus(card, bus, free);
  if (free === undefined || !moved || card.length === 0) return undefined;
  const address: FunctionAddress = { domain: port.address.domain, requester: bus * 256 };
  // No id that a device-specific rule knows.
  const bridge: FunctionFacts = { address, parent: port.address, vendor: 0x10b5, device: 0x8112, classCode: 0x060400, multifunction: false, bridge: true, portType: PcieType.PcieToPciBridge, acs: "none", translated: port.translated };
  const there = new Set([...moved.values()].map(key));
  const next = renumber(state, moved, () => address);
  return { ...next, facts: sortFacts([...next.facts.map((f) => (there.has(key(f.address)) ? conventional(f) : f)), bridge]), below: new Map([...next.below, [key(address), free]]), added: new Set([...next.added, key(address)]) };
};

const make = (state: EditedFacts, edit: Edit): EditedFacts | undefined => {
  const at = (text: string): string => {
    const address = parseAddress(text);
    return address ? key(address) : "";
  };
  switch (edit.kind) {
    case "acs": return setControl(state, at(edit.at), edit.control);
    case "move": return swap(state, at(edit.from), at(edit.to));
    case "bridge": return insertBridge(state, at(edit.below));
  }
};

/** The machine with every edit made, one after the other. Never throws. */
export const applyEdits = (facts: readonly FunctionFacts[], below: ReadonlyMap<string, number>, edits: readonly Edit[]): EditedFacts => {
  let state: EditedFacts = { facts, was: new Map(), below, added: new Set(), refused: [] };
  for (const [i, edit] of edits.entries()) state = make(state, edit) ?? { ...state, refused: [...state.refused, i] };
  return state;
};
