import { DeliveryMode, type Interrupt } from "@iommu-lab/pci-bus";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { newInterrupt } from "../../src/index.ts";
import { LocalApicsModel, x2ApicLogicalId, type ApicMode } from "../../src/apic/index.ts";

const interrupt = (fields: Partial<Interrupt> = {}): Interrupt => ({ ...newInterrupt(), vector: 0x41, ...fields });
const receivers = (apics: LocalApicsModel, sent: Interrupt): number[] => {
  apics.deliver(sent);
  return apics.ids.filter((id) => apics.requested(id).includes(sent.vector));
};

describe("destinations (Intel SDM vol. 3 §11.6.2)", () => {
  test.each<[string, ApicMode, number[], Partial<Interrupt>, number[]]>([
    ["physical, xAPIC", "xapic", [0, 1, 5], { destination: 5 }, [5]],
    ["physical, nobody there", "xapic", [0, 1, 5], { destination: 4 }, []],
    ["broadcast, xAPIC", "xapic", [0, 1, 5], { destination: 0xff }, [0, 1, 5]],
    ["more than 8 bits in xAPIC mode", "xapic", [0, 1, 5], { destination: 0x105 }, []],
    ["physical, x2APIC", "x2apic", [0, 0x12c, 0x8000_0000], { destination: 0x8000_0000 }, [0x8000_0000]],
    ["FFh is no broadcast in x2APIC mode", "x2apic", [0, 0xff], { destination: 0xff }, [0xff]],
    ["broadcast, x2APIC", "x2apic", [0, 0x12c], { destination: 0xffff_ffff }, [0, 0x12c]],
    ["logical broadcast, x2APIC", "x2apic", [0, 0x12c], { destination: 0xffff_ffff, destinationMode: "logical" }, [0, 0x12c]],
    ["logical, x2APIC: a mask within one cluster", "x2apic", [0, 1, 2, 15, 16, 17], { destination: 0x0000_8006, destinationMode: "logical" }, [1, 2, 15]],
    ["logical, x2APIC: cluster 1", "x2apic", [0, 1, 2, 15, 16, 17], { destination: 0x0001_0003, destinationMode: "logical" }, [16, 17]],
    ["logical, x2APIC: an empty mask", "x2apic", [0, 1], { destination: 0, destinationMode: "logical" }, []],
    ["logical broadcast, xAPIC, without any logical ID set", "xapic", [0, 1], { destination: 0xff, destinationMode: "logical" }, [0, 1]],
    ["logical, xAPIC, without any logical ID set", "xapic", [0, 1], { destination: 0x0f, destinationMode: "logical" }, []],
  ])("%s", (_, mode, ids, fields, expected) => {
    expect(receivers(new LocalApicsModel({ ids, mode }), interrupt(fields))).toEqual(expected);
  });
  test("logical, flat: any common bit", () => {
    const apics = new LocalApicsModel({ ids: [0, 1, 2] });
    for (const id of apics.ids) apics.setLogicalId(id, 1 << id);
    expect(receivers(apics, interrupt({ destination: 5, destinationMode: "logical" }))).toEqual([0, 2]);
  });
  test("logical, cluster: the same cluster and a common bit", () => {
    const apics = new LocalApicsModel({ ids: [0, 1, 2, 3] });
    [0x11, 0x12, 0x21, 0x22].forEach((logicalId, id) => {
      apics.setLogicalId(id, logicalId, "cluster");
    });
    expect(receivers(apics, interrupt({ destination: 0x23, destinationMode: "logical" }))).toEqual([2, 3]);
    expect(receivers(apics, interrupt({ vector: 0x42, destination: 0x13, destinationMode: "logical" }))).toEqual([0, 1]);
  });
  test.each([
    [0, 0x0000_0001],
    [5, 0x0000_0020],
    [16, 0x0001_0001],
    [31, 0x0001_8000],
    [0xf_ffff, 0xffff_8000],
  ])("the logical ID of x2APIC %i is %i", (id, logical) => {
    expect(x2ApicLogicalId(id)).toBe(logical);
  });
});

