import type { AccessSize } from "@iommu-lab/memory";
import { HeaderOffset } from "../config/offsets.ts";
import { busOf, devfnOf, type RequesterId } from "../requester-id.ts";
import { writeConfig } from "./config-effects.ts";
import type { Attachment, Bus, HostBridge } from "./fabric.ts";

/** A type 0 request on a bus: the function with this device and function number, if the bus lets the number through. */
const onBus = (bus: Bus, requester: RequesterId): Attachment | undefined => {
  // PCIe §7.3.1: a port without ARI forwarding answers itself for device numbers other than 0.
  if (bus.kind === "link" && devfnOf(requester) > 7 && !bus.ariForwarding) return undefined;
  return bus.at(devfnOf(requester)) ?? virtualOn(bus, requester);
};

const virtualOn = (bus: Bus, requester: RequesterId): Attachment | undefined => {
  for (const each of bus.functions()) for (const virtual of each.virtual) if (virtual.requester === requester) return virtual;
  return undefined;
};

/** Goes down from a bus whose number is not the one asked for: type 1 requests, taken by the bridge whose range holds the number. */
const below = (bus: Bus, requester: RequesterId): Attachment | undefined => {
  const wanted = busOf(requester);
  for (const { fn } of bus.functions()) {
    if (!fn.secondary || fn.secondary.held) continue;
    const secondary = fn.config.read(HeaderOffset.SecondaryBus, 1);
    const subordinate = fn.config.read(HeaderOffset.SubordinateBus, 1);
    if (secondary === 0 || wanted < secondary || wanted > subordinate) continue;
    return wanted === secondary ? onBus(fn.secondary, requester) : below(fn.secondary, requester);
  }
  // Virtual functions on further bus numbers take type 1 requests on the link (PCIe §9.2.1.2).
  return virtualOn(bus, requester);
};

/** The function that a configuration request reaches, by the bus numbers as programmed in the bridges. PCIe §7.3.3. */
export const findFunction = (host: HostBridge, requester: RequesterId): Attachment | undefined => {
  const bus = busOf(requester);
  if (bus < host.firstBus || bus > host.lastBus) return undefined;
  return bus === host.firstBus ? onBus(host.bus, requester) : below(host.bus, requester);
};

/** All ones where no function answers. PCIe §2.3.2 "Completion Handling Rules", Unsupported Request. */
export const configRead = (host: HostBridge, requester: RequesterId, offset: number, size: AccessSize): number => {
  const seat = findFunction(host, requester);
  return seat ? seat.fn.config.read(offset, size) : 2 ** (8 * size) - 1;
};

/** Dropped where no function answers. */
export const configWrite = (host: HostBridge, requester: RequesterId, offset: number, size: AccessSize, value: number): void => {
  const seat = findFunction(host, requester);
  if (seat) writeConfig(seat, offset, size, value);
};
