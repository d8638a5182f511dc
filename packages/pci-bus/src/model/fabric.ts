import type { Hpa, MmioHandler, Pfn } from "@iommu-lab/memory";
import type { PciFunction, UpstreamPort } from "../function.ts";
import type { InterruptMessage } from "../interrupt.ts";
import type { Translation } from "../iommu.ts";
import type { FunctionAddress, RequesterId } from "../requester-id.ts";
import type { Completion, PageRequest } from "../transaction.ts";
import type { BarRegister } from "./bar-register.ts";
import type { Window } from "./bridge-windows.ts";
import type { CapabilityPlaces } from "./capability-places.ts";
import type { MemoryRequest } from "./memory-request.ts";
import type { BusTraceSink, HopDecision } from "./trace.ts";

/** Which kind of bridge: it decides what happens to requesters and peers. PCIe §7.5.3.2, "Device/Port Type". */
export type BridgeKind = "root-port" | "upstream-port" | "downstream-port" | "pcie-to-pci" | "pci-to-pci";

/** What answers VGA's legacy addresses inside a display function. */
export interface LegacyVga {
  /** Offsets count from 0xa_0000; 128 KiB. */
  readonly memory: MmioHandler;
  /** Offsets are port numbers, 0x3b0 to 0x3df. */
  readonly io: MmioHandler;
}

/** What a function may have beside `PciFunction`: the fabric looks for each. */
export interface ModelFunction extends PciFunction {
  /** A bridge: the bus below it. */
  readonly secondary?: Bus;
  readonly bridgeKind?: BridgeKind;
  /** Contents of the expansion ROM. */
  readonly rom?: MmioHandler | undefined;
  /** Legacy VGA decoding; undefined while the function's own control switches it off. */
  readonly legacyVga?: LegacyVga | undefined;
  /** A physical function: makes virtual function `index`, once per setting of VF Enable. PCIe §9.2.1 "Initialization". */
  virtualFunction?(index: number): PciFunction;
}

/** A BAR that decodes at the moment. */
export interface DecodingBar {
  readonly bar: BarRegister;
  readonly base: number;
  /** Undefined where the function has a register but nothing behind it. */
  readonly handler: MmioHandler | undefined;
}

/** What a virtual function is to its physical function. */
export interface VirtualIdentity {
  readonly physical: Attachment;
  /** 0 for the first. */
  readonly index: number;
}

/** A function's way out, with what the fabric does to it. */
export interface AttachedPort extends UpstreamPort {
  /** Lowers all pins: after a reset, or when the function is gone. */
  silence(): void;
  /** A port's own interrupt (hot-plug), by MSI when software enabled it. */
  raiseOwnInterrupt(): void;
}

/** A function in its place on a bus: which addresses it decodes, under which requester ID it sends. */
export interface Attachment {
  readonly fn: ModelFunction;
  readonly bus: Bus;
  readonly virtualOf: VirtualIdentity | undefined;
  readonly places: CapabilityPlaces;
  /** The way out that the function was given. */
  readonly port: AttachedPort;
  readonly bars: readonly BarRegister[];
  readonly rom: BarRegister | undefined;
  /** BARs in the SR-IOV capability; empty without one. */
  readonly virtualBars: readonly BarRegister[];
  /** Virtual functions that VF Enable has brought up. */
  virtual: readonly Attachment[];
  /** INTx pins that the function asserts, bit 0 for INTA. */
  pins: number;
  /** Still plugged in. */
  present: boolean;
  readonly isBridge: boolean;
  /** Word of the trace: the bridge's kind, "virtual-function" or "endpoint". */
  readonly kind: string;
  /** Device and function number, 8 bits; of a virtual function, whatever Offset and Stride give. */
  readonly devfn: number;
  /** What its packets carry. */
  readonly requester: RequesterId;
  readonly address: FunctionAddress;
  /** BARs and ROM that decode now. */
  decoded(): DecodingBar[];
  /** Looks at the BARs again after Resizable BAR changed their sizes. */
  resizeBars(): void;
  /** Tells the trace, when there is one, what happens here. */
  hop(decision: HopDecision, rule: string): void;
}

/**
 * What connects functions: "root" inside a root complex, "link" below a root or downstream port (one device, up to 256 functions
 * with ARI), "switch" the inside of a switch, "conventional" a shared bus of 32 devices.
 */
export type BusKind = "root" | "link" | "switch" | "conventional";

