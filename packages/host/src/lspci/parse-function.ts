import type { FunctionAddress } from "@iommu-lab/pci-bus";
import { PcieType } from "@iommu-lab/pci-bus/groups";
import type { LspciCapability, LspciFunction } from "./lspci-function.ts";
import { parseTitle } from "./title.ts";

/** The lines of one function: its title without the address, and what stands below. */
export interface FunctionLines {
  readonly address: FunctionAddress;
  readonly title: string;
  readonly lines: readonly string[];
}

const HEX_LINE = /^\s*([0-9a-f]{2,3}):((?: [0-9a-f]{2}){1,16})\s*$/i;
/** The colon belongs to it: a wrapped title may go on with "Bus Controller" or "Memory Controller". */
const PROPERTY =
  /^(?:Subsystem|DeviceName|Physical Slot|Device tree node|Control|Status|Flags|Latency|Interrupt|NUMA node|IOMMU group|Region \d+|Bus|I\/O behind bridge|(?:Prefetchable m|M)emory behind bridge|(?:Memory|I\/O) window \d|Secondary status|BridgeCtl|Capabilities|Kernel driver in use|Kernel modules|BIST result|Product Name|Read-only fields):|^(?:Memory|I\/O ports|Expansion ROM) at\b|^<?!!!/;

/** Whether a line is one of those that lspci writes below a title. */
export const isPropertyLine = (line: string): boolean => PROPERTY.test(line.trimStart());
export const isHexLine = (line: string): boolean => HEX_LINE.test(line);

const PORT_TYPES: readonly (readonly [RegExp, number])[] = [
  [/Root Port/, PcieType.RootPort],
  [/Upstream Port/, PcieType.UpstreamPort],
  [/Downstream Port/, PcieType.DownstreamPort],
  [/Legacy Endpoint/, PcieType.LegacyEndpoint],
  [/Root Complex Integrated Endpoint/, PcieType.RootComplexIntegratedEndpoint],
  [/Root Complex Event Collector/, PcieType.RootComplexEventCollector],
  [/PCI-Express to PCI\/PCI-X Bridge/, PcieType.PcieToPciBridge],
  [/PCI\/PCI-X to PCI-Express Bridge/, PcieType.PciToPcieBridge],
  [/Endpoint/, PcieType.Endpoint],
];

const expressOf = (capabilities: readonly LspciCapability[]): LspciCapability | undefined => capabilities.find(({ title }) => /^Express\b/.test(title));

/** Type from "Express (v2) Root Port (Slot+), IntMsgNum 0"; a mail may have broken the line anywhere. */
const portTypeOf = (express: LspciCapability): number | undefined => {
  const text = `${express.title} ${express.lines[0] ?? ""}`.replace(/\s+/g, " ").split(/DevCap/)[0] ?? "";
  const reserved = /Unknown type (\d+)/.exec(text)?.[1];
  return reserved === undefined ? PORT_TYPES.find(([pattern]) => pattern.test(text))?.[1] : Number(reserved);
};

const ACS_FLAGS: readonly (readonly [string, number])[] = [
  ["SrcValid", 0x01],
  ["TransBlk", 0x02],
  ["ReqRedir", 0x04],
  ["CmpltRedir", 0x08],
  ["UpstreamFwd", 0x10],
  ["EgressCtrl", 0x20],
  ["DirectTrans", 0x40],
];

/** Flags by name; the four that isolation asks for must all be there, the rest may be lost in a wrapped line. */
const acsWord = (text: string | undefined): number | undefined => {
  if (text === undefined) return undefined;
  let word = 0;
  for (const [name, bit] of ACS_FLAGS) {
    const sign = new RegExp(`${name}([+-])`).exec(text)?.[1];
    if (sign === undefined && bit & 0x1d) return undefined;
    if (sign === "+") word |= bit;
  }
  return word;
};

const acsOf = (capabilities: readonly LspciCapability[]): LspciFunction["acs"] => {
  const acs = capabilities.find(({ title }) => title.startsWith("Access Control Services"));
  if (!acs) return undefined;
  const text = acs.lines.join(" ");
  return { offset: acs.offset, capability: acsWord(/ACSCap:(.*?)(?:ACSCtl:|$)/.exec(text)?.[1]), control: acsWord(/ACSCtl:(.*)$/.exec(text)?.[1]) };
};

const virtualFunctionsOf = (capabilities: readonly LspciCapability[]): LspciFunction["virtualFunctions"] => {
  const text = capabilities.find(({ title }) => title.includes("Single Root I/O Virtualization"))?.lines.join(" ");
  const count = /Number of VFs: (\d+)/.exec(text ?? "")?.[1];
  const place = /VF offset: (\d+), stride: (\d+)/.exec(text ?? "");
  const enabled = /IOVCtl:\s*Enable\+/.test(text ?? "");
  return count !== undefined && place && enabled ? { count: Number(count), offset: Number(place[1]), stride: Number(place[2]) } : undefined;
};

