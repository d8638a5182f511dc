import { DeliveryMode, MemoryType, type ExplanationStep } from "@iommu-lab/pci-bus";
import { IRTE_REMAPPED } from "@iommu-lab/interrupt-remap/vtd";
import { describe, expect, test } from "vitest";
import {
  ECEO_REG, ECCAP_REGS, ECMD_REG, ECRSP_REG, INTERRUPT_ENTRY_DESCRIPTOR, IRTA_REG, MTRRCAP_REG, MTRRDEF_REG, MTRR_FIXED_REGS, MTRR_VARIABLE_REGS, PERFCAP_REG, PERFCFGOFF_REG, PERFCNTROFF_REG, PERFFRZOFF_REG, PERFINTRADDR_REG, PERFINTRCTL_REG, PERFINTRDATA_REG, PERFINTRSTS_REG, PERFOVFOFF_REG, VCCAP_REG, VCMD_REG, VCRSP_REG,
} from "../../src/layouts/index.ts";
import type { Register } from "@iommu-lab/memory/registers";
import { SCALABLE } from "../../src/hardware/index.ts";
import { BDF, INTERRUPT_TABLE, legacyRig, Rig, scalableRig, type RigOptions } from "./rig.ts";

const PAGE = 0x12345; // arbitrary
const HOST = 0x2345; // arbitrary

