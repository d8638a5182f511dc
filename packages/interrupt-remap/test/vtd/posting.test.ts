import { FlatMemory, SparseMemory } from "@iommu-lab/memory";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { newVtdInterruptVerdict, POSTED_INTERRUPT_DESCRIPTOR, VtdInterruptRemapper } from "../../src/vtd/index.ts";
import { DESCRIPTOR, descriptor, MEMORY, posted, remapBench, remappable } from "./remap-bench.ts";

const readDescriptor = (memory: { read32(at: number): number }, at = DESCRIPTOR): Uint32Array => Uint32Array.from({ length: 16 }, (_, i) => memory.read32(at + 4 * i));

describe("posting (VT-d §5.2.3)", () => {
  test.each([
    { ON: 0, SN: 0, URG: 0, notifies: true },
    { ON: 0, SN: 0, URG: 1, notifies: true },
    { ON: 0, SN: 1, URG: 0, notifies: false },
    { ON: 0, SN: 1, URG: 1, notifies: true },
    { ON: 1, SN: 0, URG: 0, notifies: false },
    { ON: 1, SN: 0, URG: 1, notifies: false },
    { ON: 1, SN: 1, URG: 0, notifies: false },
    { ON: 1, SN: 1, URG: 1, notifies: false },
  ])("with ON=$ON, SN=$SN, URG=$URG: notifies $notifies", ({ ON, SN, URG, notifies }) => {
    const bench = remapBench();
    bench.writeEntry(3, posted({ URG }));
    bench.writeDescriptor(descriptor({ ON, SN, PIR0: 0x8000_0001 }));
    expect(bench.request(3)).toEqual({ fault: 0, recorded: false, index: 3 });
    const notification = notifies ? { kind: "interrupt", interrupt: { vector: 0xf2, deliveryMode: 0, destination: 7, destinationMode: "physical", trigger: "edge", redirectionHint: false } } : { kind: "none" };
    expect(bench.posted).toEqual([{ structure: DESCRIPTOR, updated: DESCRIPTOR + 8, vector: 0x61, notification }]);
    expect(bench.delivered).toEqual([]);
    expect(readDescriptor(bench.memory)).toEqual(descriptor({ ON: notifies ? 1 : ON, SN, PIR0: 0x8000_0001, PIR3: 2 }));
  });

  test("the bit of every virtual vector is set, and no other", () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 255 }), fc.uint8Array({ minLength: 32, maxLength: 32 }), (VV, pir) => {
        const bench = remapBench();
        bench.writeEntry(0, posted({ VV }));
        bench.writeDescriptor(descriptor());
        bench.memory.writeFrom(DESCRIPTOR, pir);
        bench.request(0);
        const after = new Uint8Array(32);
        bench.memory.readInto(DESCRIPTOR, after);
        const expected = pir.slice();
        expected[VV >>> 3] = (expected[VV >>> 3] ?? 0) | (1 << (VV & 7));
        expect(after).toEqual(expected);
        expect(bench.posted[0]?.updated).toBe(DESCRIPTOR + 8 * Math.floor(VV / 64));
      }),
    );
  });

  test("with EIME=1 the notification goes to a 32-bit APIC ID", () => {
    const bench = remapBench({ settings: { extended: true } });
    bench.writeEntry(3, posted());
    bench.writeDescriptor(descriptor({ NDST: 0x8000_0007 }));
    bench.request(3);
    expect(bench.posted[0]?.notification).toMatchObject({ kind: "interrupt", interrupt: { destination: 0x8000_0007 } });
  });

  test("a second request before the processor looks sends no second notification", () => {
    const bench = remapBench();
    bench.writeEntry(3, posted());
    bench.writeEntry(4, posted({ VV: 0x62 }));
    bench.writeDescriptor(descriptor());
    bench.request(3);
    bench.request(4);
    expect(bench.posted.map(({ notification }) => notification.kind)).toEqual(["interrupt", "none"]);
    expect(readDescriptor(bench.memory)).toEqual(descriptor({ ON: 1, PIR3: 6 }));
  });

  test.each([
    ["where no RAM is", { PDAL: MEMORY >>> 6 }],
    ["at the host address width", { PDAH: 0x80 }],
    ["at the top of 64 bits", { PDAH: 0xffff_ffff, PDAL: 0x3ff_ffff }],
  ])("a descriptor %s: fault 27h", (_, at) => {
    const bench = remapBench();
    bench.writeEntry(3, posted(at));
    expect(bench.request(3)).toEqual({ fault: 0x27, recorded: true, index: 3 });
    expect(bench.posted).toEqual([]);
  });

  test("a descriptor at the host address width is refused although memory answers there", () => {
    const verdictAt = (hostAddressWidth: number): number => {
      const words = new Uint32Array(1024);
      words.set(posted({ PDAL: 4, PDAH: 1 }));
      const settings = { enabled: true, tablePage: 0, entries: 2, extended: false, compatibility: false };
      const remapper = new VtdInterruptRemapper({ memory: { wordsOf: () => words, wordOf: () => 0, write32: () => undefined }, settings, hostAddressWidth, posting: true, caches: "none", cachingMode: false });
      const out = newVtdInterruptVerdict();
      remapper.remap({ requester: 0, address: remappable(0), data: 0 }, { deliver: () => undefined, post: () => undefined }, out);
      return out.fault;
    };
    expect([verdictAt(32), verdictAt(33)]).toEqual([0x27, 0]);
  });

  test.each([false, true])("reserved bits of a descriptor, one by one: fault 28h and nothing changed, EIME=%s", (extended) => {
    const faulting: number[] = [];
    for (let position = 0; position < 512; position++) {
      const bench = remapBench({ settings: { extended } });
      const words = descriptor();
      words[position >>> 5] = (words[position >>> 5] ?? 0) | (1 << (position & 31));
      bench.writeEntry(3, posted());
      bench.writeDescriptor(words);
      const { fault } = bench.request(3);
      if (fault === 0) continue;
      expect(fault).toBe(0x28);
      expect(readDescriptor(bench.memory)).toEqual(words);
      expect(bench.posted).toEqual([]);
      faulting.push(position);
    }
    const range = (msb: number, lsb: number): number[] => Array.from({ length: msb - lsb + 1 }, (_, i) => lsb + i);
    expect(faulting).toEqual([...range(271, 258), ...range(287, 280), ...(extended ? [] : [...range(295, 288), ...range(319, 304)]), ...range(511, 320)]);
  });

  test("posting marks the descriptor's page dirty, and only it", () => {
    const bench = remapBench();
    bench.writeEntry(3, posted());
    bench.writeDescriptor(descriptor());
    const dirty = bench.memory.trackDirty();
    bench.request(3);
    expect(dirty.collect()).toEqual([DESCRIPTOR >>> 12]);
  });

  test("a descriptor in RAM never written is posted into without touching other RAM", () => {
    const memory = new SparseMemory({ size: 2 ** 38 });
    const at = 2 ** 37 + 0x1040;
    posted({ PDAL: (at % 2 ** 32) >>> 6, PDAH: Math.floor(at / 2 ** 32) }).forEach((word, i) => {
      memory.write32(0x3000 + 4 * i, word);
    });
    const settings = { enabled: true, tablePage: 3, entries: 2, extended: false, compatibility: false };
    const remapper = new VtdInterruptRemapper({ memory, settings, hostAddressWidth: 39, posting: true, caches: "none", cachingMode: false });
    remapper.remap({ requester: 0, address: remappable(0), data: 0 }, { deliver: () => undefined, post: () => undefined }, newVtdInterruptVerdict());
    expect(readDescriptor(memory, at)).toEqual(POSTED_INTERRUPT_DESCRIPTOR.encode({ PIR3: 2, ON: 1 }));
    expect(readDescriptor(memory, at + 0x40_0000)).toEqual(new Uint32Array(16));
  });

  test("both memories have what remapping needs", () => {
    const settings = { enabled: true, tablePage: 3, entries: 2, extended: false, compatibility: false };
    for (const memory of [new FlatMemory(0x10_0000), new SparseMemory({ size: 0x10_0000 })])
      expect(() => new VtdInterruptRemapper({ memory, settings, hostAddressWidth: 39, posting: true, caches: "none", cachingMode: false })).not.toThrow();
  });
});
