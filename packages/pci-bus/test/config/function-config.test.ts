import fc from "fast-check";
import { describe, expect, test } from "vitest";
import * as c from "../../src/capabilities/index.ts";

const endpoint = (more: Partial<c.FunctionDescription> = {}): c.FunctionConfig => new c.FunctionConfig({ vendor: 0x1234, device: 0x5678, classCode: 0x020000, header: 0, ...more });
const bridge = (more: Partial<c.FunctionDescription> = {}): c.FunctionConfig => new c.FunctionConfig({ vendor: 0x1234, device: 0x5678, classCode: 0x060400, header: 1, ...more });
const rootPort = c.pciExpress({ type: c.PcieType.RootPort });

describe("FunctionConfig reads (PCIe §7.5)", () => {
  test("a function without a PCI Express capability has 256 bytes, one with it 4096", () => {
    expect(endpoint().size).toBe(0x100);
    expect(endpoint({ capabilities: [c.pciExpress({ type: 0 })] }).size).toBe(0x1000);
    expect(endpoint({ express: true }).size).toBe(0x1000);
  });

  test("reads past the end give all ones in every size", () => {
    const config = endpoint();
    expect([config.read(0x100, 1), config.read(0x100, 2), config.read(0x100, 4)]).toEqual([0xff, 0xffff, 0xffff_ffff]);
  });

  test("words are little-endian", () => {
    const config = endpoint({ revision: 9 });
    expect([config.read(0, 4), config.read(2, 2), config.read(8, 4)]).toEqual([0x5678_1234, 0x5678, 0x0200_0009]);
  });

  test("a bridge with subsystem IDs in its header is refused with a hint at the capability", () => {
    expect(() => bridge({ subsystemVendor: 1 })).toThrow("bridge subsystem capability");
  });
});

describe("FunctionConfig writes (PCIe §7.4 register types)", () => {
  test("IDs, class and header type do not change", () => {
    const config = endpoint({ multifunction: true });
    for (const at of [0, 8]) config.write(at, 4, 0xffff_ffff);
    expect([config.read(0, 4), config.read(8, 4), config.read(0xe, 1)]).toEqual([0x5678_1234, 0x0200_0000, 0x80]);
  });

  test("the command register of a PCIe function takes the six bits PCIe has", () => {
    const config = endpoint({ capabilities: [c.pciExpress({ type: 0 })] });
    config.write(4, 2, 0xffff);
    expect(config.read(4, 2)).toBe(0x0547);
  });

  test("status bits are cleared by writing one, and the others stay", () => {
    const config = endpoint();
    config.bytes[7] = 0xf9;
    config.write(6, 2, 0x1000);
    expect(config.read(6, 2)).toBe(0xe900);
    config.write(4, 4, 0xffff_0000);
    expect(config.read(6, 2)).toBe(0);
  });

  test("a write past the end is dropped and nobody is told", () => {
    const config = endpoint();
    const writes: number[] = [];
    config.onWrite((offset) => writes.push(offset));
    config.write(0x100, 4, 1);
    expect(writes).toEqual([]);
  });

  test("listeners hear the written value until they are taken off", () => {
    const config = endpoint({ capabilities: [c.pciExpress({ type: 0, deviceCapabilities: { FunctionLevelResetCapability: 1 } })] });
    const heard: boolean[] = [];
    const stop = config.onWrite((offset, size, value) => heard.push(c.startsFunctionReset(config, offset, size, value)));
    config.write(0x48, 2, 0x8000);
    config.write(0x48, 2, 0x0010);
    stop();
    config.write(0x48, 2, 0x8000);
    expect(heard).toEqual([true, false]);
    expect(config.read(0x48, 2)).toBe(0);
  });

  test("any write changes only writable bits and clears only what it wrote ones to", () => {
    const capabilities = [c.pciExpress({ type: 4, slot: true }), c.powerManagement(), c.msi({ perVectorMasking: true }), c.advancedErrorReporting({ root: true }), c.accessControlServices({ Capability: { SourceValidation: 1 } })];
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.nat(0x1000 / 4 - 1), fc.nat(2 ** 32 - 1)), { maxLength: 60 }), (writes) => {
        const config = bridge({ capabilities });
        config.bytes.fill(0xff, 0x104, 0x108);
        const before = config.bytes.slice();
        for (const [word, value] of writes) config.write(4 * word, 4, value);
        const uncorrectable = writes.filter(([word]) => word === 0x41).reduce((all, [, value]) => all | value, 0);
        // Bits that no field declares are read-only.
        expect(config.read(0x104, 4)).toBe((0xffff_ffff & ~(uncorrectable & 0xffff_f031)) >>> 0);
        for (const at of [0, 2, 8, 0xe, 0x34, 0x40, 0x42, 0x44]) expect(config.read(at, 2)).toBe(before[at]! | (before[at + 1]! << 8));
      }),
    );
  });
});

