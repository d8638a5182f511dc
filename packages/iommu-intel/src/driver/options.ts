import type { FrameAllocator, Hpa, MmioHandler, PhysicalMemory } from "@iommu-lab/memory";
import type { RequesterId } from "@iommu-lab/pci-bus";

/** The message a unit sends for its own events. It is not remapped. VT-d §5.1.6. */
export interface VtdEventMessage {
  /** Bits 31:2 of the address. */
  readonly address: number;
  /** Bits 63:32 of the address. */
  readonly upper: number;
  /** 16 bits. */
  readonly data: number;
}

/** One remapping unit as its DRHD structure describes it. VT-d §8.3. */
export interface VtdUnitWindow {
  /** The register window. */
  readonly registers: MmioHandler;
  /** Whether the unit's device scope holds a requester. Without it: every one that no unit before it covers (INCLUDE_PCI_ALL). */
  readonly covers?: (requester: RequesterId) => boolean;
  /** Where fault and page request events go. Without it they stay masked, and `service` is to be called now and then. */
  readonly event?: VtdEventMessage;
}

/** What the driver of a machine's remapping units is built with. */
export interface VtdDriverOptions {
  /** Where tables and queues go: host memory as the processor sees it. */
  readonly memory: PhysicalMemory;
  /** Where their frames come from; all of them are in `memory`. */
  readonly frames: FrameAllocator;
  /** HAW of the DMAR table: bits of a host-physical address. */
  readonly hostAddressWidth: number;
  readonly units: readonly VtdUnitWindow[];
  /** Default: scalable where every unit can. */
  readonly mode?: "legacy" | "scalable";
  /** Tables of paging domains. Default: second-stage where every unit has it. Legacy mode has no other. */
  readonly stage?: "first" | "second";
  /** Default: the queue where a unit has one. Scalable mode and interrupt remapping need it. */
  readonly invalidation?: "queue" | "registers";
  /** Pages of an invalidation queue, as a power of two: 0 to 7. Default 0. */
  readonly queueOrder?: number;
  /** Which functions have a device-TLB that the kernel has switched on (ATS). Default: none. */
  readonly deviceTlb?: (requester: RequesterId) => boolean;
  /** Which functions may send page requests (PRI). Default: none. */
  readonly pageRequests?: (requester: RequesterId) => boolean;
  /** Bits of the largest PASID a function may use. Default 16, or as many as the units have. */
  readonly pasidBits?: number;
  /** Entries of each interrupt remapping table: a power of two from 2 to 65536. Default 4096. */
  readonly interruptEntries?: number;
  /** Remap interrupts where the units can. Default true; without it messages pass as they are. */
  readonly interruptRemapping?: boolean;
  /** 32-bit APIC IDs (EIME) where the unit has them. Default true. */
  readonly x2apic?: boolean;
  /** What identity domains map where a unit has no pass-through. */
  readonly ram?: readonly { readonly start: Hpa; readonly size: number }[];
  /** Called between two looks at a register or status word: time passes. A machine with a clock moves it on here. */
  readonly relax?: () => void;
  /** Looks before the driver gives up on the hardware. Default 10 000. */
  readonly polls?: number;
}
