import type { MmioHandler } from "@iommu-lab/memory";
import { accessControlServices } from "../capabilities/access-control-services.ts";
import { advancedErrorReporting } from "../capabilities/advanced-error-reporting.ts";
import { pciExpress } from "../capabilities/express.ts";
import { PcieType } from "../pcie-type.ts";
import type { CapabilityImage } from "../capabilities/image.ts";
import { msi } from "../capabilities/msi.ts";
import { FunctionConfig, type FunctionDescription } from "../config/function-config.ts";
import type { FabricPort } from "../function.ts";
import { PciBus } from "./bus.ts";
import type { BridgeKind, Bus, BusKind, ModelFunction } from "./fabric.ts";

const BELOW: Readonly<Record<BridgeKind, BusKind>> = {
  "root-port": "link",
  "downstream-port": "link",
  "upstream-port": "switch",
  "pcie-to-pci": "conventional",
  "pci-to-pci": "conventional",
};

const PORT_TYPE = { "root-port": PcieType.RootPort, "downstream-port": PcieType.DownstreamPort, "upstream-port": PcieType.UpstreamPort, "pcie-to-pci": PcieType.PcieToPciBridge } as const;

/** A bridge or port: a type 1 function and the bus below it, which starts empty. */
export class Bridge implements ModelFunction {
  readonly config: FunctionConfig;
  readonly bridgeKind: BridgeKind;
  readonly secondary: Bus;
  readonly bars: readonly (MmioHandler | undefined)[];
  readonly fabric: FabricPort;

  /**
   * @param kind        what it does to requests from below
   * @param description its configuration space, such as `bridgeDescription` makes
   * @param bars        what answers its own BARs 0 and 1, if it has any
   * @throws RangeError when the description is not of header type 1
   */
  constructor(kind: BridgeKind, description: FunctionDescription = bridgeDescription(kind), bars: readonly (MmioHandler | undefined)[] = []) {
    if (description.header !== 1) throw new RangeError(`A bridge has a type 1 header; this description has type ${description.header}.`);
    this.bridgeKind = kind;
    this.config = new FunctionConfig(description);
    this.secondary = new PciBus(BELOW[kind]);
    this.bars = bars;
    this.fabric = {
      invalidate: (_, complete) => {
        complete();
      },
      pageResponse: () => undefined,
      reset: (how) => {
        this.config.reset(how);
      },
    };
  }

  connect(): void {
    // What a port sends for itself, the fabric sends from its attachment.
  }
}

/** What sort of bridge to describe. */
export interface BridgeOptions {
  readonly vendor?: number;
  readonly device?: number;
  readonly multifunction?: boolean;
  /** ACS with all seven controls of PCIe 5.0, an egress control vector of 256 bits among them; ports only. */
  readonly acs?: boolean;
  /** The port can forward to all functions of an ARI device. */
  readonly ari?: boolean;
  /** The port has a hot-plug slot. */
  readonly hotPlug?: boolean;
  /** Port number of the link capabilities, 8 bits; egress control counts by it. */
  readonly portNumber?: number;
  readonly errorReporting?: boolean;
  readonly windows?: FunctionDescription["bridge"];
  readonly bars?: FunctionDescription["bars"];
}

const ALL_ACS = { SourceValidation: 1, TranslationBlocking: 1, P2PRequestRedirect: 1, P2PCompletionRedirect: 1, UpstreamForwarding: 1, P2PEgressControl: 1, DirectTranslatedP2P: 1 } as const;

const capabilitiesOf = (kind: BridgeKind, options: BridgeOptions): CapabilityImage[] => {
  if (kind === "pci-to-pci") return [];
  const down = kind === "root-port" || kind === "downstream-port";
  const hotPlug = down && options.hotPlug === true;
  const express = pciExpress({
    type: PORT_TYPE[kind],
    slot: down,
    deviceCapabilities2: { ARIForwardingSupported: options.ari ? 1 : 0 },
    linkCapabilities: { MaxLinkSpeed: 4, MaximumLinkWidth: 4, PortNumber: options.portNumber ?? 0, DataLinkLayerLinkActiveReportingCapable: down ? 1 : 0 },
    linkStatus: { CurrentLinkSpeed: 4, NegotiatedLinkWidth: 4 },
    ...(hotPlug ? { slotCapabilities: { HotPlugCapable: 1, HotPlugSurprise: 1 } } : {}),
  });
  return [express, ...(down ? [msi()] : []), ...(options.acs ? [accessControlServices({ Capability: ALL_ACS })] : []), ...(options.errorReporting ? [advancedErrorReporting({ root: kind === "root-port" })] : [])];
};

/** The configuration space of an ordinary bridge of a kind. The default vendor and device are QEMU's generic ones (1b36). */
export const bridgeDescription = (kind: BridgeKind, options: BridgeOptions = {}): FunctionDescription => ({
  vendor: options.vendor ?? 0x1b36,
  device: options.device ?? (kind === "root-port" ? 0x000c : kind === "pci-to-pci" ? 0x0001 : 0x000e),
  classCode: 0x06_0400,
  header: 1,
  ...(options.multifunction ? { multifunction: true } : {}),
  ...(options.windows ? { bridge: options.windows } : {}),
  ...(options.bars ? { bars: options.bars } : {}),
  capabilities: capabilitiesOf(kind, options),
});
