import { hex, PAGE_SIZE } from "@iommu-lab/memory";
import { Access, type IommuDomain } from "@iommu-lab/pci-bus";
import type { ReservedIova } from "../dma/index.ts";
import type { UserProcess } from "../process/user-process.ts";
import { asVfioError, VfioError } from "../vfio-error.ts";
import { bitmapBytes, dirtyBitmap, newBitmap } from "./dirty-bitmap.ts";
import { isWithin, usableRanges, type PageRange } from "./iova-windows.ts";
import { MappingTable, type DmaMapping } from "./mapping-table.ts";
import { PinnedPages } from "./pinned-pages.ts";
import { DirtyPagesFlag, DmaMapFlag, DmaUnmapFlag, type DmaMapRequest, type DmaUnmapRequest, type DmaUnmapResult, type Type1Info } from "./type1-flags.ts";
import { lastByte, refuseEmpty, refuseMisaligned, wide } from "./type1-span.ts";

const MAX_BITMAP = 2 ** 28;
const [MAP_SIZE, UNMAP_SIZE, UNMAP_SIZE_WITH_BITMAP] = [32, 24, 48];
const EVERYTHING: PageRange = { first: 0, last: 2 ** 52 - 1 };

/** What type 1 needs to know of the machine. */
export interface Type1Options {
  /** Version 2 keeps mappings whole; version 1 lets unmaps hit any mapping they begin in. */
  readonly version: 1 | 2;
  readonly domain: IommuDomain;
  readonly addressWidth: number;
  /** Ranges that may be mapped at once. */
  readonly entryLimit: number;
}

const pagesOf = (start: bigint, last: bigint): PageRange => ({ first: Number(start >> 12n), last: Number(last >> 12n) });

/** A type 1 IOMMU: the address space that a container's user fills. Linux drivers/vfio/vfio_iommu_type1.c. */
export class Type1Iommu {
  readonly version: 1 | 2;
  readonly domain: IommuDomain;
  /** Pages that devices without an IOMMU of their own pin. */
  readonly pins: PinnedPages;
  readonly #addressWidth: number;
  readonly #granule: number;
  readonly #mappings = new MappingTable();
  #available: number;
  #ranges: readonly PageRange[];
  #tracking = false;

