import { readHostChoice, type HostChoice } from "../../host/host-choice.ts";
import { integer, oneOf, record } from "../view.ts";

export interface AddressesSettings {
  readonly host: HostChoice;
  /** log2 of MiB of the card's large BAR: 8 is 256 MiB, 15 is 32 GiB. */
  readonly bar: number;
  /** Firmware's "Above 4G decoding". */
  readonly above4g: boolean;
  /** Physical address bits of the processor; 0: as the host shows. */
  readonly processorBits: number;
  /** Address bits that the IOMMU translates (MGAW); 0: as the host shows. */
  readonly iommuBits: number;
  /** MiB of the guest's memory. */
  readonly guestMemory: number;
  /** GiB of the guest firmware's window for 64-bit BARs. */
  readonly window: number;
  /** Where the guest's firmware puts that window: behind its memory, or at the end of what its processor can name. */
  readonly place: "memory" | "top";
}

export const BAR_SIZES = [8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18] as const;

export const readAddresses = (kept: unknown): AddressesSettings => {
  const { host, bar, above4g, processorBits, iommuBits, guestMemory, window, place } = record(kept);
  return {
    host: readHostChoice(host),
    bar: integer(bar, [BAR_SIZES[0], BAR_SIZES.at(-1)!], 8),
    above4g: above4g !== false,
    processorBits: integer(processorBits, [32, 52], 0),
    iommuBits: integer(iommuBits, [32, 57], 0),
    guestMemory: integer(guestMemory, [64, 2 ** 24], 8_192),
    window: integer(window, [1, 2 ** 16], 32),
    place: oneOf(place, ["memory", "top"]),
  };
};
