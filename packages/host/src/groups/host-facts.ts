import { compareAddresses, formatAddress, type FunctionAddress } from "@iommu-lab/pci-bus";
import { factsFromConfig, isIntelPchRootPort, isIntelSptRootPort, kernelVersion, PcieType, parseCommandLine, predictAcsControl, type AcsOverride, type AcsParameter, type FunctionFacts, type GroupingPolicy, type IommuParameters } from "@iommu-lab/pci-bus/groups";
import { readAcsLog, type AcsLog } from "../kernel/kernel-log.ts";
import type { HostFunction, HostSnapshot } from "../snapshot.ts";
import { coverageByDmar, coverageByIvrs, type Coverage } from "./iommu-coverage.ts";

/** What the group engine is asked about a host, and what was taken for granted on the way. */
export interface HostFacts {
  readonly facts: readonly FunctionFacts[];
  readonly policy: GroupingPolicy;
  /** Whether ACS control is what the source shows, or what the kernel would set. */
  readonly acs: "read" | "predicted";
  /** Functions whose ACS control was predicted although the others' was read. */
  readonly predicted: readonly FunctionAddress[];
  /** Assumptions and peculiarities, a sentence each. */
  readonly notes: readonly string[];
}

/** What a caller may add to a snapshot's own command line. */
export interface HostFactsOptions {
  /** Declares isolation that the hardware does not give. Unsafe. */
  readonly override?: AcsOverride | undefined;
}

const u16 = (bytes: Uint8Array, at: number): number => (bytes[at] ?? 0) | ((bytes[at + 1] ?? 0) << 8);
const u32 = (bytes: Uint8Array, at: number): number => (u16(bytes, at) | (u16(bytes, at + 2) << 16)) >>> 0;

/** Express type and ACS from configuration space, as far as the bytes reach, then from the print. */
const fromBytes = (f: HostFunction, config: Uint8Array, kind: HostSnapshot["kind"]): Pick<FunctionFacts, "portType" | "expressOffset" | "acs"> => {
  const seen = factsFromConfig(config);
  if (seen.expressOffset === undefined || seen.acs !== "unknown") return seen;
  if (f.printed?.capabilitiesShown === "yes") return { ...seen, acs: f.printed.acs ?? "none" };
  // A kernel that offers 256 bytes of a PCI Express function cannot reach the rest itself; a hex dump may just be short.
  return { ...seen, acs: kind === "sysfs" ? "none" : "unknown" };
};

const fromPrint = ({ printed }: HostFunction): Pick<FunctionFacts, "portType" | "acs"> => {
  if (printed?.capabilitiesShown !== "yes") return { portType: "unknown", acs: "unknown" };
  return { portType: printed.portType ?? "none", acs: printed.acs ?? "none" };
};

const isBridge = (f: HostFunction): boolean => (f.config ? ((f.config[14] ?? 0) & 0x7f) === 1 : (f.classCode ?? 0) >>> 8 === 0x0604 || f.printed?.buses !== undefined);

/** Below a PCI Express port there is one device: all eight bits are the function number then (ARI, PCIe §6.13). */
const functionNumber = (f: HostFunction, belowPort: boolean): number => f.address.requester & (belowPort ? 0xff : 7);

/** Header type bit 7, or a function number above 0 found by scanning; a text does not print the bit, siblings show it. */
const isMultifunction = (f: HostFunction, slots: ReadonlyMap<number, number>, belowPort: boolean): boolean => {
  if (f.physicalFunction) return false;
  if (functionNumber(f, belowPort) > 0) return true;
  return f.config && f.config.length > 14 ? ((f.config[14] as number) & 0x80) !== 0 : (slots.get(slotKey(f)) ?? 0) > 1;
};

const slotKey = (f: HostFunction): number => f.address.domain * 0x2000 + (f.address.requester >> 3);

const countSlots = (functions: readonly HostFunction[]): Map<number, number> => {
  const slots = new Map<number, number>();
  for (const f of functions) if (!f.physicalFunction) slots.set(slotKey(f), (slots.get(slotKey(f)) ?? 0) + 1);
  return slots;
};

const PCH_NAME = /(?:5 Series\/3400|6 Series\/C200|7 Series\/C2\d\d|8 Series(?:\/C220)?|9 Series|Wildcat Point|Lynx Point|C600\/X79|C610\/X99).*PCI (?:Express )?Root Port/i;
const SPT_NAME = /(?:Sunrise Point|Union Point|100 Series\/C230|(?<!C)\b200 Series|CM236|CM238).*PCI (?:Express )?Root Port/i;

