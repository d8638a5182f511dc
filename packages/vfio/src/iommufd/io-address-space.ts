import { hex, PAGE_SIZE, type Hpa } from "@iommu-lab/memory";
import { Access, type IommuDomain } from "@iommu-lab/pci-bus";
import { isWithin, usableRanges, type PageRange } from "../container/iova-windows.ts";
import type { ReservedIova } from "../dma/index.ts";
import type { UserProcess } from "../process/user-process.ts";
import { VfioError } from "../vfio-error.ts";
import { bytesOf, type Area } from "./area.ts";
import { holdPart, hostPagesOf, letPartGo, partsOf, type AreaPart } from "./area-part.ts";
import { chooseIova } from "./iova-choice.ts";
import { LAST_ADDRESS, overlap, type IovaRange } from "./iova-range.ts";
import type { IoasMapRequest, IoasPlace, IoasSource } from "./map-request.ts";
import { SharedPages } from "./shared-pages.ts";
import { ShownAreas, type Piece } from "./shown-areas.ts";

/** How often an access is asked to let its pages go before an unmap gives up. */
const PATIENCE = 100;

/** Is told that a range goes away and must let its pages go. */
export type AccessUnmap = (iova: bigint, length: number) => void;

const rightsOf = ({ readable, writable }: IoasPlace): Access => (readable ? Access.Read : 0) | (writable ? Access.Write : 0);

/**
 * An I/O address space: what is mapped, in every domain it is shown by. Memory is pinned only while a domain shows it or an
 * access holds it. Linux drivers/iommu/iommufd/io_pagetable.c.
 *
 * Model: what is mapped is whole pages always; Linux takes any bytes until a domain or an access wants pages.
 */
export class IoAddressSpace {
  readonly #width: number;
  readonly #areas = new ShownAreas();
  readonly #reserved = new Map<object, readonly ReservedIova[]>();
  readonly #listeners = new Set<AccessUnmap>();
  #allowed: readonly IovaRange[] | undefined;

  /** @param addressWidth bits of an IOVA in the domains that show it; the space itself has 64 */
  constructor(addressWidth: number) {
    this.#width = addressWidth;
  }

  /** Ranges that are mapped, in IOVA order. */
  get areas(): readonly { readonly iova: bigint; readonly length: number; readonly vaddr: number; readonly access: Access }[] {
    return this.#areas.all.map(({ first, count, access, pages, skip }) => ({ iova: BigInt(first) << 12n, length: count * PAGE_SIZE, vaddr: pages.vaddr + skip * PAGE_SIZE, access }));
  }

  /** IOMMU_IOAS_IOVA_RANGES: what can be mapped, seen from the devices and domains that are there now. */
  iovaRanges(): readonly IovaRange[] {
    return this.#usable().map(({ first, last }) => ({ start: BigInt(first) << 12n, last: (BigInt(last) << 12n) + 0xfffn }));
  }

  /**
   * IOMMU_IOAS_ALLOW_IOVAS: the kernel chooses from these only, and no device may take from them.
   * @throws VfioError EINVAL for a range of less than two bytes and for an overlap, then EADDRINUSE when a device reserves part of one
   */
  allow(ranges: readonly IovaRange[]): void {
    for (const [index, range] of ranges.entries()) {
      if (range.start >= range.last) throw new VfioError("EINVAL", `The range from ${hex(range.start)} ends before it begins, or with its first byte.`);
      if (ranges.slice(0, index).some((each) => overlap(each, range))) throw new VfioError("EINVAL", "The ranges overlap.");
    }
    const reserved = this.#reservedBytes();
    for (const range of ranges) if (reserved.some((each) => overlap(each, range))) throw new VfioError("EADDRINUSE", `IOVAs from ${hex(range.start)} on are not all usable.`);
    this.#allowed = [...ranges].sort((a, b) => (a.start < b.start ? -1 : 1));
  }

