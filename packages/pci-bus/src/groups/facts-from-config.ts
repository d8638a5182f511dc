import { findCapability, findExtendedCapability } from "../capabilities/find.ts";
import { CONVENTIONAL_SIZE, EXPRESS_SIZE, HeaderOffset } from "../config/offsets.ts";
import type { AcsFacts, FunctionFacts } from "./facts.ts";

const PCI_EXPRESS = 0x10;
const ACCESS_CONTROL_SERVICES = 0x0d;
const CAPABILITIES_LIST = 0x10;

const u16 = (bytes: Uint8Array, at: number): number => (bytes[at] ?? 0) | ((bytes[at + 1] ?? 0) << 8);
const u32 = (bytes: Uint8Array, at: number): number => (u16(bytes, at) | (u16(bytes, at + 2) << 16)) >>> 0;

const acsAt = (config: Uint8Array, offset: number): AcsFacts => ({
  offset,
  capability: u16(config, offset + 4),
  control: u16(config, offset + 6),
  wide: { capability: u32(config, offset + 4), control: u32(config, offset + 8) },
});

/**
 * Port type and ACS of a function as its configuration space shows them. PCIe §7.5.3.2, §7.7.11.
 * @param config from offset 0, any length; with fewer than 256 bytes capabilities are "unknown" unless Status denies the list,
 *               with fewer than 4096 the ACS of a PCI Express function is. Never throws.
 */
export const factsFromConfig = (config: Uint8Array): Pick<FunctionFacts, "portType" | "expressOffset" | "acs"> => {
  if (config.length < CONVENTIONAL_SIZE) return (u16(config, HeaderOffset.Status) & CAPABILITIES_LIST) === 0 ? { portType: "none", acs: "none" } : { portType: "unknown", acs: "unknown" };
  const expressOffset = findCapability(config, PCI_EXPRESS);
  if (expressOffset === 0) return { portType: "none", acs: "none" };
  const portType = (u16(config, expressOffset + 2) >> 4) & 0xf;
  if (config.length < EXPRESS_SIZE) return { portType, expressOffset, acs: "unknown" };
  const acs = findExtendedCapability(config, ACCESS_CONTROL_SERVICES);
  return { portType, expressOffset, acs: acs === 0 ? "none" : acsAt(config, acs) };
};