const familyOf = (f: HostFunction): FunctionFacts["family"] => {
  if (f.device !== undefined || f.printed?.name === undefined) return undefined;
  return SPT_NAME.test(f.printed.name) ? "intel-spt-root-port" : PCH_NAME.test(f.printed.name) ? "intel-pch-root-port" : "other";
};

/** Intel PCH root ports: the log's word, else bit 0 of RCBA in the LPC bridge (device 31) of the same bus; absent functions read all ones. */
const pchQuirkOf = (f: HostFunction, { functions, kind }: HostSnapshot, log: AcsLog, notes: Set<string>): FunctionFacts["pchQuirk"] => {
  const said = log.pchQuirk.get(formatAddress(f.address));
  if (said) return said;
  const lpc = functions.find((g) => g.address.domain === f.address.domain && g.address.requester === ((f.address.requester & 0xff00) | 0xf8));
  if (!lpc && kind === "sysfs") return "enabled";
  if (lpc?.config && lpc.config.length >= 0xf4) return u32(lpc.config, 0xf0) & 1 ? "enabled" : "failed";
  notes.add("Whether RCBA is enabled in the LPC bridge cannot be seen; Intel PCH root ports are predicted as the kernel finds them on every board that enables it.");
  return "enabled";
};

const coverageOf = (snapshot: HostSnapshot, notes: Set<string>): ((f: HostFunction) => boolean) & { aliases?: Coverage["aliases"] } => {
  const dmar = snapshot.acpi.get("DMAR");
  const ivrs = snapshot.acpi.get("IVRS");
  const graphicsOff = snapshot.commandLine !== undefined && parseCommandLine(snapshot.commandLine).intelIommu.includes("igfx_off");
  const table = dmar ? coverageByDmar(dmar, snapshot.functions, graphicsOff) : ivrs ? coverageByIvrs(ivrs) : undefined;
  for (const problem of table?.problems ?? []) notes.add(problem);
  const aliases = table ? { aliases: table.aliases } : {};
  if (snapshot.functions.some((f) => f.iommu !== undefined)) return Object.assign((f: HostFunction) => f.iommu !== undefined, aliases);
  if (table) return Object.assign(table.covers, aliases);
  notes.add(
    snapshot.kind === "lspci"
      ? "Which functions an IOMMU covers cannot be seen in this text; computed as if it covered every function but itself."
      : snapshot.acpi.size > 0
        ? "Firmware has no DMAR or IVRS table: no IOMMU is switched on. Computed as if one covered every function."
        : "Which functions an IOMMU covers cannot be seen (no ACPI tables); computed as if it covered every function but itself.",
  );
  return (f) => (f.classCode ?? 0) >>> 8 !== 0x0806;
};

const WANTED = 0x1d;

/** Whether the kernel had asked for ACS when the snapshot was made: its registers are then what the kernel left. */
export const wasIommuOn = (snapshot: HostSnapshot): boolean => {
  if (snapshot.groups || snapshot.iommus.length > 0 || snapshot.functions.some((f) => f.iommu !== undefined)) return true;
  const said = readAcsLog(snapshot.dmesg).iommu;
  if (said) return said === "yes";
  return snapshot.kind === "lspci" && snapshot.functions.some((f) => f.printed?.acs?.control !== undefined && (f.printed.acs.control & WANTED) !== 0);
};

const versionOf = (release: string | undefined): number | undefined => {
  const match = /^(\d+)\.(\d+)/.exec(release ?? "");
  return match ? kernelVersion(Number(match[1]), Number(match[2])) : undefined;
};

const overrideOf = (parameters: IommuParameters, log: AcsLog, dmesg: string | undefined, options: HostFactsOptions, notes: Set<string>): AcsOverride | undefined => {
  if (options.override) return options.override;
  if (!parameters.override) return undefined;
  if (log.overrideActive) return parameters.override;
  notes.add(dmesg === undefined ? "pcie_acs_override= is given, but without the kernel log it cannot be seen whether this kernel has the patch; computed without it." : "pcie_acs_override= is given, but this kernel's log does not confirm it: the kernel has no such patch and ignores the option.");
  return undefined;
};

/** The VMD endpoint behind functions of a VMD domain when the source has no path: the only Intel RAID function outside of it. */
const vmdEndpoint = (f: HostFunction, functions: readonly HostFunction[]): FunctionAddress | undefined => {
  if (f.address.domain < 0x10000) return undefined;
  const candidates = functions.filter((g) => g.address.domain < 0x10000 && g.vendor === 0x8086 && (g.classCode ?? 0) >>> 8 === 0x0104);
  return candidates.length === 1 ? candidates[0]?.address : undefined;
};

