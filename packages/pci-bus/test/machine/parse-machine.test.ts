import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { MachineError, parseMachine, type MachineProblem } from "../../src/machine/index.ts";
import { bridge, card, changed, made } from "./made-machine.ts";

const problemsOf = (value: unknown): readonly MachineProblem[] => {
  try {
    parseMachine(value);
  } catch (error) {
    if (error instanceof MachineError) return error.problems;
    throw error;
  }
  return [];
};

describe("parseMachine", () => {
  test("numbers may be hexadecimal text, and come out as numbers", () => {
    const { memory, iommus, hostBridges } = parseMachine(made);
    const port = hostBridges[0]?.functions[0];
    expect([memory, iommus[0]?.registerBase, hostBridges[0]?.lastBus, port?.classCode, port?.below?.[0]?.vendor, port?.below?.[0]?.bars?.[0]?.size]).toEqual([0x1000_0000, 0xfed9_0000, 0x7f, 0x06_0400, 0x1af4, 0x4000]);
  });

  test("what is read and written again reads the same", () => {
    const once = parseMachine(made);
    expect(parseMachine(JSON.parse(JSON.stringify(once)))).toEqual(once);
  });

  test.each<readonly [path: string, value: unknown, at: string, text: RegExp]>([
    ["format", "iommu-lab-run", "format", /"format": "iommu-lab-machine"/],
    ["format", undefined, "format", /^"format" is missing\.$/],
    ["version", 2, "version", /version 1/],
    ["name", "", "name", /has a name/],
    ["colour", "red", "colour", /^There is no "colour" here\.$/],
    ["kernel", undefined, "kernel", /missing/],
    ["kernel", 6, "kernel", /^"kernel" is an object\.$/],
    ["kernel.version", "six", "kernel.version", /two numbers/],
    ["kernel.version", "6", "kernel.version", /two numbers/],
    ["firmware.kind", "coreboot", "firmware.kind", /bios or uefi/],
    ["firmware.bootDisplay", "1:2:3", "firmware.bootDisplay", /dddd:bb:dd\.f/],
    ["processors.count", 0, "processors.count", /at least 1/],
    ["processors.count", 1025, "processors.count", /at most 1024/],
    ["processors.count", 1.5, "processors.count", /whole number/],
    ["processors.apic", "apic", "processors.apic", /xapic or x2apic/],
    ["memory", 2 ** 24 - 1, "memory", /16 MiB/],
    ["memory", 2 ** 46 + 1, "memory", /64 TiB/],
    ["memory", -1, "memory", /^The size of memory is a whole number/],
    ["memory", 1e308, "memory", /^The size of memory is a whole number/],
    ["memory", "1G", "memory", /whole number/],
    ["memory", "0x40000000000000", "memory", /whole number/],
    ["memory", null, "memory", /whole number/],
    ["iommus", {}, "iommus", /./],
    ["iommus.0.vendor", "via", "iommus[0].vendor", /intel or amd/],
    ["iommus.0.segment", 0x1_0000, "iommus[0].segment", /16 bits/],
    ["iommus.0.levels", 3, "iommus[0].levels", /4 or 5/],
    ["iommus.0.caches", "big", "iommus[0].caches", /none, realistic or adversarial/],
    ["iommus.0.iotlb", { sets: 0, ways: 1 }, "iommus[0].iotlb.sets", /at least 1/],
    ["iommus.0.iotlb", { sets: 1, ways: 65 }, "iommus[0].iotlb.ways", /at most 64/],
    ["iommus.0.registers", { cap: "d2008c" }, "iommus[0].registers.cap", /hexadecimal/],
    ["iommus.0.covers", ["nowhere"], "iommus[0].covers[0]", /no address/],
    ["hostBridges", [], "hostBridges", /has a host bridge/],
    ["hostBridges.0.firstBus", 256, "hostBridges[0].firstBus", /8 bits/],
    ["hostBridges.0.functions.0.at", "20.0", "hostBridges[0].functions[0].at", /00\.0 to 1f\.7/],
    ["hostBridges.0.functions.0.at", "1f.8", "hostBridges[0].functions[0].at", /00\.0 to 1f\.7/],
    ["hostBridges.0.functions.0.at", 31, "hostBridges[0].functions[0].at", /"1f\.3"/],
    ["hostBridges.0.functions.0.kind", "switch", "hostBridges[0].functions[0].kind", /root-port/],
    ["hostBridges.0.functions.1.config", "8", "hostBridges[0].functions[1].config", /pairs/],
    ["hostBridges.0.functions.1.config", "00".repeat(4097), "hostBridges[0].functions[1].config", /at most 4096 bytes/],
    ["hostBridges.0.functions.0.below.0.bars.0.size", 0x3000, "hostBridges[0].functions[0].below[0].bars[0].size", /power of two/],
    ["hostBridges.0.functions.0.below.0.bars.0.size", 0, "hostBridges[0].functions[0].below[0].bars[0].size", /power of two/],
    ["hostBridges.0.functions.0.below.0.bars.0.index", 6, "hostBridges[0].functions[0].below[0].bars[0].index", /0 to 5/],
    ["hostBridges.0.functions.0.below.0.bars.0.kind", "memory", "hostBridges[0].functions[0].below[0].bars[0].kind", /memory64/],
    ["hostBridges.0.functions.0.below.0.capabilities.msix.vectors", 2049, "hostBridges[0].functions[0].below[0].capabilities.msix.vectors", /at most 2048/],
    ["hostBridges.0.functions.0.below.0.capabilities.warp", true, "hostBridges[0].functions[0].below[0].capabilities.warp", /There is no "warp" here/],
    ["hostBridges.0.functions.0.below.0.interruptPin", 5, "hostBridges[0].functions[0].below[0].interruptPin", /1 to 4/],
    ["hostBridges.0.functions.0.below.0.behaviour", "nvme", "hostBridges[0].functions[0].below[0].behaviour", /stream/],
    ["vms.0.devices.0", { host: "01:00.0", emulated: "edu" }, "vms[0].devices[0]", /one of the host/],
    ["vms.0.memory", undefined, "vms[0].memory", /missing/],
  ])("%s that cannot be is refused where it stands", (path, value, at, text) => {
    const problems = problemsOf(changed(path, value));
    expect(problems.map((problem) => problem.path)).toEqual([at]);
    expect(problems[0]?.text).toMatch(text);
  });

  test("every mistake is named at once", () => {
    const twice = { ...(changed("memory", "much") as object), name: 5, processors: { count: -1 } };
    expect(problemsOf(twice).map(({ path }) => path).toSorted()).toEqual(["memory", "name", "processors.count"]);
  });

  test.each([undefined, null, 5, "{}", [], [made], true])("no machine: case %$", (value) => {
    const [problem] = problemsOf(value);
    expect(problem?.path === "" || problem?.path === "format").toBe(true);
  });

  test("what is nested too deep is refused, not followed to the end of the stack", () => {
    let below: unknown = card;
    for (let depth = 0; depth < 50_000; depth++) below = { ...bridge, below: [below] };
    expect(problemsOf(changed("hostBridges.0.functions", [below]))[0]?.text).toMatch(/nested more than/);
  });

  test("as many bridges above one another as there are buses can be read", () => {
    let below: unknown = card;
    for (let depth = 0; depth < 255; depth++) below = { ...bridge, secondaryBus: 255 - depth, subordinateBus: 255, below: [below] };
    expect(problemsOf(changed("hostBridges.0.functions", [below]))).toEqual([]);
  });
});

