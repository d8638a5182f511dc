import { DeliveryMode } from "@iommu-lab/pci-bus";
import { describe, expect, test } from "vitest";
import { IRTE_POSTED, IRTE_REMAPPED, IRTE_REMAPPED_XAPIC } from "../../src/vtd/index.ts";
import { DESCRIPTOR, descriptor, PASSED, posted, remapBench, remapped } from "./remap-bench.ts";

const verdictOn = (entry: Uint32Array, options: Parameters<typeof remapBench>[0] = {}, requester?: number) => {
  const bench = remapBench(options);
  bench.writeEntry(3, entry);
  bench.writeDescriptor(descriptor());
  return bench.request(3, requester);
};

const withBit = (entry: Uint32Array, position: number): Uint32Array => {
  const changed = entry.slice();
  changed[position >>> 5] = (changed[position >>> 5] ?? 0) | (1 << (position & 31));
  return changed;
};

/** Bits that the manual reserves, by hand: VT-d §9.9 and §9.10. */
const range = (msb: number, lsb: number): number[] => Array.from({ length: msb - lsb + 1 }, (_, i) => lsb + i);
const REMAPPED_RESERVED = [...range(14, 12), ...range(31, 24), ...range(127, 84)];
const DESTINATION_XAPIC = [...range(39, 32), ...range(63, 48)];
const POSTED_RESERVED = [...range(7, 2), ...range(13, 12), ...range(31, 24), ...range(37, 32), ...range(95, 84)];

describe("a remapped entry (VT-d §9.9)", () => {
  test.each([
    { name: "fixed, physical, edge", fields: {}, expected: { vector: 0x41, deliveryMode: DeliveryMode.Fixed, destination: 5, destinationMode: "physical", trigger: "edge", redirectionHint: false } },
    { name: "lowest priority, logical, level, hint", fields: { DLM: 1, DM: 1, TM: 1, RH: 1, V: 0xfe }, expected: { vector: 0xfe, deliveryMode: 1, destination: 5, destinationMode: "logical", trigger: "level", redirectionHint: true } },
    { name: "NMI", fields: { DLM: 4 }, expected: { vector: 0x41, deliveryMode: 4, destination: 5, destinationMode: "physical", trigger: "edge", redirectionHint: false } },
  ])("gives every attribute of the interrupt: $name", ({ fields, expected }) => {
    const bench = remapBench();
    bench.writeEntry(3, remapped({ AVAIL: 15, ...fields }));
    expect(bench.send(0xfee0_0010 | (3 << 5), 0xc7ff)).toEqual({ ...PASSED, index: 3 });
    expect(bench.delivered).toEqual([expected]);
  });
  test("has a destination of 32 bits with EIME=1 and of 8 bits, 47:40, without", () => {
    const wide = remapBench({ settings: { extended: true } });
    wide.writeEntry(3, remapped({ DST: 0x8001_2345 }));
    wide.request(3);
    const narrow = remapBench();
    narrow.writeEntry(3, remapped({ DST: 0xab00 }));
    narrow.request(3);
    expect([wide.delivered[0]?.destination, narrow.delivered[0]?.destination]).toEqual([0x8001_2345, 0xab]);
  });
  test.each([false, true])("faults 24h for exactly the reserved bits, EIME=%s", (extended) => {
    const entry = remapped({ SVT: 0 });
    const faulting = range(127, 0).filter((position) => verdictOn(withBit(entry, position), { posting: false, settings: { extended } }).fault === 0x24);
    const expected = [15, ...REMAPPED_RESERVED, ...(extended ? [] : DESTINATION_XAPIC)].sort((a, b) => a - b);
    expect(faulting).toEqual(expected);
    const { reserved } = extended ? IRTE_REMAPPED : IRTE_REMAPPED_XAPIC;
    expect(faulting.filter((position) => position !== 15)).toEqual(range(127, 0).filter((position) => (((reserved[position >>> 5] ?? 0) >>> (position & 31)) & 1) === 1));
  });
  test.each([0, 1, 2, 3, 4, 5, 6, 7])("delivery mode %d", (DLM) => {
    expect(verdictOn(remapped({ DLM })).fault).toBe(DLM === 3 || DLM === 6 ? 0x24 : 0);
  });
});

describe("a posted entry (VT-d §9.10)", () => {
  test.each([false, true])("faults 24h for exactly the reserved bits, EIME=%s", (extended) => {
    const entry = posted();
    const faulting = range(127, 0).filter((position) => verdictOn(withBit(entry, position), { settings: { extended } }).fault === 0x24);
    expect(faulting).toEqual(POSTED_RESERVED.sort((a, b) => a - b));
    expect(faulting).toEqual(range(127, 0).filter((position) => (((IRTE_POSTED.reserved[position >>> 5] ?? 0) >>> (position & 31)) & 1) === 1));
  });
  test("faults 24h where posting is not supported", () => {
    expect([verdictOn(posted(), { posting: false }).fault, verdictOn(posted()).fault]).toEqual([0x24, 0]);
  });
});

