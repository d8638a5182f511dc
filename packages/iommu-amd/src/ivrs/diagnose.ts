import { diagnoseEntries } from "./diagnose-entries.ts";
import { diagnoseMemory } from "./diagnose-memory.ts";
import { diagnoseUnits } from "./diagnose-units.ts";
import { diagnosis, type Diagnosis } from "./diagnosis.ts";
import type { IvrsTable } from "./table.ts";

/** A table before anything was found wrong with what it says. */
export type IvrsContents = Pick<IvrsTable, "header" | "physicalAddressSize" | "virtualAddressSize" | "extendedFeatureReporting" | "structures">;

const REVISION = 8;
const ADDRESS_SIZES = 37;
/** The first block type that needs revision 2. */
const MIXED = 0x40;

const diagnoseHeader = ({ header: { revision }, physicalAddressSize, virtualAddressSize, structures }: IvrsContents): Diagnosis[] => [
  ...(revision !== 1 && revision !== 2 ? [diagnosis("revision-unknown", REVISION, `The table's revision is ${revision}.`)] : []),
  ...(revision === 1 && structures.some(({ type }) => type >= MIXED) ? [diagnosis("revision-too-low", REVISION, "The table's revision is 1, but it has blocks of type 40h or above.")] : []),
  ...(physicalAddressSize < 32 || physicalAddressSize > 52 ? [diagnosis("physical-address-size-implausible", ADDRESS_SIZES, `Physical addresses are said to have ${physicalAddressSize} bits.`)] : []),
  ...(virtualAddressSize < 32 || virtualAddressSize > 64 ? [diagnosis("virtual-address-size-implausible", ADDRESS_SIZES, `Virtual addresses are said to have ${virtualAddressSize} bits.`)] : []),
];

/**
 * What is wrong with the contents of a table whose bytes could be read: addresses, device entries, and what blocks say
 * about each other. Takes time linear in the number of blocks and entries, but for sorting.
 */
export const diagnoseIvrs = (table: IvrsContents): Diagnosis[] => [...diagnoseHeader(table), ...diagnoseUnits(table), ...diagnoseEntries(table), ...diagnoseMemory(table)];
