import type { PciFunction } from "../function.ts";
import { HeaderOffset } from "../config/offsets.ts";
import { PluggedFunction } from "./plugged-function.ts";
import { BridgeControl } from "./bridge-windows.ts";
import { observeConfig, resetBelow, syncVirtualFunctions } from "./config-effects.ts";
import { linkChanged } from "./hot-plug.ts";
import type { Attachment, Bus, BusKind, HostBridge } from "./fabric.ts";

const LINK_CONTROL = 0x10;
const LINK_DISABLE = 0x10;
const ARI_FORWARDING = 0x20;
const DEVICE_CONTROL_2 = 0x28;

/** One bus and what is plugged into it. */
export class PciBus implements Bus {
  readonly kind: BusKind;
  /** The bridge above, once that is plugged in itself. */
  bridge: Attachment | undefined;
  readonly #host: HostBridge | undefined;
  readonly #seats = new Map<number, Attachment>();
  #sorted: readonly Attachment[] = [];

  constructor(kind: BusKind, host?: HostBridge) {
    this.kind = kind;
    this.#host = host;
  }

  /** Number as programmed in the bridge above; a root bus has its host bridge's. */
  get number(): number {
    if (this.#host) return this.#host.firstBus;
    return this.bridge?.fn.config.read(HeaderOffset.SecondaryBus, 1) ?? 0;
  }

  /** The host bridge at the top; undefined while some bridge above hangs loose. */
  get host(): HostBridge | undefined {
    return this.#host ?? this.bridge?.bus.host;
  }

  /** Held in reset by the bridge above, its link disabled, or by any bridge higher up. PCIe §7.5.1.3.13, §7.5.3.7. */
  get held(): boolean {
    const { bridge } = this;
    if (!bridge) return false;
    const { config } = bridge.fn;
    if (config.read(HeaderOffset.BridgeControl, 2) & BridgeControl.SecondaryBusReset) return true;
    if (this.kind === "link" && bridge.places.express && config.read(bridge.places.express + LINK_CONTROL, 2) & LINK_DISABLE) return true;
    return bridge.bus.held;
  }

  /** The port above lets device numbers other than 0 through: ARI Forwarding Enable. PCIe §7.5.3.16. */
  get ariForwarding(): boolean {
    const { bridge } = this;
    return bridge !== undefined && bridge.places.express !== 0 && (bridge.fn.config.read(bridge.places.express + DEVICE_CONTROL_2, 2) & ARI_FORWARDING) !== 0;
  }

  /** Physical functions by device and function number. */
  functions(): readonly Attachment[] {
    return this.#sorted;
  }

  /** Physical functions, each followed by its virtual ones. */
  everything(): readonly Attachment[] {
    if (this.#sorted.every(({ virtual }) => virtual.length === 0)) return this.#sorted;
    return this.#sorted.flatMap((each) => [each, ...each.virtual]);
  }

  /** The physical function at `devfn` (device << 3 | function; with ARI the whole 8 bits are the function number). */
  at(devfn: number): Attachment | undefined {
    return this.#seats.get(devfn);
  }

  /**
   * Puts a function in place, as if it had been there at power-on. At run time use `RootComplex.hotAdd`.
   * @param devfn device << 3 | function, 0 to 255; behind a port, numbers from 8 on are ARI's
   * @throws RangeError when the place is taken or does not exist
   */
  plug(fn: PciFunction, devfn: number): Attachment {
    if (!(Number.isInteger(devfn) && devfn >= 0 && devfn < 256)) throw new RangeError(`Device and function number 0x${devfn.toString(16)} does not fit 8 bits.`);
    if (this.#seats.has(devfn)) throw new RangeError(`Device 0x${(devfn >> 3).toString(16)}, function ${devfn & 7} of the bus is taken.`);
    const seat = new PluggedFunction(fn, this, devfn);
    this.#seats.set(devfn, seat);
    this.#sort();
    if (seat.fn.secondary) seat.fn.secondary.bridge = seat;
    observeConfig(seat);
    if (seat.fn.secondary) linkChanged(seat.fn.secondary, false);
    fn.connect(seat.port);
    syncVirtualFunctions(seat);
    linkChanged(this, false);
    return seat;
  }

  /**
   * Takes a function out, with everything below it and its virtual functions.
   * @throws RangeError when nothing is there
   */
  unplug(devfn: number): void {
    const seat = this.#seats.get(devfn);
    if (!seat) throw new RangeError(`Nothing is plugged in at device 0x${(devfn >> 3).toString(16)}, function ${devfn & 7}.`);
    for (const each of [seat, ...seat.virtual]) {
      each.present = false;
      each.port.silence();
    }
    seat.virtual = [];
    if (seat.fn.secondary) {
      resetBelow(seat.fn.secondary, "cold");
      seat.fn.secondary.bridge = undefined;
    }
    this.#seats.delete(devfn);
    this.#sort();
    linkChanged(this, false);
  }

  #sort(): void {
    this.#sorted = [...this.#seats.values()].sort((a, b) => a.devfn - b.devfn);
  }
}
