import { sdtChecksum } from "@iommu-lab/pci-bus/acpi";
import { describe, expect, test } from "vitest";
import { decodeIvrs, DIAGNOSES, encodeIvrs, type DiagnosisId, type IvhdEntryInput, type IvrsInput, type IvrsStructureInput } from "../src/ivrs/index.ts";

const RANGE: readonly IvhdEntryInput[] = [{ name: "range-start", deviceId: 8 }, { name: "range-end", deviceId: 0x3fff }];
const APIC: IvhdEntryInput = { name: "special", handle: 33, sourceId: 0xa0, variety: 1 };
const PLACE = { name: "IVHD", deviceId: 2, capabilityOffset: 0x40, registerBase: 0xfeb8_0000 } as const;
/** XT, GT, IA, GA; four and six levels. */
const EFR = 0x08d4;
const FEATURES = 0x8000_0065;
const old: IvrsStructureInput = { ...PLACE, type: 0x10, features: FEATURES, entries: [...RANGE, APIC] };
const newer: IvrsStructureInput = { ...PLACE, type: 0x11, extendedFeatures: EFR, entries: [...RANGE, APIC] };
const newest: IvrsStructureInput = { ...newer, type: 0x40 };
const memory: IvrsStructureInput = { name: "IVMD", type: 0x21, flags: 7, deviceId: 0x100, start: 0x8000_0000, size: 0x1000 };
const of = (...structures: IvrsStructureInput[]): IvrsInput => ({ structures });
const withEntries = (...entries: IvhdEntryInput[]): IvrsInput => of({ ...PLACE, type: 0x40, extendedFeatures: EFR, entries: [...RANGE, APIC, ...entries] });
const first = 48;
/** Offset of what follows `old`. */
const second = first + 24 + 16;
/** Offset of what follows the entries of `withEntries`. */
const after = first + 40 + 16;
const second40 = after;

/** A table with bytes changed afterwards, and its checksum put right. */
const patched = (table: IvrsInput, at: number, ...values: number[]): Uint8Array => {
  const bytes = encodeIvrs(table);
  bytes.set(values, at);
  bytes[9] = sdtChecksum(bytes);
  return bytes;
};

const SOUND = of(old, newer, newest);

