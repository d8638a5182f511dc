import type { Hpa, MmioHandler } from "@iommu-lab/memory";
import type { Cancel, Clock } from "@iommu-lab/pci-bus";
import type { GuestRam } from "../engines/engine.ts";

/** Four words of a descriptor or command. */
export type QueueEntry = readonly [number, number, number, number];

/** How a vendor's queue of commands is found and told of its tail. */
export interface QueueKind {
  /** Offset of the 64-bit register that says where the queue is and how large. */
  readonly base: number;
  /** Offsets of the registers whose low words are head and tail, in bytes. */
  readonly head: number;
  readonly tail: number;
  /** Switches the queue on: a register and its bit. */
  readonly enable: { readonly at: number; readonly bit: number };
  /** Says whether the queue is on: a register and its bit. */
  readonly running: { readonly at: number; readonly bit: number };
  /** Bytes of the queue, by its base register's words. */
  size(low: number, high: number): number;
  /** Bytes of an entry, likewise. */
  entry(low: number, high: number): number;
  /** An entry that does nothing. */
  readonly nothing: QueueEntry;
  /** Forgets something: translations, device entries, interrupt entries. */
  isInvalidation(entry: QueueEntry): boolean;
  /** An entry that no hardware knows. */
  readonly unlawful: QueueEntry;
  /** Asks a device that is not there to forget something. */
  readonly toNobody: QueueEntry;
}

/** The invalidation queue. VT-d §6.5.2, §11.4.4, §11.4.9. */
export const VTD_QUEUE: QueueKind = {
  base: 0x90,
  head: 0x80,
  tail: 0x88,
  enable: { at: 0x18, bit: 26 },
  running: { at: 0x1c, bit: 26 },
  size: (low) => 4096 << (low & 7),
  entry: (low) => ((low & (1 << 11)) === 0 ? 16 : 32),
  nothing: [5, 0, 0, 0],
  // Context, IOTLB, interrupt entries, PASID-based IOTLB, PASID cache.
  isInvalidation: ([first]) => [1, 2, 4, 6, 7].includes((first & 15) | ((first >>> 5) & 0x70)),
  unlawful: [15, 0, 0, 0],
  toNobody: [3, 0xfff8, 0, 0],
};

const opcode = (code: number): number => (code << 28) >>> 0;

/** The command buffer. AMD-Vi §2.4, §3.4. */
export const AMD_QUEUE: QueueKind = {
  base: 0x08,
  head: 0x2000,
  tail: 0x2008,
  enable: { at: 0x18, bit: 12 },
  running: { at: 0x2020, bit: 4 },
  size: (_low, high) => 16 << ((high >>> 24) & 15),
  entry: () => 16,
  nothing: [0, opcode(1), 0, 0],
  isInvalidation: ([, second]) => {
    const code = second >>> 28;
    return code === 2 || code === 3 || code === 5 || code === 8;
  },
  unlawful: [0, opcode(15), 0, 0],
  toNobody: [0xfff8, (opcode(4) | 0xfff8) >>> 0, 0, 0],
};

/** Bits of a head or tail register that point into the queue. */
const POINTER = 0x7_fff0;

/** What becomes of what software has queued. */
export interface QueueRule {
  /** The entry to put in its place, or undefined to leave it. Called once for every entry, in order. */
  replace?(entry: QueueEntry, kind: QueueKind): QueueEntry | undefined;
  /** Nanoseconds that a tail is kept from the hardware. Called once for every tail that finds none on its way: later ones wait with it. */
  delay?(): number;
}

/**
 * Registers of a unit whose queue entries pass a rule on their way: they are changed in memory, before the hardware hears of
 * the tail, or of the queue being on.
 */
export const tapQueue = (handler: MmioHandler, memory: GuestRam, clock: Clock, kind: QueueKind, rule: QueueRule): MmioHandler => {
  const base = new Uint32Array(2);
  /** Entries before this one have passed; undefined for a queue that is new. */
  let seen: number | undefined;
  /** The newest of the tails that are on their way. */
  let late: { readonly cancel: Cancel; forward: () => void } | undefined;

  const on = ({ at, bit }: QueueKind["running"]): boolean => ((handler.read(at, 4) >>> bit) & 1) === 1;
  const pointer = (offset: number): number => handler.read(offset, 4) & POINTER;
  const wordsAt = (at: Hpa): QueueEntry => [memory.read32(at), memory.read32(at + 4), memory.read32(at + 8), memory.read32(at + 12)];
  const pass = (tail: number): void => {
    handler.read64(kind.base, base);
    const [low, high] = [base[0] as number, base[1] as number]; // two words
    const size = kind.size(low, high);
    const step = kind.entry(low, high);
    const start = (high & 0xf_ffff) * 2 ** 32 + ((low & 0xffff_f000) >>> 0);
    const head = pointer(kind.head);
    // A tail that is in no queue, or that no entry ends at, is the hardware's to refuse.
    if (tail >= size || (tail - head) % step !== 0) return;
    const ahead = (at: number): number => (at - head + size) % size;
    let next = seen === undefined || ahead(seen) > ahead(tail) ? head : seen;
    for (; next !== tail; next = (next + step) % size) {
      const replaced = rule.replace?.(wordsAt(start + next), kind);
      if (replaced) for (const [i, word] of replaced.entries()) memory.write32(start + next + 4 * i, word);
    }
    seen = tail;
  };

  const tailWritten = (low: number, forward: () => void): void => {
    if (!on(kind.running)) {
      forward();
      return;
    }
    pass(low & POINTER);
    if (late) {
      late.forward = forward;
      return;
    }
    const delay = rule.delay?.() ?? 0;
    if (delay === 0) {
      forward();
      return;
    }
    const cancel = clock.after(delay, () => {
      const arrived = late;
      late = undefined;
      arrived?.forward();
    });
    late = { cancel, forward };
  };

  /** What waits in a queue that is off is looked at before it is switched on. */
  const enableWritten = (value: number, forward: () => void): void => {
    if (((value >>> kind.enable.bit) & 1) === 0) {
      // What was on its way is for a queue that is no more.
      late?.cancel();
      late = undefined;
    } else if (!on(kind.running)) pass(pointer(kind.tail));
    forward();
  };

  const written = (offset: number, low: number, forward: () => void): void => {
    if (offset === kind.tail) tailWritten(low, forward);
    else if (offset === kind.enable.at) enableWritten(low, forward);
    else {
      if (offset >= kind.base && offset < kind.base + 8) seen = undefined;
      forward();
    }
  };
  return {
    read: (offset, size) => handler.read(offset, size),
    read64: (offset, into) => {
      handler.read64(offset, into);
    },
    write: (offset, size, value) => {
      written(offset, value, () => {
        handler.write(offset, size, value);
      });
    },
    write64: (offset, low, high) => {
      written(offset, low, () => {
        handler.write64(offset, low, high);
      });
    },
  };
};
