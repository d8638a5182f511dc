import { diagnosis, type Diagnosis } from "./diagnosis.ts";
import { diagnoseRegions } from "./diagnose-regions.ts";
import { diagnoseScopes } from "./diagnose-scopes.ts";
import { diagnoseUnits } from "./diagnose-units.ts";
import { structureName } from "./layouts.ts";
import type { DmarTable } from "./table.ts";

/** A table before anything was found wrong with what it says. */
export type DmarContents = Pick<DmarTable, "hostAddressWidth" | "interruptRemapping" | "x2apicOptOut" | "structures">;

const FLAGS_OFFSET = 37;

const diagnoseHeader = ({ hostAddressWidth, interruptRemapping, x2apicOptOut }: DmarContents): Diagnosis[] => [
  ...(hostAddressWidth < 32 || hostAddressWidth > 52 ? [diagnosis("host-address-width-implausible", FLAGS_OFFSET - 1, `The host address width is ${hostAddressWidth} bits.`)] : []),
  ...(x2apicOptOut && interruptRemapping ? [diagnosis("x2apic-opt-out", FLAGS_OFFSET, "Firmware opts out of x2APIC mode.")] : []),
  ...(x2apicOptOut && !interruptRemapping ? [diagnosis("x2apic-opt-out-without-remapping", FLAGS_OFFSET, "Firmware opts out of x2APIC mode, but reports no interrupt remapping.")] : []),
];

const diagnoseOrder = ({ structures }: DmarContents): Diagnosis[] =>
  structures.flatMap((structure, i) => {
    const before = structures[i - 1];
    return before && before.type > structure.type ? [diagnosis("structures-out-of-order", structure.offset, `A structure ${structureName(structure.type)} stands after ${structureName(before.type)}.`)] : [];
  });

/**
 * What is wrong with the contents of a table whose bytes could be read: addresses, scopes, and what structures say about
 * each other. Takes time linear in the number of structures, but for sorting.
 */
export const diagnoseDmar = (table: DmarContents): Diagnosis[] => [...diagnoseHeader(table), ...diagnoseOrder(table), ...diagnoseUnits(table), ...diagnoseRegions(table), ...diagnoseScopes(table)];
