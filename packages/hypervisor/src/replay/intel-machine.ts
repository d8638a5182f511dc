import { SparseMemory } from "@iommu-lab/memory";
import { capabilitiesOf, VtdUnit, type VtdUnitOptions } from "@iommu-lab/iommu-intel/hardware";
import { TraceError } from "./trace-fields.ts";
import type { TraceHeader } from "./trace-header.ts";
import type { TracedMessage } from "./trace-step.ts";
import type { MachineBuilder } from "./traced-machine.ts";

/** Most of this process's memory that a trace may touch. */
const BUDGET = 2 ** 33;

/** Registers by offset. VT-d §11.4 "Register Descriptions". */
const VER = 0x00;
const CAP = 0x08;
const ECAP = 0x10;
const FSTS = 0x34;
const FECTL = 0x38;

/** What a unit has when its header names no CAP and ECAP: 48-bit second stage, queued invalidation, interrupt remapping, pass-through. */
const PLAIN: ReadonlyMap<number, number> = new Map([
  [VER, 0x10],
  [CAP, 0x222f_0606],
  [CAP + 4, 0x00d2_008c],
  [ECAP, 0x00f0_0f4a],
]);

/** Replaces bits of a word. */
const replace = (word: number, shift: number, width: number, value: number): number => ((word & ~((2 ** width - 1) << shift)) | (value << shift)) >>> 0;

/** CAP of the header, with NFR and MAMV as its options restate them. VT-d §11.4.2 "Capability Register". */
const capabilityOf = (words: ReadonlyMap<number, number>, { options }: TraceHeader): readonly [number, number] => {
  let high = words.get(CAP + 4) ?? 0;
  if (options.has("nfr")) high = replace(high, 40 - 32, 8, options.integer("nfr", 256) - 1);
  if (options.has("mamv")) high = replace(high, 48 - 32, 6, options.integer("mamv", 63));
  return [words.get(CAP) ?? 0, high];
};

/** The policies that the format lets a replay hand to the model. */
const policyOf = ({ options }: TraceHeader): NonNullable<VtdUnitOptions["policy"]> => {
  const faultCollapse = options.flag("fault_collapse");
  const ridPasid = options.flag("rid_pasid");
  const interruptFaults = options.flag("ir_faults");
  const checkInterruptOutput = options.flag("intr_output_check");
  return {
    ...(faultCollapse === undefined ? {} : { faultCollapse }),
    ...(ridPasid === undefined ? {} : { ridPasid }),
    ...(interruptFaults === undefined ? {} : { interruptFaults }),
    ...(checkInterruptOutput === undefined ? {} : { checkInterruptOutput }),
  };
};

const memoryOf = ({ ram, options }: TraceHeader): SparseMemory => {
  try {
    return new SparseMemory({ ranges: ram, budget: BUDGET });
  } catch (error) {
    throw error instanceof RangeError ? new TraceError(options.line, `machine: ${error.message}`) : error;
  }
};

/** Builds a machine with one VT-d unit: memory from `ram_map`, capabilities from the reset values of CAP and ECAP, policies from the options. */
export const intelMachine: MachineBuilder = (header, { caches }) => {
  const { reset, options } = header;
  const words = reset.has(CAP) || reset.has(CAP + 4) || reset.has(ECAP) ? reset : PLAIN;
  const cap = capabilityOf(words, header);
  const maximumGuestWidth = ((cap[0] >>> 16) & 0x3f) + 1;
  const memory = memoryOf(header);
  const messages: TracedMessage[] = [];
  const iommu = new VtdUnit({
    memory,
    capabilities: capabilitiesOf({
      version: words.get(VER) ?? 0x10,
      cap,
      ecap: [words.get(ECAP) ?? 0, words.get(ECAP + 4) ?? 0],
      hostAddressWidth: options.has("haw") ? options.integer("haw", 52) : Math.min(maximumGuestWidth, 52),
    }),
    caches,
    policy: policyOf(header),
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
  const firstRecord = ((cap[0] >>> 24) | ((cap[1] & 3) << 8)) * 16;
  const records = ((cap[1] >>> 8) & 0xff) + 1;
  return { memory, iommu, messages, tellsOfFaults: (offset) => offset === FSTS || offset === FECTL || (offset >= firstRecord && offset < firstRecord + 16 * records) };
};
