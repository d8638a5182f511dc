import { FlatMemory } from "@iommu-lab/memory";
import { Completion, formatAddress, requesterId } from "@iommu-lab/pci-bus";
import { describe, expect, test } from "vitest";
import { Bridge, bridgeDescription, Endpoint, enumerate, RootComplex, type BusRequest, type BusTraceSink, type InterruptOutcome } from "../../src/model/index.ts";
import { endpointDescription } from "./bench-machine.ts";

const clock = { now: 0, after: () => () => undefined };
const RAM = 0x1_0000;

interface Told {
  readonly requests: BusRequest[];
  readonly interrupts: { readonly requester: number; readonly outcome: InterruptOutcome }[];
  readonly writes: string[];
}

/** A function below a root port, in front of memory of 64 KiB and without an IOMMU. */
const machine = (): { readonly complex: RootComplex; readonly card: Endpoint; readonly told: Told; readonly sink: BusTraceSink } => {
  const delivered: number[] = [];
  const complex = new RootComplex({ memory: new FlatMemory(RAM), clock, interrupts: { deliver: ({ vector }) => delivered.push(vector), post: () => undefined } });
  const { bus } = complex.addHostBridge({ memory: [{ base: 0x8000_0000, last: 0xfebf_ffff }] });
  const port = new Bridge("root-port", bridgeDescription("root-port", {}));
  bus.plug(port, 8);
  const card = new Endpoint(endpointDescription({ bars: [{ index: 0, kind: "memory32", size: 0x1000 }] }));
  port.secondary.plug(card, 0);
  enumerate(complex);
  const told: Told = { requests: [], interrupts: [], writes: [] };
  const sink: BusTraceSink = {
    hop: () => undefined,
    request: (request) => told.requests.push(request),
    interrupt: (_domain, { requester }, outcome) => told.interrupts.push({ requester, outcome: outcome.kind === "delivered" ? { ...outcome, interrupt: { ...outcome.interrupt } } : outcome }),
    configWrite: (at, offset, size, value) => told.writes.push(`${formatAddress(at)} ${offset} ${size} ${value}`),
  };
  complex.trace = sink;
  return { complex, card, told, sink };
};
const FROM = { domain: 0, requester: requesterId(1, 0, 0) };

describe("what the bus tells beside hops", () => {
  test("a transfer is told page by page, with where each part led", () => {
    const { card, told } = machine();
    card.write(0x1ff0, new Uint8Array(32));
    card.read(0x20, new Uint8Array(4));
    expect(told.requests).toEqual([
      { from: FROM, address: 0x1ff0n, length: 16, write: true, completion: Completion.Successful, hpa: 0x1ff0 },
      { from: FROM, address: 0x2000n, length: 16, write: true, completion: Completion.Successful, hpa: 0x2000 },
      { from: FROM, address: 0x20n, length: 4, write: false, completion: Completion.Successful, hpa: 0x20 },
    ]);
  });

  test("what is refused on the way led nowhere", () => {
    const { card, told, complex } = machine();
    card.read(2n ** 60n, new Uint8Array(4));
    complex.configWrite(FROM, 4, 2, 0);
    card.read(0, new Uint8Array(4));
    expect(told.requests.map(({ address, completion, hpa }) => [address, completion, hpa])).toEqual([[2n ** 60n, Completion.UnsupportedRequest, undefined], [0n, Completion.UnsupportedRequest, undefined]]);
  });

  test("a message is told as an interrupt alone, before the processors take it; another access there as a request", () => {
    const { card, told } = machine();
    card.write(0xfee0_1000, Uint8Array.of(0x41, 0, 0, 0));
    card.write(0xfee0_1000, new Uint8Array(8));
    expect(told.interrupts).toMatchObject([{ requester: FROM.requester, outcome: { kind: "delivered", interrupt: { vector: 0x41, destination: 1 } } }]);
    expect(told.requests).toMatchObject([{ length: 8, completion: Completion.UnsupportedRequest }]);
  });

  test("a write to configuration space is told, also one that nobody takes", () => {
    const { complex, told } = machine();
    complex.configWrite(FROM, 4, 2, 6);
    complex.configWrite({ domain: 0, requester: 0xff00 }, 0x10, 4, 1);
    complex.configRead(FROM, 4, 2);
    expect(told.writes).toEqual(["0000:01:00.0 4 2 6", "0000:ff:00.0 16 4 1"]);
  });

  test("a sink that takes hops alone is told hops alone", () => {
    const { complex, card } = machine();
    let hops = 0;
    complex.trace = { hop: () => hops++ };
    card.write(0, new Uint8Array(4));
    card.write(0xfee0_1000, Uint8Array.of(0x41, 0, 0, 0));
    complex.configWrite(FROM, 4, 2, 6);
    expect(hops).toBeGreaterThan(0);
  });
});