type Seen = Pick<FunctionFacts, "portType" | "expressOffset" | "acs">;

const seenOf = (f: HostFunction, kind: HostSnapshot["kind"]): Seen =>
  f.config && f.config.length >= 64 && !(f.printed?.capabilitiesShown === "yes" && f.config.length < 256) ? fromBytes(f, f.config, kind) : fromPrint(f);

/** Everything the functions of one host have in common. */
interface HostContext {
  readonly snapshot: HostSnapshot;
  readonly log: AcsLog;
  readonly coverage: ReturnType<typeof coverageOf>;
  readonly slots: ReadonlyMap<number, number>;
  /** Port type and ACS by address text. */
  readonly seen: ReadonlyMap<string, Seen>;
  readonly notes: Set<string>;
}

const functionFacts = (f: HostFunction, seen: Seen, { snapshot, log, coverage, slots, seen: all, notes }: HostContext): FunctionFacts => {
  const above = f.parent && all.get(formatAddress(f.parent))?.portType;
  const family = familyOf(f);
  return {
    address: f.address,
    parent: f.parent,
    physicalFunction: f.physicalFunction,
    vendor: f.vendor,
    device: f.device,
    subsystemVendor: f.subsystemVendor,
    subsystemDevice: f.subsystemDevice,
    classCode: f.classCode,
    multifunction: isMultifunction(f, slots, above === PcieType.RootPort || above === PcieType.DownstreamPort),
    bridge: isBridge(f),
    ...seen,
    translated: coverage(f),
    aliases: coverage.aliases?.(f),
    dmaFunction: f.dmaFunction ?? vmdEndpoint(f, snapshot.functions),
    pchQuirk: seen.portType === PcieType.RootPort && isIntelPchRootPort(f.vendor, f.device, family) ? pchQuirkOf(f, snapshot, log, notes) : undefined,
    family,
  };
};

/** In the kernel's order; `pci=config_acs=` came with 6.11. */
const knownParameters = ({ disableAcsRedir, configAcs }: IommuParameters, kernel: number | undefined): readonly AcsParameter[] => (kernel !== undefined && kernel < kernelVersion(6, 11) ? disableAcsRedir : [...disableAcsRedir, ...configAcs]);

/** Turns a snapshot into the engine's facts. Nothing that the source does not show is filled in without a note. */
export const hostFacts = (snapshot: HostSnapshot, options: HostFactsOptions = {}): HostFacts => {
  const notes = new Set<string>();
  const log = readAcsLog(snapshot.dmesg);
  const parameters = parseCommandLine(snapshot.commandLine ?? "");
  const seen = new Map(snapshot.functions.map((f) => [formatAddress(f.address), seenOf(f, snapshot.kind)]));
  const context: HostContext = { snapshot, log, coverage: coverageOf(snapshot, notes), slots: countSlots(snapshot.functions), seen, notes };
  const plain = snapshot.functions.map((f) => functionFacts(f, seen.get(formatAddress(f.address)) ?? { portType: "unknown", acs: "unknown" }, context));
  const on = wasIommuOn(snapshot);
  const kernel = versionOf(snapshot.kernelRelease);
  const predicted = predictAcsControl(plain, { noAts: parameters.noAts, parameters: knownParameters(parameters, kernel) });
  const facts = on ? plain.map((f, i) => (isReadable(f) ? f : (predicted[i] as FunctionFacts))) : predicted;
  const override = overrideOf(parameters, log, snapshot.dmesg, options, notes);
  const ivrs = snapshot.acpi.has("IVRS") || (!snapshot.acpi.has("DMAR") && snapshot.functions.some((f) => (f.classCode ?? 0) >>> 8 === 0x0806));
  return {
    facts,
    policy: { ivrs, ...(kernel === undefined ? {} : { kernel }), ...(override ? { override } : {}) },
    acs: on ? "read" : "predicted",
    predicted: on ? plain.filter((f, i) => facts[i] !== f).map((f) => f.address).sort(compareAddresses) : [],
    notes: [...notes],
  };
};

/** ACS control can be judged as it stands: the register that counts is there, or nothing could be predicted. */
const isReadable = (f: FunctionFacts): boolean => {
  if (typeof f.acs === "string" || f.acs.capability === undefined) return true;
  return isIntelSptRootPort(f.vendor, f.device, f.family) ? f.acs.wide !== undefined : f.acs.control !== undefined;
};