describe("statements that contradict each other", () => {
  test.each<readonly [string, unknown, at: string, text: RegExp]>([
    ["hostBridges.0.functions", [card, { ...card, at: "0.0" }], "hostBridges[0].functions[1].at", /Two functions/],
    ["hostBridges.0.functions", [{ ...bridge, below: [card, card] }], "hostBridges[0].functions[0].below[1].at", /Two functions/],
    ["hostBridges.0.functions", [{ at: "02.0", vendor: 1, device: 1 }], "hostBridges[0].functions[0]", /either config, or vendor/],
    ["hostBridges.0.functions", [{ ...card, below: [] }], "hostBridges[0].functions[0].below", /Only bridges/],
    ["hostBridges.0.functions", [{ ...card, romSize: 0x800, rom: ["efi"], kind: "endpoint", below: [] }], "hostBridges[0].functions[0].below", /Only bridges/],
    ["hostBridges.0.firstBus", 0x80, "hostBridges[0].firstBus", /after the last/],
    ["iommus.1.vendor", "amd", "iommus", /all of one vendor/],
    ["reserved.0.last", 0xfff, "reserved[0].last", /before the first/],
    ["vms", [{ name: "a", memory: 1 }, { name: "a", memory: 1 }], "vms[1].name", /Two VMs/],
    ["vms", [{ name: "a", memory: 1, devices: [{ host: "01:00.0" }] }, { name: "b", memory: 1, devices: [{ host: "0000:01:00.0" }] }], "vms[1].devices[0].host", /is given to "a" already/],
    ["vms", [{ name: "a", memory: 1, devices: [{ host: "01:00.0" }, { host: "01:00.0" }] }], "vms[0].devices[1].host", /is given to "a" already/],
  ])("%s", (path, value, at, text) => {
    const problems = problemsOf(changed(path, value));
    expect(problems.map((problem) => problem.path)).toEqual([at]);
    expect(problems[0]?.text).toMatch(text);
  });

  test("a ROM with images needs a size", () => {
    const { romSize, ...without } = card;
    expect(romSize).toBeDefined();
    expect(problemsOf(changed("hostBridges.0.functions", [without])).map(({ path }) => path)).toEqual(["hostBridges[0].functions[0].rom"]);
  });

  test("places on different buses may be equal, and a bridge with nothing below is one", () => {
    expect(problemsOf(changed("hostBridges.0.functions", [{ ...bridge, below: [] }, card]))).toEqual([]);
  });
});