  /**
   * IOMMU_IOAS_MAP, once `checkPlace` has passed.
   * @returns the IOVA. @throws VfioError in the order of Linux iopt_map_user_pages and iopt_map_pages: EOVERFLOW for memory
   *   that wraps, which older kernels do not tell; EINVAL without bytes or for a part of a page; where the IOVA is given,
   *   EINVAL for misalignment, EOVERFLOW for a wrap, EINVAL for reserved IOVAs, EEXIST for an overlap; where it is not,
   *   EINVAL for misaligned memory, ENOSPC without a place; EINVAL for misaligned memory; and where a domain shows the
   *   space, EFAULT, ENOMEM and what its driver says
   */
  map(request: IoasMapRequest, process: UserProcess): bigint {
    const length = BigInt(request.length);
    const vaddr = BigInt(request.vaddr);
    if (vaddr + length > LAST_ADDRESS) throw new VfioError("EOVERFLOW", "The memory wraps round.");
    const first = this.#place(request.iova, vaddr, length);
    if (vaddr % 4096n !== 0n) throw new VfioError("EINVAL", `${hex(vaddr)} is not the address of a page.`);
    this.#areas.add(first, rightsOf(request), [{ count: Number(length >> 12n), pages: new SharedPages(process, Number(vaddr), request.writable), skip: 0 }]);
    return BigInt(first) << 12n;
  }

