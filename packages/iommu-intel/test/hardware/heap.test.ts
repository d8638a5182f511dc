import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { IRTE_REMAPPED } from "@iommu-lab/interrupt-remap/vtd";
import { Access, AddressType, newTranslation, NO_PASID, type InterruptSink, type TranslationRequest } from "@iommu-lab/pci-bus";
import { describe, expect, test } from "vitest";
import * as layouts from "../../src/layouts/index.ts";
import { BDF, INTERRUPT_TABLE, legacyRig, scalableRig, type Rig } from "./rig.ts";

setFlagsFromString("--expose-gc");
const collect = runInNewContext("gc") as () => void;

const CALLS = 200_000;
const WINDOW = 50_000;
/** 64 KiB a million. */
const LIMIT = (64 * 1024 * CALLS) / 1_000_000;
/** More than the IOTLB holds. */
const PAGES = 1024;

/**
 * Bytes that `CALLS` calls allocate: growth of the heap over windows so short that no collection falls into them unless they allocate.
 * The least of some attempts: compilers allocate too, but not for ever.
 */
const allocated = (step: (i: number) => void): number => {
  for (let i = 0; i < 2 * WINDOW; i++) step(i);
  let least = Infinity;
  for (let attempt = 0; attempt < 6 && least >= LIMIT; attempt++) {
    collect();
    let bytes = 0;
    for (let start = 0; start < CALLS; start += WINDOW) {
      const before = process.memoryUsage().heapUsed;
      for (let i = start; i < start + WINDOW; i++) step(i);
      bytes += Math.abs(process.memoryUsage().heapUsed - before);
    }
    least = Math.min(least, bytes);
  }
  return least;
};

/** A step that translates pages in turn and throws when one does not end as expected. */
const translating = (rig: Rig, pageAt: (i: number) => number, fault: number, changes: Partial<TranslationRequest> = {}): ((i: number) => void) => {
  const request: TranslationRequest = { requester: BDF, pasid: NO_PASID, addressType: AddressType.Untranslated, page: 0, access: Access.Read, ...changes };
  const out = newTranslation();
  // Numbers past int32 that a function returns are allocated: the pages are made before.
  const pages = Float64Array.from({ length: 2 ** 16 }, (_, i) => pageAt(i));
  return (i) => {
    request.page = pages[i & 0xffff] as number; // masked
    rig.unit.translate(request, out);
    if (out.fault !== fault) throw new Error(`Page ${request.page} ends with ${out.fault.toString(16)}h.`);
  };
};

const mappedSecond = (): Rig => {
  const rig = legacyRig();
  for (let page = 0; page < PAGES; page++) rig.mapSecond(rig.table, page, 0x2_0000 + page);
  return rig;
};

const mappedFirst = (kind: number): Rig => {
  const rig = scalableRig({ pasid: { PGTT: kind } });
  for (let page = 0; page < PAGES; page++) {
    rig.mapFirst(rig.first, page, 0x2_0000 + page, { leaf: { A: 1, D: 1 } });
    rig.mapSecond(rig.second, 0x2_0000 + page, 0x2_0000 + page);
  }
  for (let page = 0; page < PAGES; page++) rig.mapSecond(rig.second, page, page);
  return rig;
};

/** A step that sends messages through the first 64 entries of an interrupt table. */
const interrupting = (fault: number, entry: Readonly<Record<string, number>>): ((i: number) => void) => {
  const rig = legacyRig();
  rig.write(layouts.IRTA_REG, { IRTA: INTERRUPT_TABLE / 4096, S: 7, EIME: 1 });
  rig.command({ SIRTP: 1 });
  rig.command({ IRE: 1 });
  for (let i = 0; i < 64; i++) rig.put(IRTE_REMAPPED, INTERRUPT_TABLE + 16 * i, { P: 1, V: 0x40 + i, SVT: 1, SID: BDF, ...entry });
  const sink: InterruptSink = { deliver: () => undefined, post: () => undefined };
  const message = { requester: BDF, address: 0, data: 0 };
  const out = { fault: 0, recorded: false };
  return (i) => {
    message.address = 0xfee0_0010 | ((i & 63) << 5);
    rig.unit.remapInterrupt(message, sink, out);
    if (out.fault !== fault) throw new Error(`Interrupt ${i & 63} ends with ${out.fault.toString(16)}h.`);
  };
};

const CASES: readonly (readonly [string, () => (i: number) => void])[] = [
  ["hits", () => translating(mappedSecond(), (i) => i & 63, 0)],
  ["writes that hit", () => translating(mappedSecond(), (i) => i & 63, 0, { access: Access.Write })],
  ["misses", () => translating(mappedSecond(), (i) => (i * 67) & (PAGES - 1), 0)],
  ["first-stage misses", () => translating(mappedFirst(1), (i) => (i * 67) & (PAGES - 1), 0)],
  ["nested misses", () => translating(mappedFirst(3), (i) => (i * 67) & (PAGES - 1), 0)],
  ["faults of pages that are not there", () => translating(legacyRig(), (i) => i & 0xffff, 0x06)],
  ["faults above 8 TiB", () => translating(legacyRig(), (i) => 2 ** 32 + (i & 0xffff), 0x06)],
  ["faults of sources that are not there", () => translating(legacyRig(), (i) => i & 0xffff, 0x02, { requester: BDF + 1 })],
  ["remapped interrupts", () => interrupting(0, {})],
  ["blocked interrupts", () => interrupting(0x22, { P: 0 })],
];

describe("the translation path allocates nothing", () => {
  test.each(CASES)("over many %s", (_name, make) => {
    expect(allocated(make())).toBeLessThan(LIMIT);
  });
});