/** Groups the lines below a title: capabilities with what belongs to them, properties, hex bytes. */
const sortLines = (lines: readonly string[]): { capabilities: LspciCapability[]; denied: boolean; properties: string[]; config: Uint8Array | undefined } => {
  const capabilities: { offset: number; version?: number; title: string; lines: string[] }[] = [];
  const properties: string[] = [];
  const bytes = new Uint8Array(4096);
  let length = 0;
  let denied = false;
  let open: string[] | undefined;
  for (const raw of lines) {
    const hexLine = HEX_LINE.exec(raw);
    const line = raw.trim();
    if (hexLine) {
      open = undefined;
      const start = Number.parseInt(hexLine[1] ?? "", 16);
      const values = (hexLine[2] ?? "").trim().split(" ");
      // Only an unbroken dump is configuration space; a hole would read as zeros that were never seen.
      if (start === length && start + values.length <= 4096) {
        bytes.set(values.map((value) => Number.parseInt(value, 16)), start);
        length += values.length;
      }
      continue;
    }
    const capability = /^Capabilities: \[([0-9a-f]{1,3})(?: v(\d+))?\]\s*(.*)$/i.exec(line);
    if (capability) {
      open = [];
      capabilities.push({ offset: Number.parseInt(capability[1] ?? "", 16), ...(capability[2] === undefined ? {} : { version: Number(capability[2]) }), title: capability[3] ?? "", lines: open });
    } else if (/^Capabilities: <access denied>/i.test(line)) {
      denied = true;
      open = undefined;
    } else if (/^Kernel (?:driver in use|modules):/.test(line)) {
      open = undefined;
      properties.push(line);
    } else if (open) open.push(line);
    else properties.push(line);
  }
  return { capabilities, denied, properties, config: length >= 64 ? bytes.slice(0, length) : undefined };
};

const find = (properties: readonly string[], pattern: RegExp): RegExpExecArray | undefined => {
  for (const line of properties) {
    const match = pattern.exec(line);
    if (match) return match;
  }
  return undefined;
};

const hex = (text: string | undefined): number | undefined => (text === undefined ? undefined : Number.parseInt(text, 16));

/** Reads one function's lines. `verbose`: the text was made with -v, so a function without capability lines has none. */
export const parseFunction = ({ address, title, lines }: FunctionLines, verbose: boolean): LspciFunction => {
  const { capabilities, denied, properties, config } = sortLines(lines);
  const parsed = parseTitle(title);
  // A mail may have broken these lines anywhere.
  const joined = properties.join(" ");
  const buses = /\bBus: primary=([0-9a-f]{2}), secondary=([0-9a-f]{2}), subordinate=([0-9a-f]{2})/i.exec(joined);
  const subsystem = find(properties, /^Subsystem:.*?([0-9a-f]{4}):([0-9a-f]{4})\]?\s*$/i);
  // -vv prints a line of its own, -v alone an item of the Flags line.
  const group = /\bIOMMU group:?\s*(\d+)/i.exec(joined)?.[1];
  const express = expressOf(capabilities);
  const portType = express && portTypeOf(express);
  const ownVerbose = properties.some((line) => /^(?:Control:|Flags:|Status:|Subsystem:|Kernel driver|Interrupt:|Bus:)/.test(line)) || capabilities.length > 0;
  return {
    address,
    title,
    ...parsed,
    vendor: parsed.vendor ?? word(config, 0),
    device: parsed.device ?? word(config, 2),
    classCode: config && config.length >= 12 ? ((config[11] as number) << 16) | ((config[10] as number) << 8) | (config[9] as number) : parsed.classCode,
    subsystemVendor: hex(subsystem?.[1]),
    subsystemDevice: hex(subsystem?.[2]),
    capabilitiesShown: denied ? "denied" : express && portType === undefined ? "not-shown" : capabilities.length > 0 || (verbose && ownVerbose) ? "yes" : "not-shown",
    capabilities,
    portType,
    acs: acsOf(capabilities),
    buses: buses ? { primary: hex(buses[1]) ?? 0, secondary: hex(buses[2]) ?? 0, subordinate: hex(buses[3]) ?? 0 } : undefined,
    iommuGroup: group === undefined ? undefined : Number(group),
    driver: find(properties, /^Kernel driver in use:\s*(\S+)/)?.[1],
    modules: find(properties, /^Kernel modules:\s*(.+)$/)?.[1]?.split(/,\s*/),
    virtualFunctions: virtualFunctionsOf(capabilities),
    config,
  };
};

const word = (config: Uint8Array | undefined, at: number): number | undefined => (config ? (config[at] as number) | ((config[at + 1] as number) << 8) : undefined);