  /**
   * What IOMMU_IOAS_COPY takes: areas without a gap.
   * @throws VfioError in the order of Linux iopt_get_pages: EINVAL without bytes, EOVERFLOW for a wrap, ENOENT for a gap
   */
  memoryAt({ iova, length }: IoasSource): IoasMemory {
    const start = BigInt(iova);
    const bytes = BigInt(length);
    if (bytes === 0n) throw new VfioError("EINVAL", "There are no bytes to copy.");
    if (start + bytes - 1n > LAST_ADDRESS) throw new VfioError("EOVERFLOW", "The range wraps round.");
    const { parts, whole } = partsOf(this.#areas.all, { start, last: start + bytes - 1n });
    if (!whole) throw new VfioError("ENOENT", `Not all of IOVA ${hex(start)} with ${hex(bytes)} bytes is mapped.`);
    return { length: bytes, offset: start % 4096n, pieces: parts.map(({ area, from, count }) => ({ count, pages: area.pages, skip: area.skip + from })) };
  }

  /**
   * IOMMU_IOAS_COPY, once `checkPlace` has passed: shows the same memory, whose pages are pinned once for all.
   * @returns the IOVA. @throws VfioError as `map` for the place; then EPERM for writing what was mapped to be read only,
   *   whatever the area that it is copied from allows; EINVAL where the source is not the start of a page
   */
  copy({ length, offset, pieces }: IoasMemory, to: IoasPlace): bigint {
    const [start] = pieces as [Piece, ...Piece[]];
    const first = this.#place(to.iova, BigInt(start.pages.vaddr + start.skip * PAGE_SIZE) + offset, length);
    if (to.writable && pieces.some(({ pages }) => !pages.writable)) throw new VfioError("EPERM", "The copy would allow writing where the mapping of the memory did not.");
    if (offset !== 0n) throw new VfioError("EINVAL", "Only whole pages can be copied.");
    this.#areas.add(first, rightsOf(to), pieces);
    return BigInt(first) << 12n;
  }

  /**
   * IOMMU_IOAS_UNMAP. IOVA 0 with a length of all ones is everything.
   * @returns bytes. @throws VfioError in the order of Linux iommufd_ioas_unmap and iopt_unmap_iova: EOVERFLOW for other
   *   numbers of all ones, EINVAL without bytes, EOVERFLOW for a wrap; then area by area, so that those before are gone:
   *   ENOENT for one that would be cut, EDEADLK for one whose pages an access keeps; ENOENT where nothing was mapped
   */
  unmap(iova: number | bigint, length: number | bigint): number {
    const start = BigInt(iova);
    const bytes = BigInt(length);
    if (start === 0n && bytes === LAST_ADDRESS) return this.unmapAll();
    if (start >= LAST_ADDRESS || bytes >= LAST_ADDRESS) throw new VfioError("EOVERFLOW", "Addresses and lengths of all ones are not taken.");
    if (bytes === 0n) throw new VfioError("EINVAL", "There are no bytes to unmap.");
    const range: IovaRange = { start, last: start + bytes - 1n };
    if (range.last > LAST_ADDRESS) throw new VfioError("EOVERFLOW", "The range wraps round.");
    const unmapped = this.#unmapRange(range);
    if (unmapped === 0) throw new VfioError("ENOENT", `Nothing is mapped at IOVA ${hex(start)}.`);
    return unmapped;
  }

  /** @returns bytes. @throws VfioError EDEADLK when an access keeps pages */
  unmapAll(): number {
    return this.#unmapRange({ start: 0n, last: LAST_ADDRESS });
  }

  /**
   * Shows the space by a domain, which reserves what is past its width and pins what is mapped.
   * @throws VfioError in the order of Linux iopt_table_add_domain: EADDRINUSE when something is mapped or allowed past the
   *   width; EFAULT, ENOMEM and what the driver says. Nothing is shown then
   */
  addDomain(domain: IommuDomain): void {
    this.#checkFree([this.#past()]);
    this.#areas.addDomain(domain);
  }

  removeDomain(domain: IommuDomain): void {
    this.#areas.removeDomain(domain);
  }

  /** A device's reserved ranges hold while it is attached. @throws VfioError EADDRINUSE when something is mapped or allowed there */
  reserve(owner: object, ranges: readonly ReservedIova[]): void {
    this.#checkFree(ranges.map(bytesReserved));
    this.#reserved.set(owner, ranges);
  }

  unreserve(owner: object): void {
    this.#reserved.delete(owner);
  }

  /** Asks to be told of unmaps. @returns stops that */
  onUnmap(listener: AccessUnmap): () => void {
    this.#listeners.add(listener);
    return () => {
      this.#listeners.delete(listener);
    };
  }

  /**
   * Pages for software, pinned until `letGo`.
   * @returns the host page of each
   * @throws VfioError in the order of Linux iommufd_access_pin_pages: EINVAL without bytes, EOVERFLOW for a wrap; area by
   *   area EINVAL where the IOVA is not the start of a page or the area is being unmapped, EPERM for reading or writing what
   *   the area does not allow, EFAULT, ENOMEM; then ENOENT for a gap. Nothing is held then
   */
  hold(iova: bigint, length: number, write: boolean): readonly Hpa[] {
    if (length === 0) throw new VfioError("EINVAL", "There are no bytes to hold.");
    const range: IovaRange = { start: iova, last: iova + BigInt(length) - 1n };
    if (range.last > LAST_ADDRESS) throw new VfioError("EOVERFLOW", "The range wraps round.");
    const { parts, whole } = partsOf(this.#areas.all, range);
    const held: AreaPart[] = [];
    try {
      if (parts.length > 0 && iova % 4096n !== 0n) throw new VfioError("EINVAL", "Only whole pages can be held.");
      for (const part of parts) {
        holdPart(part, write);
        held.push(part);
      }
      if (!whole) throw new VfioError("ENOENT", `Not all of IOVA ${hex(iova)} with ${hex(length)} bytes is mapped.`);
    } catch (error) {
      for (const part of held) letPartGo(part);
      throw error;
    }
    return parts.flatMap(hostPagesOf);
  }

  letGo(iova: bigint, length: number): void {
    for (const part of partsOf(this.#areas.all, { start: iova, last: iova + BigInt(length) - 1n }).parts) letPartGo(part);
  }

  /** IOVAs past the width of domains. */
  #past(): IovaRange {
    return { start: 2n ** BigInt(this.#width), last: LAST_ADDRESS };
  }

  #reservedBytes(): IovaRange[] {
    const devices = [...this.#reserved.values()].flat().map(bytesReserved);
    return this.#areas.shown ? [...devices, this.#past()] : devices;
  }

  #usable(): readonly PageRange[] {
    return usableRanges(this.#areas.shown ? this.#width : 64, [...this.#reserved.values()].flat());
  }

  #checkFree(ranges: readonly IovaRange[]): void {
    for (const range of ranges) {
      if (this.#areas.within(range).length > 0) throw new VfioError("EADDRINUSE", `Something is mapped from IOVA ${hex(range.start)} to ${hex(range.last)}, which is to be reserved.`);
      if (this.#allowed?.some((each) => overlap(each, range))) throw new VfioError("EADDRINUSE", `IOVAs from ${hex(range.start)} to ${hex(range.last)} are to be reserved, and promised to the user.`);
    }
  }

  /** Finds or checks the first page of a mapping, as Linux iopt_alloc_area_pages. */
  #place(iova: number | bigint | undefined, vaddr: bigint, length: bigint): number {
    if (length === 0n) throw new VfioError("EINVAL", "There are no bytes to map.");
    if (length % 4096n !== 0n) throw new VfioError("EINVAL", "Lengths are multiples of 4 KiB.");
    return iova === undefined ? this.#choose(vaddr, length) : this.#check(BigInt(iova), length);
  }

  #choose(vaddr: bigint, length: bigint): number {
    if (length >= LAST_ADDRESS / 2n) throw new VfioError("EOVERFLOW", "No place is looked for half of all addresses.");
    if (vaddr % 4096n !== 0n) throw new VfioError("EINVAL", `${hex(vaddr)} is not the address of a page.`);
    // Of what is allowed, whole pages.
    const allowed = this.#allowed?.map(({ start, last }) => ({ first: Number((start + 0xfffn) >> 12n), last: Number((last + 1n) >> 12n) - 1 })) ?? [{ first: 0, last: 2 ** 52 - 1 }];
    const chosen = chooseIova(Number(vaddr), Number(length >> 12n), allowed, this.#usable(), this.#areas.all);
    if (chosen === undefined) throw new VfioError("ENOSPC", "No IOVAs are left for the mapping.");
    return chosen;
  }

  #check(iova: bigint, length: bigint): number {
    const range: IovaRange = { start: iova, last: iova + length - 1n };
    if (iova % 4096n !== 0n) throw new VfioError("EINVAL", "IOVAs of mappings are multiples of 4 KiB.");
    if (range.last > LAST_ADDRESS) throw new VfioError("EOVERFLOW", "The range wraps round.");
    const first = Number(iova >> 12n);
    if (!isWithin(this.#usable(), first, Number(range.last >> 12n))) throw new VfioError("EINVAL", `IOVA ${hex(iova)} with ${hex(length)} bytes is not all usable: reserved${this.#areas.shown ? `, or past ${this.#width} bits` : ""}.`);
    if (this.#areas.within(range).length > 0) throw new VfioError("EEXIST", `Something is mapped at IOVA ${hex(iova)}.`);
    return first;
  }

  #unmapRange(range: IovaRange): number {
    let unmapped = 0;
    for (const area of this.#areas.within(range)) {
      const { start, last } = bytesOf(area);
      if (start < range.start || last > range.last) throw new VfioError("ENOENT", "The range would cut an area; areas are unmapped as they were made.");
      this.#release(area);
      this.#areas.remove(area);
      unmapped += area.count * PAGE_SIZE;
    }
    return unmapped;
  }

  /** Has accesses let an area go. */
  #release(area: Area): void {
    for (let tries = 0; area.holders > 0 && tries <= PATIENCE; tries++) {
      area.closing = true;
      for (const listener of [...this.#listeners]) listener(BigInt(area.first) << 12n, area.count * PAGE_SIZE);
    }
    if (area.holders > 0) throw new VfioError("EDEADLK", `Pages at IOVA ${hex(BigInt(area.first) << 12n)} are held by an access that does not let go.`);
  }
}

/** Memory that an address space shows, to be shown by another. */
export interface IoasMemory {
  readonly length: bigint;
  /** Bytes into the first page. */
  readonly offset: bigint;
  readonly pieces: readonly Piece[];
}

const bytesReserved = ({ start, size }: ReservedIova): IovaRange => ({ start: BigInt(start), last: BigInt(start) + BigInt(size) - 1n });