describe("memory types (VT-d §3.10)", () => {
  const types = (rig: Rig, ...pages: number[]): number[] => pages.map((page) => rig.translate(page).memoryType);
  test("without memory-type support everything is write-back", () => {
    const rig = legacyRig();
    rig.mapSecond(rig.table, PAGE, HOST, { leaf: { EMT: 0 } });
    expect(types(rig, PAGE, PAGE)).toEqual([MemoryType.WriteBack, MemoryType.WriteBack]);
  });
  test("EMT of a second-stage leaf counts with EMTE, and CD goes before it", () => {
    const outcome = (pasid: Record<string, number>): number[] => {
      const rig = scalableRig({ pasid });
      for (const EMT of [0, 1, 4, 5, 6, 2]) rig.mapSecond(rig.second, PAGE + EMT, HOST, { leaf: { EMT } });
      return types(rig, ...[0, 1, 4, 5, 6, 2].map((EMT) => PAGE + EMT));
    };
    expect(outcome({})).toEqual([6, 6, 6, 6, 6, 6]);
    expect(outcome({ EMTE: 1 })).toEqual([0, 1, 4, 5, 6, 0]);
    expect(outcome({ EMTE: 1, CD: 1 })).toEqual([0, 0, 0, 0, 0, 0]);
  });
  test("a first-stage leaf chooses one of the eight PAT entries", () => {
    const PAT = 0x5416_7010; // entries 0 to 7: 0 1 0 7 6 1 4 5
    const rig = scalableRig({ pasid: { PGTT: 1, PAT } });
    for (let i = 0; i < 8; i++) rig.mapFirst(rig.first, PAGE + i, HOST, { leaf: { PWT: i & 1, PCD: (i >>> 1) & 1, PS: i >>> 2 } });
    expect(types(rig, ...Array.from({ length: 8 }, (_, i) => PAGE + i))).toEqual([0, 1, 0, 0, 6, 1, 4, 5]);
    // Of a large page bit 12 is the PAT bit: with it entries 4 to 7, without it 0 to 3.
    for (const leafLevel of [2, 3])
      for (let i = 0; i < 8; i++) {
        const size = 2 ** (9 * (leafLevel - 1));
        rig.mapFirst(rig.first, (8 + i) * size, 4 * size + (i >>> 2), { leafLevel, leaf: { PWT: i & 1, PCD: (i >>> 1) & 1 } });
        expect(types(rig, (8 + i) * size)).toEqual([[0, 1, 0, 0, 6, 1, 4, 5][i]]);
      }
  });
  test("nested: IPAT lets the second stage decide alone, otherwise both are combined", () => {
    const outcome = (EMT: number, own: number, IPAT: number, EMTE = 1): number => {
      const rig = scalableRig({ pasid: { PGTT: 3, EMTE, PAT: own, FSPTPTR: 0x5000 } });
      rig.mapFirst(rig.first, PAGE, HOST);
      rig.mapSecond(rig.second, 0x5000, rig.first);
      for (let page = 0x10; page < 0x40; page++) rig.mapSecond(rig.second, page, page);
      rig.mapSecond(rig.second, HOST, HOST, { leaf: { EMT, IPAT } });
      return rig.translate(PAGE).memoryType;
    };
    expect([outcome(6, 0, 0), outcome(6, 0, 1), outcome(0, 6, 0), outcome(6, 4, 0), outcome(4, 6, 0), outcome(6, 6, 0), outcome(4, 5, 0), outcome(5, 5, 0), outcome(0, 1, 0), outcome(1, 7, 0), outcome(6, 7, 0)]).toEqual([0, 6, 0, 4, 4, 6, 5, 5, 1, 1, 0]);
    expect(outcome(0, 6, 1, 0)).toBe(6);
  });
  test("EMTE of a first-stage entry means nothing, CD makes it uncacheable (VT-d §3.10.4)", () => {
    const outcome = (pasid: Record<string, number>): number[] => {
      const rig = scalableRig({ pasid: { PGTT: 1, PAT: 6, ...pasid } });
      rig.mapFirst(rig.first, PAGE, HOST);
      return types(rig, PAGE, PAGE);
    };
    expect([outcome({}), outcome({ EMTE: 1 }), outcome({ CD: 1 }), outcome({ CD: 1, EMTE: 1 })]).toEqual([[6, 6], [6, 6], [0, 0], [0, 0]]);
  });
  test("a page's own type on that of its memory (Intel SDM vol. 3, effective page-level memory types)", () => {
    // Rows: uncacheable, write-combining, write-through, write-protected, write-back memory; columns: the page's 0 1 4 5 6 7.
    // Older editions left write-through and write-protected on each other, and UC- on write-protected memory, undefined.
    const expected = [
      [0, 1, 0, 0, 0, 0],
      [0, 1, 0, 0, 1, 1],
      [0, 1, 4, 5, 4, 0],
      [0, 1, 4, 5, 5, 1],
      [0, 1, 4, 5, 6, 0],
    ];
    const found = [0, 1, 4, 5, 6].map((TYPE) =>
      [0, 1, 4, 5, 6, 7].map((own) => {
        const rig = scalableRig({ pasid: { PGTT: 1, PAT: own } });
        rig.write(MTRRDEF_REG, { TYPE, E: 1 });
        rig.mapFirst(rig.first, PAGE, HOST);
        return types(rig, PAGE)[0];
      }),
    );
    expect(found).toEqual(expected);
  });
  test("nested, a page's own type on the second stage's combines like that on memory (VT-d §3.10.5)", () => {
    const on = (EMT: number, own: number): number => {
      const rig = scalableRig({ pasid: { PGTT: 3, EMTE: 1, PAT: own, FSPTPTR: 0x5000 } });
      // The second stage's type takes the place of the ranges'.
      rig.write(MTRRDEF_REG, { TYPE: 0, E: 1 });
      rig.mapFirst(rig.first, PAGE, HOST);
      rig.mapSecond(rig.second, 0x5000, rig.first);
      for (let page = 0x10; page < 0x40; page++) rig.mapSecond(rig.second, page, page);
      rig.mapSecond(rig.second, HOST, HOST, { leaf: { EMT } });
      return rig.translate(PAGE).memoryType;
    };
    const { UncachedMinus, WriteBack, WriteCombining, WriteProtected, WriteThrough } = MemoryType;
    expect([on(WriteProtected, WriteThrough), on(WriteThrough, WriteProtected), on(WriteProtected, UncachedMinus), on(WriteProtected, WriteBack), on(WriteProtected, WriteCombining)]).toEqual([WriteThrough, WriteProtected, WriteCombining, WriteProtected, WriteCombining]);
  });
  const mtrr = (name: string): Register => [...MTRR_FIXED_REGS, ...MTRR_VARIABLE_REGS].find((register) => register.name === `MTRR_${name}_REG`) as Register;
  const ranged = (): ReturnType<typeof scalableRig> => {
    const rig = scalableRig();
    rig.write(MTRRDEF_REG, { TYPE: 6, E: 1, FE: 1 });
    for (const [page, host] of [[1, 0], [2, 0x9f], [3, 0xa0], [4, 0xa3], [5, 0xa4], [6, 0xc0], [7, 0xc7], [8, 0xff], [9, 0x100], [10, 0x1_0000], [11, 0x1_ffff], [12, 0x2_0000], [13, 2 ** 20 + 5]] as const) rig.mapSecond(rig.second, page, host);
    return rig;
  };
  test("fixed ranges type the first MiB by 64, 16 and 4 KiB", () => {
    const rig = ranged();
    rig.writeRaw(mtrr("FIX64K_00000"), [0x0606_0604, 0]);
    rig.writeRaw(mtrr("FIX16K_80000"), [0, 0x0500_0000]);
    rig.writeRaw(mtrr("FIX16K_A0000"), [0x0000_0401, 0]);
    rig.writeRaw(mtrr("FIX4K_C0000"), [0x05, 0x0400_0000]);
    rig.writeRaw(mtrr("FIX4K_F8000"), [0, 0x0100_0000]);
    expect(types(rig, 1, 2, 3, 4, 5, 6, 7, 8, 9)).toEqual([4, 5, 1, 1, 4, 5, 4, 1, 6]);
  });
  test("each byte of a fixed range's register types its eighth, and a reserved type is uncacheable", () => {
    const rig = scalableRig();
    rig.write(MTRRDEF_REG, { TYPE: 6, E: 1, FE: 1 });
    const bytes = [1, 4, 5, 6, 6, 5, 4, 1];
    const ranges = [["FIX64K_00000", 0, 16], ["FIX16K_80000", 0x80, 4], ["FIX16K_A0000", 0xa0, 4], ["FIX4K_C0000", 0xc0, 1], ["FIX4K_C8000", 0xc8, 1], ["FIX4K_D0000", 0xd0, 1], ["FIX4K_D8000", 0xd8, 1], ["FIX4K_E0000", 0xe0, 1], ["FIX4K_E8000", 0xe8, 1], ["FIX4K_F0000", 0xf0, 1], ["FIX4K_F8000", 0xf8, 1]] as const;
    for (const [name, start, pages] of ranges) {
      rig.writeRaw(mtrr(name), [0x0605_0401, 0x0104_0506]);
      for (let i = 0; i < 8; i++) for (const host of [start + i * pages, start + (i + 1) * pages - 1]) {
        rig.mapSecond(rig.second, 0x1000 + host, host);
        expect([name, i, ...types(rig, 0x1000 + host)]).toEqual([name, i, bytes[i]]);
      }
      rig.writeRaw(mtrr(name), [0x0e02_0308, 0x1640_8007]);
      for (let i = 0; i < 8; i++) {
        rig.mapSecond(rig.second, 0x2000 + start + i, start + i * pages);
        expect([name, i, ...types(rig, 0x2000 + start + i)]).toEqual([name, i, i === 4 ? 7 : 0]);
      }
    }
  });
  test("variable ranges count above 16 TiB too, bit by bit of their mask", () => {
    const rig = scalableRig();
    rig.write(MTRRDEF_REG, { TYPE: 6, E: 1 });
    rig.write(mtrr("PHYSBASE3"), { TYPE: 4, PHYSBASE: 2 ** 34 + 2 ** 20 });
    rig.write(mtrr("PHYSMASK3"), { V: 1, PHYSMASK: 2 ** 40 - 2 ** 20 });
    const hosts = [2 ** 34 + 2 ** 20, 2 ** 34 + 2 ** 21 - 1, 2 ** 34 + 2 ** 21, 2 ** 34 + 2 ** 20 - 1, 2 ** 20, 2 ** 35 + 2 ** 20, 2 ** 35 + 2 ** 34 + 2 ** 20, 2 ** 34 + 2 ** 31 + 2 ** 20];
    for (const [i, host] of hosts.entries()) rig.mapSecond(rig.second, 0x100 + i, host);
    expect(types(rig, ...hosts.map((_, i) => 0x100 + i))).toEqual([4, 4, 6, 6, 6, 6, 6, 6]);
  });
  test("variable ranges match under their mask; uncacheable wins, then write-through over write-back", () => {
    const rig = ranged();
    rig.write(mtrr("PHYSBASE0"), { TYPE: 6, PHYSBASE: 0x1_0000 });
    rig.write(mtrr("PHYSMASK0"), { V: 1, PHYSMASK: 0xff_ffff_0000 });
    rig.write(MTRRDEF_REG, { TYPE: 1, E: 1 });
    expect(types(rig, 10, 11, 12, 9)).toEqual([6, 6, 1, 1]);
    const layered = ranged();
    layered.write(mtrr("PHYSBASE0"), { TYPE: 6, PHYSBASE: 0x1_0000 });
    layered.write(mtrr("PHYSMASK0"), { V: 1, PHYSMASK: 0xff_ffff_0000 });
    layered.write(mtrr("PHYSBASE9"), { TYPE: 4, PHYSBASE: 0x1_8000 });
    layered.write(mtrr("PHYSMASK9"), { V: 1, PHYSMASK: 0xff_ffff_8000 });
    layered.write(mtrr("PHYSBASE5"), { TYPE: 0, PHYSBASE: 2 ** 20 });
    layered.write(mtrr("PHYSMASK5"), { V: 1, PHYSMASK: 2 ** 40 - 2 ** 20 });
    layered.write(mtrr("PHYSBASE6"), { TYPE: 4, PHYSBASE: 2 ** 20 });
    layered.write(mtrr("PHYSMASK6"), { V: 1, PHYSMASK: 2 ** 40 - 2 ** 20 });
    expect(types(layered, 10, 11, 13)).toEqual([6, 4, 0]);
    // Uncacheable wins from a later register, too.
    layered.write(mtrr("PHYSBASE2"), { TYPE: 4, PHYSBASE: 2 ** 20 });
    layered.write(mtrr("PHYSMASK2"), { V: 1, PHYSMASK: 2 ** 40 - 2 ** 20 });
    layered.write(mtrr("PHYSBASE1"), { TYPE: 1, PHYSBASE: 2 ** 20 });
    layered.write(mtrr("PHYSMASK1"), { V: 1, PHYSMASK: 2 ** 40 - 2 ** 20 });
    layered.mapSecond(layered.second, 14, 2 ** 20 + 6);
    expect(types(layered, 14)).toEqual([0]);
    layered.write(mtrr("PHYSMASK9"), { V: 0 });
    layered.write(MTRRDEF_REG, { E: 0 });
    expect(types(scalableRigLike(layered), 12)).toEqual([6]);
  });
  const scalableRigLike = (rig: Rig): Rig => rig;
  test("the registers are there with MTS only", () => {
    expect(new Rig({ base: SCALABLE }).read(MTRRCAP_REG)).toEqual({ VCNT: 10, FIX: 1, WC: 1 });
    expect([...new Rig().raw(MTRRCAP_REG)]).toEqual([0, 0]);
  });
});

