import type { ConfigSpace } from "../config-space.ts";
import { HeaderOffset } from "../config/offsets.ts";
import { busOf, formatAddress, requesterId, type FunctionAddress, type RequesterId } from "../requester-id.ts";
import { findCapabilities, type CapabilityPlaces } from "./capability-places.ts";
import type { BusRange, FirmwarePolicy, Shortage } from "./firmware-report.ts";
import type { HostBridge } from "./fabric.ts";

/** A function as firmware finds it through configuration accesses. */
export interface ScannedFunction {
  readonly address: FunctionAddress;
  readonly config: ConfigSpace;
  readonly places: CapabilityPlaces;
  /** 24 bits. */
  readonly classCode: number;
  readonly bridge: boolean;
  readonly parent: ScannedFunction | undefined;
  /** What is below a bridge that got bus numbers. */
  below?: ScannedBus;
}

/** A bus that has a number. */
export interface ScannedBus {
  readonly number: number;
  readonly functions: ScannedFunction[];
}

const ARI_SUPPORTED = 0x20;
const ARI_ENABLE = 0x20;
const HOT_PLUG_CAPABLE = 0x40;

const portType = ({ config, places }: ScannedFunction): number => (places.express ? (config.read(places.express + 2, 2) >> 4) & 15 : -1);

/** Root and downstream ports have one device below, number 0. */
const hasLink = (above: ScannedFunction | undefined): above is ScannedFunction => above !== undefined && [4, 6].includes(portType(above));

/** A port whose slot takes devices at run time. PCIe §7.5.3.9. */
export const isHotPlug = (port: ScannedFunction): boolean => hasLink(port) && (port.config.read(port.places.express + 2, 2) & 0x100) !== 0 && (port.config.read(port.places.express + 0x14, 4) & HOT_PLUG_CAPABLE) !== 0;

/** Numbers the buses of one host bridge, or of what is below one bridge, depth first. */
export class BusNumbering {
  readonly shortages: Shortage[] = [];
  readonly #host: HostBridge;
  readonly #policy: FirmwarePolicy;
  #next: number;
  #last: number;

  constructor(host: HostBridge, policy: FirmwarePolicy) {
    this.#host = host;
    this.#policy = policy;
    this.#next = host.firstBus + 1;
    this.#last = host.lastBus;
  }

