/** Translation with any cache policy equals the cache-less walk after proper invalidation. */
import type { MmioHandler } from "@iommu-lab/memory";
import { Access, AddressType, newTranslation, NO_PASID } from "@iommu-lab/pci-bus";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { VtdUnit } from "../src/hardware/index.ts";
import { createVtdRig, profileNamed, type Profile, type VtdRig } from "./driver-rig.ts";

/** A second unit on the same memory, given every register write of the first, that caches nothing. */
const createPair = (profile: Profile, caches: "adversarial" | "realistic"): { readonly rig: VtdRig; readonly plain: VtdUnit } => {
  let plain: VtdUnit | undefined;
  const rig = createVtdRig(profile, {
    caches,
    between: (registers, memory): MmioHandler => {
      const twin = (plain = new VtdUnit({ memory, capabilities: profile.capabilities, caches: "none" }));
      return {
        read: (offset, size) => registers.read(offset, size),
        read64: (offset, into) => { registers.read64(offset, into); },
        write: (offset, size, value) => {
          registers.write(offset, size, value);
          twin.registers.write(offset, size, value);
        },
        write64: (offset, low, high) => {
          registers.write64(offset, low, high);
          twin.registers.write64(offset, low, high);
        },
      };
    },
  });
  return { rig, plain: plain! };
};

/** Areas at borders of tables; a step maps, unmaps or moves a function. */
const step = fc.record({ kind: fc.constantFrom("map", "map", "unmap", "move"), domain: fc.nat(1), area: fc.constantFrom(0, 2 ** 18 - 512, 2 ** 27 - 512), offset: fc.nat(1023), count: fc.constantFrom(1, 3, 512, 700), frame: fc.integer({ min: 1, max: 200 }), source: fc.nat(2) });

describe("any cache policy equals the cache-less walk once the driver has flushed", () => {
  const runs = (["adversarial", "realistic"] as const).flatMap((caches) => ["legacy", "legacy, caching mode", "legacy, registers", "scalable, second stage", "scalable, first stage, caching mode"].map((name) => ({ caches, name })));
  test.each(runs)("$name, $caches", ({ caches, name }) => {
    fc.assert(
      fc.property(fc.array(step, { minLength: 5, maxLength: 25 }), (steps) => {
        const { rig, plain } = createPair(profileNamed(name), caches);
        const { driver, requesters } = rig;
        driver.start();
        const domains = [driver.createDomain({ kind: "paging" }), driver.createDomain({ kind: "paging" })];
        for (const requester of requesters) driver.attach(requester, domains[0]!);
        for (const { kind, domain, area, offset, count, frame, source } of steps) {
          const target = domains[domain]!;
          const page = area + offset - (count === 512 ? offset % 512 : 0);
          if (kind === "map") {
            try {
              target.map(page * 4096, frame * 512 * 4096, count * 4096, Access.Read | (frame % 2 === 0 ? Access.Write : 0));
            } catch {
              // Mapped already: a step that does nothing.
            }
          } else if (kind === "unmap") target.unmap(page * 4096, count * 4096);
          else driver.attach(requesters[source]!, target);
          for (const one of domains) one.flush();
          for (const requester of requesters)
            for (const probe of [page, page + 1, page + count - 1, page + count])
              for (const access of [Access.Read, Access.Write]) {
                const request = { requester, pasid: NO_PASID, addressType: AddressType.Untranslated, page: probe, access };
                const [cached, walked] = [newTranslation(), newTranslation()];
                rig.unit.translate(request, cached);
                plain.translate(request, walked);
                expect(cached).toEqual(walked);
              }
        }
      }),
      { numRuns: process.env.IOMMU_LAB_FULL ? 200 : 6 },
    );
  });
});
