/** Whether a chipset's boards have VT-d: by its maker's word, by the board maker's choice, or never. */
type ChipsetSupport = "official" | "board-dependent" | "none";

/** An Intel chipset from the time when chipsets decided: up to the 9 Series. */
export interface Chipset {
  readonly name: string;
  readonly support: ChipsetSupport;
  /** Who says so, in words. */
  readonly source: string;
}

interface Row extends Chipset {
  /** Where its identity is: the ISA bridge, or the host bridge. */
  readonly at: "0000:00:1f.0" | "0000:00:00.0";
  readonly devices: readonly number[];
}

const LIST = "list of chipsets in J. Torres, \"IOMMU: Primer asalto\" (2015); ids of pci.ids";

const ISA = "0000:00:1f.0";
const HOST = "0000:00:00.0";

const ROWS: readonly Row[] = [
  { name: "Q35", at: HOST, devices: [0x29b0], support: "official", source: LIST },
  { name: "X38 or X48", at: HOST, devices: [0x29e0], support: "official", source: LIST },
  { name: "X58", at: HOST, devices: [0x3400, 0x3405], support: "board-dependent", source: LIST },
  { name: "Q67", at: ISA, devices: [0x1c4e], support: "board-dependent", source: LIST },
  { name: "Z68", at: ISA, devices: [0x1c44], support: "board-dependent", source: LIST },
  { name: "Q77", at: ISA, devices: [0x1e47], support: "official", source: LIST },
  { name: "Z77", at: ISA, devices: [0x1e44], support: "board-dependent", source: LIST },
  { name: "Q87", at: ISA, devices: [0x8c4e], support: "official", source: LIST },
  { name: "Z87", at: ISA, devices: [0x8c44], support: "board-dependent", source: LIST },
  { name: "Z97", at: ISA, devices: [0x8cc4], support: "board-dependent", source: LIST },
];

/** The functions by which chipsets are known. */
export const CHIPSET_PLACES = [ISA, HOST] as const;

/** The chipset that a function at one of those places belongs to; undefined where the base does not know it. */
export const chipsetOf = (place: (typeof CHIPSET_PLACES)[number], vendor: number | undefined, device: number | undefined): Chipset | undefined =>
  vendor !== 0x8086 || device === undefined ? undefined : ROWS.find((row) => row.at === place && row.devices.includes(device));
