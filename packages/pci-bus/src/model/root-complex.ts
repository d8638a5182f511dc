import type { AccessSize, AddressSpace, Hpa, MmioHandler, Pfn } from "@iommu-lab/memory";
import type { Clock } from "../clock.ts";
import type { PciFunction } from "../function.ts";
import type { Interrupt, InterruptMessage, InterruptSink } from "../interrupt.ts";
import { newTranslation, type Iommu, type InterruptVerdict, type Translation } from "../iommu.ts";
import { formatAddress, type FunctionAddress, type RequesterId } from "../requester-id.ts";
import { AddressType, Completion, type PageRequest, type TranslationRequest } from "../transaction.ts";
import { isVga, type Space } from "./bridge-windows.ts";
import { claimOn, noteAbort, readBytes, writeBytes } from "./claim.ts";
import { resetBelow } from "./config-effects.ts";
import { ConfigPorts } from "./config-ports.ts";
import { configRead, configWrite, findFunction } from "./config-routing.ts";
import { DeviceTlbPort } from "./device-tlb-port.ts";
import { PciHostBridge, type HostBridgeOptions } from "./host-bridge.ts";
import { linkChanged } from "./hot-plug.ts";
import { InterruptWires, type InterruptWire } from "./interrupt-wires.ts";
import { accessOf, type MemoryRequest } from "./memory-request.ts";
import { decodeCompatible } from "./message-format.ts";
import type { BusTraceSink, HopDecision, InterruptOutcome } from "./trace.ts";
import type { Attachment, Bus, Claim, FabricRoot, HostBridge } from "./fabric.ts";

/** What a root complex stands between. */
export interface RootComplexOptions {
  /** RAM, and whatever else DMA reaches outside the host bridges' ranges. */
  readonly memory: AddressSpace<Hpa>;
  /** For time-outs. */
  readonly clock: Clock;
  /** The local APICs; without them messages are dropped. */
  readonly interrupts?: InterruptSink;
  /** Told of each change of an INTx wire at a root bus. */
  readonly interruptWire?: (wire: InterruptWire, asserted: boolean) => void;
  readonly trace?: BusTraceSink;
}

interface Unit {
  readonly iommu: Iommu;
  readonly domain: number;
  readonly covers: (requester: RequesterId) => boolean;
}

/** A root complex: host bridges, the IOMMUs in front of memory, and the processor's way to configuration, ports and BARs. */
export class RootComplex implements FabricRoot {
  readonly memory: AddressSpace<Hpa>;
  readonly clock: Clock;
  readonly wires: InterruptWires;
  /** Configuration mechanism #1: the eight ports from 0xcf8 on. */
  readonly configPorts: MmioHandler = new ConfigPorts(this);
  /** May be set and taken away at any time. */
  trace: BusTraceSink | undefined;
  readonly #interrupts: InterruptSink | undefined;
  readonly #hosts: HostBridge[] = [];
  readonly #units: Unit[] = [];
  readonly #request: TranslationRequest = { requester: 0, pasid: -1, addressType: AddressType.Untranslated, page: 0, access: 0 };
  readonly #translation: Translation = newTranslation();
  readonly #verdict: InterruptVerdict = { fault: 0, recorded: false };

  constructor(options: RootComplexOptions) {
    this.memory = options.memory;
    this.clock = options.clock;
    this.wires = new InterruptWires(options.interruptWire);
    this.trace = options.trace;
    this.#interrupts = options.interrupts;
  }

  /** In the order they were added. */
  get hostBridges(): readonly HostBridge[] {
    return this.#hosts;
  }

  /** @throws RangeError when its bus numbers overlap another's of the same segment */
  addHostBridge(options: HostBridgeOptions = {}): HostBridge {
    const host = new PciHostBridge(this, options);
    const clash = this.#hosts.find((other) => other.domain === host.domain && other.firstBus <= host.lastBus && host.firstBus <= other.lastBus);
    if (clash) throw new RangeError(`Buses 0x${host.firstBus.toString(16)} to 0x${host.lastBus.toString(16)} of segment 0x${host.domain.toString(16)} overlap those of another host bridge.`);
    this.#hosts.push(host);
    return host;
  }

  /**
   * Puts an IOMMU in front of memory for the requesters of a segment that it covers; the first one that was added and covers a requester serves it.
   * The requester is the one the packet carries at the root, an alias behind bridges to conventional PCI.
   */
  addIommu(iommu: Iommu, domain = 0, covers: (requester: RequesterId) => boolean = () => true): void {
    this.#units.push({ iommu, domain, covers });
    iommu.connect(new DeviceTlbPort(this.clock, (requester) => this.find({ domain, requester })));
  }

  /** The function that answers to an address now, by bus numbers as programmed. */
  find({ domain, requester }: FunctionAddress): Attachment | undefined {
    const bus = requester >> 8;
    const host = this.#hosts.find((each) => each.domain === domain && bus >= each.firstBus && bus <= each.lastBus);
    return host && findFunction(host, requester);
  }

