import { accessControlServices, addressTranslationServices, advancedErrorReporting, alternativeRoutingId, descriptionFromConfig, msi, msix, pageRequestInterface, pciExpress, PcieType, powerManagement, processAddressSpaceId, singleRootIov, type CapabilityImage, type FunctionDescription } from "@iommu-lab/pci-bus/capabilities";
import type { MachineFunction } from "@iommu-lab/pci-bus/machine";
import { bridgeDescription } from "@iommu-lab/pci-bus/model";

const ALL_ACS = { SourceValidation: 1, TranslationBlocking: 1, P2PRequestRedirect: 1, P2PCompletionRedirect: 1, UpstreamForwarding: 1 } as const;
/** Where a function with MSI-X keeps its table: a BAR of its own. */
const MSIX_BAR = 4;
const MSIX_SIZE = 0x1000;
const MSIX_PENDING = 0x800;
const VF_SIZE = 0x4000;

const bytesOf = (hexadecimal: string): Uint8Array => {
  const digits = hexadecimal.replaceAll(/\s/g, "");
  const found = Uint8Array.from({ length: digits.length / 2 }, (_, i) => Number.parseInt(digits.slice(2 * i, 2 * i + 2), 16));
  // Zeros at the end were left out.
  const whole = new Uint8Array(found.length <= 64 ? 64 : found.length <= 256 ? 256 : 4096);
  whole.set(found);
  return whole;
};

const capabilitiesOf = (fn: MachineFunction, behindPort: boolean): CapabilityImage[] => {
  const has = fn.capabilities ?? {};
  const express = has.express ?? (has.ats === true || has.sriov !== undefined || has.functionLevelReset === true || has.pasid === true || has.acs === true || has.aer === true);
  return [
    ...(has.powerManagement ? [powerManagement()] : []),
    ...(has.msi ? [msi({ vectors: (has.msi.vectors ?? 1) })] : []),
    ...(has.msix ? [msix({ vectors: has.msix.vectors ?? 1, table: { bar: has.msix.bar ?? MSIX_BAR, offset: 0 }, pendingBits: { bar: has.msix.bar ?? MSIX_BAR, offset: MSIX_PENDING } })] : []),
    ...(express ? [pciExpress({ type: behindPort ? PcieType.Endpoint : PcieType.RootComplexIntegratedEndpoint, deviceCapabilities: { RoleBasedErrorReporting: 1, FunctionLevelResetCapability: has.functionLevelReset ? 1 : 0 } })] : []),
    ...(has.aer ? [advancedErrorReporting()] : []),
    ...(has.acs ? [accessControlServices({ Capability: ALL_ACS })] : []),
    ...(has.ari ? [alternativeRoutingId()] : []),
    ...(has.ats ? [addressTranslationServices()] : []),
    ...(has.pri ? [pageRequestInterface()] : []),
    ...(has.pasid ? [processAddressSpaceId()] : []),
    ...(has.sriov ? [singleRootIov({ totalVfs: has.sriov.totalVfs, vfDevice: has.sriov.vfDevice ?? (fn.device ?? 0) + 1, firstVfOffset: 1, vfStride: 1, vfBars: [{ index: 0, kind: "memory64", size: has.sriov.barSize ?? VF_SIZE }, ...(has.msix ? [{ index: has.msix.bar ?? MSIX_BAR, kind: "memory32", size: MSIX_SIZE } as const] : [])] })] : []),
  ];
};

const msixBars = (fn: MachineFunction): NonNullable<FunctionDescription["bars"]> => {
  const bars = fn.bars ?? [];
  const wanted = fn.capabilities?.msix && (fn.capabilities.msix.bar ?? MSIX_BAR);
  return wanted === undefined || bars.some(({ index }) => index === wanted) ? bars : [...bars, { index: wanted, kind: "memory32", size: MSIX_SIZE }];
};

/**
 * The configuration space of a machine's function.
 * @param behindPort it is below a port rather than in the root complex
 * @throws RangeError when it is impossible: a BAR's size, a captured header of no known type
 */
export const describeFunction = (fn: MachineFunction, behindPort: boolean): FunctionDescription => {
  const kind = fn.kind ?? "endpoint";
  const wired = { ...(fn.bars ? { bars: fn.bars } : {}), ...(fn.romSize ? { romSize: fn.romSize } : {}) };
  if (fn.config !== undefined) return descriptionFromConfig(bytesOf(fn.config), wired);
  const { vendor = 0xffff, device = 0xffff } = fn;
  if (kind !== "endpoint") return { ...bridgeDescription(kind, { vendor, device, acs: fn.capabilities?.acs ?? false, ari: fn.capabilities?.ari ?? false, multifunction: fn.multifunction ?? false, errorReporting: fn.capabilities?.aer ?? false }), ...(fn.revision === undefined ? {} : { revision: fn.revision }) };
  const optional = { revision: fn.revision, subsystemVendor: fn.subsystemVendor, subsystemDevice: fn.subsystemDevice, interruptPin: fn.interruptPin, multifunction: fn.multifunction };
  const given = Object.fromEntries(Object.entries(optional).filter(([, value]) => value !== undefined)) as Partial<FunctionDescription>;
  return { vendor, device, classCode: fn.classCode ?? 0, header: 0, ...given, ...wired, bars: msixBars(fn), capabilities: capabilitiesOf(fn, behindPort) };
};
