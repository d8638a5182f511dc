import { formatAddress, parseAddress } from "../requester-id.ts";
import type { MachineFunction } from "./function-schema.ts";
import type { MachineDescription } from "./machine-schema.ts";
import type { MachineProblem } from "./parse-machine.ts";

const canonical = (text: string): string => {
  const address = parseAddress(text);
  return address ? formatAddress(address) : text;
};

const ofBus = (functions: readonly MachineFunction[], path: string): MachineProblem[] => {
  const seen = new Set<string>();
  return functions.flatMap((fn, i): MachineProblem[] => {
    const here = `${path}[${i}]`;
    const problems: MachineProblem[] = [];
    const place = fn.at.toLowerCase().padStart(4, "0");
    if (seen.has(place)) problems.push({ path: `${here}.at`, text: `Two functions are at ${fn.at} of one bus.` });
    seen.add(place);
    if (fn.config === undefined && (fn.vendor === undefined || fn.device === undefined || fn.classCode === undefined)) problems.push({ path: here, text: "A function has either config, or vendor, device and classCode." });
    if (fn.below && (fn.kind ?? "endpoint") === "endpoint") problems.push({ path: `${here}.below`, text: "Only bridges and ports have functions below; say which kind it is." });
    if (fn.rom && !fn.romSize) problems.push({ path: `${here}.rom`, text: "A ROM with images has a romSize." });
    return [...problems, ...ofBus(fn.below ?? [], `${here}.below`)];
  });
};

/** What types cannot say: things that exclude each other in one description. */
export const contradictions = (machine: MachineDescription): MachineProblem[] => {
  const problems = machine.hostBridges.flatMap((host, i): MachineProblem[] => [
    ...((host.firstBus ?? 0) > (host.lastBus ?? 0xff) ? [{ path: `hostBridges[${i}].firstBus`, text: "The first bus comes after the last." }] : []),
    ...ofBus(host.functions, `hostBridges[${i}].functions`),
  ]);
  const vendors = new Set(machine.iommus.map(({ vendor }) => vendor));
  if (vendors.size > 1) problems.push({ path: "iommus", text: "The IOMMUs of a machine are all of one vendor." });
  for (const [i, { base, last }] of (machine.reserved ?? []).entries()) if (last < base) problems.push({ path: `reserved[${i}].last`, text: "The last byte comes before the first." });
  const names = new Set<string>();
  const taken = new Map<string, string>();
  for (const [i, vm] of (machine.vms ?? []).entries()) {
    if (names.has(vm.name)) problems.push({ path: `vms[${i}].name`, text: `Two VMs are named "${vm.name}".` });
    names.add(vm.name);
    for (const [j, device] of (vm.devices ?? []).entries()) {
      if (!("host" in device)) continue;
      const address = canonical(device.host);
      const owner = taken.get(address);
      if (owner !== undefined) problems.push({ path: `vms[${i}].devices[${j}].host`, text: `${address} is given to "${owner}" already; a function is one VM's.` });
      taken.set(address, vm.name);
    }
  }
  return problems;
};
