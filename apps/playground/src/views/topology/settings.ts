import { parseAddress } from "@iommu-lab/pci-bus";
import { readHostChoice, type HostChoice } from "../../host/host-choice.ts";
import { integer, oneOf, record } from "../view.ts";

/** A change of the machine; addresses are those after the changes before it. */
export type Edit =
  /** ACS Control of a function becomes this; one without the capability gets it. */
  | { readonly kind: "acs"; readonly at: string; readonly control: number }
  /** What is below two ports changes places. */
  | { readonly kind: "move"; readonly from: string; readonly to: string }
  /** A PCI Express to PCI bridge comes between a port and what is below it. */
  | { readonly kind: "bridge"; readonly below: string };

/** Kernels whose rules differ; "own" is the host's. */
export const KERNELS = ["own", "6.1", "6.12", "7.0", "7.2"] as const;

export interface TopologySettings {
  readonly host: HostChoice;
  readonly edits: readonly Edit[];
  /** What pcie_acs_override= declares. */
  readonly downstream: boolean;
  readonly multifunction: boolean;
  readonly kernel: (typeof KERNELS)[number];
  /** The function that the selected one writes to; "" for none. */
  readonly peer: string;
}

const MOST_EDITS = 32;
const address = (value: unknown): string | undefined => (typeof value === "string" && value.length <= 16 && parseAddress(value) ? value : undefined);

const readEdit = (value: unknown): Edit | undefined => {
  const { kind, at, control, from, to, below } = record(value);
  const [here, source, target, port] = [at, from, to, below].map(address);
  if (kind === "acs" && here !== undefined) return { kind, at: here, control: integer(control, [0, 0x7f], 0) };
  if (kind === "move" && source !== undefined && target !== undefined) return { kind, from: source, to: target };
  return kind === "bridge" && port !== undefined ? { kind, below: port } : undefined;
};

export const readTopology = (kept: unknown): TopologySettings => {
  const { host, edits, downstream, multifunction, kernel, peer } = record(kept);
  return { host: readHostChoice(host), edits: (Array.isArray(edits) ? edits : []).slice(0, MOST_EDITS).flatMap((each) => readEdit(each) ?? []), downstream: downstream === true, multifunction: multifunction === true, kernel: oneOf(kernel, KERNELS), peer: address(peer) ?? "" };
};