const CASES: readonly (readonly [DiagnosisId, offset: number, Uint8Array | IvrsInput])[] = [
  ["table-checksum-wrong", 9, { ...SOUND, odd: { checksum: 1 } }],
  ["table-length-wrong", 4, { ...SOUND, odd: { length: 0xffff } }],
  ["table-length-wrong", 4, { ...SOUND, odd: { length: 47 } }],
  ["table-trailing-bytes", second, { ...of(old), odd: { trailing: Uint8Array.of(1) } }],
  ["revision-unknown", 8, { ...SOUND, header: { revision: 3 } }],
  ["revision-too-low", 8, { ...SOUND, header: { revision: 1 } }],
  ["physical-address-size-implausible", 37, { ...SOUND, physicalAddressSize: 64 }],
  ["virtual-address-size-implausible", 37, { ...SOUND, virtualAddressSize: 0 }],
  ["reserved-nonzero", 36, patched(SOUND, 36, 0x45)],
  ["reserved-nonzero", 47, patched(SOUND, 47, 1)],
  ["reserved-nonzero", first + 18, patched(SOUND, first + 18, 0x20)],
  ["reserved-nonzero", first + 24 + 3, patched(of(old), first + 24 + 3, 8)],
  ["reserved-nonzero", first + 24 + 7, patched(of(old), first + 24 + 7, 1)],
  ["reserved-nonzero", first + 20, of({ ...newer, attributes: 0x1000_0000 })],
  ["reserved-nonzero", second + 1, of(old, { ...memory, flags: 0x87 })],
  ["structure-length-zero", first, patched(SOUND, first + 2, 0)],
  ["structure-overruns-table", second, patched(of(old, memory), second + 2, 33)],
  ["structure-overruns-table", second, { ...of(old), odd: { rest: Uint8Array.of(0, 0, 1) } }],
  ["structure-too-short", second + 2, of(old, { name: "raw", type: 0x11, data: new Uint8Array(20) })],
  ["structure-type-unknown", second, of(old, { name: "raw", type: 0x51, data: new Uint8Array(28) })],
  ["ivhd-missing", first, of()],
  ["ivhd-repeated", second, of(old, old)],
  ["ivhd-out-of-order", first + 56, of(newer, old)],
  ["ivhd-blocks-differ", second + 8, of(old, { ...newer, registerBase: 0xfec0_0000 })],
  ["ivhd-blocks-differ", second + 6, of(old, { ...newer, capabilityOffset: 0x44 })],
  ["ivhd-base-zero", first + 8, of({ ...old, registerBase: 0 })],
  ["ivhd-base-all-ones", first + 8, of({ ...old, registerBase: 2n ** 64n - 1n })],
  ["ivhd-base-unaligned", first + 8, of({ ...old, registerBase: 0xfeb8_1000 })],
  ["ivhd-base-unaligned", first + 8, of({ ...newer, registerBase: 0xfeb4_0000, extendedFeatures: EFR | 0x200 })],
  ["ivhd-base-unaligned", first + 8, of({ ...old, registerBase: 0xfeb4_0000, features: FEATURES + 2 ** 18 })],
  ["ivhd-base-beyond-width", first + 8, of({ ...old, registerBase: 2n ** 48n })],
  ["ivhd-windows-overlap", second + 8, of(old, { ...old, deviceId: 0x4002, entries: [{ name: "select", deviceId: 0x4100 }] })],
  ["ivhd-capability-misplaced", first + 6, of({ ...old, capabilityOffset: 0 })],
  ["ivhd-capability-misplaced", first + 6, of({ ...old, capabilityOffset: 0x42 })],
  ["ivhd-serves-nothing", first, of({ ...old, entries: [{ name: "padding", type: 0 }] })],
  ["features-contradict", second + 24, of(old, { ...newer, extendedFeatures: EFR ^ 4 })],
  ["efr-image-empty", second + 24, of(old, { ...newer, extendedFeatures: 0 })],
  ["counters-misplaced", first + 20, of({ ...newer, attributes: 0x0004_0200 })],
  ["host-translation-disabled", first + 20, of({ ...newer, attributes: 1 })],
  ["entry-length-invalid", after, of({ ...newest, rest: Uint8Array.of(0x48, 0, 0) })],
  ["entry-length-invalid", after, of({ ...newest, rest: Uint8Array.of(0x90, 0, 0, 0) })],
  ["entry-length-invalid", after, of({ ...newest, rest: Uint8Array.of(0xf0, 0, 0, 0) })],
  ["entry-type-unknown", after, withEntries({ name: "raw", type: 5, data: new Uint8Array(3) })],
  ["acpi-entry-misplaced", after, of({ ...newer, entries: [...RANGE, APIC, { name: "acpi-device", deviceId: 0x99, hid: "AMDI0020" }] })],
  ["acpi-hid-empty", after + 4, withEntries({ name: "acpi-device", deviceId: 0x99, hid: "" })],
  ["acpi-uid-malformed", after + 20, withEntries({ name: "acpi-device", deviceId: 0x99, hid: "A", uidFormat: 3 })],
  ["acpi-uid-malformed", after + 20, withEntries({ name: "acpi-device", deviceId: 0x99, hid: "A", uid: Uint8Array.of(1) })],
  ["acpi-uid-malformed", after + 20, withEntries({ name: "acpi-device", deviceId: 0x99, hid: "A", uidFormat: 1, uid: Uint8Array.of(1) })],
  ["acpi-uid-malformed", after + 20, withEntries({ name: "acpi-device", deviceId: 0x99, hid: "A", uidFormat: 2 })],
  ["range-not-closed", after, withEntries({ name: "range-start", deviceId: 0x4000 })],
  ["range-not-closed", after, withEntries({ name: "alias-range-start", deviceId: 0x4000, sourceId: 0xa4 }, ...RANGE)],
  ["range-end-alone", after, withEntries({ name: "range-end", deviceId: 0x4000 })],
  ["range-reversed", after + 4, withEntries({ name: "range-start", deviceId: 0x4000 }, { name: "range-end", deviceId: 0x3fff })],
  ["device-in-two-units", second + 24, of(old, { ...old, deviceId: 0x4002, registerBase: 0xfec0_0000, entries: [{ name: "select", deviceId: 0x100 }] })],
  ["special-variety-unknown", after + 7, withEntries({ name: "special", handle: 0, sourceId: 0xa0, variety: 3 })],
  ["special-repeated", after, withEntries({ ...APIC, sourceId: 0xa1 })],
  ["ioapic-missing", first, of({ ...old, entries: RANGE })],
  ["ioapic-not-in-southbridge", first + 32, of({ ...old, entries: [...RANGE, { ...APIC, sourceId: 1 }] })],
  ["ivmd-empty", second + 24, of(old, { ...memory, size: 0 })],
  ["ivmd-unaligned", second + 16, of(old, { ...memory, start: 0x8000_0800 })],
  ["ivmd-unaligned", second + 24, of(old, { ...memory, size: 0x800 })],
  ["ivmd-wraps", second + 24, of(old, { ...memory, start: 2n ** 64n - 4096n, size: 0x2000 })],
  ["ivmd-beyond-width", second + 16, of(old, { ...memory, start: 2n ** 48n })],
  ["ivmd-in-special-range", second + 16, of(old, { ...memory, start: 0xfeef_f000 })],
  ["ivmd-in-special-range", second + 16, of(old, { ...memory, start: 0xfc_ffff_f000n, size: 0x2000 })],
  ["ivmd-over-registers", second + 16, of(old, { ...memory, start: 0xfeb8_3000 })],
  ["ivmd-range-reversed", second + 6, of(old, { ...memory, type: 0x22, lastDeviceId: 0xff })],
  ["ivmd-no-access", second + 1, of(old, { ...memory, flags: 1 })],
  ["ivmd-exclusion", second + 1, of(old, { ...memory, flags: 8 })],
  ["ivmd-unity", second + 1, of(old, memory)],
  ["ivmd-device-unserved", second + 4, of(old, { ...memory, deviceId: 0x4000 })],
  ["ivmd-device-unserved", second40 + 4, of(newest, { ...memory, type: 0x22, deviceId: 0x4000, lastDeviceId: 0xffff })],
  ["segment-without-ivhd", second + 8, of(old, { ...memory, segment: 1 })],
];

