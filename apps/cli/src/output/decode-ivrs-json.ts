import { DTE_SETTING, IVHD_ATTRIBUTES, IVHD_FEATURES, IVHD_FLAGS, IVMD_FLAGS, structureName, type IvhdEntry, type IvrsStructure, type IvrsTable } from "@iommu-lab/iommu-amd/ivrs";
import { interpretEfr, interpretEfr2 } from "@iommu-lab/iommu-amd/decode";
import { formatAddress } from "@iommu-lab/pci-bus";
import { hexBytes, plain } from "./decode-plain.ts";

const VARIETIES = [null, "ioapic", "hpet"] as const;

const addressOf = (domain: number, requester: number): string => formatAddress({ domain, requester });

/** Names of the one-bit fields that are set. */
const setNames = (values: Readonly<Record<string, number>>): string[] => Object.keys(values).filter((name) => values[name]);

/** A unique ID as its form says: a string, a number, or nothing. */
const uniqueId = (format: number, uid: Uint8Array): object => (format === 2 ? { uidText: String.fromCharCode(...uid).replace(/\0+$/, "") } : format === 1 && uid.length === 8 ? { uidInteger: new DataView(uid.buffer, uid.byteOffset).getBigUint64(0, true) } : {});

const entryJson = (entry: IvhdEntry, segment: number): object => ({
  ...plain(entry),
  ...("deviceId" in entry ? { device: addressOf(segment, entry.deviceId) } : {}),
  ...("sourceId" in entry ? { source: addressOf(segment, entry.sourceId) } : {}),
  ...("setting" in entry ? { settingNames: setNames(DTE_SETTING.decode(Uint32Array.of(entry.setting))) } : {}),
  ...(entry.name === "special" ? { varietyName: VARIETIES[entry.variety] ?? null } : {}),
  ...(entry.name === "acpi-device" ? uniqueId(entry.uidFormat, entry.uid) : {}),
});

const structureJson = (s: IvrsStructure): object => {
  const common = { ...plain(s), name: structureName(s.type) };
  switch (s.name) {
    case "raw":
      return common;
    case "IVMD":
      return { ...common, device: addressOf(s.segment, s.deviceId), lastDevice: addressOf(s.segment, s.lastDeviceId), last: s.size === 0n ? null : BigInt.asUintN(64, s.start + s.size - 1n), flagNames: setNames(IVMD_FLAGS.decode(Uint32Array.of(s.flags))) };
    case "IVHD":
      return {
        ...common,
        device: addressOf(s.segment, s.deviceId),
        flagNames: setNames(IVHD_FLAGS.decode(Uint32Array.of(s.flags))),
        ...(s.type === 0x10 ? { featureFields: IVHD_FEATURES.decode(Uint32Array.of(s.features)) } : { attributeFields: IVHD_ATTRIBUTES.decode(Uint32Array.of(s.attributes)), extendedFeatureFacts: { ...interpretEfr(s.extendedFeatures, 0).facts, ...interpretEfr2(s.extendedFeatures2).facts } }),
        entries: s.entries.map((entry) => entryJson(entry, s.segment)),
      };
  }
};

/** An IVRS table for scripts: every field, and what stands for what. */
export const ivrsJson = ({ header, structures, diagnoses, odd, ...rest }: IvrsTable): object => ({
  kind: "ivrs",
  header: { ...header, ...rest, ...(odd?.rest ? { unreadable: hexBytes(odd.rest) } : {}), ...(odd?.trailing ? { trailing: hexBytes(odd.trailing) } : {}) },
  structures: structures.map(structureJson),
  diagnoses,
});
