import type { HostSnapshot } from "@iommu-lab/host";
import { guestWindow, hostPlace, hostRegions, widthsOf, type GuestWindow, type HostPlace, type Region } from "./regions.ts";
import type { AddressesSettings } from "./settings.ts";

/** Where nothing is known: what most desktop machines have. */
const ASSUMED_BITS = 39;

export interface AddressPlan {
  readonly regions: readonly Region[];
  readonly processorBits: number;
  readonly iommuBits: number;
  /** Widths that the source does not show. */
  readonly assumed: boolean;
  readonly barSize: bigint;
  readonly host: HostPlace;
  readonly guest: GuestWindow;
  /** The guest names addresses that the IOMMU does not translate: the last of them. */
  readonly beyond: bigint | undefined;
}

/** Puts a card's BAR into the host and into the guest. Never throws. */
export const planAddresses = (snapshot: HostSnapshot, settings: AddressesSettings): AddressPlan => {
  const widths = widthsOf(snapshot);
  const processorBits = settings.processorBits === 0 ? (widths.processor ?? ASSUMED_BITS) : settings.processorBits;
  const iommuBits = settings.iommuBits === 0 ? (widths.iommu ?? ASSUMED_BITS) : settings.iommuBits;
  const taken = hostRegions(snapshot);
  const host = hostPlace(taken, settings, processorBits);
  const guest = guestWindow(settings, processorBits);
  const ends = [...guest.regions, ...(guest.bar ? [guest.bar] : [])].map(({ last }) => last);
  const last = ends.reduce((most, each) => (each > most ? each : most), 0n);
  return {
    regions: [...taken, ...(host.bar ? [host.bar] : []), ...guest.regions, guest.window, ...(guest.bar ? [guest.bar, { ...guest.bar, lane: "iova" as const }] : []), ...guest.regions.map((each): Region => ({ ...each, lane: "iova", name: `${each.name} (guest)` }))],
    processorBits,
    iommuBits,
    assumed: (settings.processorBits === 0 && widths.processor === undefined) || (settings.iommuBits === 0 && widths.iommu === undefined),
    barSize: 1n << BigInt(20 + settings.bar),
    host,
    guest,
    beyond: last >> BigInt(iommuBits) > 0n ? last : undefined,
  };
};
