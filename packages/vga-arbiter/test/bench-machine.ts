import { FlatMemory } from "@iommu-lab/memory";
import { Bridge, enumerate, RootComplex, type BusHop, type FirmwarePolicy } from "@iommu-lab/pci-bus/model";
import { VgaCard, type VgaCardOptions } from "../src/index.ts";

export interface Machine {
  readonly complex: RootComplex;
  readonly cards: readonly VgaCard[];
  readonly memory: FlatMemory;
  readonly hops: BusHop[];
  /** Times the trace saw two functions answer one address. */
  conflicts(): number;
}

/** Where each card goes: behind a root port of its own, on the root bus, or all behind one bridge to conventional PCI. */
export type Place = "ports" | "root-bus" | "one-bus";

/** A machine with cards, enumerated. Small frame buffers keep tests quick; 4 MiB hold the default picture. */
export const machineWith = (place: Place, cardOptions: readonly VgaCardOptions[], policy: FirmwarePolicy = {}): Machine => {
  const memory = new FlatMemory(0x20_0000);
  const hops: BusHop[] = [];
  const complex = new RootComplex({ memory, clock: { now: 0, after: () => () => undefined }, trace: { hop: (hop) => hops.push(hop) } });
  const root = complex.addHostBridge().bus;
  const shared = new Bridge("pci-to-pci");
  if (place === "one-bus") root.plug(shared, 0x1e << 3);
  const cards = cardOptions.map((options, i) => {
    const card = new VgaCard({ videoMemory: 2 ** 22, conventional: place === "one-bus", ...options });
    if (place === "one-bus") shared.secondary.plug(card, (i + 1) << 3);
    else if (place === "root-bus") root.plug(card, (i + 2) << 3);
    else {
      const port = new Bridge("root-port");
      root.plug(port, (i + 1) << 3);
      port.secondary.plug(card, 0);
    }
    return card;
  });
  enumerate(complex, policy);
  return { complex, cards, memory, hops, conflicts: () => hops.filter(({ decision }) => decision === "conflict").length };
};

/** The first line of a card's text screen, from its planes. */
export const firstLine = (card: VgaCard, length: number): string => Array.from({ length }, (_, i) => String.fromCharCode(card.memory.readPlane(0, 2 * i))).join("");
