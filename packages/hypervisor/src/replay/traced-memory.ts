import { pageOf, PAGE_SIZE, type Hpa, type SparseMemory } from "@iommu-lab/memory";

/** Bytes copied at once by a fill. */
const FILL_STEP = 2 ** 16;

/** Reads memory as the recorded machines do: where no RAM is, zeros. */
export const readTraced = (memory: SparseMemory, at: Hpa, into: Uint8Array): void => {
  memory.readInto(at, into);
  for (let done = 0; done < into.length; ) {
    const step = Math.min(into.length - done, PAGE_SIZE - ((at + done) % PAGE_SIZE));
    if (memory.wordsOf(pageOf(at + done)) === undefined) into.fill(0, done, done + step);
    done += step;
  }
};

/** Repeats `pattern` over `length` bytes from `at`. Zeros where zeros are already cost nothing. */
export const fillTraced = (memory: SparseMemory, at: Hpa, length: number, pattern: Uint8Array): void => {
  const buffer = new Uint8Array(Math.min(length, Math.max(pattern.length, FILL_STEP - (FILL_STEP % pattern.length))));
  for (let i = 0; i < buffer.length; i++) buffer[i] = pattern[i % pattern.length] as number; // below its length
  const zero = buffer.every((byte) => byte === 0);
  const found = zero ? new Uint8Array(buffer.length) : buffer;
  const end = Math.min(at + length, memory.size);
  for (let from = at; from < end; from += buffer.length) {
    const piece = buffer.subarray(0, Math.min(buffer.length, end - from));
    if (zero) {
      readTraced(memory, from, found);
      if (found.every((byte) => byte === 0)) continue;
    }
    memory.writeFrom(from, piece);
  }
};