describe("performance counters and enhanced commands (VT-d §11.4)", () => {
  const at = (rig: Rig, register: Register): number => rig.raw(register)[0] as number;
  const counting = (events: number, options: RigOptions = {}): ReturnType<typeof scalableRig> => {
    const rig = scalableRig(options);
    rig.mapSecond(rig.second, PAGE, HOST);
    rig.unit.registers.write64(at(rig, PERFCFGOFF_REG), 2, events);
    rig.unit.registers.write64(at(rig, PERFCFGOFF_REG) + 0x100, 0, 1);
    return rig;
  };
  const counter = (rig: Rig, i = 0): number => {
    const words = new Uint32Array(2);
    rig.unit.registers.read64(at(rig, PERFCNTROFF_REG) + 1024 * i, words);
    return (words[0] as number) + (words[1] as number) * 2 ** 32;
  };
  const command = (rig: Rig, CMD: number, OA = 0): number => {
    rig.write(ECMD_REG, { CMD, OA });
    return rig.read(ECRSP_REG).SC;
  };
  test("what they can do is in their capability registers", () => {
    const rig = scalableRig();
    expect(rig.read(PERFCAP_REG)).toEqual({ NCNTR: 4, CW: 48, NEG: 1, FC: 0, OIS: 1, STRIDE: 0 });
    expect([...rig.raw(ECCAP_REGS[3] as Register)]).toEqual([0, 0x33_0000]);
    expect([at(rig, PERFCFGOFF_REG), at(rig, PERFFRZOFF_REG), at(rig, PERFOVFOFF_REG), at(rig, PERFCNTROFF_REG)]).toEqual([0x1000, 0x1800, 0x1808, 0x2000]);
    rig.unit.registers.write(0x380, 4, 0);
    expect(rig.unit.registers.read(0x380, 4)).toBe(0x3f);
  });
  test("a counter counts its events while it is enabled", () => {
    const rig = counting(0b001);
    rig.translate(PAGE);
    expect([command(rig, 0xf0), counter(rig)]).toEqual([0, 0]);
    for (let i = 0; i < 3; i++) rig.translate(PAGE);
    expect([counter(rig), counter(rig, 1)]).toEqual([3, 0]);
    expect(command(rig, 0xf1)).toBe(0);
    rig.translate(PAGE);
    expect(counter(rig)).toBe(3);
  });
  test.each([
    { name: "IOTLB lookups", bit: 1, expected: 3 },
    { name: "IOTLB misses", bit: 2, expected: 2 },
    { name: "context misses", bit: 3, expected: 2 },
    { name: "faults", bit: 4, expected: 1 },
    { name: "interrupts", bit: 5, expected: 1 },
    { name: "requests and faults", bit: -1, expected: 4 },
  ])("$name", ({ bit, expected }) => {
    const rig = counting(bit < 0 ? 0b1_0001 : 2 ** bit);
    command(rig, 0xf0);
    for (const page of [PAGE, PAGE, PAGE + 1]) rig.translate(page);
    rig.interrupt(0xfee0_1000, 0x44);
    expect(counter(rig)).toBe(expected);
  });
  test("writing a counter sets it; freezing stops all, unfreezing goes on", () => {
    const rig = counting(1);
    command(rig, 0xf0, 0);
    command(rig, 0xf0, 1);
    rig.unit.registers.write64(at(rig, PERFCNTROFF_REG), 100, 0);
    rig.translate(PAGE);
    expect([counter(rig), counter(rig, 1)]).toEqual([101, 1]);
    expect(command(rig, 0xf4)).toBe(0);
    expect(rig.unit.registers.read(at(rig, PERFFRZOFF_REG), 4)).toBe(0xf);
    rig.translate(PAGE);
    expect(counter(rig)).toBe(101);
    expect(command(rig, 0xf5)).toBe(0);
    rig.translate(PAGE);
    expect([counter(rig), rig.unit.registers.read(at(rig, PERFFRZOFF_REG), 4)]).toEqual([102, 0]);
  });
  test("an overflow wraps the counter, sets its bit and raises the interrupt it asked for", () => {
    const rig = counting(1);
    rig.write(PERFINTRADDR_REG, { MA: 0xfee0_4000 / 4 });
    rig.write(PERFINTRDATA_REG, { IMD: 0x66 });
    rig.write(PERFINTRCTL_REG, { IM: 0 });
    rig.unit.registers.write64(at(rig, PERFCNTROFF_REG), 0xffff_ffff, 0xffff);
    rig.unit.registers.write64(at(rig, PERFCNTROFF_REG) + 1024, 0xffff_ffff, 0xffff);
    command(rig, 0xf0, 0);
    command(rig, 0xf0, 1);
    rig.translate(PAGE);
    expect([rig.messages, counter(rig), rig.unit.registers.read(at(rig, PERFOVFOFF_REG), 4), rig.read(PERFINTRSTS_REG).PIS]).toEqual([[{ address: 0xfee0_4000, upper: 0, data: 0x66 }], 0, 3, 1]);
    rig.write(PERFINTRSTS_REG, { PIS: 1 });
    rig.unit.registers.write(at(rig, PERFOVFOFF_REG), 4, 1);
    expect([rig.read(PERFINTRSTS_REG).PIS, rig.unit.registers.read(at(rig, PERFOVFOFF_REG), 4)]).toEqual([0, 2]);
  });
  test("a masked interrupt is dropped with its status, or sent when unmasked", () => {
    const rig = counting(1);
    const overflow = (): void => {
      rig.unit.registers.write64(at(rig, PERFCNTROFF_REG), 0xffff_ffff, 0xffff);
      rig.translate(PAGE);
    };
    command(rig, 0xf0);
    overflow();
    expect(rig.read(PERFINTRCTL_REG)).toEqual({ IM: 1, IP: 1 });
    rig.write(PERFINTRSTS_REG, { PIS: 1 });
    expect(rig.read(PERFINTRCTL_REG).IP).toBe(0);
    overflow();
    rig.write(PERFINTRCTL_REG, { IM: 0 });
    expect(rig.messages.length).toBe(1);
  });
  test("events of another group are none; commands and counters that are not there are refused", () => {
    const rig = counting(1);
    rig.unit.registers.write64(at(rig, PERFCFGOFF_REG), 0x100, 1);
    command(rig, 0xf0);
    rig.translate(PAGE);
    expect(counter(rig)).toBe(0);
    expect([command(rig, 0xf0, 3), command(rig, 0xf0, 4), command(rig, 0xf1, 4), command(rig, 0x12)].map((code) => code !== 0)).toEqual([false, true, true, true]);
    const without = scalableRig({ ecap: { PMS: 0 } });
    expect(command(without, 0xf4)).not.toBe(0);
    without.write(ECEO_REG, { LOW: 5, HIGH: 6 });
    expect(without.read(ECEO_REG)).toEqual({ LOW: 5, HIGH: 6 });
  });
  test("a reset stops counting", () => {
    const rig = counting(1);
    command(rig, 0xf0);
    rig.unit.reset("cold");
    rig.unit.registers.write64(at(rig, PERFCFGOFF_REG), 0, 1);
    rig.start(1);
    rig.translate(PAGE);
    expect(counter(rig)).toBe(0);
  });
});

