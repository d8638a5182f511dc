import { hex } from "@iommu-lab/memory";
import { formatAddress } from "@iommu-lab/pci-bus";
import { decodeConfig, type DecodedBar, type DecodedConfig, type DecodedRegister, type DecodedWindow } from "@iommu-lab/pci-bus/capabilities";
import type { HostFunction } from "@iommu-lab/host";
import { describeFunction } from "../names/describe.ts";
import type { PciNames } from "../names/pci-ids.ts";
import { printable } from "./printable.ts";
import { style } from "./style.ts";

const flags = (values: Readonly<Record<string, number>>): string =>
  Object.entries(values)
    .filter(([, value]) => value !== 0)
    .map(([name, value]) => (value === 1 ? name : `${name}=${value}`))
    .join(" ") || "none set";

const windowText = ({ base, limit, disabled, addressing }: DecodedWindow): string => (disabled ? "closed" : `${hex(base)} to ${hex(limit)} (${addressing}-bit)`);

const BAR_NAMES = { io: "I/O", memory32: "memory, 32-bit", memory64: "memory, 64-bit", below1MiB: "memory below 1 MiB", reserved: "reserved type" } as const;
const barText = ({ index, kind, address, prefetchable }: DecodedBar): string => `BAR ${index}: ${hex(address)} (${BAR_NAMES[kind]}${prefetchable ? ", prefetchable" : ""})`;

const registerLines = ({ name, offset, value, fields }: DecodedRegister): string[] => [
  `    ${name} ${style("dim", `at 0x${offset.toString(16).padStart(2, "0")}: 0x${value.toString(16)}`)}`,
  ...fields.map((field) => `      ${style("dim", (field.msb === field.lsb ? String(field.msb) : `${field.msb}:${field.lsb}`).padEnd(8))}${field.name.padEnd(24)} ${field.value > 9 ? `0x${field.value.toString(16)}` : String(field.value)}${field.meaning === undefined ? "" : `  ${field.meaning}`}`),
];

const headerLines = ({ header }: DecodedConfig): string[] => {
  const lines = [
    `  header type ${header.type}${header.multifunction ? ", multifunction" : ""}, revision 0x${header.revision.toString(16).padStart(2, "0")}, class 0x${header.classCode.toString(16).padStart(6, "0")}`,
    `  command: ${flags(header.command)}`,
    `  status: ${flags(header.status)}`,
    ...header.bars.map((bar) => `  ${barText(bar)}`),
  ];
  if (header.rom) lines.push(`  expansion ROM: ${hex(header.rom.address)} (${header.rom.enabled ? "enabled" : "disabled"})`);
  if (header.subsystemVendor !== undefined) lines.push(`  subsystem ${header.subsystemVendor.toString(16).padStart(4, "0")}:${(header.subsystemDevice ?? 0).toString(16).padStart(4, "0")}`);
  if (header.interruptPin > 0) lines.push(`  interrupt pin ${"?ABCD"[header.interruptPin] ?? "?"}, line ${header.interruptLine}`);
  if (header.bridge) {
    const { primary, secondary, subordinate, io, memory, prefetchable, control } = header.bridge;
    lines.push(`  buses: primary ${hex(primary)}, secondary ${hex(secondary)}, subordinate ${hex(subordinate)}`, `  I/O window: ${windowText(io)}`, `  memory window: ${windowText(memory)}`, `  prefetchable window: ${windowText(prefetchable)}`, `  bridge control: ${flags(control)}`);
  }
  return lines;
};

const VISIBLE = { all: undefined, conventional: "Only 256 bytes were read: extended capabilities cannot be seen.", none: "Only the first 64 bytes were read (no root): capabilities cannot be seen." } as const;

/** One function, every field. */
export const pciFunctionText = (f: HostFunction, names: PciNames): string => {
  const lines = [`${style("bold", formatAddress(f.address))} ${printable(describeFunction(f, names))}`];
  if (f.driver !== undefined) lines.push(`  driver: ${printable(f.driver)}`);
  if (f.group !== undefined) lines.push(`  IOMMU group: ${f.group}`);
  if (f.resetMethods) lines.push(`  reset methods: ${printable(f.resetMethods.join(" ")) || "none"}`);
  if (!f.config) return [...lines, ...printedLines(f)].join("\n");
  const decoded = decodeConfig(f.config);
  lines.push(...headerLines(decoded));
  for (const capability of decoded.capabilities)
    lines.push(`  ${style("bold", `[${capability.offset.toString(16).padStart(2, "0")}]`)} ${capability.name}${capability.type === undefined ? "" : `: ${capability.type}`}${capability.version === undefined ? "" : style("dim", ` v${capability.version}`)}`, ...capability.registers.flatMap(registerLines));
  const visible = VISIBLE[decoded.capabilitiesVisible];
  if (visible !== undefined && (decoded.size < 256 || decoded.capabilities.some(({ id, extended }) => !extended && id === 0x10))) lines.push(style("yellow", `  ${visible}`));
  for (const { offset, text } of decoded.problems) lines.push(style("red", `  problem at 0x${offset.toString(16)}: ${text}`));
  return lines.join("\n");
};

/** A text without bytes: what it says itself. */
const printedLines = (f: HostFunction): string[] => {
  if (!f.printed) return ["  Its configuration space is not in this input."];
  return [
    ...f.printed.capabilities.flatMap(({ offset, title, lines }) => [`  [${offset.toString(16)}] ${printable(title)}`, ...lines.map((line) => `    ${printable(line)}`)]),
    "  Configuration bytes are not in this text, so nothing is decoded here; lspci -xxxx adds them.",
  ];
};

/** One function as JSON: the decoded configuration space. */
export const pciFunctionJson = (f: HostFunction, names: PciNames): object => ({
  address: formatAddress(f.address),
  name: describeFunction(f, names),
  driver: f.driver ?? null,
  group: f.group ?? null,
  resetMethods: f.resetMethods ?? null,
  config: f.config ? decodeConfig(f.config) : null,
  ...(f.config || !f.printed ? {} : { printed: f.printed.capabilities }),
});
