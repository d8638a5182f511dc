import { FlatMemory } from "@iommu-lab/memory";
import type { Values } from "@iommu-lab/memory/layout";
import type { CachePolicy, ExplanationStep, Interrupt, InterruptSink, Posting } from "@iommu-lab/pci-bus";
import { IRTE_POSTED, IRTE_REMAPPED, newVtdInterruptVerdict, POSTED_INTERRUPT_DESCRIPTOR, VtdInterruptRemapper, type VtdInterruptVerdict, type VtdRemapSettings, type VtdRemapperOptions } from "../../src/vtd/index.ts";

/** A table in the page 3 and following, 4 MiB of RAM, everything that arrives copied. */
export const TABLE = 0x3000;
export const MEMORY = 0x40_0000;
export const DESCRIPTOR = 0x20_0040;

export interface RemapBench {
  readonly memory: FlatMemory;
  readonly settings: VtdRemapSettings;
  readonly remapper: VtdInterruptRemapper;
  readonly delivered: Interrupt[];
  readonly posted: Posting[];
  readonly sink: InterruptSink;
  /** Verdict on a request in remappable format for `index`. */
  request(index: number, requester?: number): VtdInterruptVerdict;
  send(address: number, data: number, requester?: number): VtdInterruptVerdict;
  explain(index: number, requester?: number): ExplanationStep[];
  writeEntry(index: number, words: ArrayLike<number>): void;
  writeDescriptor(words: ArrayLike<number>, at?: number): void;
}

export const remappable = (index: number): number => 0xfee0_0010 | ((index & 0x7fff) << 5) | ((index >>> 15) << 2);

export const remapped = (fields: Partial<Values<typeof IRTE_REMAPPED.fields>> = {}): Uint32Array => IRTE_REMAPPED.encode({ P: 1, V: 0x41, DST: 0x0500, ...fields });
export const posted = (fields: Partial<Values<typeof IRTE_POSTED.fields>> = {}): Uint32Array => IRTE_POSTED.encode({ P: 1, IM: 1, VV: 0x61, PDAL: DESCRIPTOR >>> 6, ...fields });
export const descriptor = (fields: Partial<Values<typeof POSTED_INTERRUPT_DESCRIPTOR.fields>> = {}): Uint32Array => POSTED_INTERRUPT_DESCRIPTOR.encode({ NV: 0xf2, NDST: 0x0700, ...fields });

const writeWords = (memory: FlatMemory, at: number, words: ArrayLike<number>): void => {
  Array.from(words).forEach((word, i) => {
    memory.write32(at + 4 * i, word);
  });
};

export const remapBench = (options: Partial<Omit<VtdRemapperOptions, "memory" | "settings">> & { settings?: Partial<VtdRemapSettings>; memory?: FlatMemory } = {}): RemapBench => {
  const { settings: given, memory = new FlatMemory(MEMORY), ...rest } = options;
  const settings: VtdRemapSettings = { enabled: true, tablePage: TABLE / 4096, entries: 512, extended: false, compatibility: false, ...given };
  const caches: CachePolicy = "none";
  const remapper = new VtdInterruptRemapper({ memory, settings, hostAddressWidth: 39, posting: true, caches, cachingMode: false, ...rest });
  const delivered: Interrupt[] = [];
  const postings: Posting[] = [];
  const sink: InterruptSink = { deliver: (interrupt) => delivered.push({ ...interrupt }), post: (posting) => postings.push(structuredClone(posting)) };
  const send: RemapBench["send"] = (address, data, requester = 0x0100) => {
    const out = newVtdInterruptVerdict();
    out.fault = -1;
    remapper.remap({ requester, address, data }, sink, out);
    return out;
  };
  return {
    memory,
    settings,
    remapper,
    delivered,
    posted: postings,
    sink,
    send,
    request: (index, requester) => send(remappable(index), 0, requester),
    explain: (index, requester = 0x0100) => {
      const steps: ExplanationStep[] = [];
      remapper.remap({ requester, address: remappable(index), data: 0 }, sink, newVtdInterruptVerdict(), { step: (step) => steps.push(step) });
      return steps;
    },
    writeEntry: (index, words) => {
      writeWords(memory, settings.tablePage * 4096 + 16 * index, words);
    },
    writeDescriptor: (words, at = DESCRIPTOR) => {
      writeWords(memory, at, words);
    },
  };
};

export const PASSED = { fault: 0, recorded: false };
