/* eslint-disable @typescript-eslint/prefer-for-of -- an iterator would be measured too */
import type { BenchRow, FootprintRow } from "../../../scripts/bench/row.ts";
import { FlatMemory, SparseMemory } from "../src/index.ts";
import { MAPPED_PAGES, randomPages, ROOT_PAGE, writeTables } from "./table-walk.ts";

const MIB = 2 ** 20;
const SIZE = 128 * MIB;
/** What flat memory is for: its words at about the price of a bare array. */
const SOURCE = "aim of flat memory";
/** For rows that nobody gave a target: what was measured when the row was written, so that a slide shows. */
const REACHED = "reached when written";

/** Keeps results alive, so that no loop is optimised away. */
export const sink = { value: 0 };

/** 4-byte aligned addresses all over the memory, the same at every run. */
const randomAddresses = (): Int32Array => {
  let state = 99;
  return Int32Array.from({ length: 4096 }, () => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) | 0;
    return (state >>> 4) & (16 * MIB - 4);
  });
};

const sequentialKernel = (): (() => number) => {
  const words = new Uint32Array(SIZE / 4).fill(1);
  return () => {
    let sum = 0;
    for (let at = 0; at < 65_536; at += 4) sum = (sum + words[at >>> 2]!) | 0;
    sink.value += sum;
    return 16_384;
  };
};

const randomKernel = (): (() => number) => {
  const words = new Uint32Array(SIZE / 4).fill(1);
  const addresses = randomAddresses();
  return () => {
    let sum = 0;
    for (let i = 0; i < addresses.length; i++) sum = (sum + words[addresses[i]! >>> 2]!) | 0;
    sink.value += sum;
    return addresses.length;
  };
};

const writeKernel = (): (() => number) => {
  const words = new Uint32Array(SIZE / 4);
  return () => {
    for (let at = 0; at < 65_536; at += 4) words[at >>> 2] = at;
    return 16_384;
  };
};

const walkKernel = (): (() => number) => {
  const words = new Uint32Array(SIZE / 4);
  writeTables((page, word, value) => {
    words[page * 1024 + word] = value;
  });
  const pages = randomPages();
  const walk = (page: number): number => {
    let entry = words[ROOT_PAGE << 10]!;
    if ((entry & 3) === 0) return -1;
    entry = words[((entry >>> 12) << 10) + ((page >>> 18) & 511) * 2]!;
    if ((entry & 3) === 0) return -1;
    entry = words[((entry >>> 12) << 10) + ((page >>> 9) & 511) * 2]!;
    if ((entry & 3) === 0) return -1;
    entry = words[((entry >>> 12) << 10) + (page & 511) * 2]!;
    return (entry & 3) === 0 ? -1 : entry >>> 12;
  };
  return () => {
    let sum = 0;
    for (let i = 0; i < pages.length; i++) sum = (sum + walk(pages[i]!)) | 0;
    sink.value += sum;
    return pages.length;
  };
};

const flat = (): FlatMemory => {
  const memory = new FlatMemory(SIZE);
  memory.words.fill(1);
  return memory;
};

const sparse = (): SparseMemory => {
  const memory = new SparseMemory({ size: 2 ** 40 });
  for (let at = 0; at < 64 * MIB; at += 4096) memory.page(at / 4096)!.fill(1);
  return memory;
};

const flatTables = (): FlatMemory => {
  const memory = new FlatMemory(SIZE);
  writeTables((page, word, value) => {
    memory.write32(page * 4096 + word * 4, value);
  });
  return memory;
};

const sparseTables = (): SparseMemory => {
  const memory = new SparseMemory({ size: 2 ** 40 });
  writeTables((page, word, value) => {
    memory.write32(page * 4096 + word * 4, value);
  });
  return memory;
};

