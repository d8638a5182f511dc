/** Pieces of lspci text written for tests, in the form of pciutils 3.7 to 3.13. */
import { lspciSnapshot, parseLspci, reportGroups, type HostSnapshot, type LspciFunction, type LspciHost } from "../src/index.ts";
import { outcome } from "./made-hosts.ts";

/** The host of a text that shows one. */
export const readOne = (text: string): LspciHost => {
  const hosts = parseLspci(text);
  const [host] = hosts;
  if (!host || hosts.length !== 1) throw new Error(`The text shows ${hosts.length} hosts.`);
  return host;
};

/** The function of a text that shows one. */
export const readFunction = (text: string): LspciFunction => {
  const { functions } = readOne(text);
  const [f] = functions;
  if (!f || functions.length !== 1) throw new Error(`The text shows ${functions.length} functions.`);
  return f;
};

export const snapshotOf = (text: string): HostSnapshot => lspciSnapshot(readOne(text), "text");

/** The partition that the rules give for a text. */
export const computedFrom = (text: string): ReturnType<typeof outcome> => outcome(reportGroups(snapshotOf(text), "computed"));

const CONTROL = "\tControl: I/O+ Mem+ BusMaster+ SpecCycle- MemWINV- VGASnoop- ParErr- Stepping- SERR- FastB2B- DisINTx+\n";

/** A bridge as -vv shows it. */
export const bridgeText = (address: string, secondary: string, subordinate: string, more = "", type = "Root Port (Slot+)"): string =>
  `${address} PCI bridge [0604]: Acme Corp Frob Port [1234:0001] (prog-if 00 [Normal decode])\n${CONTROL}${more}\tBus: primary=${address.slice(-7, -5)}, secondary=${secondary}, subordinate=${subordinate}, sec-latency=0\n\tCapabilities: [58] Express (v2) ${type}, IntMsgNum 0\n\t\tDevCap:\tMaxPayload 256 bytes, PhantFunc 0\n`;

/** Flags as an ACS line lists them, for words of the capability and control registers. */
export const acsFlags = (word: number): string => ["SrcValid", "TransBlk", "ReqRedir", "CmpltRedir", "UpstreamFwd", "EgressCtrl", "DirectTrans"].map((name, bit) => `${name}${(word >> bit) & 1 ? "+" : "-"}`).join(" ");
export const acsText = (capability: number, control: number): string => `\tCapabilities: [2a0 v1] Access Control Services\n\t\tACSCap:\t${acsFlags(capability)}\n\t\tACSCtl:\t${acsFlags(control)}\n`;
export const DRIVER = "\tKernel driver in use: pcieport\n";

/** An endpoint as -vv shows it. */
export const endpointText = (address: string, more = "", type = "Endpoint"): string => `${address} Non-Volatile memory controller [0108]: Acme Corp Gizmo [1234:5678] (rev 02) (prog-if 02 [NVM Express])\n${CONTROL}${more}\tCapabilities: [70] Express (v2) ${type}, IntMsgNum 0\n\t\tDevCap:\tMaxPayload 256 bytes, PhantFunc 0\n\tKernel driver in use: nvme\n`;

/** Two ports, one with ACS and one without, each with an endpoint. */
export const twoPorts = (groups: readonly (number | undefined)[] = []): string => {
  const group = (i: number): string => (groups[i] === undefined ? "" : `\tIOMMU group: ${groups[i] ?? 0}\n`);
  return [bridgeText("00:01.0", "01", "01", group(0)) + acsText(0x1f, 0x1d) + DRIVER, bridgeText("00:02.0", "02", "02", group(1)) + DRIVER, endpointText("01:00.0", group(2)), endpointText("02:00.0", group(3))].join("\n");
};

export const TWO_PORTS_GROUPS = { groups: ["0000:00:01.0", "0000:00:02.0 0000:02:00.0", "0000:01:00.0"], ungrouped: [], unknown: [] };