describe("hostile input", () => {
  const refusesOrReads = (value: unknown): void => {
    for (const { path, text } of problemsOf(value)) {
      expect(typeof path).toBe("string");
      expect(text).toMatch(/\S/);
    }
  };

  test("any JSON is read or refused with problems, nothing else", () => {
    fc.assert(fc.property(fc.jsonValue({ maxDepth: 6 }), refusesOrReads));
  });

  test("any part of a machine may be anything", () => {
    const paths: string[] = [];
    const visit = (value: unknown, path: string): void => {
      if (path !== "") paths.push(path);
      if (typeof value === "object" && value !== null) for (const [key, each] of Object.entries(value)) visit(each, path === "" ? key : `${path}.${key}`);
    };
    visit(made, "");
    const hostile = fc.oneof(fc.jsonValue({ maxDepth: 2 }), fc.constantFrom(-1, 2 ** 53, 1e308, "0xffffffffffffffff", "0x", "-0x1", "constructor", "__proto__", null, [[]], "\u0000", "ffff:ff:1f.7", "00:00.8", "-0"));
    fc.assert(fc.property(fc.constantFrom(...paths), hostile, (path, value) => { refusesOrReads(changed(path, value)); }), { numRuns: 1000 });
  });

  test("text that was cut off is no machine", () => {
    const text = JSON.stringify(made);
    fc.assert(
      fc.property(fc.nat(text.length - 1), (end) => {
        let value: unknown;
        try {
          value = JSON.parse(text.slice(0, end));
        } catch {
          return;
        }
        expect(problemsOf(value)).not.toEqual([]);
      }),
    );
  });

  test("a key named __proto__ is a key like any other that does not exist", () => {
    expect(problemsOf(JSON.parse(`{"__proto__": {"format": "iommu-lab-machine"}, ${JSON.stringify(made).slice(1)}`))[0]?.text).toMatch(/There is no "__proto__" here/);
    expect(Object.hasOwn(Object.prototype, "format")).toBe(false);
  });
});
