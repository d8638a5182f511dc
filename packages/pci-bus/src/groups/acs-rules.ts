import { PcieType } from "../pcie-type.ts";
import type { AcsFacts, FunctionFacts } from "./facts.ts";
import type { GroupingPolicy } from "./policy.ts";
import {
  ACS_ROWS,
  BROKEN_SOURCE_VALIDATION,
  CAVIUM_ROOT_PORTS,
  idKey,
  INTEL_PCH_ROOT_PORTS,
  INTEL_SPT_ROOT_PORTS,
  WANGXUN_NICS,
  ZHAOXIN_PORTS,
  type AcsRow,
} from "./quirk-table.ts";
import type { Evidence } from "./reason.ts";

/** Bits of the ACS Capability and ACS Control registers. PCIe §7.7.11.2 */
export const AcsBit = { SrcValid: 0x01, TransBlk: 0x02, ReqRedir: 0x04, CmpltRedir: 0x08, UpstreamFwd: 0x10, EgressCtrl: 0x20, DirectTrans: 0x40 } as const;

/** What Linux asks of a path that is to isolate: source validation, request and completion redirect, upstream forwarding. */
export const ISOLATION_BITS = AcsBit.SrcValid | AcsBit.ReqRedir | AcsBit.CmpltRedir | AcsBit.UpstreamFwd;

/** Names of the bits that are set, as lspci writes them. */
export const acsBitNames = (bits: number): string[] =>
  Object.entries(AcsBit)
    .filter(([, bit]) => bits & bit)
    .map(([name]) => name);

/** Whether one function keeps what is below it, or its own sibling functions, from reaching others behind the IOMMU's back. */
export type AcsVerdict =
  | { readonly isolated: true; readonly rule: string; readonly unsafe?: boolean }
  | { readonly isolated: false; readonly rule: string; readonly quirk?: string; readonly evidence: Evidence }
  | { readonly isolated: "unknown"; readonly rule: string };

const yes = (rule: string): AcsVerdict => ({ isolated: true, rule });
const unknown = (rule: string): AcsVerdict => ({ isolated: "unknown", rule });
const no = (rule: string, register: string, offset: number | null, value: number | null, missing: readonly string[], quirk?: string): AcsVerdict => ({
  isolated: false,
  rule,
  ...(quirk === undefined ? {} : { quirk }),
  evidence: { register, offset, value, missing },
});

const ALL_MISSING = acsBitNames(ISOLATION_BITS);

/** A wanted bit that the capability does not have counts as satisfied: the port cannot do what the bit would forbid. */
const judgeControl = (acs: AcsFacts, wanted: number, sourceValidationCounts: boolean): AcsVerdict => {
  if (acs.capability === undefined || acs.control === undefined) return unknown("the ACS capability is there, but its bits are not shown");
  const capability = sourceValidationCounts ? acs.capability : acs.capability & ~AcsBit.SrcValid;
  const missing = wanted & (capability | AcsBit.EgressCtrl) & ~acs.control;
  return missing === 0 ? yes("every wanted ACS bit that the function has is enabled") : no("ACS bits are not enabled", "ACS Control", acs.offset + 6, acs.control, acsBitNames(missing));
};

const judgeFlags = (f: FunctionFacts, policy: GroupingPolicy): AcsVerdict => {
  if (f.acs === "unknown") return unknown("ACS cannot be seen");
  if (f.acs === "none") return no("no ACS capability", "ACS Capability", null, null, ALL_MISSING);
  const broken = f.vendor === 0x111d && f.device !== undefined && BROKEN_SOURCE_VALIDATION.has(f.device) && (policy.kernel ?? Infinity) >= 7000;
  return judgeControl(f.acs, ISOLATION_BITS, !broken);
};

/** Whether a function is an Intel root port that only the kernel's PCH quirk can isolate: by id, or by its printed name. */
export const isIntelPchRootPort = (vendor: number | undefined, device: number | undefined, family: FunctionFacts["family"]): boolean => vendor === 0x8086 && (INTEL_PCH_ROOT_PORTS.has(device ?? -1) || family === "intel-pch-root-port");

