import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { decodeConfig, descriptionFromConfig, FunctionConfig, msi, pciExpress, PcieType, powerManagement, vendorSpecific, type DecodedCapability } from "../../src/capabilities/index.ts";
import { changeable } from "./power-on.ts";
import { randomFunction } from "./random-function.ts";
import { random } from "./random.ts";

const identity = ({ id, offset, extended, version, type, length }: DecodedCapability): object => ({ id, offset, extended, version, type, length });
const simple = (capabilities: ReturnType<typeof msi>[], more: object = {}): FunctionConfig => new FunctionConfig({ vendor: 0x8086, device: 0x1234, classCode: 0x02_0000, header: 0, capabilities, ...more });

describe("descriptionFromConfig", () => {
  test("a random function, captured at work, is described as the same function after power-on", () => {
    fc.assert(
      fc.property(fc.nat(), (seed) => {
        const source = randomFunction(random(seed));
        const captured = source.bytes.slice();
        const built = new FunctionConfig(descriptionFromConfig(captured));
        const before = decodeConfig(captured);
        const after = decodeConfig(built.bytes);
        expect(after.capabilities.map(identity)).toEqual(before.capabilities.map(identity));
        expect([after.header.vendor, after.header.device, after.header.classCode, after.header.revision, after.header.type, after.header.multifunction]).toEqual([before.header.vendor, before.header.device, before.header.classCode, before.header.revision, before.header.type, before.header.multifunction]);
        const masks = changeable(() => randomFunction(random(seed)));
        for (const { offset, length } of after.capabilities) for (let at = offset; at < offset + length; at++) expect([at, built.bytes[at]! & ~masks[at]!], `seed ${seed}`).toEqual([at, captured[at]! & ~masks[at]!]);
      }),
      { numRuns: 60 },
    );
  });

  test("described twice is described once", () => {
    fc.assert(
      fc.property(fc.nat(), (seed) => {
        const once = new FunctionConfig(descriptionFromConfig(randomFunction(random(seed)).bytes)).bytes;
        expect(new FunctionConfig(descriptionFromConfig(once)).bytes).toEqual(once);
      }),
      { numRuns: 60 },
    );
  });

  test("what software had switched on is off, what was an error is gone, and both work", () => {
    const source = simple([msi({ vectors: 4, address64: true }), pciExpress({ type: PcieType.Endpoint })]);
    const at = source.capability(5);
    const express = source.capability(0x10);
    source.write(at + 2, 2, 0x21);
    source.write(at + 4, 4, 0xfee0_0000);
    source.bytes[express + 10] = 1;
    const built = new FunctionConfig(descriptionFromConfig(source.bytes));
    expect([built.capability(5), built.capability(0x10)]).toEqual([at, express]);
    expect([built.read(at + 2, 2), built.read(at + 4, 4), built.read(express + 10, 1)]).toEqual([0x84, 0, 0]);
    built.write(at + 2, 2, 0xffff);
    built.write(at + 4, 4, 0xffff_ffff);
    expect([built.read(at + 2, 2) & 1, built.read(at + 4, 4)]).toEqual([1, 0xffff_fffc]);
  });

  test("what a port can do decides which of its controls work, as captured", () => {
    for (const able of [0, 1]) {
      const express = pciExpress({ type: PcieType.RootPort, slot: true, slotCapabilities: { AttentionIndicatorPresent: able, NoCommandCompletedSupport: able }, deviceCapabilities2: { ARIForwardingSupported: able } });
      const built = new FunctionConfig(descriptionFromConfig(new FunctionConfig({ vendor: 1, device: 2, classCode: 0x06_0400, header: 1, capabilities: [express] }).bytes));
      const at = built.capability(0x10);
      built.write(at + 0x18, 2, 0xffff);
      built.write(at + 0x28, 2, 0xffff);
      expect([(built.read(at + 0x18, 2) >> 6) & 3, (built.read(at + 0x18, 2) >> 4) & 1, (built.read(at + 0x28, 2) >> 5) & 1]).toEqual([3 * able, 1 - able, able]);
    }
  });

  test("a capability that nobody knows keeps its place, and nothing of it but the header", () => {
    const source = simple([powerManagement({}), vendorSpecific(Uint8Array.of(1, 2, 3, 4))]);
    const at = source.capability(9);
    source.bytes[at] = 0x3f;
    const built = new FunctionConfig(descriptionFromConfig(source.bytes));
    expect([built.capability(0x3f), built.read(at + 2, 2)]).toEqual([at, 0]);
  });

  test("addresses in BARs are not kept, sizes come from outside", () => {
    const source = simple([], { bars: [{ index: 0, kind: "memory32", size: 0x1000 }], romSize: 0x800 });
    source.write(0x10, 4, 0xfe00_0000);
    source.write(0x30, 4, 0xfe10_0001);
    const without = new FunctionConfig(descriptionFromConfig(source.bytes));
    expect([without.read(0x10, 4), without.read(0x30, 4)]).toEqual([0, 0]);
    const sized = new FunctionConfig(descriptionFromConfig(source.bytes, { bars: [{ index: 0, kind: "memory32", size: 0x2000 }], romSize: 0x1000 }));
    sized.write(0x10, 4, 0xffff_ffff);
    sized.write(0x30, 4, 0xffff_fffe);
    expect([sized.read(0x10, 4), sized.read(0x30, 4)]).toEqual([0xffff_e000, 0xffff_f000]);
  });

  test("64 and 256 bytes are enough; a function with PCI Express has the extended space even so", () => {
    const source = simple([pciExpress({ type: PcieType.Endpoint })]);
    expect(new FunctionConfig(descriptionFromConfig(source.bytes.subarray(0, 256))).size).toBe(4096);
    expect(new FunctionConfig(descriptionFromConfig(source.bytes.subarray(0, 64))).size).toBe(256);
    expect(new FunctionConfig(descriptionFromConfig(simple([]).bytes)).size).toBe(256);
  });

  test("fewer bytes, and headers that are none, are refused", () => {
    expect(() => descriptionFromConfig(new Uint8Array(63))).toThrow(/64 bytes at least; here are 63/);
    const cardBus = new Uint8Array(256);
    cardBus[14] = 2;
    expect(() => descriptionFromConfig(cardBus)).toThrow(/Header type 2/);
  });

  test("any bytes are described, or refused with a RangeError", () => {
    const bytes = fc.constantFrom(64, 256, 4096).chain((size) => fc.uint8Array({ minLength: size, maxLength: size }));
    fc.assert(
      fc.property(bytes, fc.integer({ min: 0, max: 3 }), fc.boolean(), (random, header, list) => {
        random[14] = header;
        if (list) [random[6], random[0x34]] = [0x10, 0x40];
        try {
          new FunctionConfig(descriptionFromConfig(random));
        } catch (error) {
          expect(error).toBeInstanceOf(RangeError);
        }
      }),
    );
  });
});