  /** Finds everything below the host bridge and programs bus numbers into all bridges. */
  run(): ScannedBus {
    const root: ScannedBus = { number: this.#host.firstBus, functions: this.#scan(this.#host.firstBus, undefined) };
    this.#number(root);
    return root;
  }

  /** Finds everything below a bridge that has bus numbers, and stays within these. Undefined where there is no such bridge. */
  runBelow(requester: RequesterId): ScannedFunction | undefined {
    const bridge = this.#find(busOf(requester), requester & 0xff, undefined);
    const secondary = bridge?.config.read(HeaderOffset.SecondaryBus, 1) ?? 0;
    if (!bridge?.bridge || secondary === 0) return undefined;
    this.#next = secondary + 1;
    this.#last = bridge.config.read(HeaderOffset.SubordinateBus, 1);
    this.#fill(bridge, secondary);
    return bridge;
  }

  #number(bus: ScannedBus): void {
    // Bridges first forget what an earlier run or reset left, or two of them would answer for one bus.
    for (const each of bus.functions) if (each.bridge) this.#program(each, 0, 0, 0);
    for (const each of this.#inOrder(bus.functions.filter(({ bridge }) => bridge))) this.#enter(each, bus.number);
  }

  /** Numbers only grow: bridges are entered by the numbers asked for, each of the others after the one it stands behind. */
  #inOrder(bridges: readonly ScannedFunction[]): readonly ScannedFunction[] {
    let last = 0;
    const keyed = bridges.map((bridge) => ({ bridge, key: (last = this.#policy.busNumbers?.(bridge.address)?.secondary ?? last) }));
    return keyed.toSorted((a, b) => a.key - b.key).map(({ bridge }) => bridge);
  }

  #enter(bridge: ScannedFunction, primary: number): void {
    const lastBus = this.#last;
    const kept = this.#kept(bridge);
    if (kept) this.#next = kept.secondary;
    if (this.#next > lastBus) {
      this.shortages.push({
        address: bridge.address,
        resource: undefined,
        bridge: bridge.parent?.address,
        size: 1,
        short: 1,
        text: `${formatAddress(bridge.address)} gets no bus number: bus 0x${lastBus.toString(16)} is the last one here, and what is below it stays out of reach.`,
      });
      return;
    }
    const secondary = this.#next++;
    this.#program(bridge, primary, secondary, lastBus);
    this.#fill(bridge, secondary);
    if (kept) this.#next = Math.max(this.#next, kept.subordinate + 1);
    else if (isHotPlug(bridge)) this.#next = Math.min(lastBus + 1, this.#next + (this.#policy.hotPlug?.buses ?? 4));
    this.#program(bridge, primary, secondary, this.#next - 1);
  }

  /** Numbers that are asked for, where they are still free. */
  #kept(bridge: ScannedFunction): BusRange | undefined {
    const wish = this.#policy.busNumbers?.(bridge.address);
    return wish && wish.secondary >= this.#next && wish.subordinate >= wish.secondary && wish.subordinate <= this.#last ? wish : undefined;
  }

  #fill(bridge: ScannedFunction, secondary: number): void {
    const below = { number: secondary, functions: this.#scan(secondary, bridge) };
    bridge.below = below;
    if (this.#policy.virtualFunctions !== false) for (const each of below.functions) this.#reserveVirtual(each, this.#last);
    this.#number(below);
  }

  #program({ config }: ScannedFunction, primary: number, secondary: number, subordinate: number): void {
    config.write(HeaderOffset.PrimaryBus, 1, primary);
    config.write(HeaderOffset.SecondaryBus, 1, secondary);
    config.write(HeaderOffset.SubordinateBus, 1, subordinate);
  }

  /** Virtual functions may need bus numbers right after their physical function's. PCIe §9.2.1.2. */
  #reserveVirtual(fn: ScannedFunction, lastBus: number): void {
    const { sriov } = fn.places;
    if (!sriov) return;
    const total = fn.config.read(sriov + 0x0e, 2);
    // Offset and stride may depend on NumVFs.
    fn.config.write(sriov + 0x10, 2, total);
    const last = fn.address.requester + fn.config.read(sriov + 0x14, 2) + fn.config.read(sriov + 0x16, 2) * Math.max(0, total - 1);
    fn.config.write(sriov + 0x10, 2, 0);
    const bus = Math.floor(last / 256);
    if (bus <= lastBus) this.#next = Math.max(this.#next, bus + 1);
    else
      this.shortages.push({
        address: fn.address,
        resource: undefined,
        bridge: fn.parent?.address,
        size: bus + 1 - this.#next,
        short: bus - lastBus,
        text: `${formatAddress(fn.address)} has no bus numbers for all of its ${total} virtual functions: the last would be on bus 0x${bus.toString(16)}, the numbers end at 0x${lastBus.toString(16)}.`,
      });
  }

  #scan(bus: number, above: ScannedFunction | undefined): ScannedFunction[] {
    if (!hasLink(above)) return Array.from({ length: 32 }, (_, device) => this.#scanDevice(bus, device, above)).flat();
    this.#forwardAri(above, false);
    const first = this.#find(bus, 0, above);
    if (!first) return [];
    const ari = this.#policy.ari !== false && first.places.ari !== 0 && (above.config.read(above.places.express + 0x24, 4) & ARI_SUPPORTED) !== 0;
    if (!ari) return this.#scanDevice(bus, 0, above);
    this.#forwardAri(above, true);
    return this.#scanAri(bus, first, above);
  }

  #forwardAri(port: ScannedFunction, on: boolean): void {
    const at = port.places.express + 0x28;
    const value = port.config.read(at, 2);
    port.config.write(at, 2, on ? value | ARI_ENABLE : value & ~ARI_ENABLE);
  }

  /** Follows the next function numbers. PCIe §7.8.8.2; they only grow, so a broken list ends. */
  #scanAri(bus: number, first: ScannedFunction, above: ScannedFunction): ScannedFunction[] {
    const found = [first];
    for (let at = first, devfn = 0; ; ) {
      if (at.places.sriov) at.config.write(at.places.sriov + 8, 2, at.config.read(at.places.sriov + 8, 2) | 0x10);
      const next = at.places.ari ? at.config.read(at.places.ari + 5, 1) : 0;
      const fn = next > devfn ? this.#find(bus, next, above) : undefined;
      if (!fn) return found;
      found.push(fn);
      at = fn;
      devfn = next;
    }
  }

  #scanDevice(bus: number, device: number, above: ScannedFunction | undefined): ScannedFunction[] {
    const first = this.#find(bus, device << 3, above);
    if (!first) return [];
    if (!(first.config.read(HeaderOffset.HeaderType, 1) & 0x80)) return [first];
    const others = Array.from({ length: 7 }, (_, i) => this.#find(bus, (device << 3) | (i + 1), above));
    return [first, ...others.filter((each) => each !== undefined)];
  }

  #find(bus: number, devfn: number, parent: ScannedFunction | undefined): ScannedFunction | undefined {
    const { complex, domain } = this.#host;
    const address = { domain, requester: requesterId(bus, devfn >> 3, devfn & 7) };
    const config: ConfigSpace = {
      size: 4096,
      read: (offset, size) => complex.configRead(address, offset, size),
      write: (offset, size, value) => {
        complex.configWrite(address, offset, size, value);
      },
    };
    if (config.read(HeaderOffset.Vendor, 2) === 0xffff) return undefined;
    return { address, config, parent, places: findCapabilities(config), classCode: config.read(HeaderOffset.Revision, 4) >>> 8, bridge: (config.read(HeaderOffset.HeaderType, 1) & 0x7f) === 1 };
  }
}
