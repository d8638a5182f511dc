import { compareAddresses, formatAddress, parseAddress, type FunctionAddress } from "@iommu-lab/pci-bus";
import type { HostSnapshot } from "@iommu-lab/host";
import type { GuestDomain } from "@iommu-lab/host/doctor";
import { CommandError, ExitCode } from "../exit-code.ts";

/** Functions by address; an address without a function number means all of the slot. */
const parseDevices = (texts: readonly string[], snapshot: HostSnapshot): FunctionAddress[] | undefined => {
  const addresses = texts.flatMap((text) => text.split(",")).filter((text) => text !== "").flatMap((text): FunctionAddress[] => {
    const one = parseAddress(text);
    if (one) return [one];
    const slot = parseAddress(`${text}.0`);
    if (!slot) throw new CommandError(ExitCode.BadInput, `"${text}" is no PCI address; give bb:dd.f, dddd:bb:dd.f, or bb:dd for every function of a slot.`);
    const all = snapshot.functions.filter(({ address }) => address.domain === slot.domain && address.requester >> 3 === slot.requester >> 3).map(({ address }) => address);
    return all.length > 0 ? all : [slot];
  });
  return addresses.length === 0 ? undefined : [...new Map(addresses.map((address) => [formatAddress(address), address])).values()];
};

/** What the VM gets, where nothing else is asked for. */
const devicesOfGuest = (guest: GuestDomain | undefined, snapshot: HostSnapshot): FunctionAddress[] | undefined => {
  const there = (guest?.devices ?? []).flatMap(({ host }) => snapshot.functions.find(({ address }) => formatAddress(address) === host)?.address ?? []);
  return there.length > 0 ? there : undefined;
};

/** @throws CommandError with exit code 2 when a function is not in the host */
const checkDevices = (devices: readonly FunctionAddress[] | undefined, snapshot: HostSnapshot): void => {
  const absent = devices?.find((address) => !snapshot.functions.some((f) => compareAddresses(f.address, address) === 0));
  if (absent) throw new CommandError(ExitCode.BadInput, `${formatAddress(absent)} is not in ${snapshot.origin}. iommu pci lists what is there.`);
};

/**
 * The functions that are asked for; without any, those that the VM gets; undefined without a VM.
 * @throws CommandError with exit code 2 for what is no address, and for functions that are not in the host
 */
export const devicesFrom = (texts: readonly string[], snapshot: HostSnapshot, guest: GuestDomain | undefined): FunctionAddress[] | undefined => {
  const devices = parseDevices(texts, snapshot) ?? devicesOfGuest(guest, snapshot);
  checkDevices(devices, snapshot);
  return devices;
};
