import { describe, expect, test } from "vitest";
import { EFR, EFR2 } from "../../src/layouts/index.ts";
import * as layouts from "../../src/layouts/index.ts";
import { capabilitiesOf } from "../../src/hardware/index.ts";
import { COMMANDS, DEVICE, EVENTS, hostRig, RAM, Rig, type RigOptions } from "./rig.ts";

const PAGE = 0x12_3456; // arbitrary
const HOST = 0x2_0000; // arbitrary
const NOWHERE = RAM / 4096 + 7;

const asked = (rig: Rig, page = PAGE): Rig => {
  rig.translate(page);
  return rig;
};
const submitted = (rig: Rig, ...commands: ArrayLike<number>[]): Rig => {
  rig.submit(...commands);
  return rig;
};
const mapped = (options: RigOptions): Rig => {
  const rig = hostRig(options);
  rig.mapHost(rig.table, PAGE, HOST);
  return asked(rig);
};
const countingRequests = (): Rig => {
  const rig = hostRig();
  const at = (offset: number): number => 0x4_0000 + offset;
  rig.iommu.registers.write64(at(0x00), 0xffff_ffff, 0xffff);
  rig.iommu.registers.write64(at(0x28), 0, 0x8000_0000);
  rig.iommu.registers.write64(at(0x08), 0x05, 0); // translations
  rig.mapHost(rig.table, PAGE, HOST);
  return asked(rig);
};

/** For each event code: a rig that has just logged it first. */
const EVENT_CASES: Readonly<Record<number, () => Rig>> = {
  1: () => {
    const rig = hostRig();
    rig.flip(rig.dte, 63);
    return asked(rig);
  },
  2: () => asked(hostRig()),
  3: () => {
    const rig = new Rig();
    rig.write(layouts.DEV_TAB_BASE, { DevTabBase: NOWHERE, Size: 511 });
    return asked(rig);
  },
  4: () => asked(hostRig({ device: { HostRoot: NOWHERE } })),
  5: () => submitted(new Rig(), Uint32Array.of(0, 0, 0, 0)),
  6: () => {
    const rig = new Rig({ control: { CmdBufEn: 0 } });
    rig.write(layouts.CMD_BASE, { Base: NOWHERE, Len: 8 });
    rig.write(layouts.CMD_TAIL, { Ptr: 1 });
    rig.control({ CmdBufEn: 1 });
    return rig;
  },
  7: () => {
    const rig = submitted(new Rig({ holdDeviceTlb: true, control: { InvTimeOut: 1 } }), layouts.INVALIDATE_IOTLB_PAGES.encode({ OpCode: 4, DeviceID: DEVICE }));
    rig.deviceTlb[0]?.complete("timed-out");
    return rig;
  },
  8: () => asked(hostRig(), 0xf_ee00),
  9: () => {
    const rig = hostRig({ control: { PprEn: 1 } });
    rig.pageRequest();
    return rig;
  },
  10: countingRequests,
  13: () => mapped({ efr: { SNPSup: 1 }, policy: { snp: true, rmp: () => "denied" } }),
  14: () => mapped({ efr: { SNPSup: 1 }, policy: { snp: true, rmp: () => "unreadable" } }),
};

describe("every event (AMD-Vi §2.5)", () => {
  const codes = Object.entries(layouts.EventCode).map(([name, code]) => ({ name, code }));
  test.each(codes)("$name is logged", ({ code }) => {
    expect(EVENT_CASES[code], "an event of the layouts needs a case here").toBeDefined();
    const rig = EVENT_CASES[code]?.() as Rig;
    expect([(rig.entry(EVENTS, 0)[1] as number) >>> 28, rig.read(layouts.EVT_TAIL).Ptr]).toEqual([code, 1]);
  });
  test("every code has a layout and a case, and no case is of none", () => {
    const sorted = (keys: readonly string[]): number[] => keys.map(Number).sort((a, b) => a - b);
    const all = codes.map(({ code }) => code);
    expect([sorted(Object.keys(EVENT_CASES)), sorted(Object.keys(layouts.EVENTS))]).toEqual([all, all]);
  });
});

describe("every command (AMD-Vi §2.4)", () => {
  /** Opcodes that some IOMMU has but none of these, and why. */
  const REFUSED: Readonly<Record<number, string>> = {
    9: "INSERT_GUEST_EVENT of vIOMMU: no source at hand has its operands, and a guest's own IOMMU is not modelled.",
    10: "RESET_VMMIO of vIOMMU: likewise.",
  };
  const opcodes = Array.from({ length: 16 }, (_, opcode) => ({ name: layouts.COMMANDS[opcode]?.name ?? REFUSED[opcode] ?? "none", opcode }));
  /** Everything that a register can say an IOMMU has, with vIOMMU's commands switched on. */
  const everything = (): RigOptions => {
    const all = capabilitiesOf({ efr: [...EFR.layout.encode({ ...new Rig().capabilities.efr, vIommuSup: 1 })] as [number, number], efr2: [...EFR2.layout.encode({})] as [number, number] });
    return { base: all, control: { vCmdEn: 1, vIommuEn: 1 } };
  };
  test.each(opcodes)("opcode $opcode, $name", ({ opcode }) => {
    const known = layouts.COMMANDS[opcode];
    const words = known?.encode({ OpCode: opcode }) ?? Uint32Array.of(0, (opcode << 28) >>> 0, 0, 0);
    const rig = submitted(new Rig(everything()), words);
    const obeyed = known !== undefined;
    expect([rig.status.CmdBufRun, rig.read(layouts.CMD_HEAD).Ptr, rig.iommu.totals.commands]).toEqual(obeyed ? [1, 1, 1] : [0, 0, 0]);
    expect(rig.events()).toEqual(obeyed ? [] : [{ name: "ILLEGAL_COMMAND_ERROR", AddressLow: COMMANDS }]);
  });
  test("what the layouts name is what has an opcode", () => {
    expect(Object.keys(layouts.COMMANDS).map(Number)).toEqual(Object.values(layouts.CommandCode));
    expect(Object.keys(REFUSED).filter((opcode) => Number(opcode) in layouts.COMMANDS)).toEqual([]);
  });
});
