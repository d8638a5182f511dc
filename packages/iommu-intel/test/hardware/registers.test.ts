import { describe, expect, test } from "vitest";
import { capabilitiesOf, LEGACY, SCALABLE, VtdUnit, withCapabilities, type VtdCapabilities } from "../../src/hardware/index.ts";
import * as layouts from "../../src/layouts/index.ts";
import { legacyRig, Rig, RAM } from "./rig.ts";
import { FlatMemory } from "@iommu-lab/memory";

const {
  CAP_REG, CCMD_REG, ECAP_REG, FECTL_REG, FIXED_REGISTERS, FSTS_REG, GCMD_REG, GSTS_REG, IECTL_REG, IQA_REG, IQT_REG, IRTA_REG, IVA_REG, PHMBASE_REG, PHMLIMIT_REG, PLMBASE_REG, PLMLIMIT_REG, PMEN_REG, PQA_REG, PRS_REG, RTADDR_REG, VER_REG,
} = layouts;

describe("capabilities (VT-d §11.4.2, §11.4.3)", () => {
  test("registers show the configuration, and the configuration is read back from them", () => {
    for (const capabilities of [LEGACY, SCALABLE]) {
      const rig = new Rig({ base: capabilities });
      expect([rig.read(CAP_REG), rig.read(ECAP_REG), rig.raw(VER_REG)[0]]).toEqual([capabilities.cap, capabilities.ecap, capabilities.version]);
      const [cap, ecap] = [rig.raw(CAP_REG), rig.raw(ECAP_REG)];
      expect(capabilitiesOf({ version: capabilities.version, cap: [cap[0] as number, cap[1] as number], ecap: [ecap[0] as number, ecap[1] as number], hostAddressWidth: capabilities.hostAddressWidth })).toEqual(capabilities);
    }
  });
  test.each([
    { name: "LEGACY", base: LEGACY, version: 0x10, cap: 0x08d2_078f_006f_0666n, ecap: 0xf0_50dfn, hostAddressWidth: 46 },
    { name: "SCALABLE", base: SCALABLE, version: 0x60, cap: 0xf9d2_078f_0078_0e66n, ecap: 0x003b_ef9e_a6f0_50dfn, hostAddressWidth: 52 },
  ])("$name in a kernel's log", ({ base, version, cap, ecap, hostAddressWidth }) => {
    const rig = new Rig({ base });
    const whole = ([low = 0, high = 0]: Uint32Array): bigint => BigInt(low) + BigInt(high) * 2n ** 32n;
    expect([rig.raw(VER_REG)[0], whole(rig.raw(CAP_REG)), whole(rig.raw(ECAP_REG)), base.hostAddressWidth]).toEqual([version, cap, ecap, hostAddressWidth]);
  });
  test("they are read-only", () => {
    const rig = new Rig();
    const before = [...rig.raw(CAP_REG), ...rig.raw(ECAP_REG), ...rig.raw(VER_REG)];
    for (const register of [CAP_REG, ECAP_REG, VER_REG]) rig.writeRaw(register, [0xffff_ffff, 0xffff_ffff]);
    expect([...rig.raw(CAP_REG), ...rig.raw(ECAP_REG), ...rig.raw(VER_REG)]).toEqual(before);
  });
  test.each([
    { changes: { cap: { SAGAW: 0 } }, needs: /SAGAW/ },
    { changes: { cap: { SAGAW: 1 } }, needs: /SAGAW/ },
    { changes: { ecap: { IR: 0, EIM: 0 } }, needs: /CAP.PI needs ECAP.IR/ },
    { changes: { cap: { PI: 0 }, ecap: { IR: 0 } }, needs: /ECAP.EIM needs ECAP.IR/ },
    { changes: { ecap: { QI: 0 } }, needs: /needs ECAP.QI/ },
    { changes: { ecap: { NEST: 1, SMTS: 1, SSTS: 1 } }, needs: /ECAP.NEST needs/ },
    { changes: { ecap: { SSTS: 1 } }, needs: /ECAP.SSTS needs ECAP.SMTS/ },
    { changes: { ecap: { FSTS: 1 } }, needs: /ECAP.FSTS needs ECAP.SMTS/ },
    { changes: { ecap: { PASID: 1 } }, needs: /ECAP.PASID needs ECAP.SMTS/ },
    { changes: { ecap: { SSADS: 1, SMTS: 1 } }, needs: /ECAP.SSADS needs ECAP.SSTS/ },
    { changes: { ecap: { RPS: 1 } }, needs: /ECAP.RPS needs ECAP.SMTS/ },
    { changes: { ecap: { PRS: 1, DT: 0 } }, needs: /ECAP.PRS needs ECAP.DT/ },
    { changes: { ecap: { PDS: 1 } }, needs: /ECAP.PDS needs ECAP.PRS/ },
    { changes: { cap: { FS5LP: 1 } }, needs: /CAP.FS5LP needs ECAP.FSTS/ },
    { changes: { cap: { FS1GP: 1 } }, needs: /CAP.FS1GP needs ECAP.FSTS/ },
    { changes: { hostAddressWidth: 31 }, needs: /31 bits is impossible/ },
    { changes: { hostAddressWidth: 53 }, needs: /53 bits is impossible/ },
    { changes: { cap: { FRO: 0x50 } }, needs: /on top of each other at offset 0x500/ },
    { changes: { cap: { FRO: 0x4f, NFR: 1 } }, needs: /on top of each other/ },
    { changes: { cap: { FRO: 3 } }, needs: /on top of the fixed ones/ },
    { changes: { ecap: { IRO: 0xe } }, needs: /on top of the fixed ones/ },
  ])("$changes contradicts itself", ({ changes, needs }) => {
    expect(() => withCapabilities(LEGACY, changes)).toThrow(needs);
  });
  test("neighbouring register blocks do not contradict each other", () => {
    expect(() => withCapabilities(LEGACY, { cap: { FRO: 0x4f, NFR: 0 } })).not.toThrow();
    expect(() => withCapabilities(LEGACY, { cap: { FRO: 0x51 } })).not.toThrow();
    expect(() => withCapabilities(LEGACY, { cap: { FRO: 0xf }, ecap: { IRO: 0x17 } })).not.toThrow();
    expect(() => withCapabilities(LEGACY, { ecap: { IRO: 0xf } })).not.toThrow();
  });
  test.each([32, 52])("an address width of %i bits is possible", (hostAddressWidth) => {
    expect(withCapabilities(LEGACY, { hostAddressWidth }).hostAddressWidth).toBe(hostAddressWidth);
    expect(capabilitiesOf({ version: 0x10, cap: [0, 0], ecap: [0, 0], hostAddressWidth })).toMatchObject({ version: 0x10, hostAddressWidth });
  });
  test.each([31, 53, 40.5])("one of %d bits is not", (hostAddressWidth) => {
    expect(() => withCapabilities(LEGACY, { hostAddressWidth })).toThrow(RangeError);
    expect(() => capabilitiesOf({ version: 0x10, cap: [0, 0], ecap: [0, 0], hostAddressWidth })).toThrow(RangeError);
  });
  test("an address width from elsewhere is checked", () => {
    expect(() => capabilitiesOf({ version: 0x10, cap: [0, 0], ecap: [0, 0], hostAddressWidth: 60 })).toThrow(/60 bits/);
  });
});

