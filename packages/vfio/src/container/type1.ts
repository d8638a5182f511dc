import { hex, PAGE_SIZE } from "@iommu-lab/memory";
import { Access, type IommuDomain } from "@iommu-lab/pci-bus";
import type { ReservedIova } from "../dma/index.ts";
import type { UserProcess } from "../process/user-process.ts";
import { asVfioError, VfioError } from "../vfio-error.ts";
import { dirtyBitmap, newBitmap } from "./dirty-bitmap.ts";
import { isWithin, usableRanges, type PageRange } from "./iova-windows.ts";
import { MappingTable, type DmaMapping } from "./mapping-table.ts";
import { PinnedPages } from "./pinned-pages.ts";
import { DirtyPagesFlag, DmaMapFlag, DmaUnmapFlag, type DmaMapRequest, type DmaUnmapRequest, type DmaUnmapResult, type Type1Info } from "./type1-flags.ts";

const MAX_BITMAP = 2 ** 28;
const LAST = 0xffff_ffff_ffff_ffffn;

/** What type 1 needs to know of the machine. */
export interface Type1Options {
  /** Version 2 keeps mappings whole; version 1 lets unmaps hit any mapping they begin in. */
  readonly version: 1 | 2;
  readonly domain: IommuDomain;
  readonly addressWidth: number;
  /** Ranges that may be mapped at once. */
  readonly entryLimit: number;
}

