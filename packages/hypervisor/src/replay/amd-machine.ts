import { SparseMemory } from "@iommu-lab/memory";
import { AmdIommu, capabilitiesOf } from "@iommu-lab/iommu-amd/hardware";
import { TraceError } from "./trace-fields.ts";
import type { TraceHeader } from "./trace-header.ts";
import type { TracedMessage } from "./trace-step.ts";
import type { MachineBuilder } from "./traced-machine.ts";

/** Most of this process's memory that a trace may touch. */
const BUDGET = 2 ** 33;

/** MMIO offsets of the feature registers. AMD-Vi §3.4.1. */
const EFR = 0x30;
const EFR2 = 0x1a0;
/** Registers that tell of events: the log's pointers and the status. */
const EVENT_HEAD = 0x2010;
const EVENT_TAIL = 0x2018;
const STATUS = 0x2020;

/** Offsets in the capability block. AMD-Vi §3.2. */
const CAPABILITY = 0x40;
const MISC_0 = 0x50;
const IOTLB_SUP = 1 << 24;
const NP_CACHE = 1 << 26;

const memoryOf = ({ ram, options }: TraceHeader): SparseMemory => {
  try {
    return new SparseMemory({ ranges: ram, budget: BUDGET });
  } catch (error) {
    throw error instanceof RangeError ? new TraceError(options.line, `machine: ${error.message}`) : error;
  }
};

/** Physical address bits from the capability block; 52 where it does not say. */
const physicalWidthOf = (config: ReadonlyMap<number, number>): number => {
  const bits = ((config.get(MISC_0) ?? 0) >>> 8) & 0x7f;
  return bits >= 32 && bits <= 52 ? bits : 52;
};

/** Builds a machine with one AMD IOMMU: capabilities from the reset values of the feature registers and the capability block. */
export const amdMachine: MachineBuilder = (header, { caches }) => {
  const { reset, config } = header;
  const header0 = config.get(CAPABILITY) ?? IOTLB_SUP;
  const memory = memoryOf(header);
  const messages: TracedMessage[] = [];
  const iommu = new AmdIommu({
    memory,
    capabilities: capabilitiesOf({
      efr: [reset.get(EFR) ?? 0, reset.get(EFR + 4) ?? 0],
      efr2: [reset.get(EFR2) ?? 0, reset.get(EFR2 + 4) ?? 0],
      physicalAddressWidth: physicalWidthOf(config),
      npCache: (header0 & NP_CACHE) !== 0,
      iotlbSup: (header0 & IOTLB_SUP) !== 0,
    }),
    caches,
    sendMessage: (address, upper, data) => {
      messages.push({ address: { low: address >>> 0, high: upper >>> 0 }, data: data >>> 0 });
    },
  });
  // Every device answers a device-TLB invalidation at once.
  iommu.connect({
    invalidateDeviceTlb: (_requester, _invalidation, _timeout, complete) => {
      complete("completed");
    },
    respondToPage: () => undefined,
  });
  return { memory, iommu, messages, config: iommu.function.config, abortsWithoutMemory: true, tellsOfFaults: (offset) => offset === EVENT_HEAD || offset === EVENT_TAIL || offset === STATUS };
};
