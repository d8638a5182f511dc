import { decodeIvrs, diagnoseIvrs } from "@iommu-lab/iommu-amd/ivrs";
import { decodeDmar, diagnoseDmar } from "@iommu-lab/iommu-intel/dmar";
import { SparseMemory } from "@iommu-lab/memory";
import { describe, expect, test } from "vitest";
import { Board, ImpossibleIommu, type BoardParts, type IommuChoice } from "../../src/board/index.ts";
import { EduFunction } from "../../src/devices/index.ts";
import { EventClock } from "../../src/engines/index.ts";
import { runGuest } from "../guest.ts";

const BASE = 0xfed9_0000;
const board = (iommu: IommuChoice, changes: Partial<BoardParts> = {}): Board =>
  new Board({ memory: new SparseMemory({ size: 2 ** 24 }), message: () => undefined, clock: new EventClock(), iommu, devices: [{ devfn: 0x30, fn: new EduFunction() }], registerBase: BASE, ioApicId: 2, ...changes });

const FLAGS = [undefined, false, true];
const CHOICES: readonly IommuChoice[] = (["intel", "amd"] as const).flatMap((vendor) =>
  FLAGS.flatMap((interruptRemapping) =>
    FLAGS.flatMap((cachingMode) =>
      FLAGS.flatMap((scalable) =>
        ([undefined, 4, 5] as const).flatMap((levels) =>
          FLAGS.map((superpages): IommuChoice => ({ vendor, ...(interruptRemapping === undefined ? {} : { interruptRemapping }), ...(cachingMode === undefined ? {} : { cachingMode }), ...(scalable === undefined ? {} : { scalable }), ...(levels === undefined ? {} : { levels }), ...(superpages === undefined ? {} : { superpages }) })),
        ),
      ),
    ),
  ),
);

describe("choices of an IOMMU", () => {
  test("every one can be built, but AMD without large pages", () => {
    for (const choice of CHOICES)
      if (choice.vendor === "amd" && choice.superpages === false) expect(() => board(choice)).toThrow(ImpossibleIommu);
      else expect(board(choice).windows).toHaveLength(1);
  });

  test("every one that can be built has tables that its vendor's own diagnosis finds nothing wrong with", () => {
    for (const choice of CHOICES.filter(({ vendor, superpages }) => vendor === "intel" || superpages !== false)) {
      const [table = new Uint8Array()] = board(choice).tables;
      // To leave the I/O APIC out is how firmware of an AMD machine keeps interrupt remapping off.
      const wanted = choice.vendor === "amd" && choice.interruptRemapping === false ? ["ioapic-missing"] : [];
      expect((choice.vendor === "intel" ? diagnoseDmar(decodeDmar(table)) : diagnoseIvrs(decodeIvrs(table))).map(({ id }) => id)).toEqual(wanted);
    }
  });

  test.each<[IommuChoice, readonly number[]]>([
    [{ vendor: "intel" }, [0, 4, 1, 1]],
    [{ vendor: "intel", interruptRemapping: false }, [0, 4, 0, 1]],
    [{ vendor: "intel", cachingMode: true }, [1, 4, 1, 1]],
    [{ vendor: "intel", levels: 5 }, [0, 12, 1, 1]],
    [{ vendor: "intel", superpages: false }, [0, 4, 1, 0]],
  ])("%o in the capability registers: CM, SAGAW, IR, 2 MiB pages", (choice, bits) => {
    const handler = board(choice).windows[0]?.handler;
    const [cap = 0, capHigh = 0, ecap = 0] = [8, 12, 16].map((at) => handler?.read(at, 4));
    expect([(cap >>> 7) & 1, (cap >>> 8) & 31, (ecap >>> 3) & 1, (capHigh >>> 2) & 1]).toEqual(bits);
  });
});

describe("firmware's tables", () => {
  test("DMAR: one unit for everything, the I/O APIC, and root ports with ATS", () => {
    const { structures, interruptRemapping, hostAddressWidth } = decodeDmar(board({ vendor: "intel" }).tables[0] ?? new Uint8Array());
    expect([interruptRemapping, hostAddressWidth]).toEqual([true, 46]);
    expect(structures).toMatchObject([{ name: "DRHD", includeAll: true, registerBase: BigInt(BASE), scopes: [{ enumerationId: 2 }] }, { name: "ATSR", allPorts: true }]);
  });

  test("IVRS: one IOMMU for bus 0, and the I/O APIC", () => {
    const { structures } = decodeIvrs(board({ vendor: "amd" }).tables[0] ?? new Uint8Array());
    expect(structures).toMatchObject([{ name: "IVHD", deviceId: 0x10, registerBase: BigInt(BASE), entries: [{ deviceId: 0 }, { deviceId: 0xff }, { handle: 2, variety: 1 }] }]);
  });

  test("without interrupt remapping the I/O APIC is not named", () => {
    const dmar = decodeDmar(board({ vendor: "intel", interruptRemapping: false }).tables[0] ?? new Uint8Array());
    const ivrs = decodeIvrs(board({ vendor: "amd", interruptRemapping: false }).tables[0] ?? new Uint8Array());
    expect([dmar.interruptRemapping, dmar.structures[0]]).toMatchObject([false, { scopes: [] }]);
    expect(ivrs.structures[0]).toMatchObject({ entries: [{ name: "range-start" }, { name: "range-end" }] });
  });
});

