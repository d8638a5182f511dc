import { devfnOf, type FunctionAddress } from "@iommu-lab/pci-bus";
import { parseResources, type VgaResources } from "../legacy/resources.ts";

/** A command as written to /dev/vga_arbiter. */
export type DeviceFileCommand =
  | { readonly kind: "lock" | "trylock" | "decodes"; readonly resources: VgaResources }
  | { readonly kind: "unlock"; readonly resources: VgaResources | "all" }
  | { readonly kind: "target"; readonly address: FunctionAddress | "default" };

// The kernel's sscanf("PCI:%x:%x:%x.%x"): white space and 0x before a number are skipped, what follows the last one is not looked at.
const ADDRESS = /^PCI:\s*(?:0x)?([0-9a-f]+):\s*(?:0x)?([0-9a-f]+):\s*(?:0x)?([0-9a-f]+)\.\s*(?:0x)?([0-9a-f]+)/i;

const parseTarget = (text: string): FunctionAddress | "default" | undefined => {
  if (text.startsWith("default")) return "default";
  const match = ADDRESS.exec(text);
  if (!match) return undefined;
  const [domain, bus, slot, fn] = match.slice(1).map((digits) => Number.parseInt(digits, 16)) as [number, number, number, number];
  // Device and function lose their high bits; a bus past 255 stays and is found nowhere.
  return { domain, requester: bus * 256 + devfnOf(((slot & 0x1f) << 3) | (fn & 7)) };
};

/** Reads a command; only its start counts, what follows is let pass. Undefined is what the kernel answers with EPROTO. */
export const parseCommand = (text: string): DeviceFileCommand | undefined => {
  const space = text.indexOf(" ");
  const word = text.slice(0, space);
  const rest = text.slice(space + 1);
  if (word === "target") {
    const address = parseTarget(rest);
    return address === undefined ? undefined : { kind: "target", address };
  }
  if (word === "unlock" && rest.startsWith("all")) return { kind: "unlock", resources: "all" };
  if (word !== "lock" && word !== "trylock" && word !== "unlock" && word !== "decodes") return undefined;
  const resources = parseResources(rest);
  return resources === undefined ? undefined : { kind: word, resources };
};
