import { sdtChecksum } from "@iommu-lab/pci-bus/acpi";
import { describe, expect, test } from "vitest";
import { decodeDmar, DIAGNOSES, encodeDmar, type DiagnosisId, type DmarInput, type DmarScopeInput, type DmarStructureInput } from "../src/dmar/index.ts";

const gpu: DmarScopeInput = { type: 1, path: [{ device: 2, function: 0 }] };
const ioapic: DmarScopeInput = { type: 3, enumerationId: 2, startBus: 0xf0, path: [{ device: 31, function: 0 }] };
const graphics: DmarStructureInput = { name: "DRHD", registerBase: 0xfed9_0000, scopes: [gpu] };
const others: DmarStructureInput = { name: "DRHD", registerBase: 0xfed9_1000, includeAll: true, scopes: [ioapic] };
const region: DmarStructureInput = { name: "RMRR", base: 0x8b80_0000, limit: 0x8fff_ffff, scopes: [gpu] };
const of = (...structures: DmarStructureInput[]): DmarInput => ({ structures });
/** Sound units, then these. */
const after = (...structures: DmarStructureInput[]): DmarInput => of(graphics, others, ...structures);
const first = 48;
/** Offset of what follows the two sound units. */
const third = 48 + 24 + 24;

/** A table with bytes changed afterwards, and its checksum put right. */
const patched = (table: DmarInput, at: number, ...values: number[]): Uint8Array => {
  const bytes = encodeDmar(table);
  bytes.set(values, at);
  bytes[9] = sdtChecksum(bytes);
  return bytes;
};

const SOUND = after(region, { name: "ATSR", scopes: [{ type: 2, path: [{ device: 1, function: 0 }] }] }, { name: "RHSA", registerBase: 0xfed9_0000, proximityDomain: 0 });