describe("a unit nobody has touched", () => {
  test("has counted nothing", () => {
    const { unit } = new Rig({ base: SCALABLE });
    expect([unit.totals, unit.descriptors]).toEqual([{ requests: 0, iotlbLookups: 0, iotlbMisses: 0, contextMisses: 0, faults: 0, interrupts: 0 }, 0]);
  });
  test("passes DMA and interrupts (VT-d §3.1, §5.1)", () => {
    const rig = new Rig({ base: SCALABLE });
    expect([rig.translate(0x12345).page, rig.interrupt(0xfee0_1010, 0x41), rig.delivered.length]).toEqual([0x12345, { fault: 0, recorded: false }, 1]);
  });
});

describe("registers after reset (VT-d §11.4)", () => {
  test("all are 0 but the masks of events and what says what the unit is", () => {
    const rig = new Rig({ base: SCALABLE });
    const set = FIXED_REGISTERS.filter((register) => rig.raw(register).some((word) => word !== 0)).map(({ name }) => name);
    expect(set).toEqual(["FECTL_REG", "IECTL_REG", "PECTL_REG"]);
    expect(rig.read(layouts.PECTL_REG)).toEqual({ IM: 1, IP: 0 });
    expect(rig.read(IECTL_REG)).toEqual({ IM: 1, IP: 0 });
    expect(rig.read(FECTL_REG)).toEqual({ IM: 1, IP: 0 });
  });
});

