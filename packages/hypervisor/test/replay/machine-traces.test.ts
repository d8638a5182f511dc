import { Access } from "@iommu-lab/pci-bus";
import { describe, expect, test } from "vitest";
import { Machine } from "../../src/machine/machine.ts";
import { replay } from "../../src/replay/index.ts";
import { UnitRecorder } from "../../src/replay/unit-recorder.ts";
import { twoDevices } from "../machine/two-devices.ts";
import { runScenario, SCENARIOS } from "../../src/scenarios/index.ts";

const VENDORS = ["intel", "amd"] as const;

describe.each(VENDORS)("machine traces of scenarios on %s", (iommu) => {
  test.each(SCENARIOS.map((scenario) => [scenario.name, scenario] as const))("%s: the traces of all its IOMMUs replay", async (_name, scenario) => {
    const traces: { readonly machine: string; readonly lines: string[] }[] = [];
    let iommus = 0;
    runScenario(scenario, {
      iommu,
      machine: (name, description) => {
        iommus += description.firmware.iommu === false ? 0 : description.iommus.length;
        return {
          taps: (_description, memory, ram) => {
            const lines: string[] = [];
            traces.push({ machine: name, lines });
            return new UnitRecorder(memory, ram, (line) => lines.push(line));
          },
        };
      },
    });
    expect(traces).toHaveLength(iommus);
    let total = 0;
    for (const { machine, lines } of traces) {
      const { mismatches, compared, skipped } = await replay(lines);
      expect(mismatches.slice(0, 3), `${machine}: ${lines.length} lines`).toEqual([]);
      expect(compared).toBeGreaterThan(0);
      total += skipped;
    }
    // What ends in a BAR, and what AMD posts, has no word in a trace; nothing else.
    expect(traces.flatMap(({ lines }) => lines.filter((line) => line.includes('"impl"'))).length).toBe(total);
  });
});

/** One machine with one card, recorded while `work` is done. */
const recorded = (vendor: "intel" | "amd", work: (machine: Machine) => void): string[] => {
  const lines: string[] = [];
  work(new Machine(twoDevices(vendor), { taps: (_description, memory, ram) => new UnitRecorder(memory, ram, (line) => lines.push(line)) }));
  return lines;
};
const stepsOf = (lines: readonly string[]): Record<string, unknown>[] => lines.map((line) => JSON.parse(line) as Record<string, unknown>);
const CARD = "01:00.0";
const FRAME = 0x3000_0000;

