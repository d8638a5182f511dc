import type { AccessSize } from "@iommu-lab/memory";
import { Completion, type ConfigSpace, type PciFunction, type UpstreamPort } from "@iommu-lab/pci-bus";
import { describeFunctions, enumerate, ScratchBar } from "@iommu-lab/pci-bus/model";
import { describe, expect, test } from "vitest";
import { benchMachine } from "./bench-machine.ts";

/** 256 bytes with a command register and one 4 KiB BAR, and nothing that only this package's own functions have. */
class PlainConfig implements ConfigSpace {
  readonly size = 256;
  readonly #words = new Uint32Array(64);
  constructor() {
    this.#words.set([0x0001_1af4, 0, 0x0200_0000]);
    this.#words[15] = 0x0100;
  }
  read(offset: number, size: AccessSize): number {
    const word = this.#words[offset >> 2] ?? 0xffff_ffff;
    return (word >>> (8 * (offset & 3))) % 2 ** (8 * size);
  }
  write(offset: number, size: AccessSize, value: number): void {
    if (offset === 4) this.#words[1] = value & 0x407;
    if (offset === 0x10 && size === 4) this.#words[4] = (value & 0xffff_f000) >>> 0;
  }
}

class PlainFunction implements PciFunction {
  readonly config = new PlainConfig();
  readonly bars = [new ScratchBar()];
  port: UpstreamPort | undefined;
  connect(port: UpstreamPort): void {
    this.port = port;
  }
}

describe("a function that knows nothing but the PciFunction interface", () => {
  test("is enumerated, answers at its BAR, and sends DMA", () => {
    const machine = benchMachine();
    const plain = new PlainFunction();
    machine.host.bus.plug(plain, 0x28);
    const { placements } = enumerate(machine.complex);
    expect(placements).toMatchObject([{ address: { requester: 0x28 }, size: 0x1000 }]);
    machine.complex.memoryWrite(placements[0]?.base ?? 0, Uint8Array.of(7));
    expect(plain.bars[0]?.read(0, 1)).toBe(7);
    expect(plain.port?.dmaRead(0x1000, new Uint8Array(4))).toBe(Completion.Successful);
    expect(describeFunctions(machine.complex)[0]?.config.slice(0, 4)).toEqual(Uint8Array.of(0xf4, 0x1a, 1, 0));
  });

  test("obeys Interrupt Disable when software writes it through the bus", () => {
    const machine = benchMachine();
    const plain = new PlainFunction();
    machine.host.bus.plug(plain, 0x28);
    plain.port?.interruptPin(0, true);
    machine.poke(0x28, 4, 2, 0x400);
    expect(machine.wires.map(({ asserted }) => asserted)).toEqual([true, false]);
  });

  test("a failing read leaves no trace in a configuration space that shows no bytes", () => {
    const machine = benchMachine();
    const plain = new PlainFunction();
    machine.host.bus.plug(plain, 0x28);
    expect(plain.port?.dmaRead(0x1000, new Uint8Array(4))).toBe(Completion.UnsupportedRequest);
    expect(plain.config.read(6, 2)).toBe(0);
  });
});
