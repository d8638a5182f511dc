import fc from "fast-check";
import type { DmarInput, DmarScopeInput, DmarStructureInput } from "../src/dmar/index.ts";

const byte = fc.integer({ min: 0, max: 255 });
const word = fc.integer({ min: 0, max: 0xffff });
const wide = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n });
const scope: fc.Arbitrary<DmarScopeInput> = fc.record({
  type: byte,
  flags: byte,
  enumerationId: byte,
  startBus: byte,
  path: fc.array(fc.record({ device: byte, function: byte }), { maxLength: 3 }),
});
const scoped = { segment: word, scopes: fc.array(scope, { maxLength: 4 }) };

const structure: fc.Arbitrary<DmarStructureInput> = fc.oneof(
  fc.record({ name: fc.constant("DRHD" as const), includeAll: fc.boolean(), size: fc.integer({ min: 0, max: 15 }), registerBase: wide, ...scoped }),
  fc.record({ name: fc.constant("RMRR" as const), base: wide, limit: wide, ...scoped }),
  fc.record({ name: fc.constant("ATSR" as const), allPorts: fc.boolean(), ...scoped }),
  fc.record({ name: fc.constant("RHSA" as const), registerBase: wide, proximityDomain: fc.integer({ min: 0, max: 0xffff_ffff }) }),
  fc.record({ name: fc.constant("ANDD" as const), deviceNumber: byte, objectName: fc.stringMatching(/^\\_SB\.[A-Z]{1,4}$/) }),
  fc.record({ name: fc.constant("SATC" as const), atcRequired: fc.boolean(), ...scoped }),
  fc.record({ name: fc.constant("SIDP" as const), ...scoped }),
  fc.record({ name: fc.constant("raw" as const), type: fc.integer({ min: 7, max: 0xffff }), data: fc.uint8Array({ maxLength: 12 }) }),
);

export const tables: fc.Arbitrary<DmarInput> = fc.record({
  hostAddressWidth: fc.integer({ min: 1, max: 256 }),
  interruptRemapping: fc.boolean(),
  x2apicOptOut: fc.boolean(),
  dmaControlOptIn: fc.boolean(),
  structures: fc.array(structure, { maxLength: 8 }),
});
