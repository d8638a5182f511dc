import { findExtendedCapability, pcieType } from "../capabilities/find.ts";
import { HeaderOffset } from "../config/offsets.ts";
import { describeFunctions, type ModelFunctionFacts } from "../model/describe-functions.ts";
import type { RootComplex } from "../model/root-complex.ts";
import { devfnOf, functionOf, type FunctionAddress } from "../requester-id.ts";
import { PcieType } from "../pcie-type.ts";
import type { FunctionFacts } from "./facts.ts";
import { factsFromConfig } from "./facts-from-config.ts";

const SINGLE_ROOT_IOV = 0x10;
const VF_DEVICE_ID = 0x1a;
const MULTIFUNCTION = 0x80;

const u16 = (bytes: Uint8Array, at: number): number => (bytes[at] ?? 0) | ((bytes[at + 1] ?? 0) << 8);
const key = ({ domain, requester }: FunctionAddress): number => domain * 0x1_0000 + requester;

/** A virtual function reads FFFFh for both: the vendor is its physical function's, the device stands in the SR-IOV capability. PCIe §9.3.4.1.1, §9.3.4.1.2. */
const identity = (f: ModelFunctionFacts, physical: ModelFunctionFacts | undefined): Pick<FunctionFacts, "vendor" | "device"> => {
  if (!physical) return { vendor: u16(f.config, HeaderOffset.Vendor), device: u16(f.config, HeaderOffset.Device) };
  const sriov = findExtendedCapability(physical.config, SINGLE_ROOT_IOV);
  return { vendor: u16(physical.config, HeaderOffset.Vendor), device: u16(physical.config, sriov + VF_DEVICE_ID) };
};

/** Below a port there is one device: all eight bits are the function number then (ARI, PCIe §6.13). */
const isAboveFunction0 = ({ address }: ModelFunctionFacts, parent: ModelFunctionFacts | undefined): boolean => {
  const type = parent ? pcieType(parent.config) : -1;
  const oneDevice = type === PcieType.RootPort || type === PcieType.DownstreamPort;
  return (oneDevice ? devfnOf(address.requester) : functionOf(address.requester)) > 0;
};

/**
 * What the grouping rules look at, read from the configuration space of a machine of the model as it stands now;
 * for virtual functions and function numbers above 0 as an operating system that scans it sees them.
 * @param source a root complex whose buses have numbers, or what `describeFunctions` gave
 * @param translated which functions an IOMMU translates; all of them by default
 */
export const factsOfModel = (source: RootComplex | readonly ModelFunctionFacts[], translated: (address: FunctionAddress) => boolean = () => true): FunctionFacts[] => {
  const functions = "hostBridges" in source ? describeFunctions(source) : source;
  const byAddress = new Map(functions.map((f) => [key(f.address), f]));
  const find = (address: FunctionAddress | undefined): ModelFunctionFacts | undefined => address && byAddress.get(key(address));
  return functions.map((f): FunctionFacts => {
    const { address, config, parent, physicalFunction } = f;
    const headerType = config[HeaderOffset.HeaderType] ?? 0;
    const bridge = (headerType & 0x7f) === 1;
    return {
      address,
      parent,
      physicalFunction,
      ...identity(f, find(physicalFunction)),
      // A bridge has no subsystem IDs in its header.
      ...(bridge ? {} : { subsystemVendor: u16(config, HeaderOffset.SubsystemVendor), subsystemDevice: u16(config, HeaderOffset.SubsystemDevice) }),
      classCode: u16(config, HeaderOffset.ClassCode + 1) * 0x100 + (config[HeaderOffset.ClassCode] ?? 0),
      multifunction: physicalFunction === undefined && ((headerType & MULTIFUNCTION) !== 0 || isAboveFunction0(f, find(parent))),
      bridge,
      ...factsFromConfig(config),
      translated: translated(address),
    };
  });
};
