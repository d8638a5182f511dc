import { FrameAllocator, PAGE_SIZE, type MmioHandler } from "@iommu-lab/memory";
import type { Iommu, IommuDriver, PciFunction } from "@iommu-lab/pci-bus";
import type { MachineIommu } from "@iommu-lab/pci-bus/machine";
import { makeDriver, makeUnits, type MachineUnit } from "../machine/machine-units.ts";
import type { GuestMemory } from "./guest-memory.ts";

/** Where a guest finds its IOMMU's registers. */
export interface VirtualIommuOptions {
  readonly memory: GuestMemory;
  /** What it can; a hypervisor that must see what a guest maps says so by caching mode. */
  readonly description: MachineIommu;
  /** Takes messages of its own: address and data. */
  readonly send: (address: number, data: number) => void;
}

/**
 * An IOMMU for a guest: the same model as the machine's own, one level up. Its tables, queues and logs are in the guest's memory,
 * by guest-physical addresses, and what it translates to are guest-physical addresses too.
 */
export class VirtualIommu {
  readonly unit: MachineUnit;
  readonly #memory: GuestMemory;

  /** @throws ImpossibleIommu when there can be none as described */
  constructor({ memory, description, send }: VirtualIommuOptions) {
    const [unit] = makeUnits({ iommus: [description] }, memory, send);
    if (!unit) throw new RangeError("A guest's IOMMU needs a description.");
    this.unit = unit;
    this.#memory = memory;
  }

  get iommu(): Iommu {
    return this.unit.iommu;
  }

  /** AMD's own function, for the guest's bus; with its device and function number. */
  get own(): { readonly fn: PciFunction; readonly devfn: number } | undefined {
    return this.unit.own && { fn: this.unit.own.fn, devfn: this.unit.own.address.requester & 0xff };
  }

  /** First guest-physical address of the register window. */
  get base(): number {
    return this.unit.registerBase;
  }

  get size(): number {
    return this.unit.windowSize;
  }

  /**
   * The driver of a guest's kernel for it.
   * @param registers the window as the guest reaches it: each access may cost an exit
   * @param first     first page that the driver may use for its tables
   * @param pages     how many of them
   */
  driver(registers: MmioHandler, first: number, pages: number): IommuDriver {
    const driver = makeDriver([{ ...this.unit, iommu: { ...boundTo(this.unit.iommu), registers } }], {
      memory: this.#memory,
      frames: new FrameAllocator({ start: first, count: pages }),
      covers: () => true,
      deviceTlb: () => false,
      ram: [{ start: 0, size: Math.floor(this.#memory.size / PAGE_SIZE) * PAGE_SIZE }],
      x2apic: false,
      interruptRemapping: this.unit.description.interruptRemapping ?? true,
      relax: () => undefined,
    });
    if (!driver) throw new RangeError("There is no driver without an IOMMU.");
    return driver;
  }
}

/** The methods of an IOMMU without its register window. */
const boundTo = (iommu: Iommu): Omit<Iommu, "registers"> => ({
  translate: (request, out, explain) => { iommu.translate(request, out, explain); },
  remapInterrupt: (message, sink, out, explain) => { iommu.remapInterrupt(message, sink, out, explain); },
  pageRequest: (request) => { iommu.pageRequest(request); },
  connect: (port) => { iommu.connect(port); },
  reset: (kind) => { iommu.reset(kind); },
});
