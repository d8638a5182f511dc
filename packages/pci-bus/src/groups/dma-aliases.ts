import { devfnOf } from "../requester-id.ts";
import type { FunctionFacts } from "./facts.ts";
import {
  ALIAS_FIXED,
  ALIAS_FUNCTION_0,
  ALIAS_FUNCTION_1,
  ALIAS_IN_REGISTERS,
  ALIAS_MIC_X200,
  ALIAS_VCA,
  ALIAS_WHOLE_BUS,
  idKey,
} from "./quirk-table.ts";

const everySlot = (functions: number): number[] => Array.from({ length: 32 * functions }, (_, i) => (Math.floor(i / functions) << 3) | i % functions);
const VCA_ALIASES = everySlot(5);
const WHOLE_BUS = Array.from({ length: 256 }, (_, devfn) => devfn);

const fromQuirks = (f: FunctionFacts): readonly number[] => {
  if (f.vendor === undefined || f.device === undefined) return [];
  const key = idKey(f.vendor, f.device);
  const devfn = devfnOf(f.address.requester);
  if (ALIAS_FUNCTION_0.has(key)) return (devfn & 7) === 0 ? [] : [devfn & 0xf8];
  if (ALIAS_FUNCTION_1.has(key)) return (devfn & 7) === 1 ? [] : [(devfn & 0xf8) | 1];
  if (key === ALIAS_FIXED.device && ALIAS_FIXED.subsystems.has(idKey(f.subsystemVendor ?? 0, f.subsystemDevice ?? 0))) return [ALIAS_FIXED.alias];
  if (ALIAS_MIC_X200.devices.has(key)) return ALIAS_MIC_X200.aliases;
  if (ALIAS_VCA.has(key)) return VCA_ALIASES;
  if (ALIAS_WHOLE_BUS.has(key)) return WHOLE_BUS;
  return [];
};

/** Device and function numbers (8 bits) that a function's requests may carry beside its own: quirks and IVRS alias entries. */
export const aliasesOf = (f: FunctionFacts): ReadonlySet<number> => new Set([...fromQuirks(f), ...(f.aliases ?? [])]);

/** Name of the device-specific rule behind the aliases, if one is. */
export const aliasQuirkOf = (f: FunctionFacts): string | undefined => (fromQuirks(f).length > 0 ? "dma-alias" : undefined);

/** Its aliases stand in registers behind a BAR that a dump does not show. */
export const hasHiddenAliases = (f: FunctionFacts): boolean => (f.vendor === ALIAS_IN_REGISTERS.microsemi || f.vendor === ALIAS_IN_REGISTERS.efar) && f.classCode !== undefined && f.classCode >>> 8 === ALIAS_IN_REGISTERS.class;
