import { HeaderOffset } from "../config/offsets.ts";
import { Command } from "./bridge-windows.ts";
import { putBit, StatusBit } from "./status-bits.ts";
import type { Attachment, HostBridge } from "./fabric.ts";

/** One of the wires that arrive at a root bus; a platform's routing tables (_PRT) tell which interrupt each is. */
export interface InterruptWire {
  readonly domain: number;
  /** The root bus. */
  readonly bus: number;
  /** Device on the root bus: the function itself or the bridge that it is below. */
  readonly device: number;
  /** 0 for INTA to 3 for INTD. */
  readonly pin: number;
}

/** The pin on a bridge's primary side for a pin of device `device` below. PCI-to-PCI Bridge Architecture §9.1, PCIe §2.2.8.1. */
export const swizzle = (pin: number, device: number): number => (pin + device) % 4;

/** Virtual INTx wires: level signals, wired OR. PCIe §2.2.8.1 "INTx Interrupt Signaling". */
export class InterruptWires {
  readonly #levels = new Map<string, InterruptWire>();
  readonly #asserting = new Set<Attachment>();
  readonly #changed: ((wire: InterruptWire, asserted: boolean) => void) | undefined;

  /** @param changed told of each change of a wire's level */
  constructor(changed?: (wire: InterruptWire, asserted: boolean) => void) {
    this.#changed = changed;
  }

  /** The level at the root: true while any function asserts it. */
  level(host: HostBridge, device: number, pin: number): boolean {
    return this.#levels.has(keyOf({ domain: host.domain, bus: host.firstBus, device, pin }));
  }

  /** Takes a function's pins or its Interrupt Disable as they are now. */
  update(seat: Attachment): void {
    const { config } = seat.fn;
    // PCIe §7.5.1.1.4: Interrupt Status shows what is pending inside the function, whatever Interrupt Disable says.
    putBit(config, HeaderOffset.Status, StatusBit.InterruptStatus, seat.pins !== 0);
    const silent = seat.pins === 0 || !seat.present || (config.read(HeaderOffset.Command, 2) & Command.InterruptDisable) !== 0;
    if (silent && !this.#asserting.delete(seat)) return;
    if (!silent) this.#asserting.add(seat);
    this.recompute();
  }

  /** Works out all wires anew: after pins, topology or resets changed. */
  recompute(): void {
    const now = new Map<string, InterruptWire>();
    for (const seat of this.#asserting)
      for (let pin = 0; pin < 4; pin++) {
        const wire = (seat.pins >> pin) & 1 ? wireOf(seat, pin) : undefined;
        if (wire) now.set(keyOf(wire), wire);
      }
    const before = new Map(this.#levels);
    this.#levels.clear();
    for (const [key, wire] of now) this.#levels.set(key, wire);
    for (const [key, wire] of before) if (!now.has(key)) this.#changed?.(wire, false);
    for (const [key, wire] of now) if (!before.has(key)) this.#changed?.(wire, true);
  }
}

const keyOf = ({ domain, bus, device, pin }: InterruptWire): string => `${domain}:${bus}:${device}:${pin}`;

/** Device number for swizzling: behind a port there is only device 0, whatever ARI function numbers look like. */
const deviceOn = (seat: Attachment): number => (seat.bus.kind === "link" ? 0 : seat.devfn >> 3);

const wireOf = (seat: Attachment, pin: number): InterruptWire | undefined => {
  let at = seat;
  let line = pin;
  while (at.bus.bridge) {
    line = swizzle(line, deviceOn(at));
    at = at.bus.bridge;
  }
  const { host } = at.bus;
  return at.bus.kind === "root" && host ? { domain: host.domain, bus: host.firstBus, device: deviceOn(at), pin: line } : undefined;
};
