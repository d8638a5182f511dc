import { hex, PAGE_SIZE, type Hpa } from "@iommu-lab/memory";
import { Access } from "@iommu-lab/pci-bus";
import { VfioError } from "../vfio-error.ts";
import { markDirty } from "./dirty-bitmap.ts";
import type { DmaMapping, MappingTable } from "./mapping-table.ts";

/** Told that a range goes away: whoever holds pages in it lets go at once. */
export type UnmapListener = (iova: bigint, size: number) => void;

/** Pages that software reaches instead of a device with an IOMMU: mediated devices and access objects. Linux vfio_pin_pages. */
export class PinnedPages {
  readonly #mappings: MappingTable;
  readonly #version: 1 | 2;
  readonly #listeners = new Set<UnmapListener>();
  #scoped = false;

  constructor(mappings: MappingTable, version: 1 | 2) {
    this.#mappings = mappings;
    this.#version = version;
  }

  /** Somebody asked to be told of unmaps: a device that pins is there. */
  get watched(): boolean {
    return this.#listeners.size > 0;
  }

  /** All that is written is pinned first, as far as is known: dirty tracking counts pinned pages only. */
  get scoped(): boolean {
    return this.#scoped;
  }

  /** Declares that every device of the container pins what it writes. */
  scope(): void {
    this.#scoped = true;
  }

  /** Asks to be told before pages are unmapped. @returns stops that */
  onUnmap(listener: UnmapListener): () => void {
    this.#listeners.add(listener);
    return () => {
      this.#listeners.delete(listener);
    };
  }

  /**
   * Pins single pages; a page may be pinned often and is held once.
   * @param pages IOVA page numbers
   * @returns the host page of each. @throws VfioError in the order of Linux vfio_iommu_type1_pin_pages: EACCES for version 1;
   *   EBUSY while a virtual address is taken back; EINVAL when nobody asked by `onUnmap` to be told when to let go; and page by
   *   page EINVAL for one that is not mapped, EPERM when it is mapped for less, EFAULT; nothing is pinned then
   */
  pin(pages: readonly number[], access: Access): readonly Hpa[] {
    if (this.#version === 1) throw new VfioError("EACCES", "Pages are pinned one by one with version 2 only.");
    if (this.#mappings.vaddrsInvalid > 0) throw new VfioError("EBUSY", "Virtual addresses of mappings are taken back.");
    if (!this.watched) throw new VfioError("EINVAL", "Nobody has asked to be told of unmaps: whoever pins must let go.");
    const done: number[] = [];
    const found: Hpa[] = [];
    try {
      for (const page of pages) {
        found.push(this.#pinOne(page, access));
        done.push(page);
      }
    } catch (error) {
      this.unpin(done);
      throw error;
    }
    return found;
  }

  /** Takes one pin of each page away; pages that are not pinned are passed over. */
  unpin(pages: readonly number[]): void {
    for (const page of pages) {
      const mapping = this.#mappings.find(page, page);
      const held = mapping?.held.get(page);
      if (!mapping || !held || --held.count > 0) continue;
      mapping.held.delete(page);
      mapping.process.unpinUncounted(held.runs);
      if (mapping.dirty) markDirty(mapping.dirty, page - mapping.first);
    }
  }

  /** A mapping goes: listeners are told while something is held, and what is held even then is a mistake of theirs. */
  revoke(mapping: DmaMapping): void {
    if (mapping.held.size === 0) return;
    for (const listener of this.#listeners) listener(BigInt(mapping.first) << 12n, mapping.pages * PAGE_SIZE);
    if (mapping.held.size > 0) throw new Error(`Pages of the mapping at IOVA ${hex(BigInt(mapping.first) << 12n)} are still pinned by a device that was told to let go.`);
  }

  #pinOne(page: number, access: Access): Hpa {
    const mapping = this.#mappings.find(page, page);
    if (!mapping) throw new VfioError("EINVAL", `IOVA ${hex(BigInt(page) << 12n)} is not mapped.`);
    if ((mapping.access & access) !== access) throw new VfioError("EPERM", `IOVA ${hex(BigInt(page) << 12n)} is mapped with less than is asked for.`);
    const held = mapping.held.get(page);
    if (held) {
      held.count++;
      return (held.runs[0] as { readonly hpa: Hpa }).hpa;
    }
    // The mapping has counted the page against the limit; no virtual address is taken back now.
    const runs = mapping.process.pinUncounted((mapping.vaddr as number) + (page - mapping.first) * PAGE_SIZE, 1, (mapping.access & Access.Write) !== 0);
    mapping.held.set(page, { runs, count: 1 });
    if (mapping.dirty && access & Access.Write) markDirty(mapping.dirty, page - mapping.first);
    return (runs[0] as { readonly hpa: Hpa }).hpa;
  }
}
