/** DMAR and IVRS tables written for tests. VT-d §8 "BIOS Considerations"; AMD-Vi §5.2 "IVRS". */

const u16 = (value: number): number[] => [value & 0xff, value >> 8];
const u32 = (value: number): number[] => [...u16(value & 0xffff), ...u16(value >>> 16)];
const text = (value: string): number[] => Array.from(value, (c) => c.charCodeAt(0));

const table = (signature: string, own: readonly number[], structures: readonly (readonly number[])[]): Uint8Array => {
  const body = [...own, ...structures.flat()];
  const bytes = Uint8Array.from([...text(signature), ...u32(36 + body.length), 1, 0, ...text("IOMLAB"), ...text("TEST    "), ...u32(1), ...text("IOML"), ...u32(1), ...body]);
  bytes[9] = (256 - (bytes.reduce((sum, byte) => sum + byte, 0) & 0xff)) & 0xff;
  return bytes;
};

/** A device scope: type 1 endpoint, 2 bridge with all below; a start bus and the way down from it. */
export interface Scope {
  readonly type: number;
  readonly bus: number;
  readonly path: readonly (readonly [device: number, fn: number])[];
}

/** A remapping unit (DRHD). */
export const drhd = (includeAll: boolean, scopes: readonly Scope[] = [], segment = 0): number[] => {
  const listed = scopes.flatMap(({ type, bus, path }) => [type, 6 + 2 * path.length, 0, 0, 0, bus, ...path.flat()]);
  return [...u16(0), ...u16(16 + listed.length), includeAll ? 1 : 0, 0, ...u16(segment), ...u32(0xfed9_0000), ...u32(0), ...listed];
};
export const dmar = (...units: readonly number[][]): Uint8Array => table("DMAR", [38, 1, ...Array.from({ length: 10 }, () => 0)], units);

/** Device entries of an IVHD: requester IDs. */
export const ivhdRange = (first: number, last: number): number[] => [3, ...u16(first), 0, 4, ...u16(last), 0];
export const ivhdSelect = (id: number): number[] => [2, ...u16(id), 0];
export const ivhdAlias = (id: number, source: number): number[] => [0x42, ...u16(id), 0, 0, ...u16(source), 0];

/** An IVRS table with one IOMMU, whose own function is 00:00.2. */
export const ivrs = (...entries: readonly number[][]): Uint8Array => {
  const flat = entries.flat();
  return table("IVRS", [...u32(0), ...u32(0), ...u32(0)], [[0x10, 0, ...u16(24 + flat.length), ...u16(0x0002), ...u16(0x40), ...u32(0xfeb8_0000), ...u32(0), ...u16(0), ...u16(0), ...u32(0), ...flat]]);
};