const reads: readonly BenchRow[] = [
  {
    name: "read32 sequential, flat",
    unit: "ns/op",
    target: 1.5,
    source: SOURCE,
    kernel: sequentialKernel,
    model: () => {
      const made = flat();
      return () => {
        const memory = made;
        let sum = 0;
        for (let at = 0; at < 65_536; at += 4) sum = (sum + memory.read32(at)) | 0;
        sink.value += sum;
        return 16_384;
      };
    },
  },
  {
    name: "read32 random, flat",
    unit: "ns/op",
    target: 1.5,
    source: SOURCE,
    kernel: randomKernel,
    model: () => {
      const made = flat();
      const addresses = randomAddresses();
      return () => {
        const memory = made;
        let sum = 0;
        for (let i = 0; i < addresses.length; i++) sum = (sum + memory.read32(addresses[i]!)) | 0;
        sink.value += sum;
        return addresses.length;
      };
    },
  },
  {
    name: "read32 sequential, sparse",
    unit: "ns/op",
    target: 7,
    source: REACHED,
    kernel: sequentialKernel,
    model: () => {
      const made = sparse();
      return () => {
        const memory = made;
        let sum = 0;
        for (let at = 0; at < 65_536; at += 4) sum = (sum + memory.read32(at)) | 0;
        sink.value += sum;
        return 16_384;
      };
    },
  },
  {
    name: "read32 random over 8 chunks, sparse",
    unit: "ns/op",
    target: 4,
    source: REACHED,
    kernel: randomKernel,
    model: () => {
      const made = sparse();
      const addresses = randomAddresses();
      return () => {
        const memory = made;
        let sum = 0;
        for (let i = 0; i < addresses.length; i++) sum = (sum + memory.read32(addresses[i]!)) | 0;
        sink.value += sum;
        return addresses.length;
      };
    },
  },
];

const walks: readonly BenchRow[] = [
  {
    name: "walk of 4 levels, flat through words",
    unit: "ns/op",
    target: 1.3,
    source: SOURCE,
    kernel: walkKernel,
    model: () => {
      const memory = flatTables();
      const pages = randomPages();
      const { words } = memory;
      const walk = (page: number): number => {
        let entry = words[memory.wordOf(ROOT_PAGE)]!;
        if ((entry & 3) === 0) return -1;
        entry = words[memory.wordOf(entry >>> 12) + ((page >>> 18) & 511) * 2]!;
        if ((entry & 3) === 0) return -1;
        entry = words[memory.wordOf(entry >>> 12) + ((page >>> 9) & 511) * 2]!;
        if ((entry & 3) === 0) return -1;
        entry = words[memory.wordOf(entry >>> 12) + (page & 511) * 2]!;
        return (entry & 3) === 0 ? -1 : entry >>> 12;
      };
      return () => {
        let sum = 0;
        for (let i = 0; i < pages.length; i++) sum = (sum + walk(pages[i]!)) | 0;
        sink.value += sum;
        return pages.length;
      };
    },
  },
  {
    name: "walk of 4 levels, flat through page()",
    unit: "ns/op",
    target: 4.5,
    source: REACHED,
    kernel: walkKernel,
    model: () => {
      const memory = flatTables();
      const pages = randomPages();
      const walk = (page: number): number => {
        let entry = memory.page(ROOT_PAGE)![0]!;
        for (let shift = 18; shift >= 0; shift -= 9) {
          if ((entry & 3) === 0) return -1;
          entry = memory.page(entry >>> 12)![((page >>> shift) & 511) * 2]!;
        }
        return (entry & 3) === 0 ? -1 : entry >>> 12;
      };
      return () => {
        let sum = 0;
        for (let i = 0; i < pages.length; i++) sum = (sum + walk(pages[i]!)) | 0;
        sink.value += sum;
        return pages.length;
      };
    },
  },
  {
    name: "walk of 4 levels, sparse through wordsOf()",
    unit: "ns/op",
    target: 1.7 * 1.3,
    source: "sparse at most 1.7 of flat",
    kernel: walkKernel,
    model: () => {
      const memory = sparseTables();
      const pages = randomPages();
      const walk = (page: number): number => {
        let entry = memory.wordsOf(ROOT_PAGE)![memory.wordOf(ROOT_PAGE)]!;
        if ((entry & 3) === 0) return -1;
        let table = entry >>> 12;
        entry = memory.wordsOf(table)![memory.wordOf(table) + ((page >>> 18) & 511) * 2]!;
        if ((entry & 3) === 0) return -1;
        table = entry >>> 12;
        entry = memory.wordsOf(table)![memory.wordOf(table) + ((page >>> 9) & 511) * 2]!;
        if ((entry & 3) === 0) return -1;
        table = entry >>> 12;
        entry = memory.wordsOf(table)![memory.wordOf(table) + (page & 511) * 2]!;
        return (entry & 3) === 0 ? -1 : entry >>> 12;
      };
      return () => {
        let sum = 0;
        for (let i = 0; i < pages.length; i++) sum = (sum + walk(pages[i]!)) | 0;
        sink.value += sum;
        return pages.length;
      };
    },
  },
];