  /** Reads configuration space; all ones where nobody answers. `offset` is a multiple of `size`. */
  configRead(address: FunctionAddress, offset: number, size: AccessSize): number {
    const host = this.#hostOf(address);
    return host ? configRead(host, address.requester, offset, size) : 2 ** (8 * size) - 1;
  }

  /** Writes configuration space; dropped where nobody answers. */
  configWrite(address: FunctionAddress, offset: number, size: AccessSize, value: number): void {
    const host = this.#hostOf(address);
    this.trace?.configWrite?.(address, offset, size, value);
    if (host) configWrite(host, address.requester, offset, size, value);
  }

  /** The processor reads `into.length` bytes of a BAR or VGA's frame buffer; all ones where nobody decodes the address. */
  memoryRead(hpa: Hpa, into: Uint8Array): void {
    const claim = this.#claimFromProcessor("memory", hpa);
    if (!claim || claim.aborted) into.fill(0xff);
    else readBytes(claim.handler, claim.offset, into);
  }

  /** The processor writes to a BAR or VGA's frame buffer; dropped where nobody decodes the address. */
  memoryWrite(hpa: Hpa, from: Uint8Array): void {
    const claim = this.#claimFromProcessor("memory", hpa);
    if (claim && !claim.aborted) writeBytes(claim.handler, claim.offset, from);
  }

  /** The processor's IN. All ones where nobody decodes the port. Ports 0xcf8 to 0xcff are `configPorts`, not here. */
  ioRead(port: number, size: AccessSize): number {
    const claim = this.#claimFromProcessor("io", port);
    return claim && !claim.aborted && claim.handler ? claim.handler.read(claim.offset, size) : 2 ** (8 * size) - 1;
  }

  /** The processor's OUT. */
  ioWrite(port: number, size: AccessSize, value: number): void {
    const claim = this.#claimFromProcessor("io", port);
    if (claim && !claim.aborted) claim.handler?.write(claim.offset, size, value);
  }

  /** A window of host-physical memory, from `base` on, for a machine's memory map. */
  memoryWindow(base: Hpa): MmioHandler {
    const bytes = new Uint8Array(8);
    const view = new DataView(bytes.buffer);
    const load = (offset: number, size: number): void => {
      this.memoryRead(base + offset, bytes.subarray(0, size));
    };
    return {
      read: (offset, size) => {
        load(offset, size);
        return size === 4 ? view.getUint32(0, true) : size === 2 ? view.getUint16(0, true) : view.getUint8(0);
      },
      write: (offset, size, value) => {
        view.setUint32(0, value, true);
        this.memoryWrite(base + offset, bytes.subarray(0, size));
      },
      read64: (offset, into) => {
        load(offset, 8);
        into[0] = view.getUint32(0, true);
        into[1] = view.getUint32(4, true);
      },
      write64: (offset, low, high) => {
        view.setUint32(0, low, true);
        view.setUint32(4, high, true);
        this.memoryWrite(base + offset, bytes);
      },
    };
  }

  /** Plugs a function in at run time: presence and link bits change and the port above reports it. PCIe §6.7. */
  hotAdd(bus: Bus, fn: PciFunction, devfn: number): Attachment {
    const seat = bus.plug(fn, devfn);
    linkChanged(bus, true);
    return seat;
  }

  /** Pulls a function out at run time (surprise removal). PCIe §6.7. */
  hotRemove(bus: Bus, devfn: number): void {
    bus.unplug(devfn);
    linkChanged(bus, true);
  }

