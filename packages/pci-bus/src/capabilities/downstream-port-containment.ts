import { bit, bits, layout } from "@iommu-lab/memory/layout";
import { register, type RegisterMap } from "../config/register.ts";
import type { CapabilityDefinition, FieldValues } from "./definition.ts";
import { capabilityImage, type CapabilityImage, type CapabilityShape, type Placement } from "./image.ts";

/** DPC Capability register. PCIe §7.9.14.2. */
export const DPC_CAPABILITY = layout("DPC Capability", 16, "PCIe §7.9.14.2", {
  InterruptMessageNumber: bits(4, 0, "MSI or MSI-X vector"),
  RPExtensions: bit(5, "Has the root port's programmed I/O registers"),
  PoisonedTLPEgressBlockingSupported: bit(6, "Can block poisoned TLPs going out"),
  SoftwareTriggeringSupported: bit(7, "Software can trigger it"),
  RPPIOLogSize: bits(11, 8, "Doublewords of the programmed I/O log"),
  DLActiveERRCORSignalingSupported: bit(12, "Can send ERR_COR when the link comes up"),
});
/** DPC Control register. PCIe §7.9.14.3. */
export const DPC_CONTROL = layout("DPC Control", 16, "PCIe §7.9.14.3", {
  TriggerEnable: bits(1, 0, "What triggers it", { 0: "nothing", 1: "fatal errors", 2: "fatal and non-fatal errors", 3: "reserved" }),
  CompletionControl: bit(2, "Completions while triggered", { 0: "Completer Abort", 1: "Unsupported Request" }),
  InterruptEnable: bit(3, "Interrupts when triggered"),
  ERRCOREnable: bit(4, "Sends ERR_COR when triggered"),
  PoisonedTLPEgressBlockingEnable: bit(5, "Blocks poisoned TLPs going out"),
  SoftwareTrigger: bit(6, "Writing one triggers; reads as zero"),
  DLActiveERRCOREnable: bit(7, "Sends ERR_COR when the link comes up"),
});
/** DPC Status register. PCIe §7.9.14.4. */
export const DPC_STATUS = layout("DPC Status", 16, "PCIe §7.9.14.4", {
  TriggerStatus: bit(0, "The port is contained: its link is off"),
  TriggerReason: bits(2, 1, "Why", { 0: "uncorrectable error of the port", 1: "ERR_NONFATAL from below", 2: "ERR_FATAL from below", 3: "see TriggerReasonExtension" }),
  InterruptStatus: bit(3, "An interrupt is pending"),
  RPBusy: bit(4, "The root port is not ready to leave containment"),
  TriggerReasonExtension: bits(6, 5, "Why, further", { 0: "programmed I/O error", 1: "software", 2: "reserved", 3: "reserved" }),
  RPPIOFirstErrorPointer: bits(12, 8, "Bit number of the first programmed I/O error"),
});
/** DPC Error Source ID register. PCIe §7.9.14.5. */
export const DPC_SOURCE = layout("DPC Error Source ID", 16, "PCIe §7.9.14.5", { ErrorSourceID: bits(15, 0, "Requester ID of the message that triggered it") });

const PIO = {
  CfgURCpl: bit(0, "Configuration request: Unsupported Request"),
  CfgCACpl: bit(1, "Configuration request: Completer Abort"),
  CfgCTO: bit(2, "Configuration request: timed out"),
  IOURCpl: bit(8, "I/O request: Unsupported Request"),
  IOCACpl: bit(9, "I/O request: Completer Abort"),
  IOCTO: bit(10, "I/O request: timed out"),
  MemURCpl: bit(16, "Memory request: Unsupported Request"),
  MemCACpl: bit(17, "Memory request: Completer Abort"),
  MemCTO: bit(18, "Memory request: timed out"),
} as const;
/** RP PIO Status register. PCIe §7.9.14.6. */
export const RP_PIO_STATUS = layout("RP PIO Status", 32, "PCIe §7.9.14.6", PIO);
/** RP PIO Mask register. PCIe §7.9.14.7. */
export const RP_PIO_MASK = layout("RP PIO Mask", 32, "PCIe §7.9.14.7", PIO);
/** RP PIO Severity register: one triggers containment, zero is an advisory. PCIe §7.9.14.8. */
export const RP_PIO_SEVERITY = layout("RP PIO Severity", 32, "PCIe §7.9.14.8", PIO);
/** RP PIO SysError register. PCIe §7.9.14.9. */
export const RP_PIO_SYS_ERROR = layout("RP PIO SysError", 32, "PCIe §7.9.14.9", PIO);
/** RP PIO Exception register. PCIe §7.9.14.10. */
export const RP_PIO_EXCEPTION = layout("RP PIO Exception", 32, "PCIe §7.9.14.10", PIO);
/** A doubleword of the RP PIO header, implementation-specific or TLP prefix log. PCIe §7.9.14.11. */
export const RP_PIO_LOG = layout("RP PIO Log", 32, "PCIe §7.9.14.11", { Log: bits(31, 0, "Four bytes of the log") });