describe("lowest-priority arbitration (Intel SDM vol. 3 §11.6.2.4)", () => {
  const machine = (): LocalApicsModel => {
    const apics = new LocalApicsModel({ ids: [0, 1, 2], mode: "x2apic" });
    apics.setTaskPriority(0, 0x40);
    apics.setTaskPriority(1, 0x20);
    apics.setTaskPriority(2, 0x30);
    return apics;
  };
  const all = { destination: 7, destinationMode: "logical" } as const;
  test.each([
    ["delivery mode lowest priority", { deliveryMode: DeliveryMode.LowestPriority }, [1]],
    ["fixed with the redirection hint", { redirectionHint: true }, [1]],
    ["fixed without it: all", {}, [0, 1, 2]],
    ["only among the destinations", { deliveryMode: DeliveryMode.LowestPriority, destination: 5 }, [2]],
    ["nobody there", { deliveryMode: DeliveryMode.LowestPriority, destination: 0x1_0001 }, []],
  ] as const)("%s", (_, fields, expected) => {
    expect(receivers(machine(), interrupt({ ...all, ...fields }))).toEqual(expected);
  });
  test("the hint does not spread an NMI", () => {
    const apics = machine();
    apics.deliver(interrupt({ ...all, deliveryMode: DeliveryMode.Nmi, redirectionHint: true }));
    expect(apics.ids.map((id) => apics.takeEvent(id))).toEqual(["nmi", "nmi", "nmi"]);
  });
  test("equals take turns, and requests count", () => {
    const apics = new LocalApicsModel({ ids: [0, 1, 2], mode: "x2apic" });
    const sent = [0x41, 0x42, 0x43].map((vector) => receivers(apics, interrupt({ ...all, vector, deliveryMode: DeliveryMode.LowestPriority })));
    expect(sent).toEqual([[0], [1], [2]]);
    apics.acknowledge(1);
    apics.endOfInterrupt(1);
    expect(receivers(apics, interrupt({ ...all, vector: 0x44, deliveryMode: DeliveryMode.LowestPriority }))).toEqual([1]);
  });
});

describe("requests, service and priorities (Intel SDM vol. 3 §11.8)", () => {
  const machine = (broadcast?: (vector: number) => void): LocalApicsModel => new LocalApicsModel({ ids: [0], ...(broadcast ? { broadcastEndOfInterrupt: broadcast } : {}) });
  test("vectors are taken from the highest down, by class", () => {
    const apics = machine();
    for (const vector of [0x41, 0x52, 0x55]) apics.deliver(interrupt({ vector }));
    expect(apics.requested(0)).toEqual([0x55, 0x52, 0x41]);
    expect([apics.acknowledge(0), apics.acknowledge(0)]).toEqual([0x55, -1]);
    expect([apics.requested(0), apics.inService(0), apics.processorPriority(0)]).toEqual([[0x52, 0x41], [0x55], 0x50]);
    apics.deliver(interrupt({ vector: 0x61 }));
    expect(apics.acknowledge(0)).toBe(0x61);
    expect(apics.inService(0)).toEqual([0x61, 0x55]);
    apics.endOfInterrupt(0);
    expect([apics.inService(0), apics.acknowledge(0)]).toEqual([[0x55], -1]);
    apics.endOfInterrupt(0);
    expect(apics.acknowledge(0)).toBe(0x52);
  });
  test("a vector requested twice is pending once; one requested while in service is pending again", () => {
    const apics = machine();
    apics.deliver(interrupt());
    apics.deliver(interrupt());
    expect(apics.requested(0)).toEqual([0x41]);
    apics.acknowledge(0);
    apics.deliver(interrupt());
    expect([apics.requested(0), apics.inService(0)]).toEqual([[0x41], [0x41]]);
  });
  test.each([
    [0x3f, 0x41],
    [0x40, -1],
    [0x4f, -1],
    [0xff, -1],
  ])("with task priority %i, vector 41h gives %i", (priority, taken) => {
    const apics = machine();
    apics.setTaskPriority(0, priority);
    apics.deliver(interrupt());
    expect([apics.processorPriority(0), apics.acknowledge(0)]).toEqual([priority, taken]);
  });
  test("the processor priority is the service class when that is higher", () => {
    const apics = machine();
    apics.deliver(interrupt({ vector: 0x65 }));
    apics.acknowledge(0);
    apics.setTaskPriority(0, 0x6f);
    expect(apics.processorPriority(0)).toBe(0x6f);
    apics.setTaskPriority(0, 0x5f);
    expect(apics.processorPriority(0)).toBe(0x60);
  });
  test("only level-triggered vectors send an EOI message", () => {
    const ended: number[] = [];
    const apics = machine((vector) => ended.push(vector));
    apics.deliver(interrupt({ vector: 0x41, trigger: "level" }));
    apics.deliver(interrupt({ vector: 0x52 }));
    expect([apics.isLevelTriggered(0, 0x41), apics.isLevelTriggered(0, 0x52)]).toEqual([true, false]);
    for (const expected of [0x52, 0x41]) {
      expect(apics.acknowledge(0)).toBe(expected);
      apics.endOfInterrupt(0);
    }
    apics.endOfInterrupt(0);
    expect(ended).toEqual([0x41]);
    apics.deliver(interrupt({ vector: 0x41 }));
    expect(apics.isLevelTriggered(0, 0x41)).toBe(false);
  });
  test.each([0, 15, 16])("vector %i: below 16 it is an error and no request", (vector) => {
    const apics = machine();
    apics.deliver(interrupt({ vector }));
    expect([apics.requested(0), apics.takeErrors(0), apics.takeErrors(0)]).toEqual([vector < 16 ? [] : [16], vector < 16 ? 0x40 : 0, 0]);
  });
  test("taking requests in any order agrees with a sorted list", () => {
    fc.assert(
      fc.property(fc.array(fc.oneof(fc.integer({ min: 16, max: 255 }), fc.constant(-1), fc.constant(-2)), { maxLength: 60 }), (actions) => {
        const apics = machine();
        const requested = new Set<number>();
        const serving = new Set<number>();
        for (const action of actions) {
          const top = Math.max(-1, ...requested);
          const served = Math.max(-1, ...serving);
          if (action >= 0) {
            apics.deliver(interrupt({ vector: action }));
            requested.add(action);
          } else if (action === -1) {
            const taken = top >> 4 > Math.max(served, 0) >> 4 ? top : -1;
            expect(apics.acknowledge(0)).toBe(taken);
            if (requested.delete(taken)) serving.add(taken);
          } else {
            apics.endOfInterrupt(0);
            serving.delete(served);
          }
          expect([apics.requested(0), apics.inService(0)]).toEqual([[...requested].sort((a, b) => b - a), [...serving].sort((a, b) => b - a)]);
        }
      }),
    );
  });
});

