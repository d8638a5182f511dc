import { busOf, compareAddresses, formatAddress, parseAddress, type FunctionAddress } from "@iommu-lab/pci-bus";
import type { HostFunction, HostSnapshot, MissingInput, RecordedGroup } from "../snapshot.ts";
import type { LspciFunction, LspciHost } from "./lspci-function.ts";

/** Finds ids by printed names, for texts made without -nn: a pci.ids database. */
export interface IdsByName {
  /** The ids of exactly this "Vendor Device" text, when the database has one such device. */
  find(name: string): { readonly vendor: number; readonly device: number } | undefined;
}

/** Addresses of the virtual functions a physical function has switched on. PCIe §9.2.1.2 "VF Discovery". */
const virtualFunctions = (functions: readonly LspciFunction[]): Map<string, FunctionAddress> => {
  const found = new Map<string, FunctionAddress>();
  for (const { address, virtualFunctions: vfs } of functions)
    for (let i = 0; vfs && i < Math.min(vfs.count, 0xffff); i++) {
      const requester = address.requester + vfs.offset + i * vfs.stride;
      if (requester <= 0xffff) found.set(formatAddress({ domain: address.domain, requester }), address);
    }
  return found;
};

/** The bridge whose secondary bus it is, else the closest one whose range holds it (SR-IOV may use such buses). */
const parentOf = (f: LspciFunction, bridges: readonly LspciFunction[]): FunctionAddress | undefined => {
  const bus = busOf(f.address.requester);
  let best: LspciFunction | undefined;
  for (const bridge of bridges) {
    const buses = busesOf(bridge);
    if (!buses || bridge.address.domain !== f.address.domain || buses.secondary === 0 || busOf(bridge.address.requester) === bus) continue;
    if (buses.secondary <= bus && bus <= buses.subordinate && (!best || buses.secondary > (busesOf(best)?.secondary ?? 0))) best = bridge;
  }
  return best?.address;
};

const busesOf = (f: LspciFunction): { secondary: number; subordinate: number } | undefined => {
  if (f.buses) return f.buses;
  const config = f.config;
  return config && ((config[14] ?? 0) & 0x7f) === 1 ? { secondary: config[0x19] ?? 0, subordinate: config[0x1a] ?? 0 } : undefined;
};

const findMissing = (functions: readonly LspciFunction[]): MissingInput[] => {
  const missing: MissingInput[] = [];
  const denied = functions.filter((f) => f.capabilitiesShown === "denied").length;
  const unseen = functions.filter((f) => f.capabilitiesShown === "not-shown" && (f.config?.length ?? 0) < 256).length;
  const withoutIds = functions.filter((f) => f.device === undefined).length;
  const consequence = "whether they isolate cannot be seen from this text";
  if (denied > 0) missing.push({ what: `capabilities of ${denied} functions (<access denied>: lspci ran without root)`, consequence });
  if (unseen > 0) missing.push({ what: `capabilities of ${unseen} functions (lspci without -vv, or the text is cut)`, consequence });
  if (withoutIds > 0) missing.push({ what: `vendor and device ids of ${withoutIds} functions (lspci without -nn)`, consequence: "device-specific rules are applied by name where the name is known" });
  const express = functions.filter((f) => f.portType !== undefined);
  if (express.length > 0 && !functions.some((f) => f.capabilities.some(({ offset }) => offset >= 0x100)) && functions.every((f) => (f.config?.length ?? 0) < 4096))
    missing.push({ what: "extended capabilities of every function", consequence: "extended configuration space is not reachable on this host (ECAM), so neither its kernel nor this text sees ACS" });
  return missing;
};

const recordedGroups = (functions: readonly HostFunction[]): ReadonlyMap<number, RecordedGroup> | undefined => {
  const groups = new Map<number, RecordedGroup>();
  for (const { group } of functions) if (group !== undefined) groups.set(group, { id: group, reservedRegions: [], others: [] });
  return groups.size > 0 ? groups : undefined;
};

/** A host as one machine's part of an lspci text shows it. */
export const lspciSnapshot = (host: LspciHost, origin: string, ids?: IdsByName): HostSnapshot => {
  const virtual = virtualFunctions(host.functions);
  const bridges = host.functions.filter((f) => busesOf(f) !== undefined);
  const functions = host.functions.map((f): HostFunction => {
    const text = formatAddress(f.address);
    const drawn = host.tree?.get(text);
    const named = f.device === undefined && f.name !== undefined ? ids?.find(f.name) : undefined;
    return {
      address: f.address,
      parent: drawn === undefined ? parentOf(f, bridges) : parseAddress(drawn),
      physicalFunction: virtual.get(text),
      config: f.config,
      printed: f,
      vendor: f.vendor ?? named?.vendor,
      device: f.device ?? named?.device,
      subsystemVendor: f.subsystemVendor,
      subsystemDevice: f.subsystemDevice,
      classCode: f.classCode,
      revision: f.revision,
      driver: f.driver,
      group: f.iommuGroup ?? host.groupListing?.get(text),
    };
  });
  for (const [i, f] of functions.entries()) {
    const physical = f.physicalFunction && functions.find((g) => compareAddresses(g.address, f.physicalFunction as FunctionAddress) === 0);
    if (physical) functions[i] = { ...f, parent: physical.parent };
  }
  functions.sort((a, b) => compareAddresses(a.address, b.address));
  return {
    origin,
    kind: "lspci",
    functions,
    groups: recordedGroups(functions),
    acpi: new Map(),
    commandLine: host.commandLine,
    kernelRelease: host.kernelRelease,
    dmesg: host.dmesg,
    iommus: [],
    missing: findMissing(host.functions),
    warnings: host.warnings,
  };
};