/** Words a register shows after ones were written to all of it, on a unit with the given capabilities. */
const ones = (capabilities: VtdCapabilities, register: (typeof FIXED_REGISTERS)[number] | typeof IVA_REG): string => {
  const rig = new Rig({ base: capabilities });
  rig.writeRaw(register, [0xffff_ffff, 0xffff_ffff]);
  const [low, high] = rig.raw(register);
  return `${(high as number).toString(16)}_${(low as number).toString(16).padStart(8, "0")}`;
};

describe("access rules (VT-d §11.4)", () => {
  test.each([
    [GCMD_REG, "0_00000000", "0_00000000"],
    [RTADDR_REG, "ffffffff_fffff000", "ffffffff_fffffc00"],
    [CCMD_REG, "78000000_0000ffff", "78000000_0000ffff"],
    [PMEN_REG, "0_80000001", "0_80000001"],
    [PLMBASE_REG, "0_ffe00000", "0_ffe00000"],
    [PLMLIMIT_REG, "0_ffe00000", "0_ffe00000"],
    [PHMBASE_REG, "ffffffff_ffe00000", "ffffffff_ffe00000"],
    [PHMLIMIT_REG, "ffffffff_ffe00000", "ffffffff_ffe00000"],
    [IQT_REG, "0_0007fff0", "0_0007fff0"],
    [IQA_REG, "ffffffff_fffff007", "ffffffff_fffff807"],
    [IRTA_REG, "ffffffff_fffff80f", "ffffffff_fffff80f"],
    [IVA_REG, "0_00000000", "0_00000000"],
    [PQA_REG, "0_00000000", "ffffffff_fffff007"],
    [layouts.PQH_REG, "0_00000000", "0_0007ffe0"],
    [layouts.PQT_REG, "0_00000000", "0_00000000"],
    [layouts.FEDATA_REG, "0_0000ffff", "0_0000ffff"],
    [layouts.FEADDR_REG, "0_fffffffc", "0_fffffffc"],
    [layouts.IEADDR_REG, "0_fffffffc", "0_fffffffc"],
    [layouts.PEADDR_REG, "0_00000000", "0_fffffffc"],
    [layouts.IEUADDR_REG, "0_ffffffff", "0_ffffffff"],
    [IECTL_REG, "0_80000000", "0_80000000"],
    [GSTS_REG, "0_00000000", "0_00000000"],
    [FSTS_REG, "0_00000000", "0_00000000"],
    [layouts.IQH_REG, "0_00000000", "0_00000000"],
    [layouts.IQERCD_REG, "0_00000000", "0_00000000"],
    [PRS_REG, "0_00000000", "0_00000000"],
  ] as const)("$name", (register, legacy, scalable) => {
    expect([ones(LEGACY, register), ones(SCALABLE, register)]).toEqual([legacy, scalable]);
  });
  test("what the capabilities leave out is not there", () => {
    const bare = withCapabilities(LEGACY, { cap: { PLMR: 0, PHMR: 0, PI: 0 }, ecap: { QI: 0, IR: 0, EIM: 0, DT: 0 } });
    for (const register of [PMEN_REG, PLMBASE_REG, PLMLIMIT_REG, PHMBASE_REG, PHMLIMIT_REG, IQT_REG, IQA_REG, IRTA_REG, IECTL_REG, layouts.IEDATA_REG, layouts.FEUADDR_REG]) expect([register.name, ones(bare, register)]).toEqual([register.name, "0_00000000"]);
    const low = withCapabilities(LEGACY, { cap: { PHMR: 0 } });
    expect([ones(low, PLMBASE_REG), ones(low, PHMBASE_REG), ones(low, PMEN_REG)]).toEqual(["0_ffe00000", "0_00000000", "0_80000001"]);
    const high = withCapabilities(LEGACY, { cap: { PLMR: 0 } });
    expect([ones(high, PLMLIMIT_REG), ones(high, PHMLIMIT_REG)]).toEqual(["0_00000000", "ffffffff_ffe00000"]);
    const narrow = withCapabilities(LEGACY, { ecap: { EIM: 0 } });
    expect([ones(narrow, IRTA_REG), ones(narrow, layouts.IEUADDR_REG)]).toEqual(["ffffffff_fffff00f", "0_00000000"]);
    const abort = withCapabilities(LEGACY, { ecap: { ADMS: 1 } });
    expect([ones(abort, RTADDR_REG), ones(abort, IQA_REG)]).toEqual(["ffffffff_fffffc00", "ffffffff_fffff807"]);
  });
  test("registers of 64 bits take halves and wholes alike", () => {
    const rig = new Rig();
    rig.unit.registers.write(RTADDR_REG.offset, 4, 0x1234_5000);
    rig.unit.registers.write(RTADDR_REG.offset + 4, 4, 0x9);
    expect([...rig.raw(RTADDR_REG)]).toEqual([0x1234_5000, 9]);
    rig.unit.registers.write64(RTADDR_REG.offset, 0x6000, 1);
    expect([rig.unit.registers.read(RTADDR_REG.offset, 4), rig.unit.registers.read(RTADDR_REG.offset + 4, 4)]).toEqual([0x6000, 1]);
  });
  test("nothing is behind the last register", () => {
    const unit = new VtdUnit({ memory: new FlatMemory(4096), capabilities: LEGACY });
    expect([unit.registers.read(0x800, 4), unit.registers.read(0xffff, 1)]).toEqual([0, 0]);
    unit.registers.write(0x800, 4, 5);
    expect(unit.registers.read(0x800, 4)).toBe(0);
  });
});

