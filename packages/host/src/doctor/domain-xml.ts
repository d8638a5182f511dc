import { formatAddress } from "@iommu-lab/pci-bus";
import { SaxesParser } from "saxes";
import type { GuestAddress, GuestDevice, GuestDomain } from "./guest-domain.ts";

/** The text is no libvirt domain, or no XML. */
export class DomainXmlError extends Error {
  override readonly name = "DomainXmlError";
}

/** An element with what the rules ask for. */
interface Node {
  readonly name: string;
  readonly attributes: Readonly<Record<string, string>>;
  readonly children: Node[];
  text: string;
}

const DEEPEST = 64;
const LARGEST = 4 * 1024 * 1024;

const parseTree = (text: string): Node => {
  if (text.length > LARGEST) throw new DomainXmlError(`The XML has ${text.length} characters; at most ${LARGEST} are read.`);
  const top: Node = { name: "", attributes: {}, children: [], text: "" };
  const open: Node[] = [top];
  const parser = new SaxesParser();
  parser.on("opentag", ({ name, attributes }) => {
    if (open.length > DEEPEST) throw new DomainXmlError(`The XML has more than ${DEEPEST} levels.`);
    const node: Node = { name, attributes, children: [], text: "" };
    (open.at(-1) as Node).children.push(node);
    open.push(node);
  });
  parser.on("text", (part) => {
    const node = open.at(-1);
    if (node) node.text += part;
  });
  parser.on("closetag", () => void open.pop());
  parser.on("error", (error) => {
    throw new DomainXmlError(`The XML is damaged: ${error.message.slice(0, 200)}.`);
  });
  parser.write(text).close();
  return top;
};

const at = (node: Node | undefined, ...path: readonly string[]): Node | undefined => path.reduce<Node | undefined>((found, name) => found?.children.find((child) => child.name === name), node);
const all = (node: Node | undefined, name: string): Node[] => node?.children.filter((child) => child.name === name) ?? [];

const UNITS: Readonly<Record<string, bigint>> = { b: 1n, bytes: 1n, KB: 1000n, MB: 1_000_000n, GB: 1_000_000_000n, k: 1024n, KiB: 1024n, M: 1n << 20n, MiB: 1n << 20n, G: 1n << 30n, GiB: 1n << 30n, T: 1n << 40n, TiB: 1n << 40n };

const memoryOf = (node: Node | undefined): bigint | undefined => {
  const digits = node?.text.trim() ?? "";
  const unit = UNITS[node?.attributes.unit ?? "KiB"];
  return /^\d{1,18}$/.test(digits) && unit !== undefined ? BigInt(digits) * unit : undefined;
};

/** An attribute in libvirt's notation: "0x1f" or decimal; undefined where there is none. */
const numberOf = (text: string | undefined): number | undefined => (text !== undefined && /^(?:0x[0-9a-f]{1,8}|\d{1,9})$/i.test(text) ? Number(text) : undefined);

const guestAddress = (node: Node | undefined): GuestAddress | undefined => {
  if (node?.attributes.type !== "pci") return undefined;
  const [bus, slot, fn] = [numberOf(node.attributes.bus), numberOf(node.attributes.slot), numberOf(node.attributes.function)];
  return bus === undefined || slot === undefined ? undefined : { bus, slot, function: fn ?? 0 };
};

const deviceOf = (hostdev: Node): GuestDevice[] => {
  if (hostdev.attributes.type !== "pci") return [];
  const source = at(hostdev, "source", "address")?.attributes;
  const [domain, bus, slot, fn] = [numberOf(source?.domain) ?? 0, numberOf(source?.bus), numberOf(source?.slot), numberOf(source?.function)];
  if (bus === undefined || slot === undefined || bus > 0xff || slot > 0x1f || (fn ?? 0) > 7) return [];
  return [{ host: formatAddress({ domain, requester: (bus << 8) | (slot << 3) | (fn ?? 0) }), guest: guestAddress(at(hostdev, "address")), romFile: at(hostdev, "rom")?.attributes.file }];
};

/** "0-1,3" as libvirt writes sets of nodes. */
const nodesOf = (text: string | undefined): number[] =>
  (text ?? "").split(",").flatMap((part) => {
    const match = /^(\d{1,4})(?:-(\d{1,4}))?$/.exec(part.trim());
    if (!match) return [];
    const [first, last] = [Number(match[1]), Number(match[2] ?? match[1])];
    return Array.from({ length: Math.max(0, Math.min(last - first + 1, 1024)) }, (_, i) => first + i);
  });

const isOn = (node: Node | undefined): boolean => node?.attributes.state === "on";

const firmwareOf = (os: Node | undefined): GuestDomain["firmware"] => {
  const loader = at(os, "loader");
  if (os?.attributes.firmware === "efi" || loader?.attributes.type === "pflash" || /OVMF|edk2/i.test(loader?.text ?? "")) return "uefi";
  return os ? "bios" : undefined;
};

const busesOf = (devices: Node | undefined): ReadonlyMap<number, string> =>
  new Map(all(devices, "controller").filter(({ attributes }) => attributes.type === "pci").flatMap(({ attributes }) => {
    const index = numberOf(attributes.index);
    return index === undefined || attributes.model === undefined ? [] : [[index, attributes.model] as const];
  }));

/** Whether a text is a libvirt domain. */
export const looksLikeDomainXml = (text: string): boolean => /<domain\b[^>]*\btype\s*=/.test(text.slice(0, 65_536));

/**
 * Reads a libvirt domain (virsh dumpxml).
 * @throws DomainXmlError when it is none
 */
export const parseDomainXml = (text: string, source: string): GuestDomain => {
  // What stands before and after (a prompt, a second document) is not the domain's.
  const from = text.search(/<domain\b/);
  const end = text.indexOf("</domain>", from);
  if (from < 0) throw new DomainXmlError("There is no <domain> in the text.");
  const domain = at(parseTree(text.slice(from, end < 0 ? undefined : end + "</domain>".length)), "domain");
  const [os, features, devices] = [at(domain, "os"), at(domain, "features"), at(domain, "devices")];
  const iommu = at(devices, "iommu");
  const driver = at(iommu, "driver")?.attributes;
  return {
    source,
    starter: "libvirt",
    memoryBytes: memoryOf(at(domain, "memory")),
    hugepages: at(domain, "memoryBacking", "hugepages") !== undefined,
    machine: at(os, "type")?.attributes.machine,
    firmware: firmwareOf(os),
    balloon: at(devices, "memballoon")?.attributes.model !== "none",
    kvmHidden: isOn(at(features, "kvm", "hidden")),
    hypervVendorId: isOn(at(features, "hyperv", "vendor_id")),
    splitIrqchip: at(features, "ioapic")?.attributes.driver === "qemu",
    viommu: iommu && { model: iommu.attributes.model ?? "", intremap: driver?.intremap === "on", cachingMode: driver?.caching_mode === "on" },
    devices: all(devices, "hostdev").flatMap(deviceOf),
    addresses: (devices?.children ?? []).flatMap((device) => guestAddress(at(device, "address")) ?? []),
    buses: busesOf(devices),
    nodes: nodesOf(at(domain, "numatune", "memory")?.attributes.nodeset),
  };
};
