import { HeaderOffset } from "../config/offsets.ts";
import { busOf, requesterId, type FunctionAddress, type RequesterId } from "../requester-id.ts";
import { barBase, sizeBars, sizeRom, type BarRegister } from "./bar-register.ts";
import { Command } from "./bridge-windows.ts";
import { findCapabilities, type CapabilityPlaces } from "./capability-places.ts";
import { FunctionPort } from "./function-port.ts";
import type { HopDecision } from "./trace.ts";
import type { Attachment, Bus, DecodingBar, ModelFunction, VirtualIdentity } from "./fabric.ts";

/** SR-IOV control bits. PCIe §9.3.3.3. */
export const SriovControl = { VfEnable: 1, MemorySpace: 8, AriHierarchy: 0x10 } as const;
const SRIOV_BARS = 0x24;

/** A function in its place on a bus: which addresses it decodes, under which requester ID it sends. */
export class PluggedFunction implements Attachment {
  readonly fn: ModelFunction;
  readonly bus: Bus;
  readonly virtualOf: VirtualIdentity | undefined;
  readonly places: CapabilityPlaces;
  /** The way out that the function was given. */
  readonly port: FunctionPort;
  readonly rom: BarRegister | undefined;
  /** BARs in the SR-IOV capability; empty without one. */
  readonly virtualBars: readonly BarRegister[];
  /** Virtual functions that VF Enable has brought up. */
  virtual: readonly Attachment[] = [];
  /** INTx pins that the function asserts, bit 0 for INTA. */
  pins = 0;
  /** Still plugged in. */
  present = true;
  readonly #devfn: number;
  #bars: readonly BarRegister[];

  constructor(fn: ModelFunction, bus: Bus, devfn: number, virtualOf?: VirtualIdentity) {
    this.fn = fn;
    this.bus = bus;
    this.#devfn = devfn;
    this.virtualOf = virtualOf;
    this.places = findCapabilities(fn.config);
    const bridge = this.isBridge;
    this.#bars = virtualOf ? [] : sizeBars(fn.config, HeaderOffset.Bar0, bridge ? 2 : 6);
    this.rom = virtualOf ? undefined : sizeRom(fn.config, bridge);
    this.virtualBars = this.places.sriov ? sizeBars(fn.config, this.places.sriov + SRIOV_BARS, 6) : [];
    this.port = new FunctionPort(this);
  }

  get bars(): readonly BarRegister[] {
    return this.#bars;
  }

  /** Looks at the BARs again after Resizable BAR changed their sizes. */
  resizeBars(): void {
    this.#bars = sizeBars(this.fn.config, HeaderOffset.Bar0, this.isBridge ? 2 : 6);
  }

  get isBridge(): boolean {
    return (this.fn.config.read(HeaderOffset.HeaderType, 1) & 0x7f) === 1;
  }

  /** Word of the trace: the bridge's kind, "virtual-function" or "endpoint". */
  get kind(): string {
    return this.fn.bridgeKind ?? (this.virtualOf ? "virtual-function" : "endpoint");
  }

  /** 8 bits; of a virtual function, whatever Offset and Stride give. */
  get devfn(): number {
    return this.virtualOf ? this.requester & 0xff : this.#devfn;
  }

  /**
   * Bus number as programmed above, and device and function.
   * Model: PCIe functions capture their bus number from the configuration writes they see (PCIe §2.2.6.2); here it is the secondary bus number of the port above.
   */
  get requester(): RequesterId {
    if (this.virtualOf) return virtualRequester(this.virtualOf);
    return (this.bus.number << 8) | this.#devfn;
  }

  get address(): FunctionAddress {
    return { domain: this.bus.host?.domain ?? 0, requester: this.requester };
  }

  /** BARs and ROM that decode now. */
  decoded(): DecodingBar[] {
    if (this.virtualOf) return virtualDecoded(this.fn, this.virtualOf);
    const command = this.fn.config.read(HeaderOffset.Command, 2);
    const found: DecodingBar[] = [];
    for (const bar of this.#bars)
      if (command & (bar.kind === "io" ? Command.IoSpace : Command.MemorySpace)) found.push({ bar, base: barBase(this.fn.config, bar), handler: this.fn.bars[bar.index] });
    if (this.rom && command & Command.MemorySpace && this.fn.config.read(this.rom.at, 1) & 1) found.push({ bar: this.rom, base: barBase(this.fn.config, this.rom), handler: this.fn.rom });
    return found;
  }

  /** Tells the trace, when there is one, what happens here. */
  hop(decision: HopDecision, rule: string): void {
    const host = this.bus.host;
    host?.complex.trace?.hop({ at: this.requester, domain: host.domain, kind: this.kind, decision, rule });
  }
}

/** Requester ID of a virtual function: First VF Offset and VF Stride count on from the physical function's, over bus borders. PCIe §9.3.3.9. */
const virtualRequester = ({ physical, index }: VirtualIdentity): RequesterId => {
  const { config } = physical.fn;
  const { sriov } = physical.places;
  const offset = config.read(sriov + 0x14, 2);
  const stride = config.read(sriov + 0x16, 2);
  const requester = (physical.requester + offset + stride * index) & 0xffff;
  return requesterId(busOf(requester), (requester >> 3) & 0x1f, requester & 7);
};

const virtualDecoded = (fn: ModelFunction, { physical, index }: VirtualIdentity): DecodingBar[] => {
  const control = physical.fn.config.read(physical.places.sriov + 8, 2);
  if (!(control & SriovControl.VfEnable) || !(control & SriovControl.MemorySpace)) return [];
  return physical.virtualBars.map((bar) => ({ bar, base: barBase(physical.fn.config, bar) + index * bar.size, handler: fn.bars[bar.index] }));
};