/** Whether a function is an Intel root port whose ACS registers are 32 bits wide: by id, or by its printed name. */
export const isIntelSptRootPort = (vendor: number | undefined, device: number | undefined, family: FunctionFacts["family"]): boolean => vendor === 0x8086 && (INTEL_SPT_ROOT_PORTS.has(device ?? -1) || family === "intel-spt-root-port");

const judgePch = (f: FunctionFacts): AcsVerdict => {
  if (f.pchQuirk === undefined) return unknown("whether the chipset's root complex registers (RCBA) are enabled cannot be seen");
  return f.pchQuirk === "enabled" ? yes("Intel PCH root port: the kernel's ACS quirk works") : no("Intel PCH root port whose ACS quirk failed", "RCBA", 0xf0, 0, ["RCBA enable"], "intel-pch");
};

const judgeSpt = (f: FunctionFacts): AcsVerdict | undefined => {
  if (f.acs === "unknown") return unknown("ACS cannot be seen");
  if (f.acs === "none") return undefined;
  const wide = f.acs.wide;
  if (!wide) return unknown("the 32-bit ACS registers of this root port cannot be seen");
  const missing = ISOLATION_BITS & (wide.capability | AcsBit.EgressCtrl) & ~wide.control;
  return missing === 0 ? yes("Intel Sunrise Point root port: 32-bit ACS registers, all wanted bits enabled") : no("ACS bits of the 32-bit control register are not enabled", "ACS Control (32-bit)", f.acs.offset + 8, wide.control, acsBitNames(missing), "intel-spt-pch");
};

/** A root port, or a downstream port of a switch. */
export const isPort = (f: FunctionFacts): boolean => f.portType === PcieType.RootPort || f.portType === PcieType.DownstreamPort;
const portUnknown = (f: FunctionFacts): boolean => f.portType === "unknown";

/** A device-specific answer, or undefined: "not me", the next row is asked. */
const judgeRow = (row: AcsRow, f: FunctionFacts, policy: GroupingPolicy): AcsVerdict | undefined => {
  const device = f.device ?? -1;
  switch (row.rule) {
    case "always":
      return yes("the vendor states isolation (device-specific rule)");
    case "multifunction-endpoint":
      return yes("the vendor states that its functions do not talk to each other (device-specific rule)");
    case "amd-southbridge":
      // Its conventional functions cannot do peer-to-peer; true only with an AMD IOMMU and on a root bus.
      return f.multifunction && f.parent === undefined && policy.ivrs ? yes("AMD southbridge: no peer-to-peer between its functions (device-specific rule)") : undefined;
    case "integrated-endpoint":
      if (portUnknown(f) && !f.bridge) return unknown("an Intel root-complex integrated endpoint would be isolated, but the port type cannot be seen");
      return f.portType === PcieType.RootComplexIntegratedEndpoint ? yes("Intel root-complex integrated endpoint (device-specific rule)") : undefined;
    case "intel-pch":
      if (!isIntelPchRootPort(f.vendor, f.device, f.family)) return undefined;
      return portUnknown(f) ? unknown("the port type cannot be seen") : f.portType === PcieType.RootPort ? judgePch(f) : undefined;
    case "intel-spt-pch":
      if (!isIntelSptRootPort(f.vendor, f.device, f.family)) return undefined;
      return portUnknown(f) ? unknown("the port type cannot be seen") : f.portType === PcieType.RootPort ? judgeSpt(f) : undefined;
    case "root-port-always":
      return portUnknown(f) ? unknown("the port type cannot be seen") : f.portType === PcieType.RootPort ? yes("the vendor states isolation (device-specific rule)") : undefined;
    case "cavium":
      return f.portType === PcieType.RootPort && CAVIUM_ROOT_PORTS.has(device) ? yes("Cavium root port (device-specific rule)") : undefined;
    case "zhaoxin":
      if (!isPort(f)) return undefined;
      return ZHAOXIN_PORTS.has(device) ? yes("Zhaoxin port (device-specific rule)") : no("Zhaoxin port that the device-specific rule does not list", "Device ID", 2, device, [...ALL_MISSING], "zhaoxin");
    case "wangxun":
      return WANGXUN_NICS.has(device) ? yes("Wangxun NIC (device-specific rule)") : no("Wangxun device that the device-specific rule does not list", "Device ID", 2, device, [...ALL_MISSING], "wangxun");
  }
};

