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

/** §1.3.12 says that of the 3 Series only the Q35 has VT-d; §5.1.2 has the ids of its host bridges. */
const SERIES_3 = "Intel document 316966 (3 Series datasheet), 1.3.12 and 5.1.2";
/** Chapter 12, with VT-d's registers, is for the 82Q45 only. Linux (drivers/char/agp/intel-agp.h) knows the host bridges by these ids. */
const SERIES_4 = "Intel document 319970 (4 Series datasheet), chapter 12; ids of Linux's intel-agp.h";
/** Q45 and Q43 share the id of their host bridge, 2E10h; their south bridges differ: ICH10DO and ICH10D. */
const Q45 = "Intel document 319970 (4 Series datasheet), chapter 12; Intel DQ45EK and DQ43AP board specifications, 1.6; ids of pci.ids";

const ISA = "0000:00:1f.0";
const HOST = "0000:00:00.0";

const ROWS: readonly Row[] = [
  { name: "Q35", at: HOST, devices: [0x29b0], support: "official", source: LIST },
  { name: "G33, G31, P35 or P31", at: HOST, devices: [0x29c0], support: "none", source: SERIES_3 },
  { name: "Q33", at: HOST, devices: [0x29d0], support: "none", source: SERIES_3 },
  { name: "X38 or X48", at: HOST, devices: [0x29e0], support: "official", source: LIST },
  { name: "Q45", at: ISA, devices: [0x3a14], support: "official", source: Q45 },
  { name: "G45, G43, P45 or P43", at: HOST, devices: [0x2e20], support: "none", source: SERIES_4 },
  { name: "G41", at: HOST, devices: [0x2e30], support: "none", source: SERIES_4 },
  { name: "B43", at: HOST, devices: [0x2e40, 0x2e90], support: "none", source: SERIES_4 },
  { name: "X58", at: HOST, devices: [0x3400, 0x3405], support: "board-dependent", source: LIST },
  { name: "Q67", at: ISA, devices: [0x1c4e], support: "board-dependent", source: LIST },
  { name: "Z68", at: ISA, devices: [0x1c44], support: "board-dependent", source: LIST },
  { name: "Q77", at: ISA, devices: [0x1e47], support: "official", source: LIST },
  { name: "Z77", at: ISA, devices: [0x1e44], support: "board-dependent", source: LIST },
  { name: "Q87", at: ISA, devices: [0x8c4e], support: "official", source: LIST },
  { name: "Z87", at: ISA, devices: [0x8c44], support: "board-dependent", source: LIST },
  { name: "Z97", at: ISA, devices: [0x8cc4], support: "board-dependent", source: LIST },
];

/** The functions by which chipsets are known; the first that tells counts. */
export const CHIPSET_PLACES = [ISA, HOST] as const;

/** The chipset that a function at one of those places belongs to; undefined where the base does not know it. */
export const chipsetOf = (place: (typeof CHIPSET_PLACES)[number], vendor: number | undefined, device: number | undefined): Chipset | undefined =>
  vendor !== 0x8086 || device === undefined ? undefined : ROWS.find((row) => row.at === place && row.devices.includes(device));