describe.each(VENDORS)("the trace of one IOMMU of %s", (vendor) => {
  const mapped = (machine: Machine, iova: number, hpa: number): void => {
    machine.kernel.defaultDomainOf(machine.at(CARD).address)?.map(iova, hpa, 0x1000, Access.Read | Access.Write);
  };

  test("a request that arrives has its offset and bytes, one that is refused its page alone", () => {
    const lines = recorded(vendor, (machine) => {
      mapped(machine, 0x5000, FRAME);
      machine.memory.writeFrom(FRAME + 0x10, Uint8Array.of(1, 2, 3));
      const { port } = machine.at(CARD);
      port.dmaRead(0x5010, new Uint8Array(3));
      port.dmaWrite(0x5020, Uint8Array.of(9));
      port.dmaWrite(0x6ffe, Uint8Array.of(7, 7, 7));
      port.dmaRead(0x7123, new Uint8Array(5));
    });
    expect(stepsOf(lines).filter(({ op }) => String(op).startsWith("dma_"))).toEqual([
      { op: "dma_read", bdf: CARD, iova: "0x5010", len: 3, data: "010203" },
      { op: "dma_write", bdf: CARD, iova: "0x5020", data: "09", ok: true },
      { op: "dma_write", bdf: CARD, iova: "0x6000", data: "00", ok: false },
      { op: "dma_read", bdf: CARD, iova: "0x7000", len: 1, data: null },
    ]);
  });

  test("a request that ends in a BAR is marked", async () => {
    const lines = recorded(vendor, (machine) => {
      const other = machine.at("05:00.0");
      mapped(machine, 0x5000, (other.fn.config.read(0x10, 4) & ~0xf) >>> 0);
      machine.at(CARD).port.dmaWrite(0x5000, new Uint8Array(4));
      machine.at(CARD).port.dmaRead(0x9000, new Uint8Array(4));
    });
    expect(stepsOf(lines).filter(({ op }) => String(op).startsWith("dma_"))).toMatchObject([{ op: "dma_write", iova: "0x5000", impl: expect.any(String) as unknown }, { op: "dma_read", data: null }]);
    expect(await replay(lines)).toMatchObject({ mismatches: [], skipped: 1 });
  });

  test("interrupts stand before what their handlers do", async () => {
    const lines = recorded(vendor, (machine) => {
      mapped(machine, 0x5000, FRAME);
      const { address, port } = machine.at(CARD);
      const { message } = machine.kernel.requestInterrupt(address, () => port.dmaWrite(0x5000, new Uint8Array(1)), 1);
      port.message(message.address, message.data);
      machine.at("05:00.0").port.message(message.address, message.data);
    });
    expect(stepsOf(lines).flatMap(({ op, out }) => (op === "msi" ? [out === null ? "blocked" : "passed"] : op === "dma_write" ? [op] : []))).toEqual(["passed", "dma_write", "blocked"]);
    expect((await replay(lines)).mismatches).toEqual([]);
  });

  test("a replay finds what was changed in it", async () => {
    const lines = recorded(vendor, (machine) => {
      mapped(machine, 0x5000, FRAME);
      machine.memory.writeFrom(FRAME, Uint8Array.of(1, 2, 3, 4));
      machine.at(CARD).port.dmaRead(0x5000, new Uint8Array(4));
    });
    expect((await replay(lines)).mismatches).toEqual([]);
    expect((await replay(lines.map((line) => line.replace('"data":"01020304"', '"data":"01020305"')))).mismatches).toHaveLength(1);
  });

  test("RAM on both sides of 4 GiB is told, and recorded where it is", async () => {
    const lines: string[] = [];
    const machine = new Machine(twoDevices(vendor, { memory: 2 ** 32 }), { taps: (_description, memory, ram) => new UnitRecorder(memory, ram, (line) => lines.push(line)) });
    mapped(machine, 0x5000, 2 ** 32 + 0x1000);
    machine.at(CARD).port.dmaWrite(0x5004, Uint8Array.of(1));
    machine.at(CARD).port.dmaRead(0x5004, new Uint8Array(1));
    expect(stepsOf(lines)[0]).toMatchObject({ ram: "0x180000000", ram_map: [["0x0", "0x80000000"], ["0x100000000", "0x180000000"]] });
    expect(stepsOf(lines).at(-1)).toMatchObject({ op: "dma_read", data: "01" });
    expect((await replay(lines)).mismatches).toEqual([]);
  });
});

test("each of several IOMMUs has a trace of its own, of what it covers", async () => {
  const traces: string[][] = [];
  const machine = new Machine(twoDevices("intel", { iommus: [{ vendor: "intel", covers: ["00:01.0"] }, { vendor: "intel" }] }), {
    taps: (_description, memory, ram) => {
      const lines: string[] = [];
      traces.push(lines);
      return new UnitRecorder(memory, ram, (line) => lines.push(line));
    },
  });
  for (const text of [CARD, "05:00.0"]) machine.at(text).port.dmaRead(0x5000, new Uint8Array(4));
  expect(traces.map((lines) => stepsOf(lines).flatMap(({ op, bdf }) => (op === "dma_read" ? [bdf] : [])))).toEqual([[CARD], ["05:00.0"]]);
  for (const lines of traces) expect((await replay(lines)).mismatches).toEqual([]);
});

describe("what a step without words did to memory", () => {
  /** Pages that are written after the first marked step. */
  const pagesAfter = (lines: readonly string[]): number[] => {
    const steps = stepsOf(lines);
    const at = steps.findIndex(({ impl }) => impl !== undefined);
    expect(at).toBeGreaterThan(0);
    return steps.slice(at + 1).flatMap(({ op, addr }) => (op === "mem_write" ? [Math.floor(Number(addr) / 0x1000)] : []));
  };

  test("a posting that notifies nobody is seen when the descriptor is read again", async () => {
    let descriptor = 0;
    const lines = recorded("intel", (machine) => {
      descriptor = machine.frames.allocate() * 0x1000;
      const { address, port } = machine.at(CARD);
      const [first, second] = [0x51, 0x52].map((vector) => {
        const { entry, message } = machine.kernel.requestInterrupt(address, () => undefined);
        entry?.post(descriptor, vector, false);
        return message;
      });
      // The second finds a notification outstanding; the third reads what the second wrote.
      for (const message of [first, second, first]) if (message) port.message(message.address, message.data);
    });
    expect(pagesAfter(lines)).toContain(descriptor / 0x1000);
    expect((await replay(lines)).mismatches).toEqual([]);
  });
});
