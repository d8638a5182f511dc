import { formatAddress, formatRequester } from "@iommu-lab/pci-bus";
import { singleRootIov } from "@iommu-lab/pci-bus/capabilities";
import { Bridge, bridgeDescription, describeFunctions, Endpoint, enumerate, type ModelFunctionFacts } from "@iommu-lab/pci-bus/model";
import { describe, expect, test } from "vitest";
import { hasLspci, runLspci, skippedWithoutLspci } from "../../../../test/lspci.ts";
import { benchMachine, conventionalDescription, endpointDescription, type BenchMachine } from "./bench-machine.ts";

const sample = (): BenchMachine => {
  const machine = benchMachine();
  const root = new Bridge("root-port", bridgeDescription("root-port", { acs: true }));
  const up = new Bridge("upstream-port");
  const down = [0, 1].map(() => new Bridge("downstream-port", bridgeDescription("downstream-port", { acs: true })));
  const bridge = new Bridge("pcie-to-pci");
  const legacy = new Bridge("root-port");
  machine.host.bus.plug(new Endpoint(conventionalDescription({ classCode: 0x06_0000 })), 0);
  machine.host.bus.plug(root, 0x08);
  machine.host.bus.plug(legacy, 0x10);
  root.secondary.plug(up, 0);
  for (const [i, port] of down.entries()) up.secondary.plug(port, i << 3);
  const sriov = singleRootIov({ totalVfs: 2, vfDevice: 2, firstVfOffset: 1, vfStride: 1, vfBars: [{ index: 0, kind: "memory32", size: 0x1000 }] });
  const pf = new Endpoint(endpointDescription({}, [sriov]));
  down[0]?.secondary.plug(pf, 0);
  legacy.secondary.plug(bridge, 0);
  bridge.secondary.plug(new Endpoint(conventionalDescription()), 0x18);
  enumerate(machine.complex);
  const at = pf.config.extendedCapability(0x10);
  machine.poke(0x300, at + 0x10, 2, 2);
  machine.poke(0x300, at + 8, 2, 9);
  return machine;
};

describe("facts of the live model", () => {
  test("functions come bus by bus in creation order, with their parents and physical functions", () => {
    const facts = describeFunctions(sample().complex);
    const short = (address: ModelFunctionFacts["parent"]): string => (address ? formatRequester(address.requester) : "root");
    expect(facts.map(({ address, parent, physicalFunction }) => `${short(address)} < ${short(parent)}${physicalFunction ? ` of ${short(physicalFunction)}` : ""}`)).toEqual([
      "00:00.0 < root",
      "00:01.0 < root",
      "00:02.0 < root",
      "01:00.0 < 00:01.0",
      "02:00.0 < 01:00.0",
      "02:01.0 < 01:00.0",
      "03:00.0 < 02:00.0",
      "03:00.1 < 02:00.0 of 03:00.0",
      "03:00.2 < 02:00.0 of 03:00.0",
      "05:00.0 < 00:02.0",
      "06:03.0 < 05:00.0",
    ]);
  });

  test("the bytes are copies of configuration space as it stands", () => {
    const machine = sample();
    const [fact] = describeFunctions(machine.complex).slice(6);
    expect([fact?.config.length, fact?.config[0x10]]).toEqual([4096, machine.peek(0x300, 0x10, 1)]);
    fact?.config.fill(0);
    expect(machine.peek(0x300, 0, 2)).toBe(0x1af4);
  });
});

const hexByte = (value: number): string => value.toString(16).padStart(2, "0");

/** As `lspci -D -xxxx` prints it, without names. */
const dumpOf = ({ address, config }: ModelFunctionFacts): string => {
  const lines = Array.from({ length: config.length / 16 }, (_, i) => `${(16 * i).toString(16).padStart(2, "0")}: ${[...config.subarray(16 * i, 16 * i + 16)].map(hexByte).join(" ")}`);
  return [`${formatAddress(address)} function of the model`, ...lines, ""].join("\n");
};

describe(`the dump of an enumerated machine as lspci reads it${skippedWithoutLspci}`, () => {
  const ask = (...options: string[]): string => runLspci(describeFunctions(sample().complex).map(dumpOf).join("\n"), ...options);

  test.skipIf(!hasLspci())("the tree has every bus under its bridge", () => {
    expect(ask("-t").trimEnd().split("\n")).toEqual([
      "-[0000:00]-+-00.0",
      "           +-01.0-[01-04]----00.0-[02-04]--+-00.0-[03]--+-00.0",
      "           |                               |            +-00.1",
      "           |                               |            \\-00.2",
      "           |                               \\-01.0-[04]--",
      "           \\-02.0-[05-06]----00.0-[06]----03.0",
    ]);
  });

  test.skipIf(!hasLspci())("windows, ACS and bus numbers of a root port read as programmed", () => {
    const text = ask("-vvv", "-s", "00:01.0");
    expect(text).toContain("Bus: primary=00, secondary=01, subordinate=04");
    expect(text).toContain("Memory behind bridge: c0000000-c00fffff");
    expect(text).toContain("ACSCap:\tSrcValid+ TransBlk+ ReqRedir+ CmpltRedir+ UpstreamFwd+ EgressCtrl+ DirectTrans+");
  });
});