describe("the order of checks (VT-d §7.1.3)", () => {
  test("an entry that is not present is judged by nothing else", () => {
    expect(verdictOn(Uint32Array.of(0xffff_fffe, 0xffff_ffff, 0xffff_ffff, 0xffff_ffff)).fault).toBe(0x22);
    expect(verdictOn(new Uint32Array(4))).toEqual({ fault: 0x22, recorded: true, index: 3 });
  });
  test("reserved bits come before the requester", () => {
    const refused = remapped({ SVT: 1, SID: 0x0200 });
    expect([verdictOn(refused).fault, verdictOn(withBit(refused, 12)).fault]).toEqual([0x26, 0x24]);
  });
  test("the requester comes before the descriptor", () => {
    expect(verdictOn(posted({ SVT: 1, SID: 0x0200, PDAH: 0xffff_ffff })).fault).toBe(0x26);
  });
});

describe("FPD (VT-d §7.1.3)", () => {
  const outside = { PDAL: 0x3ff_ffff };
  test.each([
    { fault: 0x22, silenced: true, entry: (FPD: number) => remapped({ P: 0, FPD }), options: {}, requester: 0x0100 },
    { fault: 0x24, silenced: true, entry: (FPD: number) => remapped({ FPD, DLM: 3 }), options: {}, requester: 0x0100 },
    { fault: 0x26, silenced: true, entry: (FPD: number) => remapped({ FPD, SVT: 1, SID: 0x0200 }), options: {}, requester: 0x0100 },
    { fault: 0x27, silenced: true, entry: (FPD: number) => posted({ FPD, ...outside }), options: {}, requester: 0x0100 },
    { fault: 0x28, silenced: true, entry: (FPD: number) => posted({ FPD, PDAL: (DESCRIPTOR + 64) >>> 6 }), options: {}, requester: 0x0100 },
    { fault: 0x21, silenced: false, entry: (FPD: number) => remapped({ FPD }), options: { settings: { entries: 2 } }, requester: 0x0100 },
    { fault: 0x23, silenced: false, entry: (FPD: number) => remapped({ FPD }), options: { hostAddressWidth: 32, settings: { tablePage: 2 ** 20 } }, requester: 0x0100 },
  ])("silences fault $fault: $silenced", ({ fault, silenced, entry, options, requester }) => {
    const verdicts = [0, 1].map((FPD) => {
      const bench = remapBench(options);
      bench.writeEntry(3, entry(FPD));
      bench.writeDescriptor([0, 0, 0, 0, 0, 0, 0, 0, 4], DESCRIPTOR + 64);
      const verdict = bench.request(3, requester);
      expect([bench.delivered, bench.posted]).toEqual([[], []]);
      return verdict;
    });
    expect(verdicts).toEqual([
      { fault, recorded: true, index: 3 },
      { fault, recorded: !silenced, index: 3 },
    ]);
  });
  test("of an earlier entry silences nothing of a later request", () => {
    const bench = remapBench();
    bench.writeEntry(3, remapped({ P: 0, FPD: 1 }));
    expect(bench.request(3).recorded).toBe(false);
    expect([bench.request(600), bench.send(0xfee0_0018, 0x1_0000)]).toMatchObject([
      { fault: 0x21, recorded: true },
      { fault: 0x20, recorded: true },
    ]);
  });
});

describe("source-id verification (VT-d §9.9, SVT, SQ, SID)", () => {
  const SID = 0x1234; // 12:06.4
  test.each([
    { SVT: 0, SQ: 0, allowed: () => true },
    { SVT: 0, SQ: 3, allowed: () => true },
    { SVT: 1, SQ: 0, allowed: (requester: number) => requester === 0x1234 },
    { SVT: 1, SQ: 1, allowed: (requester: number) => requester === 0x1234 || requester === 0x1230 },
    { SVT: 1, SQ: 2, allowed: (requester: number) => [0x1230, 0x1232, 0x1234, 0x1236].includes(requester) },
    { SVT: 1, SQ: 3, allowed: (requester: number) => requester >= 0x1230 && requester <= 0x1237 },
    { SVT: 2, SQ: 0, allowed: (requester: number) => requester >= 0x1200 && requester <= 0x34ff },
    { SVT: 2, SQ: 3, allowed: (requester: number) => requester >= 0x1200 && requester <= 0x34ff },
  ])("SVT=$SVT, SQ=$SQ", ({ SVT, SQ, allowed }) => {
    const bench = remapBench();
    bench.writeEntry(3, remapped({ SVT, SQ, SID }));
    const requesters = [...range(0x1248, 0x1220), 0, 0x11ff, 0x1200, 0x1334, 0x3400, 0x34ff, 0x3500, 0x9234, 0x1a34, 0xffff];
    expect(requesters.filter((requester) => bench.request(3, requester).fault === 0)).toEqual(requesters.filter(allowed));
    expect(requesters.filter((requester) => bench.request(3, requester).fault === 0x26)).toEqual(requesters.filter((requester) => !allowed(requester)));
  });
  test("a bus range of one bus holds that bus, a reversed range none", () => {
    expect(verdictOn(remapped({ SVT: 2, SID: 0x0101 }), {}, 0x01ff).fault).toBe(0);
    expect(range(0xff, 0).every((bus) => verdictOn(remapped({ SVT: 2, SID: 0x3412 }), {}, bus << 8).fault === 0x26)).toBe(true);
  });
  test.each([0, 1, 2, 3])("SVT=3 is reserved and refuses everybody, SQ=%d", (SQ) => {
    expect(verdictOn(remapped({ SVT: 3, SQ, SID: 0x0100 })).fault).toBe(0x26);
  });
});