describe("what a guest sees", () => {
  test.each([["intel", [0x30]], ["amd", [0x10, 0x30]]] as const)("functions of bus 0 on %s, and nothing elsewhere", (vendor, functions) => {
    const made = board({ vendor });
    expect(made.functions).toEqual(functions);
    expect([made.configRead(0x30, 0, 4), made.configRead(0x38, 0, 4)]).toEqual([0x11e8_1234, 0xffff_ffff]);
  });

  test("AMD's capability says where the registers are", () => {
    const made = board({ vendor: "amd" });
    expect([made.configRead(0x10, 0x44, 4) & ~1, made.configRead(0x10, 0x40, 1)]).toEqual([BASE & ~0x3fff, 0x0f]);
  });

  test("a BAR that software placed", () => {
    const made = board({ vendor: "intel" });
    const bytes = new Uint8Array(4);
    made.configWrite(0x30, 0x10, 4, 0x9000_0000);
    made.configWrite(0x30, 4, 2, 2);
    made.memoryRead(0x9000_0000, bytes);
    expect([...bytes]).toEqual([0xed, 0x00, 0x00, 0x01]);
    made.memoryWrite(0x9000_0004, Uint8Array.of(0, 0, 0, 0));
    made.memoryRead(0x9000_0004, bytes);
    expect([...bytes]).toEqual([0xff, 0xff, 0xff, 0xff]);
  });
});

describe("accesses that no register answers", () => {
  test.each([["intel", 0xf00], ["amd", 0x3ff0]] as const)("are noted on %s, whatever their size", (vendor, nowhere) => {
    const made = board({ vendor });
    const handler = made.windows[0]?.handler;
    handler?.read(nowhere, 4);
    handler?.write(nowhere, 4, 1);
    handler?.read64(nowhere, new Uint32Array(2));
    handler?.write64(nowhere, 1, 1);
    handler?.read(vendor === "intel" ? 0x08 : 0x30, 4);
    const at = nowhere.toString(16);
    expect(made.unknownAccesses.map((text) => text.replaceAll("0x", ""))).toEqual([`read of 4 bytes at register offset ${at}`, `write of 4 bytes at register offset ${at}`, `read of 8 bytes at register offset ${at}`, `write of 8 bytes at register offset ${at}`]);
  });

  test.each([{ vendor: "intel" }, { vendor: "intel", scalable: true }, { vendor: "intel", interruptRemapping: false }, { vendor: "amd" }, { vendor: "amd", scalable: true, levels: 5 }] satisfies IommuChoice[])("there are none by our own driver of %o", async (iommu) => {
    const { end, board: made } = await runGuest({ iommu, devices: () => [] }, function* ({ ownDomain, iommu: driver }) {
      driver.attach(0x30, ownDomain());
      yield;
      driver.service();
      driver.stop();
    });
    expect([end, made.unknownAccesses]).toEqual([{ reason: "powered-off" }, []]);
  });
});

describe("interrupts that leave a board", () => {
  test.each(["intel", "amd"] as const)("one for a wider APIC ID than a message holds goes nowhere, a broadcast everywhere (%s)", async (vendor) => {
    const { end } = await runGuest({ iommu: { vendor }, devices: () => [{ devfn: 0x30, fn: new EduFunction({ interrupts: "msix" }) }] }, function* (guest) {
      const { cpu, iommu, vector, enableMsix } = guest;
      iommu.attach(0x30, guest.ownDomain());
      vector(0x30, 0x8_0000, 0, 0x40);
      enableMsix(0x30);
      const raise = (destination: number): void => {
        const { message } = iommu.allocateInterrupt(0x30, { vector: 0x41, deliveryMode: 0, destination, destinationMode: "physical", trigger: "edge", redirectionHint: false });
        const table = cpu.bar(0x30, 0) + 0x8_0000;
        for (const [word, value] of [message.address, 0, message.data, 0].entries()) cpu.write(table + 4 * word, 4, value);
        cpu.write(cpu.bar(0x30, 0) + 0x60, 4, 1);
      };
      raise(0x12345);
      expect(cpu.interrupts()).toEqual([]);
      raise(0xffff_ffff);
      expect(cpu.interrupts()).toMatchObject([{ address: 0xfeef_f000 }]);
      raise(7);
      expect(cpu.interrupts()).toMatchObject([{ address: 0xfee0_7000 }]);
      yield;
    });
    expect(end).toEqual({ reason: "powered-off" });
  });
});