/** Copies of `size` bytes between 64 places; the kernel is `copyWithin` on bytes. */
const copyKernel = (size: number) => (): (() => number) => {
  const bytes = new Uint8Array(32 * MIB).fill(1);
  return () => {
    for (let i = 0; i < 64; i++) bytes.copyWithin(16 * MIB + i * 65_536, i * 65_536, i * 65_536 + size);
    return 64;
  };
};

/** Copies of `size` bytes out of memory; the kernel is `set` of a view. */
const readIntoKernel = (size: number) => (): (() => number) => {
  const bytes = new Uint8Array(32 * MIB).fill(1);
  const into = new Uint8Array(size);
  return () => {
    for (let i = 0; i < 64; i++) into.set(bytes.subarray(i * 65_536, i * 65_536 + size));
    return 64;
  };
};

const copies: readonly BenchRow[] = [4096, 65_536].flatMap((size): BenchRow[] => {
  const label = `${size / 1024} KiB`;
  return [
    {
      name: `copy ${label}, flat`,
      unit: "ns/op",
      target: 1.4,
      source: "P4",
      kernel: copyKernel(size),
      model: () => {
        const memory = flat();
        return () => {
          for (let i = 0; i < 64; i++) memory.copy(16 * MIB + i * 65_536, i * 65_536, size);
          return 64;
        };
      },
    },
    {
      name: `copy ${label}, sparse`,
      unit: "ns/op",
      target: 1.9,
      source: "P4, sparse 1.2–1.35 of flat",
      kernel: copyKernel(size),
      model: () => {
        const memory = sparse();
        return () => {
          for (let i = 0; i < 64; i++) memory.copy(16 * MIB + i * 65_536, i * 65_536, size);
          return 64;
        };
      },
    },
    {
      name: `readInto ${label}, flat`,
      unit: "ns/op",
      target: 1.4,
      source: "P4",
      kernel: readIntoKernel(size),
      model: () => {
        const memory = flat();
        const into = new Uint8Array(size);
        return () => {
          for (let i = 0; i < 64; i++) memory.readInto(i * 65_536, into);
          return 64;
        };
      },
    },
    {
      name: `readInto ${label}, sparse`,
      unit: "ns/op",
      target: 1.9,
      source: "P4, sparse 1.2–1.35 of flat",
      kernel: readIntoKernel(size),
      model: () => {
        const memory = sparse();
        const into = new Uint8Array(size);
        return () => {
          for (let i = 0; i < 64; i++) memory.readInto(i * 65_536, into);
          return 64;
        };
      },
    },
  ];
});

/** Writes with a number of open dirty trackers. */
const writes: readonly BenchRow[] = [0, 1, 2].map((trackers): BenchRow => ({
  name: `write32 sequential, flat, ${trackers} dirty trackers`,
  unit: "ns/op",
  target: trackers === 0 ? 4.3 : 8,
  source: REACHED,
  kernel: writeKernel,
  model: () => {
    const made = new FlatMemory(SIZE);
    for (let i = 0; i < trackers; i++) made.trackDirty();
    return () => {
      const memory = made;
      for (let at = 0; at < 65_536; at += 4) memory.write32(at, at);
      return 16_384;
    };
  },
}));

export const rows: readonly BenchRow[] = [...reads, ...walks, ...copies, ...writes];

const growth = (make: () => unknown): number => {
  const before = process.memoryUsage.rss();
  const made = make();
  const after = process.memoryUsage.rss();
  sink.value += made === undefined ? 1 : 0;
  return Math.max(0, after - before);
};

/** Resident memory of large machines: target P9. */
export const memoryFootprint = (): readonly FootprintRow[] => [
  { name: "1 GiB flat before touch", bytes: growth(() => new FlatMemory(1024 * MIB)), limit: 4 * MIB, source: "P9" },
  {
    name: "1 TiB sparse, 64 MiB touched",
    bytes: growth(() => {
      const memory = new SparseMemory({ size: 2 ** 40 });
      for (let at = 0; at < 64 * MIB; at += 4096) memory.write32(2 ** 39 + at, MAPPED_PAGES);
      return memory;
    }),
    limit: 100 * MIB,
    source: "P9",
  },
];