describe("global command (VT-d §11.4.4)", () => {
  const raw = (rig: Rig): number => rig.raw(GSTS_REG)[0] as number;
  test("one-shot commands set their status, levels are what was written last", () => {
    const rig = new Rig();
    rig.write(GCMD_REG, { SRTP: 1 });
    expect(raw(rig)).toBe(0x4000_0000);
    rig.write(GCMD_REG, { SIRTP: 1 });
    expect(raw(rig)).toBe(0x4100_0000);
    rig.write(GCMD_REG, { TE: 1, IRE: 1, QIE: 1, CFI: 1 });
    expect(raw(rig)).toBe(0xc780_0000);
    rig.write(GCMD_REG, { QIE: 1 });
    expect(raw(rig)).toBe(0x4500_0000);
    rig.write(GCMD_REG, {});
    expect(raw(rig)).toBe(0x4100_0000);
  });
  test("a write-buffer flush is over at once", () => {
    const rig = new Rig({ cap: { RWBF: 1 } });
    rig.write(GCMD_REG, { WBF: 1 });
    expect(raw(rig)).toBe(0);
  });
  test("commands of what is not there do nothing", () => {
    const rig = new Rig({ cap: { PI: 0 }, ecap: { QI: 0, IR: 0, EIM: 0, DT: 0 } });
    rig.writeRaw(GCMD_REG, [0x3f80_0000, 0]);
    expect(raw(rig)).toBe(0);
  });
});

