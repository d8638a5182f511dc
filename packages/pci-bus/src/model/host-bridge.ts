import type { AccessSize, Hpa, MmioHandler } from "@iommu-lab/memory";
import type { Window } from "./bridge-windows.ts";
import { PciBus } from "./bus.ts";
import { configRead, configWrite } from "./config-routing.ts";
import type { Bus, FabricRoot, HostBridge } from "./fabric.ts";

/** What a host bridge is made of. */
export interface HostBridgeOptions {
  /** PCI segment; 0 is the default. */
  readonly domain?: number;
  /** First bus number, its root bus; 0 is the default. */
  readonly firstBus?: number;
  /** Inclusive; 255 is the default. */
  readonly lastBus?: number;
  /** Address of `firstBus`'s configuration space, for MCFG and the memory map; none by default. */
  readonly ecam?: Hpa;
  /** Host-physical ranges that belong to this bridge. The default is 0xc000_0000 to 0xfebf_ffff and 256 GiB from 0x40_0000_0000 on. */
  readonly memory?: readonly Window[];
  /** Ports for enumeration to give out; 0x1000 to 0xffff by default. */
  readonly io?: readonly Window[];
  /**
   * Which functions of the root bus reach each other without the root complex's check: those of one multifunction device (default),
   * all, or none. Operating systems assume "within-device" when they form isolation groups.
   */
  readonly directPeers?: "within-device" | "all" | "none";
}

const DEFAULT_MEMORY: readonly Window[] = [
  { base: 0xc000_0000, last: 0xfebf_ffff },
  { base: 0x40_0000_0000, last: 0x7f_ffff_ffff },
];

/** A host bridge: one root bus and the bus numbers and addresses that belong to it. */
export class PciHostBridge implements HostBridge {
  readonly complex: FabricRoot;
  readonly domain: number;
  readonly firstBus: number;
  readonly lastBus: number;
  /** Where `firstBus`'s configuration space stands in the memory map. */
  readonly ecamBase: Hpa | undefined;
  readonly memory: readonly Window[];
  readonly io: readonly Window[];
  readonly directPeers: "within-device" | "all" | "none";
  /** The root bus. */
  readonly bus: Bus;
  /** Enhanced configuration access: offset 0 is the root bus, 1 MiB per bus, 4 KiB per function. PCIe §7.2.2. */
  readonly ecam: MmioHandler;

  /** @throws RangeError when the bus numbers are no range of 0 to 255 */
  constructor(complex: FabricRoot, options: HostBridgeOptions = {}) {
    this.complex = complex;
    this.domain = options.domain ?? 0;
    this.firstBus = options.firstBus ?? 0;
    this.lastBus = options.lastBus ?? 255;
    if (!(this.firstBus >= 0 && this.firstBus <= this.lastBus && this.lastBus < 256)) throw new RangeError(`Buses 0x${this.firstBus.toString(16)} to 0x${this.lastBus.toString(16)} are no range below 0x100.`);
    this.ecamBase = options.ecam;
    this.memory = options.memory ?? DEFAULT_MEMORY;
    this.io = options.io ?? [{ base: 0x1000, last: 0xffff }];
    this.directPeers = options.directPeers ?? "within-device";
    this.bus = new PciBus("root", this);
    this.ecam = ecamOf(this);
  }

  /** Whether an HPA belongs to this bridge. */
  ownsMemory(hpa: number): boolean {
    return this.memory.some(({ base, last }) => hpa >= base && hpa <= last);
  }
}

const ecamOf = (host: HostBridge): MmioHandler => {
  const requester = (offset: number): number => ((host.firstBus << 8) + Math.floor(offset / 0x1000)) & 0xffff;
  const read = (offset: number, size: AccessSize): number => configRead(host, requester(offset), offset & 0xfff, size);
  const write = (offset: number, size: AccessSize, value: number): void => {
    configWrite(host, requester(offset), offset & 0xfff, size, value);
  };
  return {
    read,
    write,
    // Configuration requests move at most four bytes (PCIe §2.2.7): a wider access is two.
    read64: (offset, into) => {
      into[0] = read(offset, 4);
      into[1] = read(offset + 4, 4);
    },
    write64: (offset, low, high) => {
      write(offset, 4, low);
      write(offset + 4, 4, high);
    },
  };
};