describe("events", () => {
  test("are taken by urgency, one of a kind", () => {
    const apics = new LocalApicsModel({ ids: [0] });
    for (const deliveryMode of [DeliveryMode.ExtInt, DeliveryMode.Nmi, DeliveryMode.Smi, DeliveryMode.Nmi]) apics.deliver(interrupt({ vector: 0, deliveryMode }));
    expect([1, 2, 3, 4].map(() => apics.takeEvent(0))).toEqual(["smi", "nmi", "extint", undefined]);
    expect([apics.requested(0), apics.takeErrors(0)]).toEqual([[], 0]);
  });
  test("INIT puts the APIC into its state after reset", () => {
    const apics = new LocalApicsModel({ ids: [0] });
    apics.setLogicalId(0, 1);
    apics.setTaskPriority(0, 0x20);
    apics.deliver(interrupt());
    apics.deliver(interrupt({ deliveryMode: DeliveryMode.Init, vector: 0 }));
    expect([apics.takeEvent(0), apics.requested(0), apics.processorPriority(0)]).toEqual(["init", [], 0]);
    expect(receivers(apics, interrupt({ destination: 1, destinationMode: "logical" }))).toEqual([]);
  });
  test("reset empties everything", () => {
    const apics = new LocalApicsModel({ ids: [0, 1] });
    apics.deliver(interrupt({ destination: 0xff }));
    apics.deliver(interrupt({ destination: 1, deliveryMode: DeliveryMode.Nmi }));
    apics.reset();
    expect([apics.requested(0), apics.requested(1), apics.takeEvent(1)]).toEqual([[], [], undefined]);
  });
});

describe("notifications of posted interrupts", () => {
  const posting = { structure: 0x1000, updated: 0x1000, vector: 0x61 };
  test.each([
    ["none", { kind: "none" } as const, [], undefined],
    ["interrupt", { kind: "interrupt", interrupt: interrupt({ vector: 0xf2, destination: 1 }) } as const, [0xf2], undefined],
    ["doorbell", { kind: "doorbell", apicId: 1 } as const, [], "doorbell"],
    ["doorbell for nobody", { kind: "doorbell", apicId: 9 } as const, [], undefined],
    ["log", { kind: "log", tag: 7 } as const, [], undefined],
  ])("%s", (_, notification, requested, event) => {
    const apics = new LocalApicsModel({ ids: [0, 1] });
    apics.post({ ...posting, notification });
    expect([apics.requested(0), apics.requested(1), apics.takeEvent(1)]).toEqual([[], requested, event]);
  });
});

describe("misuse", () => {
  test.each<[ConstructorParameters<typeof LocalApicsModel>[0], string]>([
    [{ ids: [] }, "A machine has at least one local APIC."],
    [{ ids: [1, 1] }, "Two local APICs have one ID."],
    [{ ids: [0xff] }, "APIC ID 255 is impossible; in xapic mode IDs are 0 to 0xfe."],
    [{ ids: [2 ** 32 - 1], mode: "x2apic" }, "in x2apic mode IDs are 0 to 0xffff_fffe."],
  ])("%o", (options, message) => {
    expect(() => new LocalApicsModel(options)).toThrow(message);
  });
  test("of a machine", () => {
    const apics = new LocalApicsModel({ ids: [0] });
    expect(() => apics.acknowledge(1)).toThrow("There is no local APIC with ID 1.");
    expect(() => { apics.setTaskPriority(0, 256); }).toThrow("A task priority is 0 to 255, not 256.");
    expect(() => { apics.setLogicalId(0, -1); }).toThrow("A logical ID is 0 to 255, not -1.");
    expect(() => { new LocalApicsModel({ ids: [0], mode: "x2apic" }).setLogicalId(0, 1); }).toThrow("Logical IDs cannot be set in x2APIC mode");
  });
});
