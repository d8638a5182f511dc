import { HeaderOffset } from "../config/offsets.ts";
import { busOf, formatAddress, type FunctionAddress } from "../requester-id.ts";
import { hostPools, windowPools, type AddressPools } from "./address-pool.ts";
import { BridgeControl, Command } from "./bridge-windows.ts";
import { BusNumbering, type ScannedBus, type ScannedFunction } from "./bus-numbering.ts";
import type { EnumeratedFunction, EnumerationReport, FirmwarePolicy, Placement, Shortage } from "./firmware-report.ts";
import { collectDemands, spaceOf, type Demand } from "./resource-demand.ts";
import { placeDemands } from "./resource-placement.ts";
import type { RootComplex } from "./root-complex.ts";

const DISPLAY = 0x0300;

const everyFunction = (bus: ScannedBus): ScannedFunction[] => bus.functions.flatMap((fn) => [fn, ...(fn.below ? everyFunction(fn.below) : [])]);

const writeBar = (demand: Demand, base: number): void => {
  const { register, owner } = demand;
  if (!register) return;
  owner.config.write(register.at, 4, base % 2 ** 32);
  if (register.kind === "memory64") owner.config.write(register.at + 4, 4, Math.floor(base / 2 ** 32));
};

const writeWindow = ({ kind, owner: { config } }: Demand, base: number, last: number): void => {
  if (kind === "io") {
    config.write(HeaderOffset.IoBase, 1, (base >>> 8) & 0xf0);
    config.write(HeaderOffset.IoLimit, 1, (last >>> 8) & 0xf0);
    config.write(HeaderOffset.IoBaseUpper, 2, base >>> 16);
    config.write(HeaderOffset.IoLimitUpper, 2, last >>> 16);
    return;
  }
  const [baseAt, limitAt] = kind === "memory" ? [HeaderOffset.MemoryBase, HeaderOffset.MemoryLimit] : [HeaderOffset.PrefetchableBase, HeaderOffset.PrefetchableLimit];
  config.write(baseAt, 2, Math.floor(base / 0x1_0000) & 0xfff0);
  config.write(limitAt, 2, Math.floor(last / 0x1_0000) & 0xfff0);
  if (kind === "memory") return;
  config.write(HeaderOffset.PrefetchableBaseUpper, 4, Math.floor(base / 2 ** 32));
  config.write(HeaderOffset.PrefetchableLimitUpper, 4, Math.floor(last / 2 ** 32));
};

/** Base above limit: nothing is forwarded. */
const closeWindows = ({ config }: ScannedFunction): void => {
  const base = [[HeaderOffset.IoBase, 1, 0xf0], [HeaderOffset.IoLimit, 1, 0], [HeaderOffset.IoBaseUpper, 2, 0], [HeaderOffset.IoLimitUpper, 2, 0], [HeaderOffset.MemoryBase, 2, 0xfff0], [HeaderOffset.MemoryLimit, 2, 0]] as const;
  const prefetchable = [[HeaderOffset.PrefetchableBase, 2, 0xfff0], [HeaderOffset.PrefetchableLimit, 2, 0], [HeaderOffset.PrefetchableBaseUpper, 4, 0], [HeaderOffset.PrefetchableLimitUpper, 4, 0]] as const;
  for (const [at, size, value] of [...base, ...prefetchable]) config.write(at, size, value);
};

const program = (demand: Demand, placements: Placement[]): void => {
  const { base, size, kind, owner, resource, inside } = demand;
  if (base !== undefined && !demand.dropped && size > 0) {
    if (inside) writeWindow(demand, base, base + size - 1);
    else writeBar(demand, base);
    placements.push({ address: owner.address, resource, space: spaceOf(kind), base, size, prefetchable: kind.startsWith("prefetchable") });
  } else writeBar(demand, 0);
  for (const each of inside ?? []) program(each, placements);
};

const flatten = (demands: readonly Demand[]): Demand[] => demands.flatMap((each) => [each, ...flatten(each.inside ?? [])]);

/** Decoding of a space goes on when all BARs in it have their place: an unplaced one would answer at address 0. */
const commandOf = (fn: ScannedFunction, bars: readonly Demand[], policy: FirmwarePolicy): number => {
  if (fn.bridge) return fn.below ? Command.IoSpace | Command.MemorySpace | Command.BusMaster : 0;
  const decode = (space: "io" | "memory", bit: number): number => {
    const mine = bars.filter(({ owner, resource, kind }) => owner === fn && resource.kind === "bar" && spaceOf(kind) === space);
    return mine.length > 0 && mine.every(({ base, dropped }) => base !== undefined && !dropped) ? bit : 0;
  };
  return decode("io", Command.IoSpace) | decode("memory", Command.MemorySpace) | (policy.busMaster === false ? 0 : Command.BusMaster);
};

