import type { AddressSpace, Hpa, MmioHandler } from "@iommu-lab/memory";
import { Completion, type Clock, type DownstreamPort, type Interrupt, type InterruptMessage, type InterruptSink, type InterruptVerdict, type Iommu, type PageRequest, type RequesterId, type Translation, type TranslationRequest } from "@iommu-lab/pci-bus";
import { pciExpress, PcieType, type CapabilityImage, type FunctionDescription } from "@iommu-lab/pci-bus/capabilities";
import { RootComplex, type BusHop, type HostBridge, type HostBridgeOptions, type InterruptWire } from "@iommu-lab/pci-bus/model";

/** RAM of any size for tests: bytes in a map, zero at first. */
class TestRam implements AddressSpace<Hpa> {
  readonly bytes = new Map<number, number>();
  read8(at: Hpa): number {
    return this.bytes.get(at) ?? 0;
  }
  read16(at: Hpa): number {
    return this.read8(at) + this.read8(at + 1) * 256;
  }
  read32(at: Hpa): number {
    return this.read16(at) + this.read16(at + 2) * 65536;
  }
  read64(at: Hpa, into: Uint32Array): void {
    into[0] = this.read32(at);
    into[1] = this.read32(at + 4);
  }
  write8(at: Hpa, value: number): void {
    this.bytes.set(at, value & 0xff);
  }
  write16(at: Hpa, value: number): void {
    this.write8(at, value);
    this.write8(at + 1, value >>> 8);
  }
  write32(at: Hpa, value: number): void {
    this.write16(at, value);
    this.write16(at + 2, value >>> 16);
  }
  write64(at: Hpa, low: number, high: number): void {
    this.write32(at, low);
    this.write32(at + 4, high);
  }
  readInto(at: Hpa, bytes: Uint8Array): void {
    for (let i = 0; i < bytes.length; i++) bytes[i] = this.read8(at + i);
  }
  writeFrom(at: Hpa, bytes: Uint8Array): void {
    for (const [i, byte] of bytes.entries()) this.write8(at + i, byte);
  }
}

/** Time that a test moves by hand. */
class ManualClock implements Clock {
  now = 0;
  #waiting: { readonly due: number; readonly action: () => void }[] = [];
  after(delay: number, action: () => void): () => void {
    const entry = { due: this.now + delay, action };
    this.#waiting.push(entry);
    return () => {
      this.#waiting = this.#waiting.filter((each) => each !== entry);
    };
  }
  advance(by: number): void {
    this.now += by;
    for (const entry of this.#waiting.filter(({ due }) => due <= this.now)) {
      this.#waiting = this.#waiting.filter((each) => each !== entry);
      entry.action();
    }
  }
}

/** An IOMMU of a few lines: one page map for everybody, translated requests pass, and it remembers what it was asked. */
export class TableIommu implements Iommu {
  readonly registers: MmioHandler = { read: () => 0, write: () => undefined, read64: (_, into) => into.fill(0), write64: () => undefined };
  readonly pages = new Map<number, number>();
  readonly requests: TranslationRequest[] = [];
  readonly messages: InterruptMessage[] = [];
  readonly pageRequests: PageRequest[] = [];
  refusesInterrupts = false;
  port: DownstreamPort | undefined;
  translate(request: Readonly<TranslationRequest>, out: Translation): void {
    this.requests.push({ ...request });
    const page = request.addressType === 2 ? request.page : this.pages.get(request.page);
    out.page = page ?? 0;
    out.pageShift = 12;
    out.permissions = page === undefined ? 0 : 3;
    out.global = false;
    out.fault = page === undefined ? 5 : 0;
    out.completion = page === undefined ? Completion.UnsupportedRequest : Completion.Successful;
  }
  remapInterrupt(message: Readonly<InterruptMessage>, sink: InterruptSink, out: InterruptVerdict): void {
    this.messages.push({ ...message });
    out.fault = this.refusesInterrupts ? 0x25 : 0;
    if (!this.refusesInterrupts) sink.deliver({ vector: message.data & 0xff, deliveryMode: 0, destination: 0, destinationMode: "physical", trigger: "edge", redirectionHint: false });
  }
  pageRequest(request: PageRequest): void {
    this.pageRequests.push(request);
  }
  connect(port: DownstreamPort): void {
    this.port = port;
  }
  reset(): void {
    this.pages.clear();
  }
}

export interface BenchMachine {
  readonly complex: RootComplex;
  readonly host: HostBridge;
  readonly ram: TestRam;
  readonly clock: ManualClock;
  readonly delivered: Interrupt[];
  readonly wires: { readonly wire: InterruptWire; readonly asserted: boolean }[];
  readonly hops: BusHop[];
  /** Writes configuration space of a function in segment 0. */
  poke(requester: RequesterId, offset: number, size: 1 | 2 | 4, value: number): void;
  peek(requester: RequesterId, offset: number, size: 1 | 2 | 4): number;
}

/** A root complex with one host bridge, RAM, a hand-moved clock and recorders. */
export const benchMachine = (host: HostBridgeOptions = {}): BenchMachine => {
  const ram = new TestRam();
  const clock = new ManualClock();
  const delivered: Interrupt[] = [];
  const wires: { wire: InterruptWire; asserted: boolean }[] = [];
  const hops: BusHop[] = [];
  const complex = new RootComplex({
    memory: ram,
    clock,
    interrupts: { deliver: (interrupt) => delivered.push({ ...interrupt }), post: () => undefined },
    interruptWire: (wire, asserted) => wires.push({ wire, asserted }),
    trace: { hop: (hop) => hops.push(hop) },
  });
  return {
    complex,
    host: complex.addHostBridge({ ecam: 0xb000_0000, ...host }),
    ram,
    clock,
    delivered,
    wires,
    hops,
    poke: (requester, offset, size, value) => {
      complex.configWrite({ domain: 0, requester }, offset, size, value);
    },
    peek: (requester, offset, size) => complex.configRead({ domain: 0, requester }, offset, size),
  };
};

/** A PCI Express endpoint with FLR, one 32-bit memory BAR of 64 KiB, and what else is given. The IDs are arbitrary. */
export const endpointDescription = (changes: Partial<FunctionDescription> = {}, capabilities: readonly CapabilityImage[] = []): FunctionDescription => ({
  vendor: 0x1af4,
  device: 0x1234,
  classCode: 0x02_0000,
  header: 0,
  bars: [{ index: 0, kind: "memory32", size: 0x1_0000 }],
  capabilities: [pciExpress({ type: PcieType.Endpoint, deviceCapabilities: { FunctionLevelResetCapability: 1 } }), ...capabilities],
  ...changes,
});

/** A conventional PCI function with one 32-bit memory BAR of 4 KiB. */
export const conventionalDescription = (changes: Partial<FunctionDescription> = {}): FunctionDescription => ({ vendor: 0x1af4, device: 0x0001, classCode: 0x02_0000, header: 0, bars: [{ index: 0, kind: "memory32", size: 0x1000 }], ...changes });