describe("reset (VT-d §11.4, sticky fields)", () => {
  test("cold: power-on values; warm: status bits and fault records stay", () => {
    const rig = legacyRig().queue();
    rig.fault(0x123);
    rig.submit(new Uint32Array(4));
    expect(rig.read(FSTS_REG)).toMatchObject({ PPF: 1, IQE: 1 });
    rig.unit.reset("warm");
    expect([rig.read(FSTS_REG).PPF, rig.read(FSTS_REG).IQE, rig.record()?.page, rig.raw(GSTS_REG)[0], rig.raw(RTADDR_REG)[0], rig.read(IQT_REG).QT]).toEqual([1, 1, 0x123, 0, 0, 0]);
    expect(rig.fault(0x123)).toBe(0);
    rig.unit.reset("cold");
    expect([rig.raw(FSTS_REG)[0], rig.record(), rig.read(FECTL_REG)]).toEqual([0, undefined, { IM: 1, IP: 0 }]);
  });
  test("after a cold reset the first record is the first again; after a warm one they go on", () => {
    const rig = legacyRig();
    rig.fault(1);
    rig.unit.reset("warm");
    rig.start();
    rig.fault(2);
    expect([rig.record(0)?.page, rig.record(1)?.page]).toEqual([1, 2]);
    rig.unit.reset("cold");
    rig.start();
    rig.fault(3);
    expect([rig.record(0)?.page, rig.record(1)]).toEqual([3, undefined]);
  });
  test("the mode is legacy mode again", () => {
    const rig = new Rig({ base: SCALABLE }).start(1).queue({ wide: true });
    rig.submit(rig.wait());
    rig.unit.reset("cold");
    rig.queue();
    rig.submit(rig.wait());
    expect([rig.waited, rig.read(FSTS_REG).IQE]).toEqual([true, 0]);
  });
  test("caches are empty and tables unread", () => {
    const rig = legacyRig({ caches: "adversarial" });
    rig.mapSecond(rig.table, 5, 6);
    rig.translate(5);
    rig.mapSecond(rig.table, 5, 7);
    rig.unit.reset("warm");
    expect(rig.translate(5).page).toBe(5);
    rig.start();
    expect(rig.translate(5).page).toBe(7);
  });
});

describe("protected memory regions (VT-d §11.4.8)", () => {
  const MIB2 = 512;
  const protecting = <R extends Rig>(rig: R): R => {
    rig.writeRaw(PLMBASE_REG, [0x0040_0000, 0]);
    rig.writeRaw(PLMLIMIT_REG, [0x0060_0000, 0]);
    rig.writeRaw(PHMBASE_REG, [0, 1]);
    rig.writeRaw(PHMLIMIT_REG, [0x0020_0000, 1]);
    rig.write(PMEN_REG, { EPM: 1 });
    return rig;
  };
  const EDGES = [2 * MIB2 - 1, 2 * MIB2, 4 * MIB2 - 1, 4 * MIB2, 2 ** 20 - 1, 2 ** 20, 2 ** 20 + 2 * MIB2 - 1, 2 ** 20 + 2 * MIB2];
  const blocked = (rig: Rig, options = {}): boolean[] => EDGES.map((page) => rig.translate(page, options).completion !== 0);
  const PROTECTED = [false, true, true, false, false, true, true, false];
  test("with translation off, DMA into them is blocked and not recorded", () => {
    const rig = protecting(new Rig());
    expect([blocked(rig), rig.read(PMEN_REG).PRS, rig.record()]).toEqual([PROTECTED, 1, undefined]);
    rig.write(PMEN_REG, { EPM: 0 });
    expect([blocked(rig), rig.read(PMEN_REG).PRS]).toEqual([EDGES.map(() => false), 0]);
  });
  test("a reset switches them off", () => {
    for (const kind of ["cold", "warm"] as const) {
      const rig = protecting(new Rig());
      rig.unit.reset(kind);
      expect([blocked(rig), rig.read(PMEN_REG)]).toEqual([EDGES.map(() => false), { EPM: 0, PRS: 0 }]);
    }
  });
  test("with translation on, pass-through and translated requests are blocked, those that tables allow are not", () => {
    expect(blocked(protecting(legacyRig({ context: { TT: 2 } })))).toEqual(PROTECTED);
    expect(blocked(protecting(legacyRig({ context: { TT: 1 } })), { type: 2 })).toEqual(PROTECTED);
    const rig = protecting(legacyRig());
    for (const page of EDGES) rig.mapSecond(rig.table, page, page);
    expect(blocked(rig)).toEqual(EDGES.map(() => false));
  });
  test("a unit with one region has the other's registers at 0, which protects nothing", () => {
    const low = protecting(new Rig({ cap: { PHMR: 0 } }));
    expect([blocked(low), low.translate(0).completion]).toEqual([[false, true, true, false, false, false, false, false], 0]);
    const high = protecting(new Rig({ cap: { PLMR: 0 } }));
    expect([blocked(high), high.translate(0).completion]).toEqual([[false, false, false, false, false, true, true, false], 0]);
    expect(RAM).toBe(0x4000_0000);
  });
});