const ancestors = (fn: ScannedFunction): ScannedFunction[] => (fn.parent ? [fn.parent, ...ancestors(fn.parent)] : []);

const chooseVga = (functions: readonly ScannedFunction[], choice: FirmwarePolicy["vga"] = "first"): ScannedFunction | undefined => {
  if (choice === "none") return undefined;
  const displays = functions.filter(({ classCode }) => classCode >> 8 === DISPLAY);
  return choice === "first" ? displays[0] : displays.find(({ address }) => address.domain === choice.domain && address.requester === choice.requester);
};

/** Opens VGA's ranges on the way to one display and keeps others that would answer too from decoding. PCI-to-PCI Bridge Architecture §12.1. */
const routeVga = (functions: readonly ScannedFunction[], chosen: ScannedFunction | undefined): void => {
  const path = new Set(chosen ? ancestors(chosen) : []);
  for (const fn of functions.filter(({ bridge }) => bridge)) {
    const control = fn.config.read(HeaderOffset.BridgeControl, 2);
    fn.config.write(HeaderOffset.BridgeControl, 2, path.has(fn) ? control | BridgeControl.VgaEnable : control & ~BridgeControl.VgaEnable);
  }
  if (!chosen) return;
  const enable = (fn: ScannedFunction, on: boolean): void => {
    const command = fn.config.read(HeaderOffset.Command, 2);
    fn.config.write(HeaderOffset.Command, 2, on ? command | 3 : command & ~3);
  };
  for (const fn of functions) if (fn.classCode >> 8 === DISPLAY && fn !== chosen && ancestors(fn).every((bridge) => path.has(bridge))) enable(fn, false);
  enable(chosen, true);
};

const describe = ({ address, config, classCode, parent, below, bridge }: ScannedFunction): EnumeratedFunction => ({
  address,
  vendor: config.read(HeaderOffset.Vendor, 2),
  device: config.read(HeaderOffset.Device, 2),
  classCode,
  parent: parent?.address,
  ...(bridge && below ? { secondaryBus: below.number, subordinateBus: config.read(HeaderOffset.SubordinateBus, 1) } : {}),
});

interface Results {
  readonly placements: Placement[];
  readonly shortages: Shortage[];
}

const setUp = (bus: ScannedBus, pools: () => AddressPools, policy: FirmwarePolicy, { placements, shortages }: Results): ScannedFunction[] => {
  const functions = everyFunction(bus);
  const demands = collectDemands(bus, policy);
  shortages.push(...placeDemands(demands, pools));
  for (const fn of functions) if (fn.bridge) closeWindows(fn);
  for (const demand of demands) program(demand, placements);
  const all = flatten(demands);
  for (const fn of functions) fn.config.write(HeaderOffset.Command, 2, commandOf(fn, all, policy));
  return functions;
};

/**
 * Does what firmware does after power-on, through configuration accesses alone: numbers buses, sizes BARs and ROMs, places them
 * and the bridges' windows, and switches decoding on. PCI Firmware §3.5; may be run again after the topology changed.
 * What does not fit is left disabled and reported.
 */
export const enumerate = (complex: RootComplex, policy: FirmwarePolicy = {}): EnumerationReport => {
  const results: Results = { placements: [], shortages: [] };
  const functions = complex.hostBridges.flatMap((host) => {
    const numbering = new BusNumbering(host, policy);
    const root = numbering.run();
    results.shortages.push(...numbering.shortages);
    return setUp(root, () => hostPools(host, policy), policy, results);
  });
  const chosen = chooseVga(functions, policy.vga);
  routeVga(functions, chosen);
  return { functions: functions.map(describe), ...results, vga: chosen?.address };
};

/**
 * Sets up, after something was plugged in below a port at run time, everything below that port anew, inside the bus numbers
 * and windows that it already has; the rest of the machine stays as it is. The report names the functions below only; nothing gets VGA's ranges.
 * @throws RangeError when there is no bridge with bus numbers at this address
 */
export const enumerateBelow = (complex: RootComplex, port: FunctionAddress, policy: FirmwarePolicy = {}): EnumerationReport => {
  const host = complex.hostBridges.find(({ domain, firstBus, lastBus }) => domain === port.domain && busOf(port.requester) >= firstBus && busOf(port.requester) <= lastBus);
  const numbering = host && new BusNumbering(host, policy);
  const bridge = numbering?.runBelow(port.requester);
  if (!numbering || !bridge?.below) throw new RangeError(`${formatAddress(port)} is no bridge with bus numbers; enumerate the whole machine first.`);
  const results: Results = { placements: [], shortages: [...numbering.shortages] };
  const functions = setUp(bridge.below, () => windowPools(bridge.config), policy, results);
  return { functions: functions.map(describe), ...results, vga: undefined };
};
