import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { IRTE_32 } from "@iommu-lab/interrupt-remap/amd";
import { Access, AddressType, newTranslation, NO_PASID, type InterruptSink, type TranslationRequest } from "@iommu-lab/pci-bus";
import { describe, expect, test } from "vitest";
import { GUEST_PTE } from "../../src/layouts/index.ts";
import { DEVICE, guestRig, hostRig, INTERRUPT_TABLE, PASID, Rig } from "./rig.ts";

setFlagsFromString("--expose-gc");
const collect = runInNewContext("gc") as () => void;

const CALLS = 200_000;
const WINDOW = 50_000;
/** 64 KiB a million. */
const LIMIT = (64 * 1024 * CALLS) / 1_000_000;
/** More than the IOTLB holds. */
const PAGES = 1024;

/** Bytes that `CALLS` calls allocate, the least of some attempts: compilers allocate too, but not for ever. */
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
  const request: TranslationRequest = { requester: DEVICE, pasid: NO_PASID, addressType: AddressType.Untranslated, page: 0, access: Access.Read, ...changes };
  const out = newTranslation();
  // Numbers past int32 that a function returns are allocated: the pages are made before.
  const pages = Float64Array.from({ length: 2 ** 16 }, (_, i) => pageAt(i));
  return (i) => {
    request.page = pages[i & 0xffff] as number; // masked
    rig.iommu.translate(request, out);
    if (out.fault !== fault) throw new Error(`Page ${request.page} ends with event ${out.fault}.`);
  };
};

const mapped = (host = 0x2_0000): Rig => {
  const rig = hostRig();
  for (let page = 0; page < PAGES; page++) rig.mapHost(rig.table, page, host + page);
  return rig;
};
/** The first of host pages past int32, and of such past 32 bits. */
const PAST_INT32 = 2 ** 31 + 5;
const PAST_32_BITS = 2 ** 33 + 2 ** 31 + 7;
const mappedGuest = (nested: boolean): Rig => {
  const rig = guestRig({ nested });
  for (let page = 0; page < PAGES; page++) rig.mapGuest(rig.guest, page, 0x2_0000 + page, { leaf: { A: 1, D: 1 } });
  return rig;
};
/** The same with guest-physical pages past int32, of tables and of what they map. */
const mappedFar = (): Rig => {
  const far = 2 ** 34;
  const rig = guestRig({ nested: true });
  const directories = new Set<number>();
  for (let page = 0; page < PAGES; page++) {
    for (const at of rig.mapGuest(rig.guest, page, far + 0x2_0000 + page, { leaf: { A: 1, D: 1 } }).slice(0, -1)) directories.add(at);
    rig.mapHost(rig.table, far + 0x2_0000 + page, 0x2_0000 + page);
  }
  for (const at of directories) {
    const table = GUEST_PTE.get.Address(rig.words(at, 2));
    rig.put(GUEST_PTE, at, { P: 1, RW: 1, US: 1, A: 1, Address: far + table });
    rig.mapHost(rig.table, far + table, table);
  }
  return rig;
};
/** A step that sends messages through the entries of an interrupt table. */
const interrupting = (fault: number, enabled: number): ((i: number) => void) => {
  const rig = new Rig();
  rig.device({ IV: 1, IntCtl: 2, IntTabLen: 6, IntTabRoot: INTERRUPT_TABLE / 128 });
  for (let i = 0; i < 64; i++) rig.put(IRTE_32, INTERRUPT_TABLE + 4 * i, { RemapEn: enabled, Vector: 0x40 + i });
  const sink: InterruptSink = { deliver: () => undefined, post: () => undefined };
  const message = { requester: DEVICE, address: 0xfee0_0000, data: 0 };
  const out = { fault: 0, recorded: false };
  return (i) => {
    message.data = i & 63;
    rig.iommu.remapInterrupt(message, sink, out);
    if (out.fault !== fault) throw new Error(`Interrupt ${message.data} ends with ${out.fault}.`);
  };
};

describe("the translation and remapping paths allocate nothing", () => {
  test.each([
    ["IOTLB hits", () => translating(mapped(), (i) => i % 64, 0)],
    ["walks", () => translating(mapped(), (i) => (i * 7919) % PAGES, 0)],
    ["IOTLB hits of host pages past int32", () => translating(mapped(PAST_INT32), (i) => i % 64, 0)],
    ["walks to host pages past int32", () => translating(mapped(PAST_INT32), (i) => (i * 7919) % PAGES, 0)],
    ["IOTLB hits of host pages past 32 bits", () => translating(mapped(PAST_32_BITS), (i) => i % 64, 0)],
    ["walks to host pages past 32 bits", () => translating(mapped(PAST_32_BITS), (i) => (i * 7919) % PAGES, 0)],
    ["page faults", () => translating(mapped(), (i) => PAGES + (i % 64), 2)],
    ["translation requests", () => translating(hostRig({ device: { I: 1 } }), (i) => i % 64, 0, { addressType: AddressType.TranslationRequest })],
    ["guest walks", () => translating(mappedGuest(false), (i) => (i * 7919) % PAGES, 0, { pasid: PASID })],
    ["nested walks", () => translating(mappedGuest(true), (i) => (i * 7919) % PAGES, 0, { pasid: PASID })],
    ["nested walks of far guest pages", () => translating(mappedFar(), (i) => (i * 7919) % PAGES, 0, { pasid: PASID })],
    ["remapped interrupts", () => interrupting(0, 1)],
    ["blocked interrupts", () => interrupting(2, 0)],
  ])("%s", (_what, make) => {
    expect(allocated(make())).toBeLessThan(LIMIT);
  });
});