describe("virtual commands (VT-d §11.4.30)", () => {
  test("PASIDs are handed out from 1, freed, and handed out again", () => {
    const rig = scalableRig({ ecap: { VCS: 1, PSS: 1 } });
    const run = (CMD: number, OP = 0): readonly [number, number] => {
      rig.write(VCMD_REG, { CMD, OP });
      const { SC, RSLT } = rig.read(VCRSP_REG);
      return [SC, RSLT];
    };
    expect(rig.read(VCCAP_REG).PAS).toBe(1);
    expect([run(1), run(1), run(1)]).toEqual([[0, 1], [0, 2], [0, 3]]);
    expect([run(1)[0], run(2, 2), run(1), run(2, 0)[0], run(9)[0]]).toEqual([2, [0, 0], [0, 2], 2, 2]);
    rig.unit.reset("cold");
    expect(run(1)).toEqual([0, 1]);
    expect([...scalableRig().raw(VCCAP_REG)]).toEqual([0, 0]);
  });
});

describe("interrupts through the unit (VT-d §5.1, §11.4.10)", () => {
  const remapping = (options: RigOptions = {}, eime = 0): Rig => {
    const rig = new Rig(options).queue({ wide: (options.base ?? {}) === SCALABLE });
    rig.write(IRTA_REG, { IRTA: INTERRUPT_TABLE / 4096, S: 3, EIME: eime });
    rig.command({ SIRTP: 1 });
    rig.command({ IRE: 1 });
    return rig;
  };
  const entry = (rig: Rig, index: number, fields: Record<string, number>): void => {
    rig.put(IRTE_REMAPPED, INTERRUPT_TABLE + 16 * index, { P: 1, V: 0x30 + index, SVT: 1, SID: BDF, ...fields });
  };
  const handle = (index: number): number => 0xfee0_0010 | (index << 5);
  test("entries are found in the table that SIRTP latched, of 2^(S+1) entries", () => {
    const rig = remapping();
    entry(rig, 15, { DST: 0x300 });
    expect(rig.interrupt(handle(15), 0)).toEqual({ fault: 0, recorded: false });
    expect(rig.delivered).toEqual([{ vector: 0x3f, deliveryMode: DeliveryMode.Fixed, destination: 3, destinationMode: "physical", trigger: "edge", redirectionHint: false }]);
    expect(rig.interrupt(handle(16), 0)).toEqual({ fault: 0x21, recorded: true });
    expect(rig.record()).toMatchObject({ reason: 0x21, sid: BDF, page: 16 * 2 ** 36, type: "write", pasid: undefined });
  });
  test("EIME widens destinations; compatibility format passes with CFI, without EIME", () => {
    const wide = remapping({}, 1);
    entry(wide, 2, { DST: 0x1_2345 });
    wide.interrupt(handle(2), 0);
    expect(wide.delivered[0]?.destination).toBe(0x1_2345);
    wide.command({ CFI: 1 });
    expect(wide.interrupt(0xfee0_1000, 0x41).fault).toBe(0x25);
    const rig = remapping();
    expect(rig.interrupt(0xfee0_1000, 0x41).fault).toBe(0x25);
    rig.command({ CFI: 1 });
    expect([rig.interrupt(0xfee0_1000, 0x41).fault, rig.delivered.length]).toEqual([0, 1]);
    rig.command({ CFI: 0 });
    expect(rig.interrupt(0xfee0_1000, 0x41).fault).toBe(0x25);
    rig.command({ IRE: 0 });
    expect(rig.interrupt(0xfee0_1000, 0x41).fault).toBe(0);
  });
  test("interrupt faults share the records and the event of DMA faults; a policy leaves them out", () => {
    const rig = remapping();
    rig.interrupt(handle(3), 0);
    rig.interrupt(handle(4), 0, BDF + 8);
    expect([rig.record(0), rig.record(1)]).toMatchObject([{ reason: 0x22, sid: BDF, page: 3 * 2 ** 36 }, { reason: 0x22, sid: BDF + 8, page: 4 * 2 ** 36 }]);
    const silent = remapping({ policy: { interruptFaults: false } });
    expect([silent.interrupt(handle(3), 0), silent.record()]).toEqual([{ fault: 0x22, recorded: false }, undefined]);
    entry(rig, 5, { P: 0, FPD: 1 });
    expect(rig.interrupt(handle(5), 0)).toEqual({ fault: 0x22, recorded: false });
    expect(rig.record(2)).toBeUndefined();
  });
  test.each([
    { fields: { G: 0 }, stale: [false, false] },
    { fields: { G: 1, IIDX: 6 }, stale: [false, true] },
    { fields: { G: 1, IIDX: 6, IM: 1 }, stale: [false, false] },
    { fields: { G: 1, IIDX: 8, IM: 2 }, stale: [true, true] },
    { fields: { G: 1, IIDX: 0, IM: 15 }, stale: [false, false] },
  ])("cached entries go with $fields", ({ fields, stale }) => {
    const rig = remapping({ caches: "adversarial" });
    for (const index of [6, 7]) entry(rig, index, { V: 0x30 });
    for (const index of [6, 7]) rig.interrupt(handle(index), 0);
    for (const index of [6, 7]) entry(rig, index, { V: 0x31 });
    rig.submit(INTERRUPT_ENTRY_DESCRIPTOR.encode({ TYPE: 4, ...fields }));
    for (const index of [6, 7]) rig.interrupt(handle(index), 0);
    expect(rig.delivered.slice(2).map(({ vector }) => vector === 0x30)).toEqual(stale);
  });
  test.each([
    { caches: "realistic", ESIRTPS: 0, vector: 0x31 },
    { caches: "adversarial", ESIRTPS: 0, vector: 0x30 },
    { caches: "adversarial", ESIRTPS: 1, vector: 0x31 },
  ] as const)("SIRTP, $caches, ESIRTPS=$ESIRTPS", ({ caches, ESIRTPS, vector }) => {
    const rig = remapping({ caches, cap: { ESIRTPS } });
    entry(rig, 1, { V: 0x30 });
    rig.interrupt(handle(1), 0);
    entry(rig, 1, { V: 0x31 });
    rig.command({ SIRTP: 1 });
    rig.interrupt(handle(1), 0);
    expect(rig.delivered[1]?.vector).toBe(vector);
  });
  test("a unit without interrupt remapping passes every message", () => {
    const rig = new Rig({ cap: { PI: 0 }, ecap: { IR: 0, EIM: 0 } });
    rig.command({ SIRTP: 1, IRE: 1 });
    expect([rig.interrupt(0xfee0_1010, 0x41).fault, rig.delivered.length]).toEqual([0, 1]);
  });
  test("a reset turns it off", () => {
    const rig = remapping();
    rig.unit.reset("cold");
    expect(rig.interrupt(0xfee0_1000, 0x41).fault).toBe(0);
  });
});

