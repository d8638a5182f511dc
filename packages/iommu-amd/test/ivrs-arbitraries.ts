import fc from "fast-check";
import type { IvhdEntryInput, IvrsInput, IvrsStructureInput } from "../src/ivrs/index.ts";

const byte = fc.integer({ min: 0, max: 255 });
const word = fc.integer({ min: 0, max: 0xffff });
const dword = fc.integer({ min: 0, max: 0xffff_ffff });
const wide = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n });
const five = fc.integer({ min: 0, max: 31 });
const id = fc.stringMatching(/^[A-Z0-9]{0,8}$/);

const entry: fc.Arbitrary<IvhdEntryInput> = fc.oneof(
  fc.record({ name: fc.constant("padding" as const), type: fc.constant(0x00 as const), data: fc.uint8Array({ minLength: 3, maxLength: 3 }) }),
  fc.record({ name: fc.constant("padding" as const), type: fc.constant(0x40 as const), data: fc.uint8Array({ minLength: 7, maxLength: 7 }) }),
  fc.record({ name: fc.constant("all" as const), setting: byte }),
  fc.record({ name: fc.constantFrom("select" as const, "range-start" as const), deviceId: word, setting: byte }),
  fc.record({ name: fc.constant("range-end" as const), deviceId: word }),
  fc.record({ name: fc.constantFrom("alias-select" as const, "alias-range-start" as const), deviceId: word, setting: byte, sourceId: word }),
  fc.record({ name: fc.constantFrom("extended-select" as const, "extended-range-start" as const), deviceId: word, setting: byte, extended: dword }),
  fc.record({ name: fc.constant("special" as const), setting: byte, handle: byte, sourceId: word, variety: byte }),
  fc.record({ name: fc.constant("acpi-device" as const), deviceId: word, setting: byte, hid: id, cid: id, uidFormat: byte, uid: fc.uint8Array({ maxLength: 12 }) }),
  fc.record({ name: fc.constant("raw" as const), type: fc.integer({ min: 5, max: 0x3f }), data: fc.uint8Array({ minLength: 3, maxLength: 3 }) }),
  fc.record({ name: fc.constant("raw" as const), type: fc.integer({ min: 0x49, max: 0x7f }), data: fc.uint8Array({ minLength: 7, maxLength: 7 }) }),
);

const hardware = { name: fc.constant("IVHD" as const), flags: byte, deviceId: word, capabilityOffset: word, registerBase: wide, segment: word, msiNumber: five, unitId: five, entries: fc.array(entry, { maxLength: 6 }) };

const structure: fc.Arbitrary<IvrsStructureInput> = fc.oneof(
  fc.record({ type: fc.constant(0x10 as const), ...hardware, features: dword }),
  fc.record({ type: fc.constantFrom(0x11 as const, 0x40 as const), ...hardware, attributes: dword, extendedFeatures: wide, extendedFeatures2: wide }),
  fc.record({ name: fc.constant("IVMD" as const), type: fc.constantFrom(0x20 as const, 0x21 as const, 0x22 as const), flags: byte, deviceId: word, lastDeviceId: word, segment: word, start: wide, size: wide }),
  fc.record({ name: fc.constant("raw" as const), type: fc.integer({ min: 0x50, max: 0xff }), flags: byte, data: fc.uint8Array({ maxLength: 12 }) }),
);

export const tables: fc.Arbitrary<IvrsInput> = fc.record({
  extendedFeatureReporting: fc.boolean(),
  preBootDmaProtection: fc.boolean(),
  guestVirtualAddressSize: fc.integer({ min: 0, max: 7 }),
  physicalAddressSize: fc.integer({ min: 0, max: 127 }),
  virtualAddressSize: fc.integer({ min: 0, max: 127 }),
  htAtsReserved: fc.boolean(),
  structures: fc.array(structure, { maxLength: 6 }),
});
