import { Bridge, bridgeDescription, Endpoint, type BridgeKind, type BridgeOptions, type Bus } from "@iommu-lab/pci-bus/model";
import fc from "fast-check";
import { endpointDescription } from "./bench-machine.ts";

interface Bar {
  readonly kind: "io" | "memory32" | "memory64";
  readonly shift: number;
  readonly prefetchable: boolean;
}
/** An endpoint with its BARs, or ports. */
export type Tree = { readonly bars: readonly Bar[]; readonly rom: boolean } | { readonly ports: readonly Tree[]; readonly hotPlug: boolean };

const bar: fc.Arbitrary<Bar> = fc.oneof(
  fc.record({ kind: fc.constant("io" as const), shift: fc.integer({ min: 2, max: 8 }), prefetchable: fc.constant(false) }),
  fc.record({ kind: fc.constant("memory32" as const), shift: fc.integer({ min: 4, max: 24 }), prefetchable: fc.boolean() }),
  fc.record({ kind: fc.constant("memory64" as const), shift: fc.integer({ min: 12, max: 34 }), prefetchable: fc.boolean() }),
);

const { tree } = fc.letrec<{ tree: Tree }>((tie) => ({
  tree: fc.oneof(
    { depthSize: "small", withCrossShrink: true },
    fc.record({ bars: fc.array(bar, { maxLength: 3 }), rom: fc.boolean() }),
    fc.record({ ports: fc.array(tie("tree"), { maxLength: 3 }), hotPlug: fc.boolean() }),
  ),
}));

const endpointOf = ({ bars, rom }: Extract<Tree, { bars: unknown }>): Endpoint => {
  const described = bars.map(({ kind, shift, prefetchable }, i) => ({ index: 2 * i, kind, size: 2 ** shift, prefetchable }));
  return new Endpoint(endpointDescription({ bars: described, romSize: rom ? 0x1_0000 : 0 }));
};

/** Plugs a tree in: inner nodes become a root port on the root bus, a switch further down. */
export const plant = (bus: Bus, tree: Tree, devfn: number, options: BridgeOptions = {}): void => {
  if ("bars" in tree) {
    bus.plug(endpointOf(tree), devfn);
    return;
  }
  const kind: BridgeKind = bus.kind === "root" ? "root-port" : "downstream-port";
  if (bus.kind !== "link") {
    const port = new Bridge(kind, bridgeDescription(kind, { hotPlug: tree.hotPlug, ...options }));
    bus.plug(port, devfn);
    if (tree.ports.length > 0) plant(port.secondary, tree.ports.length === 1 ? (tree.ports[0] as Tree) : { ports: tree.ports, hotPlug: false }, 0, options);
    return;
  }
  const up = new Bridge("upstream-port");
  bus.plug(up, devfn);
  for (const [i, each] of tree.ports.entries()) plant(up.secondary, "bars" in each ? { ports: [each], hotPlug: false } : each, i << 3, options);
};

/** What hangs on a root bus. */
export const forest = fc.array(tree, { maxLength: 4 });
