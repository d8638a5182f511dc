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
  readonly #listeners = new Set<UnmapListener>();
  #scoped = false;

  constructor(mappings: MappingTable) {
    this.#mappings = mappings;
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
   * @returns the host page of each. @throws VfioError EINVAL for a page that is not mapped, EPERM when it may not be written; nothing is pinned then
   */
  pin(pages: readonly number[], access: Access): readonly Hpa[] {
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
    // The mapping has counted the page against the limit.
    const runs = mapping.process.pinUncounted(mapping.vaddr + (page - mapping.first) * PAGE_SIZE, 1, (mapping.access & Access.Write) !== 0);
    mapping.held.set(page, { runs, count: 1 });
    if (mapping.dirty && access & Access.Write) markDirty(mapping.dirty, page - mapping.first);
    return (runs[0] as { readonly hpa: Hpa }).hpa;
  }
}
