import { PAGE_SIZE, type Hpa } from "@iommu-lab/memory";
import type { PageRun } from "../process/user-memory.ts";
import type { UserProcess } from "../process/user-process.ts";

interface PinnedPage {
  readonly hpa: Hpa;
  /** Areas that a domain shows, and accesses. */
  users: number;
}

/**
 * Memory of a process that areas of one or more address spaces share. A page is pinned, once, while a domain shows it or an
 * access holds it. Linux drivers/iommu/iommufd/pages.c, struct iopt_pages.
 */
export class SharedPages {
  readonly vaddr: number;
  readonly writable: boolean;
  readonly #process: UserProcess;
  readonly #pinned = new Map<number, PinnedPage>();

  constructor(process: UserProcess, vaddr: number, writable: boolean) {
    this.#process = process;
    this.vaddr = vaddr;
    this.writable = writable;
  }

  /**
   * Pins pages for one user more.
   * @throws VfioError EFAULT when one is not there, and only then ENOMEM past the limit: pages are counted when all are pinned
   */
  hold(first: number, count: number): void {
    for (const { start, runs } of this.#pinMissing(first, count)) {
      let page = start;
      for (const { hpa, pages } of runs) for (let at = 0; at < pages; at++) this.#pinned.set(page++, { hpa: hpa + at * PAGE_SIZE, users: 0 });
    }
    for (let at = first; at < first + count; at++) this.#at(at).users++;
  }

  /** Takes a user's hold off; pages without users are unpinned. */
  letGo(first: number, count: number): void {
    const runs: PageRun[] = [];
    for (let at = first; at < first + count; at++) {
      const page = this.#at(at);
      page.users--;
      if (page.users > 0) continue;
      this.#pinned.delete(at);
      runs.push({ hpa: page.hpa, pages: 1 });
    }
    this.#process.unpin(runs);
  }

  /** Neighbouring pages in host memory that hold these, which somebody holds. */
  runs(first: number, count: number): readonly PageRun[] {
    const runs: PageRun[] = [];
    for (let at = first; at < first + count; at++) {
      const { hpa } = this.#at(at);
      const last = runs.at(-1);
      if (last && last.hpa + last.pages * PAGE_SIZE === hpa) runs[runs.length - 1] = { hpa: last.hpa, pages: last.pages + 1 };
      else runs.push({ hpa, pages: 1 });
    }
    return runs;
  }

  #at(page: number): PinnedPage {
    const found = this.#pinned.get(page);
    if (!found) throw new RangeError(`Page ${page} of the memory at 0x${this.vaddr.toString(16)} is not pinned.`);
    return found;
  }

  #pinMissing(first: number, count: number): { readonly start: number; readonly runs: readonly PageRun[] }[] {
    const added: { readonly start: number; readonly runs: readonly PageRun[] }[] = [];
    try {
      for (const gap of this.#gaps(first, count)) added.push({ start: gap.first, runs: this.#process.pinUncounted(this.vaddr + gap.first * PAGE_SIZE, gap.count, this.writable) });
      this.#process.count(added.reduce((sum, { runs }) => sum + runs.reduce((pages, run) => pages + run.pages, 0), 0));
    } catch (error) {
      for (const { runs } of added) this.#process.unpinUncounted(runs);
      throw error;
    }
    return added;
  }

  /** What of a range is not pinned. Ranges can be far longer than what is pinned, so it is that which is gone through. */
  #gaps(first: number, count: number): { readonly first: number; readonly count: number }[] {
    const gaps: { first: number; count: number }[] = [];
    const end = first + count;
    let next = first;
    for (const page of [...this.#pinned.keys()].filter((each) => each >= first && each < end).sort((a, b) => a - b)) {
      if (page > next) gaps.push({ first: next, count: page - next });
      next = page + 1;
    }
    if (next < end) gaps.push({ first: next, count: end - next });
    return gaps;
  }
}