  constructor({ version, domain, addressWidth, entryLimit }: Type1Options) {
    this.version = version;
    this.domain = domain;
    this.#addressWidth = addressWidth;
    this.#granule = domain.pageSizes[0] as number;
    this.#available = entryLimit;
    this.#ranges = usableRanges(addressWidth, []);
    this.pins = new PinnedPages(this.#mappings, version);
  }

  /** Ranges that are mapped now, in IOVA order; without virtual address while it is taken back. */
  get mappings(): readonly { readonly iova: bigint; readonly size: number; readonly vaddr: number | undefined; readonly access: Access }[] {
    return [...this.#mappings].map(({ first, pages, vaddr, access }) => ({ iova: BigInt(first) << 12n, size: pages * PAGE_SIZE, vaddr, access }));
  }

  /** @throws VfioError EBUSY while a virtual address is taken back: a group that joins could need pages of it */
  refuseJoining(): void {
    if (this.#mappings.vaddrsInvalid > 0) throw new VfioError("EBUSY", "Virtual addresses of mappings are taken back: no group joins before they are given anew.");
  }

  /** Takes a group's reserved ranges into account. @throws VfioError EINVAL when something is mapped in one of them, or nothing is left */
  reserve(reserved: readonly ReservedIova[]): void {
    const ranges = usableRanges(this.#addressWidth, reserved);
    for (const { first, pages } of this.#mappings)
      if (!isWithin(ranges, first, first + pages - 1)) throw new VfioError("EINVAL", `IOVA ${hex(BigInt(first) << 12n)} is mapped, and reserved for the group that is to be added.`);
    if (ranges.length === 0) throw new VfioError("EINVAL", "All IOVAs are reserved: nothing could be mapped.");
    this.#ranges = ranges;
  }

  /**
   * VFIO_IOMMU_MAP_DMA: pins the user's pages and maps them. With VADDR alone it gives a mapping the virtual address that it
   * has in the process from now on, after an unmap with VADDR took the old one back.
   * @throws VfioError in the order of Linux vfio_iommu_type1_map_dma and vfio_dma_do_map: EINVAL for a short structure, unknown
   *   flags and no bytes; EOVERFLOW for a range that wraps; EINVAL for READ or WRITE with VADDR, for none of the three, and for
   *   misalignment; with VADDR, ENOENT where nothing is mapped and EINVAL unless just that range is, with its address taken
   *   back; EEXIST for an overlap; ENOSPC when too many ranges are mapped; EINVAL for reserved or too high IOVAs; EFAULT and
   *   ENOMEM from pinning, whichever page comes first
   */
  map(request: DmaMapRequest, process: UserProcess): void {
    const { argsz = MAP_SIZE, flags } = request;
    const [iova, size, vaddr] = [wide(request.iova, "iova"), wide(request.size, "size"), wide(request.vaddr, "vaddr")];
    if (argsz < MAP_SIZE) throw new VfioError("EINVAL", `A structure of ${argsz} bytes is too short for VFIO_IOMMU_MAP_DMA; it has ${MAP_SIZE}.`);
    if (flags & ~7) throw new VfioError("EINVAL", `Flags ${hex(flags >>> 0)} are not those of a mapping: READ (1), WRITE (2) or both, or VADDR (4).`);
    refuseEmpty(size);
    const span = pagesOf(iova, lastByte(iova, size, "iova"));
    lastByte(vaddr, size, "vaddr");
    const access = (flags & DmaMapFlag.Read ? Access.Read : 0) | (flags & DmaMapFlag.Write ? Access.Write : 0);
    const moves = (flags & DmaMapFlag.Vaddr) !== 0;
    if (moves === (access !== 0)) throw new VfioError("EINVAL", "A mapping is for READ, WRITE or both; VADDR stands alone.");
    refuseMisaligned(this.#granule, { size, iova, vaddr });
    const { first, last } = span;
    const found = this.#mappings.find(first, last);
    if (moves) this.#moveVaddr(found, span, Number(vaddr));
    else if (found) throw new VfioError("EEXIST", `IOVA ${hex(BigInt(Math.max(found.first, first)) << 12n)} is mapped already.`);
    else {
      if (this.#available === 0) throw new VfioError("ENOSPC", "No further range can be mapped: dma_entry_limit is reached.");
      if (!isWithin(this.#ranges, first, last)) throw new VfioError("EINVAL", `IOVAs ${hex(BigInt(first) << 12n)} to ${hex((BigInt(last) << 12n) + 0xfffn)} are not all usable: reserved, or past ${this.#addressWidth} bits.`);
      this.#pinAndMap(span, Number(vaddr), access, process);
    }
  }

  /**
   * VFIO_IOMMU_UNMAP_DMA. Version 2 refuses to cut a mapping; version 1 unmaps whole what the range begins at or covers. With
   * VADDR nothing is unmapped: the virtual addresses of the range are taken back.
   * @throws VfioError in the order of Linux vfio_iommu_type1_unmap_dma and vfio_dma_do_unmap: EINVAL for a short structure,
   *   unknown flags, and a bitmap of everything, of addresses taken back, or too large; EBUSY for VADDR while somebody pins
   *   pages; EINVAL for misalignment, no bytes, and ALL with a range; EOVERFLOW for a range that wraps; EINVAL for a bitmap
   *   without tracking or in other units, for a cut, and for addresses that are taken back already
   */
  unmap(request: DmaUnmapRequest): DmaUnmapResult {
    const { flags = 0, pageSize = 0 } = request;
    const [iova, size] = [wide(request.iova, "iova"), wide(request.size, "size")];
    const wantsDirty = (flags & DmaUnmapFlag.GetDirtyBitmap) !== 0;
    const needed = wantsDirty ? UNMAP_SIZE_WITH_BITMAP : UNMAP_SIZE;
    const { argsz = needed } = request;
    if (argsz < needed) throw new VfioError("EINVAL", `A structure of ${argsz} bytes is too short for VFIO_IOMMU_UNMAP_DMA; it has ${needed} with these flags.`);
    if (flags & ~7) throw new VfioError("EINVAL", `Flags ${hex(flags >>> 0)} are not known.`);
    if (wantsDirty) {
      if (flags & (DmaUnmapFlag.All | DmaUnmapFlag.Vaddr)) throw new VfioError("EINVAL", "A dirty bitmap is had of a range that is unmapped, without ALL and VADDR.");
      this.#refuseBitmap(size, pageSize);
    }
    const takesBack = (flags & DmaUnmapFlag.Vaddr) !== 0;
    if (takesBack && this.pins.watched) throw new VfioError("EBUSY", "Devices that pin pages as they need them are there: virtual addresses cannot be taken back.");
    const span = this.#unmapSpan(iova, size, (flags & DmaUnmapFlag.All) !== 0);
    if (wantsDirty) this.#refuseUnits(pageSize);
    if (this.version === 2 && span !== EVERYTHING) this.#refuseCut(span);
    if (takesBack) return { size: this.#takeVaddrsBack(span) };
    const bitmap = wantsDirty ? dirtyBitmap(this.#mappings, span.first, span.last, this.pins.scoped) : undefined;
    let unmapped = 0;
    for (const found of this.#hit(span)) {
      this.#remove(found);
      unmapped += found.pages * PAGE_SIZE;
    }
    return bitmap ? { size: unmapped, bitmap } : { size: unmapped };
  }

  /** VFIO_IOMMU_GET_INFO. */
  info(): Type1Info {
    return {
      pageSizes: this.domain.pageSizes.reduce((sum, size) => sum + size, 0),
      iovaRanges: this.#ranges.map(({ first, last }) => ({ start: BigInt(first) << 12n, end: (BigInt(last) << 12n) + 0xfffn })),
      available: this.#available,
      dirtyPageSizes: this.#granule,
      maxDirtyBitmap: MAX_BITMAP,
    };
  }

  /**
   * VFIO_IOMMU_DIRTY_PAGES with START or STOP; either may come twice. Everything that devices can write counts as dirty, or
   * only pinned pages where every device pins what it uses.
   * @throws VfioError EACCES for version 1, EINVAL unless just one flag is given
   */
  trackDirty(flags: number): void {
    this.#refuseVersion1();
    if (flags !== DirtyPagesFlag.Start && flags !== DirtyPagesFlag.Stop) throw new VfioError("EINVAL", "Give START or STOP, and nothing else; use dirtyPages for the bitmap.");
    this.#tracking = flags === DirtyPagesFlag.Start;
    for (const mapping of this.#mappings) mapping.dirty = this.#tracking ? (mapping.dirty ?? newBitmap(mapping.pages, mapping.held, mapping.first)) : undefined;
  }

  /**
   * VFIO_IOMMU_DIRTY_PAGES with GET_BITMAP: one bit a page; those given are clean afterwards.
   * @throws VfioError in the order of Linux vfio_iommu_type1_dirty_pages: EACCES for version 1; EINVAL for no bytes; EOVERFLOW
   *   for a range that wraps; EINVAL for a bitmap that is too large, other units, misalignment, no tracking, and a cut
   */
  dirtyPages(iova: number | bigint, size: number | bigint, pageSize: number): Uint8Array {
    const [start, bytes] = [wide(iova, "iova"), wide(size, "size")];
    this.#refuseVersion1();
    refuseEmpty(bytes);
    const { first, last } = pagesOf(start, lastByte(start, bytes, "iova"));
    this.#refuseBitmap(bytes, pageSize);
    this.#refuseUnits(pageSize);
    refuseMisaligned(this.#granule, { iova: start, size: bytes });
    this.#refuseCut({ first, last });
    return dirtyBitmap(this.#mappings, first, last, this.pins.scoped);
  }

  /** The container is closed, or its last group gone: everything is unmapped and unpinned. */
  unmapAll(): void {
    for (const mapping of [...this.#mappings]) this.#remove(mapping);
  }

  #pinAndMap({ first, last }: PageRange, vaddr: number, access: Access, process: UserProcess): void {
    const pages = last - first + 1;
    const runs = process.pin(vaddr, pages, (access & Access.Write) !== 0);
    let done = 0;
    try {
      for (const { hpa, pages: count } of runs) {
        const at = (BigInt(first) + BigInt(done)) << 12n;
        asVfioError(() => { this.domain.map(at, hpa, count * PAGE_SIZE, access); });
        done += count;
      }
    } catch (error) {
      if (done > 0) this.domain.unmap(BigInt(first) << 12n, done * PAGE_SIZE);
      this.domain.flush();
      process.unpin(runs);
      throw error;
    }
    this.#available--;
    this.#mappings.insert({ first, pages, vaddr, access, process, runs, held: new Map(), dirty: this.#tracking ? newBitmap(pages, new Map(), first) : undefined });
  }

  #remove(mapping: DmaMapping): void {
    this.pins.revoke(mapping);
    this.domain.unmap(BigInt(mapping.first) << 12n, mapping.pages * PAGE_SIZE);
    // Pages go back to the process only once no device can reach them.
    this.domain.flush();
    mapping.process.unpin(mapping.runs);
    this.#mappings.remove(mapping);
    this.#available++;
  }

  #moveVaddr(found: DmaMapping | undefined, { first, last }: PageRange, vaddr: number): void {
    if (!found) throw new VfioError("ENOENT", `Nothing is mapped at IOVA ${hex(BigInt(first) << 12n)}.`);
    if (found.vaddr !== undefined || found.first !== first || found.pages !== last - first + 1) throw new VfioError("EINVAL", "The range is not just one mapping whose virtual address was taken back.");
    this.#mappings.move(found, vaddr);
  }

  /** All of them or none. @returns bytes */
  #takeVaddrsBack(span: PageRange): number {
    const hit = this.#hit(span);
    if (hit.some(({ vaddr }) => vaddr === undefined)) throw new VfioError("EINVAL", "A virtual address of the range is taken back already.");
    for (const mapping of hit) this.#mappings.move(mapping, undefined);
    return hit.reduce((sum, { pages }) => sum + pages * PAGE_SIZE, 0);
  }

  /** What an unmap of the range concerns: with version 1, nothing once the range begins within a mapping. */
  #hit({ first, last }: PageRange): DmaMapping[] {
    const hit = this.#mappings.within(first, last);
    return this.version === 1 && hit[0] && hit[0].first < first ? [] : hit;
  }

  #unmapSpan(iova: bigint, size: bigint, all: boolean): PageRange {
    refuseMisaligned(this.#granule, { iova });
    if (all) {
      if (iova !== 0n || size !== 0n) throw new VfioError("EINVAL", "With the flag ALL, IOVA and size are zero.");
      return EVERYTHING;
    }
    refuseEmpty(size);
    refuseMisaligned(this.#granule, { size });
    return pagesOf(iova, lastByte(iova, size, "iova"));
  }

  #refuseVersion1(): void {
    if (this.version === 1) throw new VfioError("EACCES", "Dirty pages are tracked by version 2 only.");
  }

  /** Before it is known whether the units are right: Linux verify_bitmap_size. */
  #refuseBitmap(size: bigint, pageSize: number): void {
    const pages = pageSize > 0 ? size / BigInt(pageSize) : 0n;
    if (pages === 0n || bitmapBytes(Number(pages)) > MAX_BITMAP) throw new VfioError("EINVAL", `A bitmap of ${pages} pages is ${pages === 0n ? "none" : "larger than 256 MiB"}.`);
  }

  #refuseUnits(pageSize: number): void {
    if (!this.#tracking || pageSize !== this.#granule) throw new VfioError("EINVAL", this.#tracking ? `Dirty pages are tracked in units of ${this.#granule} bytes.` : "Dirty pages are not tracked.");
  }

  #refuseCut({ first, last }: PageRange): void {
    const low = this.#mappings.find(first, first);
    const high = this.#mappings.find(last, last);
    const cut = low && low.first !== first ? low : high && high.first + high.pages - 1 !== last ? high : undefined;
    if (cut) throw new VfioError("EINVAL", `The range would cut the mapping at IOVA ${hex(BigInt(cut.first) << 12n)}; mappings are unmapped as they were made.`);
  }
}
