import { PAGE_SIZE } from "@iommu-lab/memory";
import { VfioError } from "../vfio-error.ts";
import type { PageRun, UserMemory } from "./user-memory.ts";

/** A process that opens VFIO's files. */
export interface UserProcessOptions {
  readonly memory: UserMemory;
  /** RLIMIT_MEMLOCK in bytes; Linux's default is 8 MiB. */
  readonly lockedLimit?: number;
  /** CAP_IPC_LOCK: the limit does not hold. */
  readonly mayLockAll?: boolean;
}

/** A process as VFIO sees it: memory that can be pinned, and how much of it may be. */
export class UserProcess {
  readonly lockedLimit: number;
  readonly mayLockAll: boolean;
  readonly #memory: UserMemory;
  #locked = 0;

  constructor({ memory, lockedLimit = 8 * 2 ** 20, mayLockAll = false }: UserProcessOptions) {
    this.#memory = memory;
    this.lockedLimit = lockedLimit;
    this.mayLockAll = mayLockAll;
  }

  /** Pages counted against RLIMIT_MEMLOCK now: VmPin in /proc/PID/status. A page mapped twice counts twice. */
  get lockedPages(): number {
    return this.#locked;
  }

  /**
   * Pins and counts page by page, as type 1 does: the first page that is absent or past the limit decides.
   * Linux drivers/vfio/vfio_iommu_type1.c, vfio_pin_pages_remote.
   * @throws VfioError EFAULT for memory that is not there, ENOMEM past the limit; nothing is pinned then
   */
  pin(vaddr: number, pages: number, writable: boolean): readonly PageRun[] {
    const room = this.#room;
    if (pages > room) {
      // A page is fetched before it is counted: the one past the limit is looked for too.
      this.#memory.unpin(this.pinUncounted(vaddr, room + 1, writable));
      this.count(pages);
    }
    const runs = this.pinUncounted(vaddr, pages, writable);
    this.count(pages);
    return runs;
  }

  /** Counts pages that are pinned. @throws VfioError ENOMEM past the limit; nothing is counted then */
  count(pages: number): void {
    if (pages > this.#room) throw new VfioError("ENOMEM", `${this.#locked + pages} locked pages would exceed RLIMIT_MEMLOCK (${this.lockedLimit} bytes).`);
    this.#locked += pages;
  }

  unpin(runs: readonly PageRun[]): void {
    this.#memory.unpin(runs);
    for (const { pages } of runs) this.#locked -= pages;
  }

  /** Pins what is counted already. @throws VfioError EFAULT */
  pinUncounted(vaddr: number, pages: number, writable: boolean): readonly PageRun[] {
    const runs = this.#memory.pin(vaddr, pages, writable);
    if (!runs) throw new VfioError("EFAULT", `The process has no ${writable ? "writable " : ""}memory for all of ${pages} pages at virtual address 0x${vaddr.toString(16)}.`);
    return runs;
  }

  unpinUncounted(runs: readonly PageRun[]): void {
    this.#memory.unpin(runs);
  }

  /** Pages that may be locked beside those that are. */
  get #room(): number {
    return this.mayLockAll ? Infinity : Math.max(Math.floor(this.lockedLimit / PAGE_SIZE) - this.#locked, 0);
  }
}