describe("Base address registers (PCIe §7.5.1.2.1)", () => {
  const sizes = (kind: c.BarDescription["kind"]): [number, number] => (kind === "io" ? [2, 16] : kind === "memory32" ? [4, 31] : [4, 51]);

  test("writing all ones and reading back gives the size", () => {
    fc.assert(
      fc.property(fc.constantFrom("io" as const, "memory32" as const, "memory64" as const), fc.nat(60), fc.boolean(), (kind, n, prefetchable) => {
        const [first, last] = sizes(kind);
        const size = 2 ** (first + (n % (last - first + 1)));
        const config = endpoint({ bars: [{ index: 2, kind, size, prefetchable }] });
        for (const at of [0x18, 0x1c]) config.write(at, 4, 0xffff_ffff);
        const low = config.read(0x18, 4);
        const high = kind === "memory64" ? config.read(0x1c, 4) : 0xffff_ffff;
        const mask = (BigInt(high) << 32n) | BigInt(kind === "io" ? (low & ~3) >>> 0 : (low & ~15) >>> 0);
        expect(BigInt.asUintN(64, -mask)).toBe(BigInt(size));
        expect(low & (kind === "io" ? 3 : 15)).toBe(kind === "io" ? 1 : (kind === "memory64" ? 4 : 0) | (prefetchable ? 8 : 0));
        config.write(4, 2, 3);
        expect(config.bar(2).address).toBe(kind !== "memory64" && mask === 0xffff_ffff_8000_0000n ? 0x8000_0000 : undefined);
      }),
    );
  });

  test("a BAR has an address while its space is decoded", () => {
    const config = endpoint({ bars: [{ index: 0, kind: "memory64", size: 0x4000 }, { index: 2, kind: "io", size: 32 }] });
    config.write(0x10, 4, 0xfe00_4000);
    config.write(0x14, 4, 0x12);
    config.write(0x18, 4, 0xc000);
    expect(config.bar(0)).toEqual({ address: undefined, enabled: false });
    config.write(4, 2, 2);
    expect([config.bar(0), config.bar(1), config.bar(2)]).toEqual([{ address: 0x12_fe00_4000, enabled: true }, { address: undefined, enabled: false }, { address: undefined, enabled: false }]);
    config.write(4, 2, 1);
    expect(config.bar(2)).toEqual({ address: 0xc000, enabled: true });
  });

  test("addresses from 2^52 on are none", () => {
    const config = endpoint({ bars: [{ index: 0, kind: "memory64", size: 0x1000 }] });
    config.write(4, 2, 2);
    config.write(0x14, 4, 0x10_0000);
    expect(config.bar(0)).toEqual({ address: undefined, enabled: true });
  });

  test("impossible BARs are refused", () => {
    expect(() => endpoint({ bars: [{ index: 5, kind: "memory64", size: 0x1000 }] })).toThrow("BAR 5 (memory64) does not exist");
    expect(() => endpoint({ bars: [{ index: 0, kind: "memory32", size: 0x1001 }] })).toThrow("powers of two");
    expect(() => endpoint({ bars: [{ index: 0, kind: "memory64", size: 16 }, { index: 1, kind: "io", size: 4 }] })).toThrow("described twice");
    expect(() => bridge({ bars: [{ index: 2, kind: "memory32", size: 16 }] })).toThrow("has 2 BARs");
  });

  test("the expansion ROM needs its own enable bit and memory decoding", () => {
    const config = endpoint({ romSize: 0x1_0000 });
    config.write(0x30, 4, 0xffff_ffff);
    expect(config.read(0x30, 4)).toBe(0xffff_0001);
    config.write(0x30, 4, 0xfd00_0001);
    expect(config.rom()).toEqual({ address: undefined, enabled: false });
    config.write(4, 2, 2);
    expect(config.rom()).toEqual({ address: 0xfd00_0000, enabled: true });
  });

  test("a resizable BAR takes the size software chooses, and address bits below it go", () => {
    const config = endpoint({
      bars: [{ index: 0, kind: "memory64", size: 2 ** 28, prefetchable: true }],
      capabilities: [c.pciExpress({ type: 0 }), c.resizableBar([{ bar: 0, supported: [8, 9, 13], size: 8 }])],
    });
    config.write(0x10, 4, 0x1000_0000);
    config.write(0x108, 4, 13 << 8);
    expect(config.read(0x10, 4)).toBe(0xc);
    for (const at of [0x10, 0x14]) config.write(at, 4, 0xffff_ffff);
    expect([config.read(0x10, 4), config.read(0x14, 4)]).toEqual([0xc, 0xffff_fffe]);
  });
});

