import type { FrameAllocator, MmioHandler, PhysicalMemory } from "@iommu-lab/memory";
import type { RequesterId } from "@iommu-lab/pci-bus";

/** One IOMMU as its IVHD block and PCI capability describe it. AMD-Vi §5.2.2, §3.2. */
export interface AmdUnitWindow {
  /** The MMIO region. */
  readonly registers: MmioHandler;
  /** Whether the IVHD block holds a requester. Without it: every one that no unit before it covers. */
  readonly covers?: (requester: RequesterId) => boolean;
  /** NpCache of the capability header: mappings need an invalidation too. Default false. */
  readonly npCache?: boolean;
}

/** What the driver of a machine's IOMMUs is built with. */
export interface AmdDriverOptions {
  /** Where tables, logs and buffers go: host memory as the processor sees it. */
  readonly memory: PhysicalMemory;
  /** Where their frames come from; all of them are in `memory`. The device table takes 2 MiB in one piece. */
  readonly frames: FrameAllocator;
  /** PAsize: bits of a host-physical address. */
  readonly physicalAddressWidth: number;
  readonly units: readonly AmdUnitWindow[];
  /** Tables of paging domains: host (v1) tables, or guest (v2) tables, which PASIDs need. Default: host. */
  readonly tables?: "host" | "guest";
  /** Levels of host tables: 3 to 6. Default 4. */
  readonly levels?: number;
  /** Which functions have a device-TLB that the kernel has switched on (ATS). Default: none. */
  readonly deviceTlb?: (requester: RequesterId) => boolean;
  /** Which functions may send page requests (PRI). Default: none. */
  readonly pageRequests?: (requester: RequesterId) => boolean;
  /** Remap interrupts. Default true; without it they are forwarded as they are (IV = 0). */
  readonly interruptRemapping?: boolean;
  /** 32-bit APIC IDs (XTEn) where every unit has them. Default true. */
  readonly x2apic?: boolean;
  /** Called between two looks at memory or a register: time passes. */
  readonly relax?: () => void;
  /** Looks before the driver gives up on the hardware. Default 10 000. */
  readonly polls?: number;
}
