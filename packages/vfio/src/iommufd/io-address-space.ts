import { hex, PAGE_SIZE, type Hpa } from "@iommu-lab/memory";
import { Access, type IommuDomain } from "@iommu-lab/pci-bus";
import { isWithin, usableRanges, type PageRange } from "../container/iova-windows.ts";
import type { ReservedIova } from "../dma/index.ts";
import type { PageRun } from "../process/user-memory.ts";
import type { UserProcess } from "../process/user-process.ts";
import { asVfioError, VfioError } from "../vfio-error.ts";

const LAST_PAGE = 2 ** 52 - 1;

/** Pinned memory that areas of one or more address spaces share. */
interface SharedPages {
  readonly vaddr: number;
  readonly process: UserProcess;
  readonly runs: readonly PageRun[];
  /** One entry for each page. */
  readonly hpas: readonly Hpa[];
  areas: number;
}

interface Area {
  readonly first: number;
  readonly count: number;
  readonly access: Access;
  readonly pages: SharedPages;
  /** Pages into `pages` at which the area starts. */
  readonly skip: number;
  /** Accesses that hold pages of it. */
  holders: number;
}

/** A range of bytes, both ends inclusive. */
export interface IovaRange {
  readonly start: bigint;
  readonly last: bigint;
}

/** What IOMMU_IOAS_MAP wants. */
export interface IoasMapRequest {
  /** Where; left out, the kernel chooses. IOMMU_IOAS_MAP_FIXED_IOVA. */
  readonly iova?: number | bigint;
  readonly vaddr: number | bigint;
  readonly length: number | bigint;
  readonly readable: boolean;
  readonly writable: boolean;
}

/** Is told that a range goes away and must let its pages go. */
export type AccessUnmap = (iova: bigint, length: number) => void;

/** An I/O address space: what is mapped, in every domain it is shown by. Linux drivers/iommu/iommufd/io_pagetable.c. */
export class IoAddressSpace {
  readonly #width: number;
  #areas: Area[] = [];
  readonly #domains = new Map<IommuDomain, number>();
  readonly #reserved = new Map<object, readonly ReservedIova[]>();
  readonly #listeners = new Set<AccessUnmap>();
  #allowed: readonly PageRange[] | undefined;

  constructor(addressWidth: number) {
    this.#width = addressWidth;
  }

  /** Ranges that are mapped, in IOVA order. */
  get areas(): readonly { readonly iova: bigint; readonly length: number; readonly vaddr: number; readonly access: Access }[] {
    return this.#areas.map(({ first, count, access, pages, skip }) => ({ iova: BigInt(first) << 12n, length: count * PAGE_SIZE, vaddr: pages.vaddr + skip * PAGE_SIZE, access }));
  }

  /** IOMMU_IOAS_IOVA_RANGES: what can be mapped, seen from the devices that are attached now. */
  iovaRanges(): readonly IovaRange[] {
    return this.#usable().map(({ first, last }) => ({ start: BigInt(first) << 12n, last: (BigInt(last) << 12n) + 0xfffn }));
  }

  /** IOMMU_IOAS_ALLOW_IOVAS: the kernel chooses from these only, and no device may take from them. @throws VfioError EINVAL for misaligned or overlapping ranges, EADDRINUSE when a device reserves part of one */
  allow(ranges: readonly IovaRange[]): void {
    const made = ranges.map(({ start, last }) => {
      if (start < 0n || last < start || start % 4096n !== 0n || (last + 1n) % 4096n !== 0n) throw new VfioError("EINVAL", `${hex(start)} to ${hex(last)} is no range of whole pages.`);
      return { first: Number(start >> 12n), last: Number(last >> 12n) };
    }).sort((a, b) => a.first - b.first);
    if (made.some((each, index) => index > 0 && each.first <= (made[index - 1] as PageRange).last)) throw new VfioError("EINVAL", "The ranges overlap.");
    const usable = this.#usable();
    for (const each of made) if (!isWithin(usable, each.first, each.last)) throw new VfioError("EADDRINUSE", `IOVAs from ${hex(BigInt(each.first) << 12n)} on are not all usable.`);
    this.#allowed = made;
  }

  /**
   * IOMMU_IOAS_MAP.
   * @returns the IOVA. @throws VfioError EOVERFLOW for a range that wraps, EINVAL without bytes or rights, for misalignment and
   *   reserved IOVAs, EEXIST for an overlap, ENOSPC when the kernel finds no place, EFAULT and ENOMEM from pinning
   */
  map(request: IoasMapRequest, process: UserProcess): bigint {
    const length = BigInt(request.length);
    const vaddr = BigInt(request.vaddr);
    if ((request.iova !== undefined && BigInt(request.iova) + length > 2n ** 64n) || vaddr + length > 2n ** 64n) throw new VfioError("EOVERFLOW", "The range wraps round.");
    if (length <= 0n || (!request.readable && !request.writable)) throw new VfioError("EINVAL", length <= 0n ? "There are no bytes to map." : "Neither reading nor writing is allowed: that is no mapping.");
    const start = this.#place(request.iova, vaddr, length);
    const access = (request.readable ? Access.Read : 0) | (request.writable ? Access.Write : 0);
    const count = Number(length >> 12n);
    const runs = process.pin(Number(vaddr), count, request.writable);
    const hpas = runs.flatMap(({ hpa, pages }) => Array.from({ length: pages }, (_, page) => hpa + page * PAGE_SIZE));
    const pages: SharedPages = { vaddr: Number(vaddr), process, runs, hpas, areas: 0 };
    this.#add({ first: start, count, access, pages, skip: 0, holders: 0 });
    return BigInt(start) << 12n;
  }

