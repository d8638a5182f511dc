import type { FunctionDescription } from "../config/function-config.ts";

/** PM, VPD, resizable BARs, SR-IOV itself and the like belong to the physical function. PCIe §9.3.6, §9.3.7. */
const INHERITED = { conventional: new Set([0x05, 0x10, 0x11]), extended: new Set([0x01, 0x0d, 0x0e, 0x0f]) };

/**
 * The configuration space of a virtual function of `physical`: IDs read as FFFFh, there are no BARs, no ROM and no interrupt pin,
 * the multifunction bit is clear, and it has its own MSI, MSI-X, PCI Express, AER, ACS, ARI and ATS capabilities. PCIe §9.3.4.
 */
export const virtualFunctionDescription = (physical: FunctionDescription): FunctionDescription => ({
  vendor: 0xffff,
  device: 0xffff,
  classCode: physical.classCode,
  header: 0,
  ...(physical.revision === undefined ? {} : { revision: physical.revision }),
  ...(physical.subsystemVendor === undefined ? {} : { subsystemVendor: physical.subsystemVendor }),
  capabilities: (physical.capabilities ?? [])
    .filter(({ id, extended }) => (extended ? INHERITED.extended : INHERITED.conventional).has(id))
    // Places of the physical function do not bind its virtual ones.
    .map(({ id, extended, version, bytes, writable, writeOneToClear, sticky, keptByFunctionReset }) => ({
      id,
      extended,
      bytes,
      writable,
      writeOneToClear,
      ...(version === undefined ? {} : { version }),
      ...(sticky ? { sticky } : {}),
      ...(keptByFunctionReset ? { keptByFunctionReset } : {}),
    })),
});
