import { DeliveryMode, type InterruptSink, type InterruptVerdict } from "@iommu-lab/pci-bus";
import { describe, expect, expectTypeOf, test } from "vitest";
import type { IoApicModel, LocalApicsModel } from "../src/apic/index.ts";
import type { InterruptRemapper, IoApic, LocalApics } from "../src/index.ts";
import type { VtdInterruptVerdict } from "../src/vtd/index.ts";

describe("interfaces of interrupt-remap", () => {
  test("a remapper takes a message and fills in a caller-owned verdict", () => {
    const delivered: number[] = [];
    const sink: InterruptSink = { deliver: ({ vector }) => delivered.push(vector), post: () => undefined };
    const interrupt = { vector: 0x41, deliveryMode: DeliveryMode.Fixed, destination: 0, destinationMode: "physical", trigger: "edge", redirectionHint: false } as const;
    const passThrough: InterruptRemapper = {
      remap: (message, to, out) => {
        out.fault = 0;
        to.deliver({ ...interrupt, vector: message.data & 0xff });
      },
    };
    const verdict: InterruptVerdict = { fault: -1, recorded: true };
    passThrough.remap({ requester: 0x100, address: 0xfee0_0000, data: 0x41 }, sink, verdict);
    expect(delivered).toEqual([0x41]);
    expect(verdict.fault).toBe(0);
  });
  test("local APICs are an interrupt sink, an I/O APIC has registers and pins", () => {
    expectTypeOf<LocalApics>().toExtend<InterruptSink>();
    expectTypeOf<LocalApicsModel>().toExtend<LocalApics>();
    expectTypeOf<IoApicModel>().toExtend<IoApic>();
    expectTypeOf<VtdInterruptVerdict>().toExtend<InterruptVerdict>();
    expectTypeOf<IoApic["setPin"]>().parameters.toEqualTypeOf<[pin: number, asserted: boolean]>();
  });
});