  /** IOMMU_IOAS_COPY: the same memory as a range of another space (or this one), pinned once. @returns the IOVA. @throws VfioError ENOENT unless one area holds the range, EPERM for more rights than it has, and as `map` */
  copyFrom(source: IoAddressSpace, from: number | bigint, length: number | bigint, to: { readonly iova?: number | bigint; readonly readable: boolean; readonly writable: boolean }): bigint {
    const bytes = BigInt(length);
    if (BigInt(from) + bytes > 2n ** 64n || (to.iova !== undefined && BigInt(to.iova) + bytes > 2n ** 64n)) throw new VfioError("EOVERFLOW", "The range wraps round.");
    if (bytes <= 0n || BigInt(from) % 4096n !== 0n || bytes % 4096n !== 0n) throw new VfioError("EINVAL", "Only whole pages can be copied.");
    const first = Number(BigInt(from) >> 12n);
    const count = Number(bytes >> 12n);
    const area = source.#areas.find((each) => first >= each.first && first + count <= each.first + each.count);
    if (!area) throw new VfioError("ENOENT", `No area holds all of IOVA ${hex(BigInt(from))} with ${hex(bytes)} bytes.`);
    const access = (to.readable ? Access.Read : 0) | (to.writable ? Access.Write : 0);
    if ((area.access & access) !== access) throw new VfioError("EPERM", "The copy would allow more than the original.");
    const start = this.#place(to.iova, BigInt(area.pages.vaddr) + BigInt(area.skip + first - area.first) * 4096n, bytes);
    this.#add({ first: start, count, access, pages: area.pages, skip: area.skip + first - area.first, holders: 0 });
    return BigInt(start) << 12n;
  }

  /** IOMMU_IOAS_UNMAP. @returns bytes. @throws VfioError EINVAL without bytes, EOVERFLOW for a wrap, ENOENT where nothing is mapped or an area would be cut, EBUSY when an access keeps its pages */
  unmap(iova: number | bigint, length: number | bigint): number {
    const bytes = BigInt(length);
    const everything = BigInt(iova) === 0n && bytes === 2n ** 64n - 1n;
    if (bytes <= 0n) throw new VfioError("EINVAL", "There are no bytes to unmap.");
    if (!everything && BigInt(iova) + bytes > 2n ** 64n) throw new VfioError("EOVERFLOW", "The range wraps round.");
    const first = Number(BigInt(iova) >> 12n);
    const last = everything ? LAST_PAGE : Number((BigInt(iova) + bytes - 1n) >> 12n);
    const hit = this.#areas.filter((each) => each.first <= last && each.first + each.count > first);
    if (hit.length === 0 && !everything) throw new VfioError("ENOENT", `Nothing is mapped at IOVA ${hex(BigInt(iova))}.`);
    if (hit.some((each) => each.first < first || each.first + each.count - 1 > last)) throw new VfioError("ENOENT", "The range would cut an area; areas are unmapped as they were made.");
    for (const area of hit) this.#remove(area);
    return hit.reduce((sum, { count }) => sum + count * PAGE_SIZE, 0);
  }

  /** Shows the space by a domain; counted. @throws VfioError what the driver says; nothing is shown then */
  addDomain(domain: IommuDomain): void {
    const users = this.#domains.get(domain) ?? 0;
    if (users === 0) {
      const done: Area[] = [];
      try {
        for (const area of this.#areas) {
          this.#fill(domain, area);
          done.push(area);
        }
      } catch (error) {
        for (const area of done) domain.unmap(BigInt(area.first) << 12n, area.count * PAGE_SIZE);
        domain.flush();
        throw error;
      }
    }
    this.#domains.set(domain, users + 1);
  }