  /** Cold reset of every function. IOMMUs are reset by the machine. */
  reset(): void {
    for (const host of this.#hosts) resetBelow(host.bus, "cold");
    for (const host of this.#hosts) showPresence(host.bus);
  }

  /** Sends a request's page through the IOMMU; identity where none covers the requester. For the fabric. */
  translate(host: HostBridge, request: MemoryRequest): { readonly completion: Completion; readonly page: Pfn<"HPA"> } {
    const iommu = this.#iommuOf(host, request.requester);
    if (!iommu) {
      this.hop(host, "root-complex", "untranslated", "No IOMMU covers the requester: the address is the host-physical address");
      // An address past 2^52 exists nowhere.
      return { completion: request.page < 2 ** 40 ? Completion.Successful : Completion.UnsupportedRequest, page: request.page as number };
    }
    const out = this.#translation;
    iommu.translate(this.#fill(request), out);
    const passed = out.completion === Completion.Successful;
    this.hop(host, "iommu", passed ? "translated" : "refused", passed ? "The IOMMU's tables allow the access" : `The IOMMU refuses the access, fault 0x${out.fault.toString(16)}`);
    return { completion: out.completion, page: out.page };
  }

  /** Answers a translation request (ATS). PCIe §10.2.3; Unsupported Request where no IOMMU covers the requester. For the fabric. */
  answerTranslation(host: HostBridge, request: MemoryRequest, out: Translation): Completion {
    const iommu = this.#iommuOf(host, request.requester);
    if (!iommu) {
      this.hop(host, "root-complex", "refused", "PCIe §10.2.3: no translation agent serves the requester: Unsupported Request");
      out.completion = Completion.UnsupportedRequest;
      return out.completion;
    }
    iommu.translate(this.#fill(request), out);
    this.hop(host, "iommu", out.completion === Completion.Successful ? "translated" : "refused", "PCIe §10.2.3: translation completion");
    return out.completion;
  }

  /** Takes a write to 0xfeex_xxxx: to the remapper, or straight to the local APICs. For the fabric. */
  receiveInterrupt(host: HostBridge, message: Readonly<InterruptMessage>): Completion {
    const { trace } = this;
    const sink = trace?.interrupt ? told(this.#interrupts ?? DROPPED, (outcome) => trace.interrupt?.(host.domain, message, outcome)) : (this.#interrupts ?? DROPPED);
    const iommu = this.#iommuOf(host, message.requester);
    if (!iommu) {
      this.hop(host, "root-complex", "interrupt", "Intel SDM vol. 3 §11.11: message in compatibility format");
      const interrupt: Interrupt | undefined = decodeCompatible(message);
      if (interrupt) sink.deliver(interrupt);
      else trace?.interrupt?.(host.domain, message, { kind: "blocked" });
      return interrupt ? Completion.Successful : Completion.UnsupportedRequest;
    }
    iommu.remapInterrupt(message, sink, this.#verdict);
    const { fault } = this.#verdict;
    if (fault) trace?.interrupt?.(host.domain, message, { kind: "blocked" });
    this.hop(host, "iommu", fault ? "refused" : "interrupt", fault ? `The IOMMU refuses the interrupt, fault 0x${fault.toString(16)}` : "The IOMMU passes, remaps or posts the interrupt");
    return fault ? Completion.UnsupportedRequest : Completion.Successful;
  }

  /** Takes a page request message; dropped as an unsupported message where no IOMMU covers the requester. For the fabric. */
  receivePageRequest(host: HostBridge, request: PageRequest): void {
    const iommu = this.#iommuOf(host, request.requester);
    this.hop(host, iommu ? "iommu" : "root-complex", iommu ? "forwarded" : "refused", "PCIe §10.4.1: page request message");
    iommu?.pageRequest(request);
  }

  /** Lets a host-physical access end in a BAR below a host bridge that owns the address, or else in memory. For the fabric. */
  reachHost(hpa: Hpa, write: boolean, bytes: Uint8Array, deliver: (claim: Claim) => Completion): Completion {
    const host = this.#hosts.find((each) => each.ownsMemory(hpa));
    if (host) {
      const claim = claimOn(host.bus, "memory", hpa);
      if (claim) return deliver(claim);
      this.hop(host, "root-complex", "aborted", "PCIe §2.3.1: the address belongs to a host bridge, and nobody below decodes it");
      return Completion.UnsupportedRequest;
    }
    this.trace?.hop({ at: "root", domain: 0, kind: "root-complex", decision: "memory", rule: "The address is system memory" });
    if (write) this.memory.writeFrom(hpa, bytes);
    else this.memory.readInto(hpa, bytes);
    return Completion.Successful;
  }

  /** Adds a hop of the root complex to the trace. For the fabric. */
  hop(host: HostBridge, kind: "root-complex" | "iommu", decision: HopDecision, rule: string): void {
    this.trace?.hop({ at: "root", domain: host.domain, kind, decision, rule });
  }

  #hostOf(address: FunctionAddress): HostBridge | undefined {
    const { domain, requester } = address;
    if (!(requester >= 0 && requester <= 0xffff)) throw new RangeError(`${formatAddress(address)} is no function address: requester IDs have 16 bits.`);
    return this.#hosts.find((each) => each.domain === domain && requester >> 8 >= each.firstBus && requester >> 8 <= each.lastBus);
  }

  #iommuOf(host: HostBridge, requester: RequesterId): Iommu | undefined {
    return this.#units.find(({ domain, covers }) => domain === host.domain && covers(requester))?.iommu;
  }

  #fill(request: MemoryRequest): TranslationRequest {
    const into = this.#request;
    into.requester = request.requester;
    into.pasid = request.pasid;
    into.addressType = request.addressType;
    into.page = request.page;
    into.access = accessOf(request);
    return into;
  }

  #claimFromProcessor(space: Space, address: number): Claim | undefined {
    const legacy = isVga(space, address, false);
    for (const host of this.#hosts) {
      if (space === "memory" && !legacy && !host.ownsMemory(address)) continue;
      const claim = claimOn(host.bus, space, address);
      if (!claim) continue;
      noteAbort(claim);
      return claim;
    }
    return undefined;
  }
}

const DROPPED: InterruptSink = { deliver: () => undefined, post: () => undefined };

const told = (sink: InterruptSink, tell: (outcome: InterruptOutcome) => void): InterruptSink => ({
  deliver: (interrupt) => {
    tell({ kind: "delivered", interrupt });
    sink.deliver(interrupt);
  },
  post: (posting) => {
    tell({ kind: "posted", posting });
    sink.post(posting);
  },
});

/** Presence and link state come from the slots, not from registers: they are there again after a reset. */
const showPresence = (bus: Bus): void => {
  linkChanged(bus, false);
  for (const { fn } of bus.functions()) if (fn.secondary) showPresence(fn.secondary);
};