describe("explanations (VT-d §3, §7.1.3)", () => {
  const explained = (rig: Rig, page: number, options = {}): string[] => {
    const explain: ExplanationStep[] = [];
    rig.translate(page, { explain, ...options });
    return explain.map(({ structure, outcome }) => `${structure}: ${outcome}`);
  };
  test("a legacy walk, then a hit", () => {
    const rig = legacyRig();
    rig.mapSecond(rig.table, PAGE, HOST);
    expect(explained(rig, PAGE)).toEqual([
      "root entry: continue",
      "context entry: continue",
      "second-stage entry, level 4: next level",
      "second-stage entry, level 3: next level",
      "second-stage entry, level 2: next level",
      "second-stage entry, level 1: page",
      "verdict: translated",
    ]);
    expect(explained(rig, PAGE)).toEqual(["context-cache: hit", "IOTLB: hit", "verdict: translated"]);
    expect(explained(rig, PAGE + 1).slice(-2)).toEqual(["second-stage entry, level 1: fault", "verdict: fault 06h, recorded"]);
  });
  test("steps carry address, raw words, fields, rule and section", () => {
    const rig = legacyRig();
    const explain: ExplanationStep[] = [];
    rig.translate(PAGE, { explain });
    expect(explain[1]).toEqual({
      structure: "context entry",
      address: rig.entries.context,
      raw: [...rig.words(rig.entries.context, 4)],
      fields: { P: 1, FPD: 0, TT: 0, SSPTPTR: rig.table, AW: 2, IGN: 0, DID: 5 },
      rule: "P, reserved bits, then TT and AW",
      section: "VT-d §9.3",
      outcome: "continue",
    });
    expect(explain.every(({ section, rule }) => section.startsWith("VT-d §") && rule.length > 0)).toBe(true);
  });
  test("a nested walk names every table of both stages", () => {
    const rig = scalableRig({ pasid: { PGTT: 3 }, caches: "none" });
    rig.mapFirst(rig.first, PAGE, HOST);
    for (let page = 0x10; page < 0x40; page++) rig.mapSecond(rig.second, page, page);
    rig.mapSecond(rig.second, HOST, HOST);
    rig.translate(PAGE);
    const steps = explained(rig, PAGE);
    expect(steps.slice(0, 4)).toEqual(["scalable-mode root entry: continue", "scalable-mode context entry: continue", "PASID directory entry: continue", "PASID table entry: continue"]);
    expect(steps.filter((step) => step.startsWith("first-stage")).length).toBe(4);
    expect(steps.filter((step) => step.startsWith("second-stage")).length).toBe(20);
  });
  test.each([
    { name: "no root entry", rig: (): Rig => new Rig().start(), page: PAGE, last: "root entry: fault 01h" },
    { name: "a root table nowhere", rig: (): Rig => new Rig().start(0, 2 ** 40), page: PAGE, last: "root entry: fault 08h" },
    { name: "translation off", rig: (): Rig => new Rig(), page: PAGE, last: "GSTS_REG: untranslated" },
    { name: "past the width", rig: (): Rig => legacyRig(), page: 2 ** 40, last: "request: fault 04h" },
    { name: "not canonical", rig: (): Rig => scalableRig({ pasid: { PGTT: 1 } }), page: 2 ** 40, last: "request: fault 80h" },
    { name: "not mapped", rig: (): Rig => legacyRig(), page: PAGE, last: "second-stage entry, level 4: fault" },
    { name: "first stage not present", rig: (): Rig => scalableRig({ pasid: { PGTT: 1 } }), page: PAGE, last: "first-stage entry, level 4: fault 71h" },
    { name: "pass-through", rig: (): Rig => legacyRig({ context: { TT: 2 } }), page: PAGE, last: "translation type: translated" },
    { name: "interrupt range", rig: (): Rig => legacyRig(), page: 0xf_ee00, last: "request: fault 29h" },
    { name: "abort-DMA", rig: (): Rig => new Rig({ ecap: { ADMS: 1 } }).start(3), page: PAGE, last: "RTADDR_REG: unsupported request" },
    { name: "reserved mode", rig: (): Rig => new Rig({ ecap: { SMTS: 1, SSTS: 1 } }).start(2), page: PAGE, last: "RTADDR_REG: fault 30h" },
  ])("$name", ({ rig, page, last }) => {
    const steps = explained(rig(), page);
    expect(steps.at(-2)).toBe(last);
    expect(steps.at(-1)).toBe(last.includes("fault") ? `verdict: ${/fault \w+/.exec(steps.at(-1) ?? "")?.[0] ?? "?"}, recorded` : last.includes("unsupported") ? "verdict: unsupported request" : "verdict: translated");
  });
  test("explaining changes no outcome", () => {
    const rig = legacyRig();
    rig.mapSecond(rig.table, PAGE, HOST);
    for (const page of [PAGE, PAGE + 1, 2 ** 40]) {
      const explain: ExplanationStep[] = [];
      const with_ = rig.translate(page, { explain });
      expect(rig.translate(page)).toEqual(with_);
    }
  });
});
