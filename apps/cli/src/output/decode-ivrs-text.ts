import { interpretEfr, interpretEfr2 } from "@iommu-lab/iommu-amd/decode";
import { DTE_SETTING, IVHD_FEATURES, IVHD_FLAGS, IVMD_FLAGS, structureName, type IvhdEntry, type IvrsStructure, type IvrsTable } from "@iommu-lab/iommu-amd/ivrs";
import { at, findingLines } from "./decode-lines.ts";
import { printable } from "./printable.ts";
import { style } from "./style.ts";

const hex = (value: number | bigint): string => `0x${value.toString(16)}`;
const two = (value: number): string => value.toString(16).padStart(2, "0");
const place = (deviceId: number): string => `${two(deviceId >>> 8)}:${two((deviceId >>> 3) & 31)}.${deviceId & 7}`;
const setNames = (values: Readonly<Record<string, number>>): string => Object.keys(values).filter((name) => values[name]).join(", ");

const VARIETIES = ["special device 0", "I/O APIC", "HPET"] as const;

const uniqueId = (format: number, uid: Uint8Array): string => (format === 2 ? `, unique ID ${printable(String.fromCharCode(...uid).replace(/\0+$/, ""))}` : format === 1 && uid.length === 8 ? `, unique ID ${hex(new DataView(uid.buffer, uid.byteOffset).getBigUint64(0, true))}` : "");

const entryText = (entry: IvhdEntry): string => {
  const setting = "setting" in entry && entry.setting !== 0 ? ` (${setNames(DTE_SETTING.decode(Uint32Array.of(entry.setting)))})` : "";
  switch (entry.name) {
    case "padding":
      return "padding";
    case "all":
      return `every device${setting}`;
    case "select":
    case "extended-select":
      return `device ${place(entry.deviceId)}${setting}`;
    case "range-start":
    case "extended-range-start":
      return `devices from ${place(entry.deviceId)}${setting}`;
    case "range-end":
      return `  to ${place(entry.deviceId)}`;
    case "alias-select":
      return `device ${place(entry.deviceId)}, sends as ${place(entry.sourceId)}${setting}`;
    case "alias-range-start":
      return `devices from ${place(entry.deviceId)}, send as ${place(entry.sourceId)}${setting}`;
    case "special":
      return `${VARIETIES[entry.variety] ?? `special device of variety ${entry.variety}`} ${entry.handle}, sends as ${place(entry.sourceId)}${setting}`;
    case "acpi-device":
      return `ACPI device ${printable(entry.hid)}${uniqueId(entry.uidFormat, entry.uid)}, sends as ${place(entry.deviceId)}${setting}`;
    case "raw":
      return `entry of type ${hex(entry.type)} that is not understood`;
  }
};

const DEVICES = { 0x20: () => "every device", 0x21: (first: number) => `device ${place(first)}`, 0x22: (first: number, last: number) => `devices ${place(first)} to ${place(last)}` } as const;

const structureText = (s: IvrsStructure): string => {
  switch (s.name) {
    case "IVHD":
      return `type ${s.type.toString(16)}h: IOMMU ${place(s.deviceId)}, segment ${s.segment}, registers at ${hex(s.registerBase)}, capability at ${hex(s.capabilityOffset)}${s.flags === 0 ? "" : `, ${setNames(IVHD_FLAGS.decode(Uint32Array.of(s.flags)))}`}`;
    case "IVMD":
      return `memory ${hex(s.start)}, ${hex(s.size)} bytes, for ${DEVICES[s.type](s.deviceId, s.lastDeviceId)} of segment ${s.segment}: ${setNames(IVMD_FLAGS.decode(Uint32Array.of(s.flags))) || "no flags"}`;
    case "raw":
      return `${s.data.length} bytes that are not understood`;
  }
};

const detailLines = (s: IvrsStructure): string[] => {
  if (s.name !== "IVHD") return [];
  const features = s.type === 0x10 ? [`features: ${setNames(IVHD_FEATURES.decode(Uint32Array.of(s.features))) || "none"}`] : [...(interpretEfr(s.extendedFeatures, 0).meaning ?? []), ...(interpretEfr2(s.extendedFeatures2).meaning ?? [])];
  return [...features, ...s.entries.filter(({ name }) => name !== "padding").map(entryText)].map((line) => `${" ".repeat(13)}${line}`);
};

/** An IVRS table for people. */
export const ivrsText = ({ header, structures, diagnoses, odd, extendedFeatureReporting, preBootDmaProtection, physicalAddressSize, virtualAddressSize }: IvrsTable): string =>
  [
    style("bold", `IVRS table, revision ${header.revision}, ${header.length} bytes, from ${printable(header.oemId)} ${printable(header.oemTableId)}`),
    `physical addresses ${physicalAddressSize} bits, virtual ${virtualAddressSize} bits; extended features ${extendedFeatureReporting ? "reported" : "not reported"}; DMA protection before boot ${preBootDmaProtection ? "yes" : "no"}`,
    ...structures.flatMap((s) => [`${at(s.offset)} ${style("bold", structureName(s.type))} ${structureText(s)}`, ...detailLines(s)]),
    ...(odd?.rest ? [`${odd.rest.length} bytes after the last block could not be read.`] : []),
    ...findingLines(diagnoses),
  ].join("\n");
