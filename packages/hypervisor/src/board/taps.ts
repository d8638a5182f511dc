import type { AddressSpace, Hpa, MmioHandler, Pfn } from "@iommu-lab/memory";
import type { InterruptSink, PciFunction } from "@iommu-lab/pci-bus";

/** Memory as an IOMMU reaches its tables and queues. */
export interface TableMemory {
  wordsOf(pfn: Pfn<"HPA">): Uint32Array | undefined;
  wordOf(pfn: Pfn<"HPA">): number;
  write32(at: Hpa, value: number): void;
}

/** What stands between the parts of a board, to watch or to disturb: each gets a part and gives what takes its place. */
export interface BoardTaps {
  /** Between the IOMMU and its tables and queues. */
  tableMemory?(memory: TableMemory): TableMemory;
  /** Between the devices and memory, past the IOMMU. */
  deviceMemory?(memory: AddressSpace<Hpa>): AddressSpace<Hpa>;
  /** Between the processor and the IOMMU's registers. */
  registers?(handler: MmioHandler): MmioHandler;
  /** Between a function and the bus, by device and function number; `own`: it is the IOMMU's own. */
  function?(fn: PciFunction, devfn: number, own: boolean): PciFunction;
  /** Where remapped interrupts go. */
  interrupts?(sink: InterruptSink): InterruptSink;
  /** The IOMMU itself sends a message. */
  ownMessage?(address: number, upper: number, data: number): void;
}

/** Several taps, the first nearest to the IOMMU: memory is asked through it first, and registers last. */
export const inSeries = (taps: readonly BoardTaps[]): Required<BoardTaps> => ({
  tableMemory: (memory) => taps.reduceRight<TableMemory>((inner, tap) => tap.tableMemory?.(inner) ?? inner, memory),
  deviceMemory: (memory) => taps.reduceRight<AddressSpace<Hpa>>((inner, tap) => tap.deviceMemory?.(inner) ?? inner, memory),
  registers: (handler) => taps.reduce((inner, tap) => tap.registers?.(inner) ?? inner, handler),
  function: (fn, devfn, own) => taps.reduce((inner, tap) => tap.function?.(inner, devfn, own) ?? inner, fn),
  interrupts: (sink) => taps.reduce((inner, tap) => tap.interrupts?.(inner) ?? inner, sink),
  ownMessage: (address, upper, data) => {
    for (const tap of taps) tap.ownMessage?.(address, upper, data);
  },
});