const base = {
  Capability: register(4, DPC_CAPABILITY),
  Control: register(6, DPC_CONTROL, { writable: ["TriggerEnable", "CompletionControl", "InterruptEnable", "ERRCOREnable", "PoisonedTLPEgressBlockingEnable", "DLActiveERRCOREnable"] }),
  Status: register(8, DPC_STATUS, { writeOneToClear: ["TriggerStatus", "InterruptStatus"], sticky: ["TriggerStatus", "TriggerReason", "TriggerReasonExtension", "RPPIOFirstErrorPointer"] }),
  Source: register(0xa, DPC_SOURCE, { sticky: "all" }),
};
const RWS = { writable: "all", sticky: "all" } as const;
const rootPort = {
  RPPIOStatus: register(0xc, RP_PIO_STATUS, { writeOneToClear: "all", sticky: "all" }),
  RPPIOMask: register(0x10, RP_PIO_MASK, RWS),
  RPPIOSeverity: register(0x14, RP_PIO_SEVERITY, RWS),
  RPPIOSysError: register(0x18, RP_PIO_SYS_ERROR, RWS),
  RPPIOException: register(0x1c, RP_PIO_EXCEPTION, RWS),
};

/** The log has a header of four doublewords, one of the implementation's own, and prefixes. PCIe §7.9.14.2, RP PIO Log Size. */
const logSizeOf = (extensions: number, size: number): number => (extensions ? Math.min(size, 9) : 0);

const shapeOf = (extensions: number, logSize: number): CapabilityShape => {
  const registers: Record<string, RegisterMap[string]> = { ...base, ...(extensions ? rootPort : {}) };
  const log = logSizeOf(extensions, logSize);
  for (let i = 0; i < log; i++) registers[`RPPIOLog${i}`] = register(0x20 + 4 * i, RP_PIO_LOG, { sticky: "all" });
  return { id: 0x1d, extended: true, version: 1, length: extensions ? 0x20 + 4 * log : 0xc, registers };
};

/** What a DPC capability says at first. */
export interface DownstreamPortContainmentDescription {
  readonly Capability?: FieldValues<typeof DPC_CAPABILITY>;
  readonly Control?: FieldValues<typeof DPC_CONTROL>;
  readonly Status?: FieldValues<typeof DPC_STATUS>;
  readonly Source?: FieldValues<typeof DPC_SOURCE>;
  /** The next are there with `Capability.RPExtensions` only. */
  readonly RPPIOStatus?: FieldValues<typeof RP_PIO_STATUS>;
  readonly RPPIOMask?: FieldValues<typeof RP_PIO_MASK>;
  readonly RPPIOSeverity?: FieldValues<typeof RP_PIO_SEVERITY>;
  readonly RPPIOSysError?: FieldValues<typeof RP_PIO_SYS_ERROR>;
  readonly RPPIOException?: FieldValues<typeof RP_PIO_EXCEPTION>;
  /** Up to nine words of 32 bits. */
  readonly log?: readonly number[];
}

/** Downstream Port Containment (extended id 0x1d). PCIe §7.9.14. */
export const downstreamPortContainment = ({ log = [], ...given }: DownstreamPortContainmentDescription = {}, placement?: Placement): CapabilityImage => {
  const values: Record<string, Readonly<Record<string, number>>> = Object.fromEntries(Object.entries(given).map(([name, fields]) => [name, { ...fields }]));
  for (const [i, Log] of log.entries()) values[`RPPIOLog${i}`] = { Log };
  return capabilityImage(shapeOf(given.Capability?.RPExtensions ?? 0, given.Capability?.RPPIOLogSize ?? 0), values, placement);
};

/** How to read a DPC capability. */
export const DOWNSTREAM_PORT_CONTAINMENT: CapabilityDefinition = { id: 0x1d, extended: true, shape: (view) => shapeOf(view.word(4) & 0x20, (view.word(4) >>> 8) & 15) };
