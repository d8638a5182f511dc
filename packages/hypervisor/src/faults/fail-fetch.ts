import type { MmioHandler, Pfn } from "@iommu-lab/memory";
import type { PciFunction, UpstreamPort } from "@iommu-lab/pci-bus";
import type { BoardTaps } from "../board/taps.ts";

const registersAfter = (handler: MmioHandler, begin: () => void): MmioHandler => ({
  read: (offset, size) => {
    begin();
    return handler.read(offset, size);
  },
  write: (offset, size, value) => {
    begin();
    handler.write(offset, size, value);
  },
  read64: (offset, into) => {
    begin();
    handler.read64(offset, into);
  },
  write64: (offset, low, high) => {
    begin();
    handler.write64(offset, low, high);
  },
});

const portAfter = (port: UpstreamPort, begin: () => void): UpstreamPort => ({
  requester: port.requester,
  dmaRead: (address, into, options) => {
    begin();
    return port.dmaRead(address, into, options);
  },
  dmaWrite: (address, from, options) => {
    begin();
    return port.dmaWrite(address, from, options);
  },
  translate: (address, access, out, options) => {
    begin();
    return port.translate(address, access, out, options);
  },
  pageRequest: (request) => {
    begin();
    port.pageRequest(request);
  },
  message: (address, data) => {
    begin();
    return port.message(address, data);
  },
  interruptPin: (pin, asserted) => {
    port.interruptPin(pin, asserted);
  },
});

const functionAfter = (fn: PciFunction, begin: () => void): PciFunction => ({
  config: fn.config,
  bars: fn.bars,
  ...(fn.fabric ? { fabric: fn.fabric } : {}),
  connect: (port) => {
    fn.connect(portAfter(port, begin));
  },
});

/**
 * Taps that keep pages of tables and queues from the IOMMU. A page that could not be read stays so until the next request or
 * register access: a model may look at a page more than once where hardware does one fetch.
 * @param fails asked once for every page that is fetched
 */
export const failingFetches = (fails: (pfn: Pfn<"HPA">) => boolean): BoardTaps => {
  let failing: Pfn<"HPA"> | undefined;
  const begin = (): void => {
    failing = undefined;
  };
  return {
    registers: (handler) => registersAfter(handler, begin),
    function: (fn) => functionAfter(fn, begin),
    tableMemory: (memory) => ({
      wordsOf: (pfn) => {
        if (pfn !== failing && !fails(pfn)) return memory.wordsOf(pfn);
        failing = pfn;
        return undefined;
      },
      wordOf: (pfn) => memory.wordOf(pfn),
      write32: (at, value) => {
        memory.write32(at, value);
      },
    }),
  };
};