  removeDomain(domain: IommuDomain): void {
    const users = (this.#domains.get(domain) ?? 0) - 1;
    if (users > 0) {
      this.#domains.set(domain, users);
      return;
    }
    this.#domains.delete(domain);
    for (const { first, count } of this.#areas) domain.unmap(BigInt(first) << 12n, count * PAGE_SIZE);
    domain.flush();
  }

  /** A device's reserved ranges hold while it is attached. @throws VfioError EADDRINUSE when something is mapped or allowed there */
  reserve(owner: object, ranges: readonly ReservedIova[]): void {
    const usable = usableRanges(this.#width, ranges);
    for (const { first, count } of this.#areas) if (!isWithin(usable, first, first + count - 1)) throw new VfioError("EADDRINUSE", `IOVA ${hex(BigInt(first) << 12n)} is mapped, and reserved for the device.`);
    for (const { first, last } of this.#allowed ?? []) if (!isWithin(usable, first, last)) throw new VfioError("EADDRINUSE", `IOVAs from ${hex(BigInt(first) << 12n)} on are promised to the user, and reserved for the device.`);
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

  /** Pages for software, as `IommufdAccess` gets them. @throws VfioError ENOENT where something is not mapped, EPERM for a write that is not allowed */
  hold(iova: bigint, length: number, write: boolean): readonly Hpa[] {
    const found = this.#pagesOf(iova, length);
    if (write && found.some(({ area }) => !(area.access & Access.Write))) throw new VfioError("EPERM", "The mapping may not be written.");
    for (const { area } of found) area.holders++;
    return found.map(({ area, page }) => area.pages.hpas[area.skip + page - area.first] as number);
  }

  letGo(iova: bigint, length: number): void {
    for (const { area } of this.#pagesOf(iova, length)) area.holders--;
  }

  #pagesOf(iova: bigint, length: number): { readonly area: Area; readonly page: number }[] {
    const first = Number(iova >> 12n);
    const last = Number((iova + BigInt(length) - 1n) >> 12n);
    const found = [];
    for (let page = first; page <= last; page++) {
      const area = this.#areas.find((each) => page >= each.first && page < each.first + each.count);
      if (!area) throw new VfioError("ENOENT", `IOVA ${hex(BigInt(page) << 12n)} is not mapped.`);
      found.push({ area, page });
    }
    return found;
  }

  #usable(): readonly PageRange[] {
    return usableRanges(this.#width, [...this.#reserved.values()].flat());
  }

  #place(iova: number | bigint | undefined, vaddr: bigint, length: bigint): number {
    if (vaddr % 4096n !== 0n || length % 4096n !== 0n || (iova !== undefined && BigInt(iova) % 4096n !== 0n)) throw new VfioError("EINVAL", "IOVA, virtual address and length are multiples of 4 KiB.");
    const count = Number(length >> 12n);
    if (iova === undefined) return this.#choose(count);
    const first = Number(BigInt(iova) >> 12n);
    if (!isWithin(this.#usable(), first, first + count - 1)) throw new VfioError("EINVAL", `IOVA ${hex(BigInt(iova))} with ${hex(length)} bytes is not all usable: reserved, or past ${this.#width} bits.`);
    if (this.#areas.some((each) => each.first < first + count && first < each.first + each.count)) throw new VfioError("EEXIST", `Something is mapped at IOVA ${hex(BigInt(iova))}.`);
    return first;
  }

  /** The lowest place; page 0 is left out, so that no buffer has address zero. */
  #choose(count: number): number {
    for (const range of this.#allowed ?? this.#usable()) {
      let first = Math.max(range.first, 1);
      for (const area of this.#areas) if (area.first < first + count && first < area.first + area.count) first = area.first + area.count;
      if (first + count - 1 <= range.last) return first;
    }
    throw new VfioError("ENOSPC", "No IOVAs are left for the mapping.");
  }

  #add(area: Area): void {
    const done: IommuDomain[] = [];
    try {
      for (const domain of this.#domains.keys()) {
        this.#fill(domain, area);
        done.push(domain);
      }
    } catch (error) {
      for (const domain of done) {
        domain.unmap(BigInt(area.first) << 12n, area.count * PAGE_SIZE);
        domain.flush();
      }
      if (area.pages.areas === 0) area.pages.process.unpin(area.pages.runs);
      throw error;
    }
    area.pages.areas++;
    this.#areas = [...this.#areas, area].sort((a, b) => a.first - b.first);
  }

  #remove(area: Area): void {
    if (area.holders > 0) for (const listener of [...this.#listeners]) listener(BigInt(area.first) << 12n, area.count * PAGE_SIZE);
    if (area.holders > 0) throw new VfioError("EBUSY", `Pages at IOVA ${hex(BigInt(area.first) << 12n)} are held by an access that does not let go.`);
    for (const domain of this.#domains.keys()) {
      domain.unmap(BigInt(area.first) << 12n, area.count * PAGE_SIZE);
      domain.flush();
    }
    this.#areas = this.#areas.filter((each) => each !== area);
    area.pages.areas--;
    if (area.pages.areas === 0) area.pages.process.unpin(area.pages.runs);
  }

  #fill(domain: IommuDomain, { first, count, access, pages, skip }: Area): void {
    let at = 0;
    try {
      while (at < count) {
        const hpa = pages.hpas[skip + at] as number;
        let run = 1;
        while (at + run < count && pages.hpas[skip + at + run] === hpa + run * PAGE_SIZE) run++;
        const iova = BigInt(first + at) << 12n;
        asVfioError(() => { domain.map(iova, hpa, run * PAGE_SIZE, access); });
        at += run;
      }
    } catch (error) {
      if (at > 0) domain.unmap(BigInt(first) << 12n, at * PAGE_SIZE);
      domain.flush();
      throw error;
    }
  }
}
