import type { RunEvent } from "@iommu-lab/hypervisor/scenarios";

/** What a card had between two changes. */
export interface CardSpan {
  /** Index of the first event, and of the one after the last. */
  readonly from: number;
  readonly to: number;
  readonly decodes: string;
  readonly owns: string;
  readonly locks: string;
  readonly waits: boolean;
}

/** A bridge's VGA Enable between two changes (PCI-to-PCI Bridge Architecture 1.2 §3.2.5.18, bit 3 of bridge control). */
interface BridgeSpan {
  readonly from: number;
  readonly to: number;
  readonly open: boolean;
}

/** Who had the legacy VGA ranges of one machine, and when. */
export interface VgaLanes {
  readonly cards: ReadonlyMap<string, readonly CardSpan[]>;
  readonly bridges: ReadonlyMap<string, readonly BridgeSpan[]>;
}

const BRIDGE_CONTROL = 0x3e;
const VGA_ENABLE = 8;

/** Adds a span unless it says what the last one says: then that one goes on. */
const extend = <S extends { readonly from: number; readonly to: number }>(spans: S[], span: S): void => {
  const last = spans.at(-1);
  if (last && JSON.stringify({ ...last, from: 0, to: 0 }) === JSON.stringify({ ...span, from: 0, to: 0 })) spans[spans.length - 1] = { ...last, to: span.to };
  else {
    if (last) spans[spans.length - 1] = { ...last, to: span.from };
    spans.push(span);
  }
};

/** Machines of a run in which a VGA arbiter was at work. */
export const vgaMachines = (events: readonly RunEvent[]): { readonly machine: number; readonly name: string }[] => {
  const busy = new Set(events.flatMap((event) => (event.kind === "vga" ? [event.machine] : [])));
  return events.flatMap((event) => (event.kind === "machine" && busy.has(event.machine) ? [{ machine: event.machine, name: event.name }] : []));
};

/** What happened to the ranges of a machine in the first `count` events of a run. */
export const vgaLanes = (events: readonly RunEvent[], machine: number, count: number): VgaLanes => {
  const cards = new Map<string, CardSpan[]>();
  const bridges = new Map<string, BridgeSpan[]>();
  const laneOf = <S>(lanes: Map<string, S[]>, at: string): S[] => {
    const lane = lanes.get(at) ?? [];
    lanes.set(at, lane);
    return lane;
  };
  events.slice(0, count).forEach((event, i) => {
    if (event.kind === "vga" && event.machine === machine) {
      for (const { at, decodes, owns, locks } of event.devices) extend(laneOf(cards, at), { from: i, to: count, decodes, owns, locks, waits: event.waiting.includes(at) });
    } else if (event.kind === "config-write" && event.machine === machine && event.offset === BRIDGE_CONTROL) {
      extend(laneOf(bridges, event.at), { from: i, to: count, open: (Number(event.value) & VGA_ENABLE) !== 0 });
    }
  });
  return { cards, bridges: new Map([...bridges].filter(([, spans]) => spans.some(({ open }) => open))) };
};