describe("diagnoses of IVRS tables", () => {
  test("a sound table has none", () => {
    expect(decodeIvrs(encodeIvrs(SOUND)).diagnoses).toEqual([]);
  });
  test("a sound table with two IOMMUs, an ACPI device and memory for a range has only the note on the memory", () => {
    const table = of({ ...newest, entries: [...RANGE, APIC, { name: "acpi-device", deviceId: 0x99, hid: "AMDI0020", uidFormat: 1, uid: new Uint8Array(8) }] }, { ...newest, deviceId: 0x4002, registerBase: 0xfec0_0000, entries: [{ name: "range-start", deviceId: 0x4000 }, { name: "range-end", deviceId: 0xffff }] }, { ...memory, type: 0x22, deviceId: 0x3ff0, lastDeviceId: 0x4010 });
    expect(decodeIvrs(encodeIvrs(table)).diagnoses.map(({ id }) => id)).toEqual(["ivmd-unity"]);
  });
  test("devices of several IOMMUs are compared with the farthest range of another one", () => {
    const unit = (deviceId: number, registerBase: number, entries: IvhdEntryInput[]): IvrsStructureInput => ({ ...old, deviceId, registerBase, entries: [...entries, APIC] });
    const table = of(unit(2, 0xfeb8_0000, [{ name: "range-start", deviceId: 0 }, { name: "range-end", deviceId: 0xfff }]), unit(0x4002, 0xfec0_0000, [{ name: "select", deviceId: 0x4000 }]), unit(0x8002, 0xfec8_0000, [{ name: "select", deviceId: 0x10 }, { name: "select", deviceId: 0x1000 }]));
    expect(decodeIvrs(encodeIvrs(table)).diagnoses.filter(({ id }) => id === "device-in-two-units")).toMatchObject([{ text: expect.stringContaining("0x10 ") as string }]);
  });
  test("of the ranges under other IOMMUs the farthest counts", () => {
    const unit = (deviceId: number, registerBase: number, first: number, last: number): IvrsStructureInput => ({ ...old, deviceId, registerBase, entries: [{ name: "range-start", deviceId: first }, { name: "range-end", deviceId: last }, APIC] });
    // 0x18 stands in the range of the first IOMMU itself and in that of the second, but not of the third.
    const wide: IvrsStructureInput = { ...old, entries: [{ name: "range-start", deviceId: 0 }, { name: "range-end", deviceId: 0xfff }, { name: "select", deviceId: 0x18 }, APIC] };
    const table = of(wide, unit(0x4002, 0xfec0_0000, 1, 0x30), unit(0x8002, 0xfec8_0000, 2, 0x10));
    const { diagnoses } = decodeIvrs(encodeIvrs(table));
    expect(diagnoses.filter(({ id, text }) => id === "device-in-two-units" && text.startsWith("Device 0x18 "))).toHaveLength(1);
  });
  test("a register window inside another one does not hide that a third is there too", () => {
    const unit = (deviceId: number, registerBase: number, features: number): IvrsStructureInput => ({ ...old, deviceId, registerBase, features, entries: [{ name: "select", deviceId: deviceId + 8 }, APIC] });
    // 512 KiB, and in it twice 16 KiB.
    const { diagnoses } = decodeIvrs(encodeIvrs(of(unit(2, 0xfeb8_0000, FEATURES + 2 ** 18), unit(0x4002, 0xfeb8_4000, FEATURES), unit(0x8002, 0xfebc_0000, FEATURES))));
    expect(diagnoses.filter(({ id }) => id === "ivhd-windows-overlap")).toHaveLength(2);
  });
  test.each(CASES)("%s at offset %i", (id, offset, table) => {
    const bytes = table instanceof Uint8Array ? table : encodeIvrs(table);
    const { diagnoses } = decodeIvrs(bytes);
    const found = diagnoses.find((each) => each.id === id);
    expect(found, JSON.stringify(diagnoses)).toMatchObject({ offset, severity: DIAGNOSES[id][0] });
    expect(found?.text).toContain(DIAGNOSES[id][1]);
    expect(encodeIvrs(decodeIvrs(bytes))).toEqual(bytes);
  });
  test("every diagnosis there is has a table above", () => {
    expect(new Set(CASES.map(([id]) => id))).toEqual(new Set(Object.keys(DIAGNOSES)));
  });
});
