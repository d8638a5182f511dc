import type { Hpa, MmioHandler } from "@iommu-lab/memory";
import type { Clock } from "@iommu-lab/pci-bus";
import type { GuestRam } from "../engines/engine.ts";

/** Four words of a descriptor or command. */
export type QueueEntry = readonly [number, number, number, number];

/** How a vendor's queue of commands is found and told of its tail. */
export interface QueueKind {
  /** Offset of the 64-bit register that says where the queue is and how large. */
  readonly base: number;
  /** Offset of the register whose low word is the tail, in bytes. */
  readonly tail: number;
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

/** The invalidation queue. VT-d §6.5.2, §11.4.9. */
export const VTD_QUEUE: QueueKind = {
  base: 0x90,
  tail: 0x88,
  size: (low) => 4096 << (low & 7),
  entry: (low) => ((low & (1 << 11)) === 0 ? 16 : 32),
  nothing: [5, 0, 0, 0],
  // Context, IOTLB, interrupt entries, PASID-based IOTLB, PASID cache.
  isInvalidation: ([first]) => [1, 2, 4, 6, 7].includes((first & 15) | ((first >>> 5) & 0x70)),
  unlawful: [15, 0, 0, 0],
  toNobody: [3, 0xfff8, 0, 0],
};

const opcode = (code: number): number => (code << 28) >>> 0;

/** The command buffer. AMD-Vi §2.4. */
export const AMD_QUEUE: QueueKind = {
  base: 0x08,
  tail: 0x2008,
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

/** What becomes of what software has queued. */
export interface QueueRule {
  /** The entry to put in its place, or undefined to leave it. Called once for every entry, in order. */
  replace?(entry: QueueEntry, kind: QueueKind): QueueEntry | undefined;
  /** Nanoseconds that a tail is kept from the hardware. Called once for every tail. */
  delay?(): number;
}

/** Registers of a unit whose queue entries pass a rule on their way: they are changed in memory, before the hardware hears of the tail. */
export const tapQueue = (handler: MmioHandler, memory: GuestRam, clock: Clock, kind: QueueKind, rule: QueueRule): MmioHandler => {
  const base = new Uint32Array(2);
  const words = new Uint32Array(2);
  let seen = 0;

  const wordsAt = (at: Hpa): QueueEntry => [memory.read32(at), memory.read32(at + 4), memory.read32(at + 8), memory.read32(at + 12)];
  const pass = (tail: number): void => {
    const [low, high] = [base[0] as number, base[1] as number]; // two words
    const size = kind.size(low, high);
    const step = kind.entry(low, high);
    const start = (high & 0xf_ffff) * 2 ** 32 + ((low & 0xffff_f000) >>> 0);
    if (tail >= size) return;
    for (; seen !== tail; seen = (seen + step) % size) {
      const replaced = rule.replace?.(wordsAt(start + seen), kind);
      if (replaced) for (const [i, word] of replaced.entries()) memory.write32(start + seen + 4 * i, word);
    }
  };

  const written = (offset: number, low: number, forward: () => void): void => {
    if (offset === kind.tail) {
      pass(low & 0x7_fff0);
      const delay = rule.delay?.() ?? 0;
      if (delay > 0) {
        clock.after(delay, forward);
        return;
      }
    }
    forward();
    if (offset >= kind.base && offset < kind.base + 8) {
      handler.read64(kind.base, words);
      base.set(words);
      seen = 0;
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
