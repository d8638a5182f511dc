import { FULL, withCapabilities } from "@iommu-lab/iommu-amd/hardware";
import { CMD_HEAD, CMD_TAIL, COMPLETION_WAIT, DEVICE_TABLE_ENTRY, HOST_PDE, HOST_PTE, INVALIDATE_DEVTAB_ENTRY, INVALIDATE_IOMMU_ALL, INVALIDATE_IOMMU_PAGES, INVALIDATE_IOTLB_PAGES } from "@iommu-lab/iommu-amd/layouts";
import type { CachePolicy } from "@iommu-lab/pci-bus";
import { AddressTranslationCache } from "@iommu-lab/pci-bus/model";
import { AmdBench, COMMANDS, RING_ENTRIES } from "../bench/amd-bench.ts";
import { indexAt } from "../bench/tables.ts";
import { DEVICE, DOMAINS, FIRST_PAGE, LEVELS, type CacheMachine, type Invalidation } from "./machine.ts";

/** With S=1: every page there is. */
const ALL_PAGES = 0x7_ffff_ffff_ffff;
const NAMES: Readonly<Record<Invalidation["what"], string>> = { page: "INVALIDATE_IOMMU_PAGES, page", device: "INVALIDATE_IOTLB_PAGES", domain: "INVALIDATE_IOMMU_PAGES, domain", global: "INVALIDATE_IOMMU_ALL", source: "INVALIDATE_DEVTAB_ENTRY", pasid: "INVALIDATE_DEVTAB_ENTRY", wait: "COMPLETION_WAIT" };

/** An AMD IOMMU with one device that has a device-TLB. */
export const amdMachine = (caches: CachePolicy, absent: boolean): CacheMachine => {
  const bench = new AmdBench(withCapabilities(FULL, { npCache: absent }), { caches });
  const deviceTlb = new AddressTranslationCache();
  bench.iommu.connect({
    invalidateDeviceTlb: (_requester, invalidation, _timeout, complete) => {
      deviceTlb.invalidate(invalidation);
      complete("completed");
    },
    respondToPage: () => undefined,
  });
  const [top, other, status] = [bench.page(), bench.page(), bench.page()];
  let table = top;
  for (let level = LEVELS; level > 1; level--) {
    const next = bench.page();
    bench.put(HOST_PDE, table * 4096 + 8 * indexAt(FIRST_PAGE, level), { PR: 1, IR: 1, IW: 1, NextLevel: level - 1, Address: next });
    table = next;
  }
  let [at, waits, bound] = [0, 0, 0];
  const domain = (): number => DOMAINS[bound] ?? DOMAINS[0];
  const bind = (): void => { bench.put(DEVICE_TABLE_ENTRY, bench.entryOf(DEVICE), { V: 1, TV: 1, IR: 1, IW: 1, I: 1, Mode: LEVELS, HostRoot: bound === 0 ? top : other, DomainID: domain() }); };
  bind();
  bench.start();
  const encode = (invalidation: Invalidation): Uint32Array => {
    switch (invalidation.what) {
      case "page": return INVALIDATE_IOMMU_PAGES.encode({ OpCode: 3, DomainID: domain(), PDE: 1, Address: FIRST_PAGE + invalidation.page });
      case "device": return INVALIDATE_IOTLB_PAGES.encode({ OpCode: 4, DeviceID: DEVICE, QueueID: DEVICE, MaxPend: 1, Address: FIRST_PAGE + invalidation.page });
      case "domain": return INVALIDATE_IOMMU_PAGES.encode({ OpCode: 3, DomainID: DOMAINS[0], PDE: 1, S: 1, Address: ALL_PAGES });
      case "global": return INVALIDATE_IOMMU_ALL.encode({ OpCode: 8 });
      case "source":
      case "pasid": return INVALIDATE_DEVTAB_ENTRY.encode({ OpCode: 2, DeviceID: DEVICE });
      case "wait": return COMPLETION_WAIT.encode({ OpCode: 1, s: 1, StoreLow: status * 512, DataLow: ++waits });
    }
  };
  return {
    size: RING_ENTRIES,
    hasPasidCache: false,
    deviceTlb,
    firstPage: FIRST_PAGE,
    domain,
    setPage: (page, frame) => { bench.put(HOST_PTE, table * 4096 + 8 * indexAt(FIRST_PAGE + page, 1), frame === undefined ? {} : { PR: 1, IR: 1, IW: 1, Address: frame }); },
    move: () => {
      bound = 1 - bound;
      bind();
    },
    put: (invalidation) => {
      const words = encode(invalidation);
      const index = at;
      bench.putWords(COMMANDS + 16 * index, words);
      at = (at + 1) % RING_ENTRIES;
      return { index, name: NAMES[invalidation.what], words: [...words] };
    },
    bell: () => { bench.write(CMD_TAIL, { Ptr: at }); },
    pointers: () => ({ head: bench.read(CMD_HEAD).Ptr, tail: bench.read(CMD_TAIL).Ptr }),
    status: () => bench.memory.read32(status * 4096),
    translate: (request, out, explain) => { bench.iommu.translate(request, out, explain); },
    contents: () => bench.iommu.cacheContents,
  };
};
