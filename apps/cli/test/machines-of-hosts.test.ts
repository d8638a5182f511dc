/** Hosts as machines: what is built from a host is that host, its functions, their capabilities, its addresses and its kernel's groups. */
import { gunzipSync } from "node:zlib";
import { bundledHosts, readBundled } from "@iommu-lab/host/bundled";
import { machineOfHost, readSysfs, readTar, type HostSnapshot } from "@iommu-lab/host";
import { Machine } from "@iommu-lab/hypervisor/machine";
import { formatAddress } from "@iommu-lab/pci-bus";
import { decodeConfig, descriptionFromConfig, FunctionConfig, type DecodedConfig } from "@iommu-lab/pci-bus/capabilities";
import { parseMachine } from "@iommu-lab/pci-bus/machine";
import { describe, expect, test } from "vitest";
import { hasShared, listShared, readShared, skippedWithoutShared } from "../../../test/shared.ts";

const hosts = bundledHosts.map(({ name }) => name);
const machineOf = (host: HostSnapshot): Machine => new Machine(parseMachine(machineOfHost(host).machine));
/** Functions that firmware finds: virtual ones are the work of a driver, later. */
const addressesOf = ({ functions }: HostSnapshot): string[] => functions.filter(({ physicalFunction }) => !physicalFunction).map(({ address }) => formatAddress(address)).toSorted();
const recordedGroups = ({ functions }: HostSnapshot): string[] => {
  const groups = new Map<number, string[]>();
  for (const { group, address, physicalFunction } of functions) if (group !== undefined && !physicalFunction) groups.set(group, [...(groups.get(group) ?? []), formatAddress(address)]);
  return [...groups.values()].map((members) => members.toSorted().join(" ")).toSorted();
};
const madeGroups = ({ kernel }: Machine): string[] => kernel.groups.map(({ members }) => members.map(formatAddress).toSorted().join(" ")).toSorted();
/** Addresses of the machine's functions, with IOMMUs that are functions themselves. */
const foundIn = (machine: Machine): string[] => machine.firmware.functions.map(({ address }) => formatAddress(address)).toSorted();

/** What stays of a capability when the power comes back: everything but what is written to. */
const lasting = (decoded: DecodedConfig, mask: Uint8Array, bytes: Uint8Array): object => ({
  identity: [decoded.header.vendor, decoded.header.device, decoded.header.classCode, decoded.header.revision, decoded.header.type, decoded.header.multifunction, decoded.header.subsystemVendor, decoded.header.subsystemDevice, decoded.header.interruptPin],
  capabilities: decoded.capabilities.map(({ id, name, offset, extended, version, type, registers }) => ({ id, name, offset, extended, version, type, registers: registers.map((register) => [register.name, register.offset]) })),
  bytes: decoded.capabilities.flatMap(({ offset, registers, extended }) => {
    const end = Math.max(offset + (extended ? 4 : 2), ...registers.map((register) => register.offset + 4));
    return Array.from({ length: registers.length === 0 ? 0 : Math.min(end, bytes.length) - offset }, (_, i) => (bytes[offset + i] ?? 0) & ~(mask[offset + i] ?? 0));
  }),
});

/** Bits that a write changes; those of errors have to be set first to be seen. */
const changeable = (bytes: Uint8Array): Uint8Array => {
  const fresh = (): FunctionConfig => new FunctionConfig(descriptionFromConfig(bytes));
  const [was, ones, set] = [fresh(), fresh(), fresh()];
  const mask = new Uint8Array(was.size);
  for (let at = 0; at < was.size; at++) {
    ones.write(at, 1, 0xff);
    set.bytes[at] = 0xff;
    set.write(at, 1, 0xff);
    mask[at] = (ones.read(at, 1) ^ was.read(at, 1)) | (set.read(at, 1) ^ 0xff);
  }
  return mask;
};

describe.each(hosts)("%s", (name) => {
  const host = readBundled(name);

  test("every function is described as it was captured, after power-on", () => {
    for (const { config, address } of host.functions) {
      if (!config || config.length < 64 || ((config[14] ?? 0) & 0x7f) > 1) continue;
      const built = new FunctionConfig(descriptionFromConfig(config)).bytes.subarray(0, Math.max(config.length, 64));
      const mask = changeable(config);
      expect(lasting(decodeConfig(built), mask, built), formatAddress(address)).toEqual(lasting(decodeConfig(config), mask, config));
    }
  });

  test("the machine has the host's functions at the host's addresses, and firmware had room for all", () => {
    expect(foundIn(machineOf(host))).toEqual(addressesOf(host));
  });

  test("its bridges keep their bus numbers", () => {
    const found = new Map(machineOf(host).firmware.functions.map(({ address, secondaryBus }) => [formatAddress(address), secondaryBus]));
    for (const { address, config } of host.functions) if (config?.[14] !== undefined && (config[14] & 0x7f) === 1 && config[0x19] !== 0) expect([formatAddress(address), found.get(formatAddress(address))]).toEqual([formatAddress(address), config[0x19]]);
  });

  test.skipIf(host.groups === undefined)("its kernel makes the groups that the host's kernel made", () => {
    expect(madeGroups(machineOf(host))).toEqual(recordedGroups(host));
  });

  test("it is a machine as JSON too", () => {
    const { machine } = machineOfHost(host);
    expect(parseMachine(JSON.parse(JSON.stringify(machine)))).toEqual(parseMachine(machine));
  });
});

const archives = listShared("snapshots", ".tar.gz");
const open = async (archive: string): Promise<HostSnapshot> => readSysfs((await readTar(archive, gunzipSync(readShared(`snapshots/${archive}`)))).tree);

describe.skipIf(!hasShared())(`machines of recorded hosts${skippedWithoutShared}`, () => {
  test.each(archives)("%s: has the host's functions at the host's addresses", async (archive) => {
    const host = await open(archive);
    expect(foundIn(machineOf(host))).toEqual(addressesOf(host));
  });

  // What is called replay was put together from a real machine's texts: its kernel is not the one that made the groups.
  test.each(archives.filter((name) => !name.startsWith("replay-")))("%s: its kernel makes the groups that the host's kernel made", async (archive) => {
    const host = await open(archive);
    if (host.groups !== undefined) expect(madeGroups(machineOf(host))).toEqual(recordedGroups(host));
  });
});
