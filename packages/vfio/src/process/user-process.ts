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

  /** Pins and counts. @throws VfioError EFAULT for memory that is not there, ENOMEM past the limit; nothing is pinned then */
  pin(vaddr: number, pages: number, writable: boolean): readonly PageRun[] {
    const runs = this.pinUncounted(vaddr, pages, writable);
    if (!this.mayLockAll && (this.#locked + pages) * PAGE_SIZE > this.lockedLimit) {
      this.#memory.unpin(runs);
      throw new VfioError("ENOMEM", `${this.#locked + pages} locked pages would exceed RLIMIT_MEMLOCK (${this.lockedLimit} bytes).`);
    }
    this.#locked += pages;
    return runs;
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
}
