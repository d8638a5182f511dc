import { ioWindow, memoryWindow, prefetchableWindow, type Window } from "./bridge-windows.ts";
import type { ConfigAccess } from "./bar-register.ts";
import type { FirmwarePolicy } from "./firmware-report.ts";
import type { ResourceClass } from "./resource-demand.ts";
import type { HostBridge } from "./fabric.ts";

const FOUR_GIB = 2 ** 32;

/** Free ranges of one kind of address. */
class AddressPool {
  #free: Window[];

  constructor(ranges: readonly Window[]) {
    this.#free = [...ranges].sort((a, b) => a.base - b.base);
  }

  /** The lowest place that fits, or undefined. */
  take(size: number, align: number): number | undefined {
    for (const [i, { base, last }] of this.#free.entries()) {
      const at = Math.ceil(base / align) * align;
      if (at + size - 1 > last) continue;
      const rest = [
        { base, last: at - 1 },
        { base: at + size, last },
      ].filter((range) => range.last >= range.base);
      this.#free.splice(i, 1, ...rest);
      return at;
    }
    return undefined;
  }

  /** Bytes of the largest aligned free range. */
  largest(align: number): number {
    return this.#free.reduce((most, { base, last }) => Math.max(most, last + 1 - Math.ceil(base / align) * align), 0);
  }
}

const cut = (ranges: readonly Window[], from: number, to: number): Window[] => ranges.map(({ base, last }) => ({ base: Math.max(base, from), last: Math.min(last, to) })).filter(({ base, last }) => last >= base);

/** Which pools may serve a kind of resource, the preferred one first. */
export type AddressPools = (kind: ResourceClass) => readonly AddressPool[];

/** The addresses of a host bridge, for everything on its root bus. */
export const hostPools = (host: HostBridge, policy: FirmwarePolicy): AddressPools => {
  const io = [new AddressPool(host.io)];
  const low = new AddressPool(cut(host.memory, 0, FOUR_GIB - 1));
  const high = new AddressPool(cut(host.memory, FOUR_GIB, 2 ** 52));
  return (kind) => (kind === "io" ? io : kind === "prefetchable64" && policy.above4G !== false ? [high, low] : [low]);
};

const opened = (window: Window | undefined): AddressPool => new AddressPool(window ? [window] : []);

/** The addresses that a bridge forwards already, for what is plugged in below it. */
export const windowPools = (bridge: ConfigAccess): AddressPools => {
  const io = [opened(ioWindow(bridge))];
  const memory = opened(memoryWindow(bridge));
  const window = prefetchableWindow(bridge);
  const prefetchable = opened(window);
  const below4G = window !== undefined && window.last < FOUR_GIB;
  return (kind) => {
    if (kind === "io") return io;
    if (kind === "memory") return [memory];
    return kind === "prefetchable64" || below4G ? [prefetchable, memory] : [memory];
  };
};