describe("Bridge registers (PCIe §7.5.1.3)", () => {
  test("bus numbers and windows are writable, their type bits are not", () => {
    const config = bridge({ capabilities: [rootPort], bridge: { io: 32, prefetchable: 64 } });
    for (let at = 0x18; at < 0x34; at += 4) config.write(at, 4, 0xffff_ffff);
    expect([config.read(0x18, 4), config.read(0x1c, 2), config.read(0x20, 4), config.read(0x24, 4), config.read(0x28, 4), config.read(0x30, 4)]).toEqual([0x00ff_ffff, 0xf1f1, 0xfff0_fff0, 0xfff1_fff1, 0xffff_ffff, 0xffff_ffff]);
  });

  test("windows of a bridge without them stay zero", () => {
    const config = bridge({ capabilities: [rootPort], bridge: { io: "none", prefetchable: "none" } });
    for (const at of [0x1c, 0x24, 0x28, 0x2c, 0x30]) config.write(at, at === 0x1c ? 2 : 4, 0xffff_ffff);
    expect([0x1c, 0x24, 0x28, 0x2c, 0x30].map((at) => config.read(at, 4))).toEqual([0, 0, 0, 0, 0]);
  });

  test("bridge control of a PCIe port has no discard timers; a bridge to PCI has", () => {
    const port = bridge({ capabilities: [rootPort] });
    const toPci = bridge({ capabilities: [c.pciExpress({ type: c.PcieType.PcieToPciBridge })] });
    for (const config of [port, toPci]) config.write(0x3e, 2, 0xffff);
    expect([port.read(0x3e, 2), toPci.read(0x3e, 2)]).toEqual([0x005f, 0x0bff]);
  });

  test("secondary status is cleared by writing ones", () => {
    const config = bridge();
    config.bytes[0x1f] = 0xf9;
    config.write(0x1e, 2, 0x4000);
    expect(config.read(0x1e, 2)).toBe(0xb900);
  });
});

describe("FunctionConfig resets (PCIe §6.6)", () => {
  const made = (): c.FunctionConfig => {
    const config = endpoint({ capabilities: [c.pciExpress({ type: 0 }), c.advancedErrorReporting(), c.powerManagement()] });
    config.write(4, 2, 6);
    config.write(0x48, 2, 0x00a0 | 0x000f); // Device Control: payload 4096, error reporting.
    config.write(0x108, 4, 0xffff_ffff); // Uncorrectable Error Mask, sticky.
    return config;
  };

  test("function-level reset keeps sticky bits and Max Payload Size and resets the rest", () => {
    const config = made();
    config.reset("function");
    expect([config.read(4, 2), config.read(0x48, 2), config.read(0x108, 4)]).toEqual([0, 0x00a0, 0xffff_f031]);
  });

  test("a reset of the bus keeps sticky bits only", () => {
    const config = made();
    config.reset("bus");
    expect([config.read(4, 2), config.read(0x48, 2), config.read(0x108, 4)]).toEqual([0, 0, 0xffff_f031]);
  });

  test("a cold reset keeps nothing", () => {
    const config = made();
    config.reset("cold");
    expect(config.bytes).toEqual(endpoint({ capabilities: [c.pciExpress({ type: 0 }), c.advancedErrorReporting(), c.powerManagement()] }).bytes);
  });
});

describe("Placement of capabilities (PCIe §7.5.1.1.11, §7.6.2)", () => {
  test("capabilities are linked in their order, fixed offsets are kept", () => {
    const config = endpoint({ capabilities: [c.msi({}, { at: 0x50 }), c.pciExpress({ type: 0 }), c.powerManagement()] });
    expect([config.read(0x34, 1), config.read(0x51, 1), config.capability(0x10), config.capability(0x01)]).toEqual([0x50, 0x60, 0x60, 0x40]);
  });

  test("a null capability stands at 0x100 when nothing else does", () => {
    const config = endpoint({ capabilities: [c.pciExpress({ type: 0 }), c.accessControlServices({}, { at: 0x200 })] });
    expect(config.read(0x100, 4)).toBe(0x2000_0000);
    expect([config.extendedCapability(0x0d), c.findExtendedCapability(config.bytes, 0x0d)]).toEqual([0x200, 0x200]);
  });

  test("overlaps, misplacement and lack of room are refused", () => {
    expect(() => endpoint({ capabilities: [c.msi({}, { at: 0x50 }), c.powerManagement({}, { at: 0x54 })] })).toThrow("overlaps");
    expect(() => endpoint({ capabilities: [c.msi({}, { at: 0x20 })] })).toThrow("cannot stand at offset 0x20");
    expect(() => endpoint({ capabilities: [c.accessControlServices()] })).toThrow("needs 0x1000 bytes");
    expect(() => endpoint({ capabilities: [c.vendorSpecific(new Uint8Array(180)), c.powerManagement(), c.powerManagement()] })).toThrow("finds no room");
  });
});
