import { LEGACY, SCALABLE, withCapabilities } from "@iommu-lab/iommu-intel/hardware";
import { CONTEXT_DESCRIPTOR, CONTEXT_ENTRY, DEVICE_TLB_DESCRIPTOR, IOTLB_DESCRIPTOR, IQA_REG, IQH_REG, IQT_REG, PASID_CACHE_DESCRIPTOR, PASID_DIRECTORY_ENTRY, PASID_ENTRY, ROOT_ENTRY, SCALABLE_CONTEXT_ENTRY, SCALABLE_ROOT_ENTRY, SECOND_STAGE_ENTRY, WAIT_DESCRIPTOR } from "@iommu-lab/iommu-intel/layouts";
import type { CachePolicy } from "@iommu-lab/pci-bus";
import { AddressTranslationCache } from "@iommu-lab/pci-bus/model";
import { indexAt } from "../bench/tables.ts";
import { VtdBench } from "../bench/vtd-bench.ts";
import { DEVICE, DOMAINS, FIRST_PAGE, LEVELS, type CacheMachine, type Invalidation } from "./machine.ts";

const TYPES = { context: 1, iotlb: 2, device: 3, wait: 5, pasid: 7 } as const;
/** PGTT of a PASID table entry: second stage. VT-d §9.6. */
const SECOND_STAGE = 2;
/** Granularity of a PASID-cache invalidation. VT-d §6.5.2.2. */
const EVERY_PASID = 3;
const GRANULARITY = { global: 1, domain: 2, selective: 3 } as const;

/** Binds the device to a domain and its top table through a context entry. */
const legacyBinding = (bench: VtdBench, contexts: number): ((table: number, domain: number) => void) => {
  bench.put(ROOT_ENTRY, bench.root + 16 * (DEVICE >>> 8), { P: 1, CTP: contexts });
  return (table, domain) => { bench.put(CONTEXT_ENTRY, contexts * 4096 + 16 * (DEVICE & 0xff), { P: 1, TT: 1, AW: LEVELS - 2, SSPTPTR: table, DID: domain }); };
};

/** The same through the entry of PASID 0, which requests without PASID take (RID_PASID). VT-d §3.4.3. */
const scalableBinding = (bench: VtdBench, contexts: number): ((table: number, domain: number) => void) => {
  const [directory, pasids] = [bench.page(), bench.page()];
  bench.put(SCALABLE_ROOT_ENTRY, bench.root + 16 * (DEVICE >>> 8), { LP: 1, LCTP: contexts });
  bench.put(SCALABLE_CONTEXT_ENTRY, contexts * 4096 + 32 * (DEVICE & 0x7f), { P: 1, DTE: 1, PASIDDIRPTR: directory });
  bench.put(PASID_DIRECTORY_ENTRY, directory * 4096, { P: 1, SMPTBLPTR: pasids });
  return (table, domain) => { bench.put(PASID_ENTRY, pasids * 4096, { P: 1, PGTT: SECOND_STAGE, AW: LEVELS - 2, SSPTPTR: table, DID: domain }); };
};

/** A unit with one device that has a device-TLB. In scalable mode descriptors have 32 bytes. */
export const vtdMachine = (caches: CachePolicy, absent: boolean, scalable: boolean): CacheMachine => {
  const bench = new VtdBench(withCapabilities(scalable ? SCALABLE : LEGACY, { hostAddressWidth: 46, cap: { CM: absent ? 1 : 0 } }), { caches });
  const deviceTlb = new AddressTranslationCache();
  bench.unit.connect({
    invalidateDeviceTlb: (_requester, invalidation, _timeout, complete) => {
      deviceTlb.invalidate(invalidation);
      complete("completed");
    },
    respondToPage: () => undefined,
  });
  const [contexts, top, other, queue, status] = [bench.page(), bench.page(), bench.page(), bench.page(), bench.page()];
  /** In the 16 bytes that head and tail count. */
  const width = scalable ? 2 : 1;
  const places = 256 / width;
  const tie = (scalable ? scalableBinding : legacyBinding)(bench, contexts);
  let table = top;
  for (let level = LEVELS; level > 1; level--) {
    const next = bench.page();
    bench.put(SECOND_STAGE_ENTRY, table * 4096 + 8 * indexAt(FIRST_PAGE, level), { R: 1, W: 1, ADDR: next });
    table = next;
  }
  let [at, waits, bound] = [0, 0, 0];
  const domain = (): number => DOMAINS[bound] ?? DOMAINS[0];
  const bind = (): void => { tie(bound === 0 ? top : other, domain()); };
  bind();
  bench.start(scalable ? 1 : 0);
  bench.write(IQT_REG, { QT: 0 });
  bench.write(IQA_REG, { IQA: queue, DW: width - 1 });
  bench.command({ QIE: 1 });
  const encode = (invalidation: Invalidation): Uint32Array => {
    switch (invalidation.what) {
      case "page": return IOTLB_DESCRIPTOR.encode({ TYPE: TYPES.iotlb, G: GRANULARITY.selective, DID: domain(), ADDR: FIRST_PAGE + invalidation.page });
      case "device": return DEVICE_TLB_DESCRIPTOR.encode({ TYPE: TYPES.device, SID: DEVICE, ADDR: FIRST_PAGE + invalidation.page });
      case "domain": return IOTLB_DESCRIPTOR.encode({ TYPE: TYPES.iotlb, G: GRANULARITY.domain, DID: DOMAINS[0] });
      case "global": return IOTLB_DESCRIPTOR.encode({ TYPE: TYPES.iotlb, G: GRANULARITY.global });
      case "source": return CONTEXT_DESCRIPTOR.encode({ TYPE: TYPES.context, G: GRANULARITY.global });
      case "pasid": return scalable ? PASID_CACHE_DESCRIPTOR.encode({ TYPE: TYPES.pasid, G: EVERY_PASID }) : encode({ what: "source" });
      case "wait": return WAIT_DESCRIPTOR.encode({ TYPE: TYPES.wait, SW: 1, FN: 1, DATA: ++waits, ADDR_LOW: status * 1024 });
    }
  };
  const NAMES: Readonly<Record<Invalidation["what"], string>> = { page: "IOTLB, page", device: "device-TLB, page", domain: "IOTLB, domain", global: "IOTLB, global", source: "context-cache, global", pasid: scalable ? "PASID-cache, global" : "context-cache, global", wait: "wait" };
  return {
    size: places,
    hasPasidCache: scalable,
    deviceTlb,
    firstPage: FIRST_PAGE,
    domain,
    setPage: (page, frame) => { bench.put(SECOND_STAGE_ENTRY, table * 4096 + 8 * indexAt(FIRST_PAGE + page, 1), frame === undefined ? {} : { R: 1, W: 1, ADDR: frame }); },
    move: () => {
      bound = 1 - bound;
      bind();
    },
    put: (invalidation) => {
      const words = encode(invalidation);
      const index = at;
      bench.putWords(queue * 4096 + 16 * width * index, words);
      at = (at + 1) % places;
      return { index, name: NAMES[invalidation.what], words: [...words] };
    },
    bell: () => { bench.write(IQT_REG, { QT: at * width }); },
    pointers: () => ({ head: bench.read(IQH_REG).QH / width, tail: bench.read(IQT_REG).QT / width }),
    status: () => bench.memory.read32(status * 4096),
    translate: (request, out, explain) => { bench.unit.translate(request, out, explain); },
    contents: () => bench.unit.cacheContents,
  };
};