/** One bus and what is plugged into it. */
export interface Bus {
  readonly kind: BusKind;
  /** The bridge above, once that is plugged in itself. */
  bridge: Attachment | undefined;
  /** Number as programmed in the bridge above; a root bus has its host bridge's. */
  readonly number: number;
  /** The host bridge at the top; undefined while some bridge above hangs loose. */
  readonly host: HostBridge | undefined;
  /** Held in reset by the bridge above, its link disabled, or by any bridge higher up. PCIe §7.5.1.3.13, §7.5.3.7. */
  readonly held: boolean;
  /** The port above lets device numbers other than 0 through: ARI Forwarding Enable. PCIe §7.5.3.16. */
  readonly ariForwarding: boolean;
  /** Physical functions by device and function number. */
  functions(): readonly Attachment[];
  /** Physical functions, each followed by its virtual ones. */
  everything(): readonly Attachment[];
  /** The physical function at `devfn` (device << 3 | function; with ARI the whole 8 bits are the function number). */
  at(devfn: number): Attachment | undefined;
  /**
   * Puts a function in place, as if it had been there at power-on. At run time use `RootComplex.hotAdd`.
   * @param devfn device << 3 | function, 0 to 255; behind a port, numbers from 8 on are ARI's
   * @throws RangeError when the place is taken or does not exist
   */
  plug(fn: PciFunction, devfn: number): Attachment;
  /**
   * Takes a function out, with everything below it and its virtual functions.
   * @throws RangeError when nothing is there
   */
  unplug(devfn: number): void;
}

/** A host bridge: one root bus and the bus numbers and addresses that belong to it. */
export interface HostBridge {
  readonly complex: FabricRoot;
  /** PCI segment. */
  readonly domain: number;
  /** Its root bus's number. */
  readonly firstBus: number;
  /** Inclusive. */
  readonly lastBus: number;
  /** Where `firstBus`'s configuration space stands in the memory map. */
  readonly ecamBase: Hpa | undefined;
  /** Host-physical ranges that belong to this bridge. */
  readonly memory: readonly Window[];
  /** Ports for enumeration to give out. */
  readonly io: readonly Window[];
  /** Which functions of the root bus reach each other without the root complex's check. */
  readonly directPeers: "within-device" | "all" | "none";
  /** The root bus. */
  readonly bus: Bus;
  /** Enhanced configuration access: offset 0 is the root bus, 1 MiB per bus, 4 KiB per function. PCIe §7.2.2. */
  readonly ecam: MmioHandler;
  /** Whether an HPA belongs to this bridge. */
  ownsMemory(hpa: number): boolean;
}

/** Where an address came to rest. */
export interface Claim {
  /** The function that decodes it; for an abort, the bridge that passed it to a bus where nobody does. */
  readonly seat: Attachment;
  /** Undefined for an abort, and for a BAR with nothing behind it. */
  readonly handler: MmioHandler | undefined;
  /** From the start of the handler's window. */
  readonly offset: number;
  /** Bytes from the address to the end of the BAR. */
  readonly room: number;
  readonly aborted: boolean;
}

/** What the fabric needs of the root complex above it. */
export interface FabricRoot {
  readonly trace: BusTraceSink | undefined;
  readonly wires: {
    /** Takes a function's pins or its Interrupt Disable as they are now. */
    update(seat: Attachment): void;
  };
  /** Reads configuration space; all ones where nobody answers. `offset` is a multiple of `size`. */
  configRead(address: FunctionAddress, offset: number, size: 1 | 2 | 4): number;
  /** Writes configuration space; dropped where nobody answers. */
  configWrite(address: FunctionAddress, offset: number, size: 1 | 2 | 4, value: number): void;
  /** Sends a request's page through the IOMMU; identity where none covers the requester. */
  translate(host: HostBridge, request: MemoryRequest): { readonly completion: Completion; readonly page: Pfn<"HPA"> };
  /** Answers a translation request (ATS). PCIe §10.2.3. */
  answerTranslation(host: HostBridge, request: MemoryRequest, out: Translation): Completion;
  /** Takes a write to 0xfeex_xxxx: to the remapper, or straight to the local APICs. */
  receiveInterrupt(host: HostBridge, message: Readonly<InterruptMessage>): Completion;
  /** Takes a page request message. */
  receivePageRequest(host: HostBridge, request: PageRequest): void;
  /** Lets a host-physical access end in a BAR below a host bridge that owns the address, or else in memory. */
  reachHost(hpa: Hpa, write: boolean, bytes: Uint8Array, deliver: (claim: Claim) => Completion): Completion;
  /** Adds a hop of the root complex to the trace. */
  hop(host: HostBridge, kind: "root-complex" | "iommu", decision: HopDecision, rule: string): void;
}
