import { describe, expect, test } from "vitest";
import { VtdInterruptRemapper } from "../../src/vtd/index.ts";
import { PASSED, remapBench, remappable, remapped } from "./remap-bench.ts";

describe("requests with remapping off (VT-d §5.1)", () => {
  test.each([0xfee0_5000, 0xfee0_5010])("%i passes as if in compatibility format", (address) => {
    const bench = remapBench({ settings: { enabled: false, extended: true } });
    expect(bench.send(address, 0x4031)).toEqual({ ...PASSED, index: 0 });
    expect(bench.delivered).toMatchObject([{ vector: 0x31, destination: 5 }]);
  });
  test("a reserved delivery mode passes and reaches no processor", () => {
    const bench = remapBench({ settings: { enabled: false } });
    expect(bench.send(0xfee0_5000, 0x0331)).toMatchObject(PASSED);
    expect(bench.delivered).toEqual([]);
  });
});

describe("requests in compatibility format (VT-d §5.1.2.1)", () => {
  test.each([
    { compatibility: true, extended: false, fault: 0 },
    { compatibility: false, extended: false, fault: 0x25 },
    { compatibility: true, extended: true, fault: 0x25 },
    { compatibility: false, extended: true, fault: 0x25 },
  ])("with CFIS=$compatibility and EIME=$extended: fault $fault", ({ compatibility, extended, fault }) => {
    const bench = remapBench({ settings: { compatibility, extended } });
    expect(bench.send(0xfee0_5000, 0x31)).toEqual({ fault, recorded: fault !== 0, index: 0 });
    expect(bench.delivered).toHaveLength(fault ? 0 : 1);
  });
  test("blocking one does not depend on the entry read before", () => {
    const bench = remapBench();
    bench.writeEntry(0, remapped({ FPD: 1, P: 0 }));
    expect(bench.request(0)).toMatchObject({ fault: 0x22, recorded: false });
    expect(bench.send(0xfee0_5000, 0x31)).toMatchObject({ fault: 0x25, recorded: true });
  });
});

describe("requests in remappable format (VT-d §5.1.2.2)", () => {
  test.each([
    { name: "without SHV the index is the handle, the data is not looked at", address: remappable(5), data: 0xffff_ffff, index: 5 },
    { name: "address bits 1:0 are not looked at", address: remappable(5) | 3, data: 0, index: 5 },
    { name: "with SHV the subhandle is added", address: remappable(5) | 8, data: 0x0102, index: 0x107 },
    { name: "handle bit 15 is address bit 2", address: remappable(0x8001), data: 0, index: 0x8001 },
  ])("$name", ({ address, data, index }) => {
    const bench = remapBench({ settings: { entries: 65_536 } });
    bench.writeEntry(index, remapped({ V: 0x77 }));
    expect(bench.send(address, data)).toEqual({ ...PASSED, index });
    expect(bench.delivered).toMatchObject([{ vector: 0x77, destination: 5 }]);
  });

  test.each(Array.from({ length: 16 }, (_, i) => 16 + i))("data bit %d is reserved with SHV=1: fault 20h with index 0", (bitNumber) => {
    const bench = remapBench();
    bench.writeEntry(5, remapped());
    expect(bench.send(remappable(5) | 8, (1 << bitNumber) >>> 0)).toEqual({ fault: 0x20, recorded: true, index: 0 });
    expect(bench.delivered).toEqual([]);
  });
  test("reserved data bits are judged before the index", () => {
    expect(remapBench().send(remappable(0x7fff) | 8, 0x0001_0000).fault).toBe(0x20);
  });

  test.each([
    [2, 1, 0],
    [2, 2, 0x21],
    [512, 511, 0],
    [512, 512, 0x21],
    [65_536, 65_535, 0],
  ])("in a table of %i entries, index %i gives fault %i", (entries, index, fault) => {
    const bench = remapBench({ settings: { entries } });
    bench.writeEntry(index, remapped());
    expect(bench.request(index)).toEqual({ fault, recorded: fault !== 0, index });
  });
  test("a subhandle that leads past 16 bits is past every table", () => {
    const bench = remapBench({ settings: { entries: 65_536 } });
    expect(bench.send(remappable(0xffff) | 8, 1)).toEqual({ fault: 0x21, recorded: true, index: 0 });
  });

  test.each([
    ["where no RAM is", 0x400],
    ["at the host address width", 2 ** 27],
    ["far past it", 2 ** 39],
  ])("a table %s cannot be read: fault 23h, always recorded", (_, tablePage) => {
    const bench = remapBench({ settings: { tablePage } });
    expect(bench.request(7)).toEqual({ fault: 0x23, recorded: true, index: 7 });
  });
  test("a table that starts in RAM may end outside: only the entry counts", () => {
    const bench = remapBench({ settings: { tablePage: 0x3ff, entries: 512 } });
    bench.writeEntry(255, remapped());
    expect([bench.request(255).fault, bench.request(256).fault]).toEqual([0, 0x23]);
  });
  test("an address below RAM's end but at the host address width is refused although memory answers there", () => {
    const words = new Uint32Array(1024);
    words.set(remapped());
    const settings = { enabled: true, tablePage: 2 ** 20, entries: 2, extended: false, compatibility: false };
    const verdictAt = (hostAddressWidth: number): number => {
      const remapper = new VtdInterruptRemapper({ memory: { wordsOf: () => words, wordOf: () => 0, write32: () => undefined }, settings, hostAddressWidth, posting: false, caches: "none", cachingMode: false });
      const out = { fault: -1, recorded: false, index: 0 };
      remapper.remap({ requester: 0, address: remappable(0), data: 0 }, { deliver: () => undefined, post: () => undefined }, out);
      return out.fault;
    };
    expect([verdictAt(32), verdictAt(33)]).toEqual([0x23, 0]);
  });
  test.each([31, 53, 39.5])("a host address width of %d is refused", (hostAddressWidth) => {
    expect(() => remapBench({ hostAddressWidth })).toThrow(`A host address width of ${hostAddressWidth} bits is impossible; it is 32 to 52.`);
  });
});
