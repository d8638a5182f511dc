/** Hosts made for tests: a few words per function, real configuration bytes, the files a kernel would show. */
import { formatAddress, parseAddress } from "@iommu-lab/pci-bus";
import { accessControlServices, deviceSerialNumber, msi, pciExpress, PcieType, powerManagement, type CapabilityImage } from "@iommu-lab/pci-bus/capabilities";
import { buildHost, type BuiltFunction, type BuiltHost } from "../src/bundled/build-host.ts";
import type { GroupsReport, HostSnapshot, MemoryTree } from "../src/index.ts";

/** ACS words: what the function has, what is switched on. */
export interface MadeAcs {
  readonly capability: number;
  readonly control: number;
}

/** Everything isolation asks for, as newer ports have it. */
export const ACS_ON: MadeAcs = { capability: 0x1f, control: 0x1d };
export const ACS_OFF: MadeAcs = { capability: 0x1f, control: 0 };

const fields = (word: number, suffix: "" | "Enable"): Record<string, number> =>
  Object.fromEntries(["SourceValidation", "TranslationBlocking", "P2PRequestRedirect", "P2PCompletionRedirect", "UpstreamForwarding"].map((name, bit) => [name + suffix, (word >> bit) & 1]));

const acs = ({ capability, control }: MadeAcs): CapabilityImage => accessControlServices({ Capability: fields(capability, ""), Control: fields(control, "Enable") });

const express = (type: PcieType): CapabilityImage => pciExpress({ type, slot: type === PcieType.RootPort || type === PcieType.DownstreamPort, deviceCapabilities: { RoleBasedErrorReporting: 1 }, linkCapabilities: { MaxLinkSpeed: 3, MaximumLinkWidth: 4 } });

/** Options of a made function. */
export interface Made extends Partial<BuiltFunction> {
  readonly type?: PcieType | "conventional";
  readonly acs?: MadeAcs | undefined;
  readonly serial?: readonly [high: number, low: number];
}

const capabilitiesOf = ({ type = PcieType.Endpoint, acs: words, serial }: Made): CapabilityImage[] => [
  powerManagement({ PMC: { Version: 3 } }),
  ...(type === "conventional" ? [] : [msi(), express(type)]),
  ...(words === undefined ? [] : [acs(words)]),
  ...(serial === undefined ? [] : [deviceSerialNumber({ high: serial[0], low: serial[1] })]),
];

/** An endpoint; a PCI Express one unless told otherwise. */
export const endpoint = (address: string, made: Made = {}): BuiltFunction => ({ address, vendor: 0x144d, device: 0xa804, classCode: 0x010802, header: 0, capabilities: capabilitiesOf(made), ...withoutOwn(made) });

/** A bridge of a port type, a root port unless told otherwise. */
export const bridge = (address: string, secondaryBus: number, made: Made = {}): BuiltFunction => ({
  address, vendor: 0x1022, device: 0x1453, classCode: 0x060400, header: 1, secondaryBus, capabilities: capabilitiesOf({ type: PcieType.RootPort, ...made }), ...withoutOwn(made),
});

const OWN = new Set(["type", "acs", "serial"]);
const withoutOwn = (made: Made): Partial<BuiltFunction> => Object.fromEntries(Object.entries(made).filter(([key]) => !OWN.has(key)));

/** A host with nothing but these functions. */
export const hostOf = (functions: readonly BuiltFunction[], more: Partial<BuiltHost> = {}): BuiltHost => ({ name: "made host", version: "Linux version 6.12.0 (made)", commandLine: "quiet", dmesg: ["[    0.000000] made"], tables: {}, functions, ...more });

const allFunctions = (functions: readonly BuiltFunction[]): BuiltFunction[] => functions.flatMap((f) => [f, ...allFunctions(f.below ?? [])]);

/** The files of a host whose kernel made these groups. */
export const withGroups = (host: BuiltHost, groups: readonly (readonly [id: number, members: readonly string[]])[]): MemoryTree => {
  const tree = buildHost(host);
  for (const [id, members] of groups) {
    tree.addFile(`sys/kernel/iommu_groups/${id}/type`, "DMA-FQ\n").addFile(`sys/kernel/iommu_groups/${id}/reserved_regions`, "0x00000000fee00000 0x00000000feefffff msi\n");
    for (const member of members) {
      const at = tree.link(`sys/bus/pci/devices/${member}`)?.replace("../../../", "sys/") ?? "";
      tree.addLink(`${at}/iommu_group`, `${"../".repeat(at.split("/").length - 1)}kernel/iommu_groups/${id}`).addLink(`sys/kernel/iommu_groups/${id}/devices/${member}`, `../../../../${at.slice("sys/".length)}`);
    }
  }
  return tree;
};

/** A root port with ACS and a switch without: each of the switch's ports is in one group with what is below it. */
export const switchHost = (): BuiltHost =>
  hostOf([
    endpoint("0000:00:00.0", { type: "conventional", classCode: 0x060000, vendor: 0x1022, device: 0x1480 }),
    bridge("0000:00:01.0", 1, {
      acs: ACS_ON,
      subordinateBus: 4,
      below: [
        bridge("0000:01:00.0", 2, {
          type: PcieType.UpstreamPort,
          subordinateBus: 4,
          below: [bridge("0000:02:00.0", 3, { type: PcieType.DownstreamPort, below: [endpoint("0000:03:00.0")] }), bridge("0000:02:01.0", 4, { type: PcieType.DownstreamPort, below: [endpoint("0000:04:00.0", { multifunction: true }), endpoint("0000:04:00.1")] })],
        }),
      ],
    }),
    bridge("0000:00:02.0", 5, { acs: ACS_ON, below: [endpoint("0000:05:00.0", { vendor: 0x10de, device: 0x1402, classCode: 0x030000 })] }),
  ]);

export const addressesOf = (host: BuiltHost): string[] => allFunctions(host.functions).map(({ address }) => address).sort();

/** What `lspci -x` with as many x as the bytes reach would print. */
export const hexDump = (snapshot: HostSnapshot): string =>
  snapshot.functions
    .map(({ address, config = new Uint8Array() }) => {
      const rows = Array.from({ length: Math.ceil(config.length / 16) }, (_, i) => `${(i * 16).toString(16).padStart(2, "0")}: ${Array.from(config.subarray(i * 16, i * 16 + 16), (byte) => byte.toString(16).padStart(2, "0")).join(" ")}`);
      return `${formatAddress(address)} Device: written for a test\n${rows.join("\n")}\n`;
    })
    .join("\n");

/** A report as one comparable value. */
export const outcome = (report: GroupsReport): { groups: string[]; ungrouped: string[]; unknown: string[] } => ({
  groups: report.groups.map(({ devices }) => devices.map(formatAddress).join(" ")).sort(),
  ungrouped: report.ungrouped.map(formatAddress).sort(),
  unknown: report.unknown.map(({ address }) => formatAddress(address)).sort(),
});

export const address = (text: string): NonNullable<ReturnType<typeof parseAddress>> => {
  const parsed = parseAddress(text);
  if (!parsed) throw new RangeError(`"${text}" is no PCI address.`);
  return parsed;
};