const CASES: readonly (readonly [DiagnosisId, offset: number, Uint8Array | DmarInput])[] = [
  ["table-checksum-wrong", 9, { ...SOUND, odd: { checksum: 1 } }],
  ["table-length-wrong", 4, { ...SOUND, odd: { length: 0xffff } }],
  ["table-length-wrong", 4, { ...SOUND, odd: { length: 47 } }],
  ["table-trailing-bytes", third, { ...after(), odd: { trailing: Uint8Array.of(1) } }],
  ["host-address-width-implausible", 36, { ...SOUND, hostAddressWidth: 1 }],
  ["host-address-width-implausible", 36, { ...SOUND, hostAddressWidth: 64 }],
  ["x2apic-opt-out", 37, { ...SOUND, x2apicOptOut: true }],
  ["x2apic-opt-out-without-remapping", 37, { ...SOUND, x2apicOptOut: true, interruptRemapping: false }],
  ["reserved-nonzero", 37, patched(SOUND, 37, 0x81)],
  ["reserved-nonzero", 47, patched(SOUND, 47, 1)],
  ["reserved-nonzero", first + 4, patched(SOUND, first + 4, 2)],
  ["reserved-nonzero", first + 5, patched(SOUND, first + 5, 0x10)],
  ["reserved-nonzero", first + 16 + 3, patched(SOUND, first + 16 + 3, 1)],
  ["reserved-nonzero", first + 16 + 2, patched(SOUND, first + 16 + 2, 1)],
  ["structure-length-zero", first, patched(SOUND, first + 2, 0)],
  ["structure-overruns-table", third, patched(after(region), third + 2, 33)],
  ["structure-overruns-table", third, { ...after(), odd: { rest: Uint8Array.of(0, 0, 1) } }],
  ["structure-too-short", third + 2, after({ name: "raw", type: 0, data: new Uint8Array(11) })],
  ["structure-type-unknown", third, after({ name: "raw", type: 7, data: new Uint8Array(11) })],
  ["structures-out-of-order", first + 32, of(region, graphics, others)],
  ["scope-length-invalid", third + 24, patched(after(region), third + 25, 5)],
  ["scope-length-invalid", third + 24, patched(after(region), third + 25, 10)],
  ["scope-length-invalid", third + 25, patched(after({ ...region, scopes: [{ ...gpu, rest: Uint8Array.of(1) }] }), 48, 0)],
  ["scope-type-unknown", third + 24, after({ ...region, scopes: [{ ...gpu, type: 6 }] })],
  ["scope-type-unknown", third + 24, after({ ...region, scopes: [{ ...gpu, type: 0 }] })],
  ["scope-type-misplaced", third + 24, after({ ...region, scopes: [ioapic] })],
  ["scope-type-misplaced", third + 8, after({ name: "ATSR", scopes: [gpu] })],
  ["scope-path-empty", third + 25, after({ ...region, scopes: [{ type: 1 }] })],
  ["scope-path-impossible", third + 30, after({ ...region, scopes: [{ type: 1, path: [{ device: 32, function: 0 }] }] })],
  ["scope-path-impossible", third + 32, after({ ...region, scopes: [{ type: 1, path: [{ device: 1, function: 0 }, { device: 0, function: 8 }] }] })],
  ["scope-namespace-undeclared", first + 20, of({ ...others, scopes: [{ type: 5, enumerationId: 1, path: [{ device: 21, function: 0 }] }, ioapic] })],
  ["drhd-missing", first, of()],
  ["drhd-base-zero", first + 8, of({ ...others, registerBase: 0 })],
  ["drhd-base-all-ones", first + 8, of({ ...others, registerBase: 2n ** 64n - 1n })],
  ["drhd-base-unaligned", first + 8, of({ ...others, registerBase: 0xfed9_1004 })],
  ["drhd-base-unaligned", first + 8, of({ ...others, registerBase: 0xfed9_1000, size: 1 })],
  ["drhd-base-beyond-width", first + 8, of({ ...others, registerBase: 2n ** 39n })],
  ["drhd-windows-overlap", first + 24 + 8, of(graphics, { ...others, registerBase: 0xfed9_0000 })],
  ["drhd-windows-overlap", first + 24 + 8, of({ ...graphics, size: 1 }, others)],
  ["drhd-include-all-not-last", first + 4, of(others, graphics)],
  ["drhd-include-all-repeated", third + 4, after({ ...others, registerBase: 0xfed9_2000, scopes: [] })],
  ["drhd-include-all-names-pci", first + 16, of({ ...others, scopes: [gpu, ioapic] })],
  ["drhd-serves-nothing", first, of({ ...graphics, scopes: [] }, others)],
  ["device-in-two-drhds", first + 40, of(graphics, { ...graphics, registerBase: 0xfed9_4000 }, others)],
  ["ioapic-missing", 37, of(graphics)],
  ["ioapic-repeated", first + 24, of({ ...others, scopes: [ioapic, { ...ioapic, startBus: 0 }] })],
  ["rmrr-limit-below-base", third + 16, after({ ...region, limit: 0x8b7f_ffff })],
  ["rmrr-unaligned", third + 8, after({ ...region, base: 0x8b80_0800 })],
  ["rmrr-unaligned", third + 16, after({ ...region, limit: 0x9000_0000 })],
  ["rmrr-beyond-width", third + 16, after({ ...region, limit: 2n ** 39n + 4095n })],
  ["rmrr-scope-missing", third, after({ ...region, scopes: [] })],
  ["rmrr-in-interrupt-range", third + 8, after({ ...region, base: 0xfeef_f000, limit: 0xfeff_ffff })],
  ["rmrr-over-registers", third + 8, after({ ...region, base: 0xfed9_1000, limit: 0xfed9_1fff })],
  ["rmrr-overlap", third + 32 + 8, after(region, { ...region, base: 0x8fff_f000, limit: 0x9000_0fff })],
  ["rhsa-unit-unknown", third + 8, after({ name: "RHSA", registerBase: 0x1000, proximityDomain: 0 })],
  ["rhsa-repeated", third + 28, after({ name: "RHSA", registerBase: 0xfed9_0000, proximityDomain: 0 }, { name: "RHSA", registerBase: 0xfed9_0000, proximityDomain: 1 })],
  ["andd-name-malformed", third + 8, after({ name: "ANDD", deviceNumber: 1, objectName: "I2C0" })],
  ["andd-name-malformed", third + 8, after({ name: "ANDD", deviceNumber: 1, objectName: "\\_SB", rest: new Uint8Array() })],
  ["andd-number-repeated", third + 16 + 7, after({ name: "ANDD", deviceNumber: 1, objectName: "\\_SB_.A" }, { name: "ANDD", deviceNumber: 1, objectName: "\\_SB_.B" })],
  ["andd-unused", third + 7, after({ name: "ANDD", deviceNumber: 1, objectName: "\\_SB_.A" })],
  ["atsr-serves-nothing", third, after({ name: "ATSR" })],
  ["atsr-scope-superfluous", third + 8, after({ name: "ATSR", allPorts: true, scopes: [{ ...gpu, type: 2 }] })],
  ["satc-serves-nothing", third, after({ name: "SATC" })],
  ["segment-without-drhd", third + 6, after({ ...region, segment: 1 })],
];

describe("diagnoses of DMAR tables", () => {
  test("a sound table has none", () => {
    expect(decodeDmar(encodeDmar(SOUND)).diagnoses).toEqual([]);
  });
  test.each(CASES)("%s at offset %i", (id, offset, table) => {
    const bytes = table instanceof Uint8Array ? table : encodeDmar(table);
    const { diagnoses } = decodeDmar(bytes);
    const found = diagnoses.find((each) => each.id === id);
    expect(found, JSON.stringify(diagnoses)).toMatchObject({ offset, severity: DIAGNOSES[id][0] });
    expect(found?.text).toContain(DIAGNOSES[id][1]);
    expect(encodeDmar(decodeDmar(bytes))).toEqual(bytes);
  });
  test("every diagnosis there is has a table above", () => {
    expect(new Set(CASES.map(([id]) => id))).toEqual(new Set(Object.keys(DIAGNOSES)));
  });
});
