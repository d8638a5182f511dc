import { formatAddress, parseAddress } from "@iommu-lab/pci-bus";
import type { GuestAddress, GuestDevice, GuestDomain } from "./guest-domain.ts";

const LONGEST = 256 * 1024;

/** Whether a text holds a QEMU command line. */
export const looksLikeQemuCommand = (text: string): boolean => /\bqemu(?:-system-[a-z0-9_]{1,16}|-kvm)\b/.test(text.slice(0, LONGEST)) && /(?:^|\s)--?(?:device|machine|M|cpu|m)\s/m.test(text.slice(0, LONGEST));

/** The words of a command line: quotes and line ends behind a backslash taken away. */
const wordsOf = (text: string): string[] => [...text.slice(0, LONGEST).replace(/\\\r?\n/g, " ").matchAll(/"([^"\n]*)"|'([^'\n]*)'|(\S+)/g)].map(([, double, single, plain]) => double ?? single ?? plain ?? "");

type Properties = ReadonlyMap<string, string>;

/** "vfio-pci,host=01:00.0,bus=rp1,addr=0.0": the first part's name is "driver". */
const propertiesOf = (text: string, first: string): Properties => new Map(text.split(",").map((part, i): [string, string] => {
  const equals = part.indexOf("=");
  return equals < 0 ? [i === 0 ? first : part, i === 0 ? part : "on"] : [part.slice(0, equals), part.slice(equals + 1)];
}));

const isOn = (text: string | undefined): boolean => text === "on" || text === "true" || text === "yes";

const SIZES: Readonly<Record<string, bigint>> = { "": 1n << 20n, K: 1n << 10n, M: 1n << 20n, G: 1n << 30n, T: 1n << 40n };

const memoryOf = (text: string | undefined): bigint | undefined => {
  const match = /^(?:size=)?(\d{1,12})([KMGT]?)(?:,|B?$)/i.exec(text ?? "");
  return match ? BigInt(match[1] ?? "0") * (SIZES[(match[2] ?? "").toUpperCase()] ?? 1n) : undefined;
};

const placeOf = (properties: Properties, buses: ReadonlyMap<string, number>): GuestAddress | undefined => {
  const match = /^(?:0x)?([0-9a-f]{1,2})(?:\.([0-7]))?$/i.exec(properties.get("addr") ?? "");
  const bus = buses.get(properties.get("bus") ?? "");
  return match && bus !== undefined ? { bus, slot: Number.parseInt(match[1] ?? "0", 16), function: Number(match[2] ?? 0) } : undefined;
};

const values = (words: readonly string[], ...names: readonly string[]): string[] => words.flatMap((word, i) => (names.includes(word.replace(/^--/, "-")) && words[i + 1] !== undefined ? [words[i + 1] as string] : []));

const BRIDGES = new Set(["pcie-root-port", "ioh3420", "pcie-pci-bridge", "pci-bridge", "x3130-upstream", "xio3130-downstream"]);
const IOMMUS: Readonly<Record<string, string>> = { "intel-iommu": "intel", "amd-iommu": "amd", "virtio-iommu-pci": "virtio" };

/** Reads a QEMU command line, as ps shows it or a script holds it; what it does not know it passes over. */
export const parseQemuCommand = (text: string, source: string): GuestDomain => {
  const words = wordsOf(text);
  const machine = propertiesOf(values(words, "-machine", "-M").join(","), "type");
  const devices = values(words, "-device").map((value) => propertiesOf(value, "driver"));
  const bridges = devices.filter((each) => BRIDGES.has(each.get("driver") ?? ""));
  const buses = new Map<string, number>([["pcie.0", 0], ["pci.0", 0], ...bridges.map((each, i): [string, number] => [each.get("id") ?? `#${i}`, i + 1])]);
  const vfio = devices.filter((each) => (each.get("driver") ?? "").startsWith("vfio-pci"));
  const at = devices.findIndex((each) => IOMMUS[each.get("driver") ?? ""] !== undefined);
  const iommu = devices[at];
  const cpu = values(words, "-cpu").join(",");
  return {
    source,
    starter: "qemu",
    memoryBytes: memoryOf(values(words, "-m")[0]),
    hugepages: values(words, "-mem-path").some((path) => path.includes('huge')) || values(words, "-object").some((value) => /hugetlb=on|mem-path=\S*huge/.test(value)),
    machine: machine.get("type"),
    firmware: /OVMF|edk2|if=pflash/i.test(text.slice(0, LONGEST)) ? "uefi" : "bios",
    balloon: devices.some((each) => (each.get("driver") ?? "").startsWith("virtio-balloon")),
    kvmHidden: /\bkvm=off\b/.test(cpu),
    hypervVendorId: /\bhv[-_]vendor[-_]id=/.test(cpu),
    splitIrqchip: ["split", "off"].includes(machine.get("kernel_irqchip") ?? machine.get("kernel-irqchip") ?? ""),
    viommu: iommu && { model: IOMMUS[iommu.get("driver") ?? ""] ?? "", intremap: isOn(iommu.get("intremap")), cachingMode: isOn(iommu.get("caching-mode")), first: !devices.slice(0, at).some((each) => !BRIDGES.has(each.get("driver") ?? "")) },
    devices: vfio.flatMap((each): GuestDevice[] => {
      const address = parseAddress(each.get("host") ?? "");
      return address ? [{ host: formatAddress(address), guest: placeOf(each, buses), romFile: each.get("romfile") }] : [];
    }),
    addresses: devices.flatMap((each) => placeOf(each, buses) ?? []),
    buses: new Map(bridges.map((each, i) => [i + 1, each.get("driver") === "pcie-pci-bridge" ? "pcie-to-pci-bridge" : "pcie-root-port"])),
    nodes: [],
  };
};