interface Span extends PageRange {
  readonly bytes: number;
}

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
    this.pins = new PinnedPages(this.#mappings);
  }

  /** Ranges that are mapped now, in IOVA order. */
  get mappings(): readonly { readonly iova: bigint; readonly size: number; readonly vaddr: number; readonly access: Access }[] {
    return [...this.#mappings].map(({ first, pages, vaddr, access }) => ({ iova: BigInt(first) << 12n, size: pages * PAGE_SIZE, vaddr, access }));
  }

  /** Takes a group's reserved ranges into account. @throws VfioError EINVAL when something is mapped in one of them */
  reserve(reserved: readonly ReservedIova[]): void {
    const ranges = usableRanges(this.#addressWidth, reserved);
    for (const { first, pages } of this.#mappings)
      if (!isWithin(ranges, first, first + pages - 1)) throw new VfioError("EINVAL", `IOVA ${hex(BigInt(first) << 12n)} is mapped, and reserved for the group that is to be added.`);
    this.#ranges = ranges;
  }

  /**
   * VFIO_IOMMU_MAP_DMA: pins the user's pages and maps them.
   * @throws VfioError in this order: EINVAL for a short structure, flags, size or alignment, and a range that wraps; EEXIST
   *   for an overlap; ENOSPC when too many ranges are mapped; EINVAL for reserved or too high IOVAs; EFAULT and ENOMEM from pinning
   */
  map(request: DmaMapRequest, process: UserProcess): void {
    const { argsz = 32, flags } = request;
    if (argsz < 32) throw new VfioError("EINVAL", `A structure of ${argsz} bytes is too short for VFIO_IOMMU_MAP_DMA; it has 32.`);
    if (flags & ~7 || (flags & 3) === 0 || flags & DmaMapFlag.Vaddr) throw new VfioError("EINVAL", `Flags ${hex(flags >>> 0)} are not those of a mapping: READ (1), WRITE (2) or both.`);
    const span = this.#span(request.iova, request.size, "iova");
    const vaddr = Number(this.#aligned(request.vaddr, "vaddr"));
    if (BigInt(request.vaddr) + BigInt(request.size) - 1n > LAST) throw new VfioError("EINVAL", "The virtual addresses wrap round.");
    const { first, last } = span;
    const overlap = this.#mappings.find(first, last);
    if (overlap) throw new VfioError("EEXIST", `IOVA ${hex(BigInt(Math.max(overlap.first, first)) << 12n)} is mapped already.`);
    if (this.#available === 0) throw new VfioError("ENOSPC", "No further range can be mapped: dma_entry_limit is reached.");
    if (!isWithin(this.#ranges, first, last)) throw new VfioError("EINVAL", `IOVAs ${hex(BigInt(first) << 12n)} to ${hex((BigInt(last) << 12n) + 0xfffn)} are not all usable: reserved, or past ${this.#addressWidth} bits.`);
    const access = (flags & DmaMapFlag.Read ? Access.Read : 0) | (flags & DmaMapFlag.Write ? Access.Write : 0);
    this.#pinAndMap(span, vaddr, access, process);
  }

  /**
   * VFIO_IOMMU_UNMAP_DMA. Version 2 refuses to cut a mapping; version 1 unmaps whole what the range begins at or covers.
   * @throws VfioError EINVAL for a short structure, flags, size, alignment, wrap, a bitmap without tracking, or a cut
   */
  unmap(request: DmaUnmapRequest): DmaUnmapResult {
    const { argsz = 24, flags = 0, iova, size } = request;
    if (argsz < 24 || flags & ~3) throw new VfioError("EINVAL", argsz < 24 ? `A structure of ${argsz} bytes is too short for VFIO_IOMMU_UNMAP_DMA; it has 24.` : `Flags ${hex(flags >>> 0)} are not known.`);
    const all = (flags & DmaUnmapFlag.All) !== 0;
    const wantsDirty = (flags & DmaUnmapFlag.GetDirtyBitmap) !== 0;
    if (all && wantsDirty) throw new VfioError("EINVAL", "A dirty bitmap of everything cannot be had.");
    if (all && (BigInt(iova) !== 0n || BigInt(size) !== 0n)) throw new VfioError("EINVAL", "With the flag ALL, IOVA and size are zero.");
    const span = all ? { first: 0, last: 2 ** 52 - 1, bytes: 0 } : this.#span(iova, size, "iova");
    if (wantsDirty && (!this.#tracking || request.pageSize !== this.#granule)) throw new VfioError("EINVAL", this.#tracking ? `Dirty pages are tracked in units of ${this.#granule} bytes.` : "Dirty pages are not tracked.");
    if (this.version === 2 && !all) this.#refuseCut(span);
    const bitmap = wantsDirty ? dirtyBitmap(this.#mappings, span.first, span.last, this.pins.scoped) : undefined;
    let unmapped = 0;
    for (let found = this.#mappings.find(span.first, span.last); found; found = this.#mappings.find(span.first, span.last)) {
      if (this.version === 1 && span.first > found.first) break;
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
   * VFIO_IOMMU_DIRTY_PAGES with START or STOP. Everything that devices can write counts as dirty, or only pinned pages
   * where every device pins what it uses.
   * @throws VfioError EINVAL unless just one flag is given
   */
  trackDirty(flags: number): void {
    if (flags !== DirtyPagesFlag.Start && flags !== DirtyPagesFlag.Stop) throw new VfioError("EINVAL", "Give START or STOP, and nothing else; use dirtyPages for the bitmap.");
    this.#tracking = flags === DirtyPagesFlag.Start;
    for (const mapping of this.#mappings) mapping.dirty = this.#tracking ? (mapping.dirty ?? newBitmap(mapping.pages, mapping.held, mapping.first)) : undefined;
  }

  /** VFIO_IOMMU_DIRTY_PAGES with GET_BITMAP: one bit a page; those given are clean afterwards. @throws VfioError EINVAL without tracking, for another page size, or a range that cuts a mapping */
  dirtyPages(iova: number | bigint, size: number | bigint, pageSize: number): Uint8Array {
    if (!this.#tracking) throw new VfioError("EINVAL", "Dirty pages are not tracked.");
    if (pageSize !== this.#granule) throw new VfioError("EINVAL", `Dirty pages are tracked in units of ${this.#granule} bytes.`);
    const span = this.#span(iova, size, "iova");
    if (span.bytes / this.#granule / 8 > MAX_BITMAP) throw new VfioError("EINVAL", "The bitmap would be larger than 256 MiB.");
    this.#refuseCut(span);
    return dirtyBitmap(this.#mappings, span.first, span.last, this.pins.scoped);
  }

  /** The container is closed, or its last group gone: everything is unmapped and unpinned. */
  unmapAll(): void {
    for (const mapping of [...this.#mappings]) this.#remove(mapping);
  }

  #pinAndMap({ first, last }: Span, vaddr: number, access: Access, process: UserProcess): void {
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

  #refuseCut({ first, last }: Span): void {
    const low = this.#mappings.find(first, first);
    const high = this.#mappings.find(last, last);
    const cut = low && low.first !== first ? low : high && high.first + high.pages - 1 !== last ? high : undefined;
    if (cut) throw new VfioError("EINVAL", `The range would cut the mapping at IOVA ${hex(BigInt(cut.first) << 12n)}; mappings are unmapped as they were made.`);
  }

  #span(iova: number | bigint, size: number | bigint, name: string): Span {
    const from = this.#aligned(iova, name);
    const bytes = this.#aligned(size, "size");
    if (bytes === 0n) throw new VfioError("EINVAL", "The size is zero.");
    const to = from + bytes - 1n;
    if (to > LAST) throw new VfioError("EINVAL", `IOVA ${hex(from)} with ${hex(bytes)} bytes wraps round.`);
    return { first: Number(from >> 12n), last: Number(to >> 12n), bytes: Number(bytes) };
  }

  #aligned(value: number | bigint, name: string): bigint {
    if (typeof value === "number" && !Number.isSafeInteger(value)) throw new RangeError(`${name} is ${value}: give a bigint where a number is not exact.`);
    const wide = BigInt(value);
    if (wide < 0n || wide > LAST) throw new RangeError(`${name} is ${value}, which is no 64-bit value.`);
    if (wide % BigInt(this.#granule) !== 0n) throw new VfioError("EINVAL", `${name} ${hex(wide)} is no multiple of the smallest page, ${hex(this.#granule)} bytes.`);
    return wide;
  }
}
