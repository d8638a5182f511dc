import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { DmaMapFlag, VfioError } from "../src/index.ts";
import { codeOf, makeMachine, makeProcess, openNic } from "./machine.ts";

const PAGE = 4096;

describe("a container, whatever is mapped, unmapped and pinned", () => {
  const place = { first: fc.nat(40), pages: fc.integer({ min: 1, max: 12 }), vaddr: fc.nat(260) };
  const step = fc.oneof(
    fc.record({ kind: fc.constant("map" as const), ...place }),
    fc.record({ kind: fc.constant("unmap" as const), ...place }),
    fc.record({ kind: fc.constant("pin" as const), ...place }),
    fc.record({ kind: fc.constant("unpin" as const), ...place }),
  );
  test("it equals a plain model, and pins of memory are mappings plus held pages after every step", () => {
    fc.assert(fc.property(fc.array(step, { maxLength: 50 }), (steps) => {
      const machine = makeMachine();
      const { container, user, process, group } = openNic(machine, { lockedLimit: 60 * PAGE });
      const domain = [...machine.iommu.domains][0];
      let model: { readonly first: number; readonly pages: number; readonly vaddr: number }[] = [];
      const held = new Map<number, number>();
      const pins = container.iommu?.pins;
      pins?.onUnmap((iova, size) => {
        for (let page = Number(iova / 4096n); page < Number(iova / 4096n) + size / PAGE; page++) {
          pins.unpin(new Array<number>(held.get(page) ?? 0).fill(page));
          held.delete(page);
        }
      });
      for (const { kind, first, pages, vaddr } of steps) {
        const last = first + pages - 1;
        const hit = model.filter((each) => each.first <= last && each.first + each.pages > first);
        const range = { iova: first * PAGE, size: pages * PAGE };
        if (kind === "map") {
          const used = model.reduce((sum, each) => sum + each.pages, 0);
          const expected = hit.length > 0 ? "EEXIST" : vaddr + pages > 256 ? "EFAULT" : used + pages > 60 ? "ENOMEM" : undefined;
          expect(codeOf(() => { container.mapDma({ ...range, flags: DmaMapFlag.Read | DmaMapFlag.Write, vaddr: vaddr * PAGE }); })).toBe(expected);
          if (expected === undefined) model = [...model, { first, pages, vaddr }];
        } else if (kind === "unmap") {
          const cut = hit.some((each) => each.first < first || each.first + each.pages - 1 > last);
          expect(codeOf(() => container.unmapDma(range))).toBe(cut ? "EINVAL" : undefined);
          if (!cut) model = model.filter((each) => !hit.includes(each));
        } else if (kind === "pin") {
          const expected = hit.some((each) => first >= each.first && first < each.first + each.pages) ? undefined : "EINVAL";
          expect(codeOf(() => pins?.pin([first], 1))).toBe(expected);
          if (expected === undefined) held.set(first, (held.get(first) ?? 0) + 1);
        } else {
          pins?.unpin([first]);
          const left = (held.get(first) ?? 0) - 1;
          if (left > 0) held.set(first, left);
          else held.delete(first);
        }
        const mapped = model.reduce((sum, each) => sum + each.pages, 0);
        expect([user.total, process.lockedPages, domain?.pages.size, domain?.stale.size]).toEqual([mapped + held.size, mapped, mapped, 0]);
        const pages1 = model.flatMap((each) => Array.from({ length: each.pages }, (_, page) => [each.first + page, each.vaddr + page + 0x1000]));
        expect(pages1.every(([page, frame]) => domain?.pages.get(page as number)?.frame === frame)).toBe(true);
      }
      for (const page of held.keys()) pins?.unpin(new Array<number>(held.get(page) ?? 0).fill(page));
      for (const device of machine.kernel.openDevices) device.close();
      group.close();
      expect(user.total).toBe(0);
    }), { numRuns: 60 });
  });
});

describe("an iommufd space, whatever is mapped, copied and unmapped", () => {
  test("pins are the memory behind areas that a domain shows, once for all copies", () => {
    const step = fc.record({ kind: fc.constantFrom("map", "copy", "unmap"), space: fc.nat(1), first: fc.nat(30), pages: fc.integer({ min: 1, max: 6 }), other: fc.nat(30) });
    fc.assert(fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const machine = makeMachine();
      machine.drivers.detach(machine.address(machine.nic));
      const { memory: user, process } = makeProcess();
      const iommufd = machine.kernel.openIommufd(process);
      const spaces = [iommufd.allocateIoas(), iommufd.allocateIoas()] as const;
      const device = iommufd.bind(machine.address(machine.nic));
      iommufd.attach(device, spaces[0]);
      const domain = [...machine.iommu.domains][0];
      for (const { kind, space, first, pages, other } of steps) {
        const [own, far] = space === 0 ? spaces : [spaces[1], spaces[0]];
        const [iova, length] = [first * PAGE, pages * PAGE];
        try {
          if (kind === "map") iommufd.map(own, { iova, vaddr: other * PAGE, length, readable: true, writable: true });
          else if (kind === "copy") iommufd.copy(own, far, { iova: other * PAGE, length }, { iova, readable: true, writable: true });
          else iommufd.unmap(own, iova, length);
        } catch (error) {
          expect(error).toBeInstanceOf(VfioError);
        }
        const shown = iommufd.areas(spaces[0]).flatMap(({ iova: at, length: bytes, vaddr }) => Array.from({ length: bytes / PAGE }, (_, page): [number, number] => [Number(at / 4096n) + page, vaddr / PAGE + page + 0x1000]));
        expect([...(domain?.pages ?? [])].map(([page, { frame }]) => [page, frame]).sort(([a = 0], [b = 0]) => a - b)).toEqual(shown);
        expect(domain?.stale.size).toBe(0);
        // What the other space maps is not pinned; a page that was mapped twice is, twice; a copied one once.
        expect(user.total).toBe(process.lockedPages);
        expect(user.pins.size).toBe(new Set(shown.map(([, frame]) => frame)).size);
        expect(user.total).toBeLessThanOrEqual(shown.length);
      }
      iommufd.close();
      expect([user.total, process.lockedPages]).toEqual([0, 0]);
    }), { numRuns: 60 });
  });
});
