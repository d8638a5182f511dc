import { DMA_BUDGET, type Action } from "./program.ts";
import type { Random } from "./random.ts";

/** Some pages of I/O virtual memory that a program can aim at. */
export interface Target {
  /** First IOVA. */
  readonly iova: bigint;
  /** Bytes from there that one transfer may touch. */
  readonly size: number;
  /** Where the bytes are (HPA) when every right is there; undefined where nothing can be looked at. */
  readonly memory: number | undefined;
  /** The leaf entry: its address, its value, and which level it is. */
  readonly leaf: { readonly at: number; readonly value: bigint; readonly level: number } | undefined;
  /** Only the leaf limits what may be done: all that QEMU's AMD unit caches of rights is right. */
  readonly rightsAtLeaf?: boolean;
}

/** What one table translates. */
export interface AddressSpace {
  /** The domain that cached translations are tagged with. */
  readonly id: number;
  readonly targets: readonly Target[];
}

/** How programs make a unit forget everything. */
export type Flush = () => readonly Action[];

/** A device as the tables show it. */
export interface Device<Space extends AddressSpace = AddressSpace> {
  readonly bdf: string;
  /** What its requests go through; undefined where they end before a second stage, or pass. */
  readonly domain: Space | undefined;
  /** Its requests may pass unchanged. */
  readonly passes?: boolean;
  /** Its own entry allows everything, as `Target.rightsAtLeaf`. */
  readonly allRights?: boolean;
}

/**
 * Makes transfers, and keeps QEMU from what it does wrong: a translation cached for one direction, met by a request in
 * the other, is aborted without a fault by its Intel unit, and let through by its AMD unit where only levels above the
 * leaf forbid it. A flush goes before such a request.
 */
export class Transfers {
  readonly #random: Random;
  readonly #flush: Flush;
  readonly #check: Action | undefined;
  readonly #shortest: number;
  readonly #seen = new Map<string, "read" | "write">();
  readonly #moved = new Map<string, number>();

  /**
   * @param check    what follows each transfer
   * @param shortest bytes that a transfer has at least on each page
   */
  constructor(random: Random, flush: Flush, check?: Action, shortest = 1) {
    this.#random = random;
    this.#flush = flush;
    this.#check = check;
    this.#shortest = shortest;
  }

  /** Belongs where the program starts, and where it flushes everything by itself. */
  forget(): Action {
    return { op: "later", actions: () => { this.#seen.clear(); return []; } };
  }

  flushAll(): readonly Action[] {
    return [this.forget(), ...this.#flush()];
  }

  /** A flush, if since the last the other direction was used. Known only when the program runs: blocks may be left out of it. */
  #turn(key: string, direction: "read" | "write"): Action {
    const actions = (): readonly Action[] => {
      const turned = (this.#seen.get(key) ?? direction) !== direction;
      if (turned) this.#seen.clear();
      this.#seen.set(key, direction);
      return turned ? this.#flush() : [];
    };
    return { op: "later", actions };
  }

  /** One transfer with what surrounds it; none when the device has moved all it can. */
  transfer({ bdf, domain, allRights = false }: Device, target: Target, direction: "read" | "write" = this.#random.pick(["read", "write"]), check = this.#check): Action[] {
    const random = this.#random;
    const crossing = random.chance(0.12);
    const shortest = this.#shortest;
    const len = random.pick([1, 2, 3, 4, 7, 8, 16, 24, 33, 64].filter((each) => each >= shortest));
    if ((this.#moved.get(`${bdf} ${direction}`) ?? 0) + len > DMA_BUDGET) return [];
    this.#moved.set(`${bdf} ${direction}`, (this.#moved.get(`${bdf} ${direction}`) ?? 0) + len);
    const offset = crossing && len >= 2 * shortest ? 4096 - random.between(shortest, len - shortest) : random.below(4096 - len + 1);
    const iova = target.iova + BigInt(offset);
    const key = `${domain?.id ?? bdf} ${iova >> 30n}`;
    const actions: Action[] = allRights && target.rightsAtLeaf === true ? [] : [this.#turn(key, direction)];
    const last = offset + len > target.size ? target.size - offset : len;
    const memory = target.memory === undefined ? undefined : target.memory + offset;
    if (memory !== undefined) actions.push({ op: "mem_write", addr: memory, data: random.bytes(last) });
    actions.push({ op: direction === "read" ? "dma_read" : "dma_write", bdf, iova, len });
    if (memory !== undefined && direction === "write") actions.push({ op: "mem_read", addr: memory, len: last });
    if (check !== undefined) actions.push(check);
    return actions;
  }

  /** An address that no target is at; most are mapped nowhere, some are beyond what the tables cover. */
  stray({ passes = false }: Device, limit: number): Target {
    const random = this.#random;
    const page = ((!passes && random.chance(0.3) ? random.wide() : random.wide() & ((1n << BigInt(limit)) - 1n)) >> 12n) << 12n;
    // Never where interrupt messages go, nor across the end of the address space. What passes unchanged stays below the
    // host's width, beyond which QEMU does not look, and away from the devices and the ROM of a PC.
    const messages = (page & 0xffff_ffff_fff0_0000n) === 0xfee0_0000n || page > 0xffff_ffff_ffff_0000n || page + 0x2000n > 1n << BigInt(passes ? limit : 64);
    const devices = passes && (page < 0x10_0000n || (page >= 0x7fff_f000n && page < 0x1_0000_0000n));
    const safe = messages || devices ? 0x1_2345_6000n : page;
    return { iova: safe, size: 4096, memory: undefined, leaf: undefined };
  }
}
