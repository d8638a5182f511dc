import { describe, expect, test } from "vitest";
import { DirtyPagesFlag, DmaMapFlag, DmaUnmapFlag, type DmaMapRequest } from "../src/index.ts";
import { makeMachine, openNic } from "./machine.ts";

const PAGE = 4096;
const map = (changes: Partial<DmaMapRequest> = {}): DmaMapRequest => ({ flags: DmaMapFlag.Read | DmaMapFlag.Write, vaddr: 0x1_0000, iova: 0x10_0000, size: 4 * PAGE, ...changes });

describe("dirty pages", () => {
  test("everything an IOMMU maps counts as dirty, each time", () => {
    const { container } = openNic(makeMachine());
    container.mapDma(map({ iova: 0x10_1000 }));
    container.trackDirty(DirtyPagesFlag.Start);
    for (let round = 0; round < 2; round++) expect([...container.dirtyPages(0x10_0000, 8 * PAGE, PAGE)]).toEqual([0b11110, 0, 0, 0, 0, 0, 0, 0]);
    expect([...(container.unmapDma({ flags: DmaUnmapFlag.GetDirtyBitmap, iova: 0x10_1000, size: 4 * PAGE, pageSize: PAGE }).bitmap ?? [])][0]).toBe(0b1111);
  });
  test("where devices pin what they write, only that is dirty: while pinned, and once after", () => {
    const { container } = openNic(makeMachine());
    const pins = container.iommu?.pins;
    container.mapDma(map());
    container.trackDirty(DirtyPagesFlag.Start);
    pins?.scope();
    pins?.onUnmap(() => undefined);
    const dirty = (): number | undefined => container.dirtyPages(0x10_0000, 4 * PAGE, PAGE)[0];
    expect(dirty()).toBe(0);
    expect(pins?.pin([0x102], 3)).toEqual([0x101_2000]);
    expect([dirty(), dirty()]).toEqual([4, 4]);
    pins?.unpin([0x102]);
    expect([dirty(), dirty()]).toEqual([4, 0]);
  });
});

describe("pages that software holds", () => {
  test("who holds pages is told before they are unmapped", () => {
    const { container, user } = openNic(makeMachine());
    const pins = container.iommu?.pins;
    container.mapDma(map());
    const stop = pins?.onUnmap((iova, size) => { if (iova === 0x10_0000n && size === 4 * PAGE) pins.unpin([0x101, 0x101]); });
    pins?.pin([0x101, 0x101], 3);
    expect(user.total).toBe(5);
    container.unmapDma({ iova: 0x10_0000, size: 4 * PAGE });
    expect(user.total).toBe(0);
    stop?.();
    pins?.onUnmap(() => undefined);
    container.mapDma(map());
    pins?.pin([0x101], 3);
    expect(() => container.unmapDma({ iova: 0x10_0000, size: 4 * PAGE })).toThrow(/still pinned/);
  });
});
