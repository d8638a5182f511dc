import type { ConfigSpace } from "../config-space.ts";
import { CONVENTIONAL_SIZE, FIRST_EXTENDED, HeaderOffset } from "../config/offsets.ts";

/** Offsets of the capabilities that steer the bus; 0 where a function has none. */
export interface CapabilityPlaces {
  readonly power: number;
  readonly msi: number;
  readonly express: number;
  readonly msix: number;
  readonly advancedFeatures: number;
  readonly errors: number;
  readonly acs: number;
  readonly ari: number;
  readonly ats: number;
  readonly sriov: number;
  readonly pageRequests: number;
  readonly resizableBars: number;
}

const MAX_HOPS = 48;
const CAPABILITIES_LIST = 0x10;

const conventional = (config: ConfigSpace): Map<number, number> => {
  const found = new Map<number, number>();
  if (!(config.read(HeaderOffset.Status, 2) & CAPABILITIES_LIST)) return found;
  let at = config.read(HeaderOffset.CapabilitiesPointer, 1) & 0xfc;
  for (let hops = 0; at >= 0x40 && hops < MAX_HOPS; hops++) {
    const id = config.read(at, 1);
    if (id === 0xff) break;
    if (!found.has(id)) found.set(id, at);
    at = config.read(at + 1, 1) & 0xfc;
  }
  return found;
};

const extended = (config: ConfigSpace): Map<number, number> => {
  const found = new Map<number, number>();
  if (config.size <= CONVENTIONAL_SIZE) return found;
  let at = FIRST_EXTENDED;
  while (at >= FIRST_EXTENDED && ![...found.values()].includes(at)) {
    const header = config.read(at, 4);
    if (header === 0 || header === 0xffff_ffff) break;
    if (!found.has(header & 0xffff)) found.set(header & 0xffff, at);
    at = (header >>> 20) & 0xffc;
  }
  return found;
};

/** Walks both capability lists once. PCIe §7.5.3 and §7.6.3; a list that loops ends where it would repeat. */
export const findCapabilities = (config: ConfigSpace): CapabilityPlaces => {
  const low = conventional(config);
  const high = extended(config);
  return {
    power: low.get(0x01) ?? 0,
    msi: low.get(0x05) ?? 0,
    express: low.get(0x10) ?? 0,
    msix: low.get(0x11) ?? 0,
    advancedFeatures: low.get(0x13) ?? 0,
    errors: high.get(0x01) ?? 0,
    acs: high.get(0x0d) ?? 0,
    ari: high.get(0x0e) ?? 0,
    ats: high.get(0x0f) ?? 0,
    sriov: high.get(0x10) ?? 0,
    pageRequests: high.get(0x13) ?? 0,
    resizableBars: high.get(0x15) ?? 0,
  };
};