const judgeSpecific = (f: FunctionFacts, policy: GroupingPolicy): AcsVerdict | undefined => {
  for (const row of ACS_ROWS) {
    if (row.vendor !== f.vendor || (row.devices && !row.devices.has(f.device ?? -1))) continue;
    const verdict = judgeRow(row, f, policy);
    if (verdict) return verdict;
  }
  return judgeWithoutId(f) ?? judgeOverride(f, policy);
};

/** Without a device id a row may be missed; where one could decide, the answer is not known. */
const judgeWithoutId = (f: FunctionFacts): AcsVerdict | undefined => {
  // A printed name that no rule's vendor bears settles it ("other" means that a name was seen).
  if (f.device !== undefined || (f.vendor === undefined && f.family === "other")) return undefined;
  const listed = f.vendor === undefined || ACS_ROWS.some((row) => row.vendor === f.vendor && row.rule === "multifunction-endpoint");
  const rootPort = (f.vendor === undefined || f.vendor === 0x8086) && f.portType === PcieType.RootPort && f.family === undefined;
  const networkFunction = listed && f.multifunction && (f.classCode === undefined || f.classCode >>> 16 === 0x02) && (f.portType === PcieType.Endpoint || f.portType === PcieType.LegacyEndpoint || f.portType === "unknown");
  return rootPort || networkFunction ? unknown("a device-specific rule may apply, and the text shows no device id (ask for lspci -nn)") : undefined;
};

/** The out-of-tree override stands last in the table and never touches a function with an ACS capability. */
const judgeOverride = (f: FunctionFacts, { override }: GroupingPolicy): AcsVerdict | undefined => {
  if (!override || f.portType === "none" || f.portType === "unknown" || f.acs !== "none") return undefined;
  const unsafe: AcsVerdict = { isolated: true, rule: "pcie_acs_override declares isolation that the hardware does not give", unsafe: true };
  if (f.vendor !== undefined && f.device !== undefined && override.ids.includes(idKey(f.vendor, f.device))) return unsafe;
  if (override.downstream && isPort(f)) return unsafe;
  const endpoint = f.portType === PcieType.Endpoint || f.portType === PcieType.LegacyEndpoint || f.portType === PcieType.UpstreamPort || f.portType === PcieType.RootComplexIntegratedEndpoint;
  return override.multifunction && endpoint && f.multifunction ? unsafe : undefined;
};

/**
 * Linux's judgement whether a function is isolated as far as ACS goes, with what it rests on.
 * The device-specific table first, then the port type, then the ACS registers.
 */
export const judgeAcs = (f: FunctionFacts, policy: GroupingPolicy): AcsVerdict => {
  const specific = judgeSpecific(f, policy);
  if (specific) return specific;
  switch (f.portType) {
    case "unknown":
      return unknown("the PCI Express capability cannot be seen");
    case "none":
      return no("conventional PCI has no ACS", "PCI Express Capability", null, null, ALL_MISSING);
    case PcieType.PcieToPciBridge:
    case PcieType.PciToPcieBridge:
    case PcieType.RootComplexEventCollector:
      return no("a bridge to conventional PCI or an event collector has no ACS", "PCI Express Device/Port Type", f.expressOffset === undefined ? null : f.expressOffset + 2, f.portType, ALL_MISSING);
    case PcieType.RootPort:
    case PcieType.DownstreamPort:
      return judgeFlags(f, policy);
    case PcieType.Endpoint:
    case PcieType.LegacyEndpoint:
    case PcieType.UpstreamPort:
    case PcieType.RootComplexIntegratedEndpoint:
      return f.multifunction ? judgeFlags(f, policy) : yes("a single-function device has no sibling to talk to");
    default:
      return yes("no rule for this port type");
  }
};
