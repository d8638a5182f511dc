import { DeliveryMode, type Interrupt } from "@iommu-lab/pci-bus";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { decodeMessage, encodeMessage, MESSAGE_ADDRESS, MESSAGE_DATA, newInterrupt } from "../../src/index.ts";

const interrupts: fc.Arbitrary<Interrupt> = fc.record({
  vector: fc.integer({ min: 0, max: 255 }),
  deliveryMode: fc.constantFrom(...Object.values(DeliveryMode)),
  destination: fc.integer({ min: 0, max: 255 }),
  destinationMode: fc.constantFrom("physical" as const, "logical" as const),
  trigger: fc.constantFrom("edge" as const, "level" as const),
  redirectionHint: fc.boolean(),
});

describe("messages in compatibility format (Intel SDM vol. 3 §11.11)", () => {
  test.each([
    { address: 0xfee0_0000, data: 0x0041, vector: 0x41, deliveryMode: 0, destination: 0, destinationMode: "physical", trigger: "edge", redirectionHint: false },
    { address: 0xfee0_500c, data: 0x8441, vector: 0x41, deliveryMode: 4, destination: 5, destinationMode: "logical", trigger: "level", redirectionHint: true },
    { address: 0xfeef_f008, data: 0x41ff, vector: 0xff, deliveryMode: 1, destination: 0xff, destinationMode: "physical", trigger: "edge", redirectionHint: true },
  ])("$address with $data is decoded field by field", ({ address, data, ...expected }) => {
    const out = newInterrupt();
    expect(decodeMessage({ address, data }, out)).toBe(true);
    expect(out).toEqual(expected);
  });

  test.each([3, 6])("delivery mode %d is reserved, and leaves the record as it was", (mode) => {
    const out = { ...newInterrupt(), vector: 0x77 };
    expect(decodeMessage({ address: 0xfee0_1000, data: 0x41 | (mode << 8) }, out)).toBe(false);
    expect(out).toEqual({ ...newInterrupt(), vector: 0x77 });
  });

  test("decoding undoes encoding", () => {
    fc.assert(
      fc.property(interrupts, (interrupt) => {
        const message = { address: 0, data: 0 };
        const out = newInterrupt();
        encodeMessage(interrupt, message);
        expect(decodeMessage(message, out)).toBe(true);
        expect(out).toEqual(interrupt);
      }),
    );
  });

  test("encoding fills exactly the fields that the layouts declare", () => {
    fc.assert(
      fc.property(interrupts, (interrupt) => {
        const message = { address: 0, data: 0 };
        encodeMessage(interrupt, message);
        const address = MESSAGE_ADDRESS.encode({ Base: 0xfee, Destination: interrupt.destination, RH: Number(interrupt.redirectionHint), DM: interrupt.destinationMode === "logical" ? 1 : 0 });
        const data = MESSAGE_DATA.encode({ Vector: interrupt.vector, DeliveryMode: interrupt.deliveryMode, Level: 1, Trigger: interrupt.trigger === "level" ? 1 : 0 });
        expect([message.address, message.data]).toEqual([address[0], data[0]]);
      }),
    );
  });

  test.each([
    [{ destination: 0x100 }, "APIC ID 0x100 does not fit a message in compatibility format, which has 8 bits for it; a remapping entry has 32."],
    [{ destination: -1 }, "APIC ID -1 does not fit"],
    [{ vector: 256 }, "Interrupt vector 256 does not fit a message"],
    [{ vector: 1.5 }, "Interrupt vector 1.5 does not fit a message"],
  ])("%o is refused", (odd, message) => {
    expect(() => {
      encodeMessage({ ...newInterrupt(), ...odd }, { address: 0, data: 0 });
    }).toThrow(message);
  });
});
