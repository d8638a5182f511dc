/** What has a page: a request, and what becomes of it. */
interface Paged {
  page: number;
}

/** Keeps results alive, so that no loop is optimised away. */
export const sink = { value: 0 };

const BATCH = 4096;

/** Translates the pages in turn; each call does a batch. */
export const translateLoop = <R extends Paged, T extends Paged>(iommu: { readonly translate: (request: R, out: T) => void }, request: R, out: T, pages: Float64Array): (() => number) => {
  let next = 0;
  return () => {
    for (let i = 0; i < BATCH; i++) {
      request.page = pages[next] as number; // next wraps at the length
      iommu.translate(request, out);
      sink.value = (sink.value + out.page) | 0;
      if (++next === pages.length) next = 0;
    }
    return BATCH;
  };
};

/** A bare kernel: `low` and `high` are a page number's words, `access` what is asked for, in the bits of its tables. It leaves the page in `out[0]`, and returns false for a fault. */
export type KernelTranslate = (low: number, high: number, access: number) => boolean;

/** The same with a bare kernel. @param access the request's, as the kernel wants it */
export const kernelLoop = (translate: KernelTranslate, out: Int32Array, pages: Float64Array, access: number): (() => number) => {
  const request = Int32Array.of(access);
  const lows = Int32Array.from(pages, (page) => page | 0);
  const highs = Int32Array.from(pages, (page) => Math.floor(page / 2 ** 32));
  let next = 0;
  return () => {
    for (let i = 0; i < BATCH; i++) {
      if (!translate(lows[next] as number, highs[next] as number, request[0] as number)) throw new Error("The kernel's own page faults.");
      sink.value = (sink.value + (out[0] as number)) | 0;
      if (++next === lows.length) next = 0;
    }
    return BATCH;
  };
};

/** Checks that a batch is what its row's name says: nothing but hits, or nothing but misses. @param misses how many there were so far */
export const expectMisses = (misses: () => number, run: () => number, share: 0 | 1): (() => number) => {
  for (let i = 0; i < 64; i++) run();
  const before = misses();
  run();
  const missed = misses() - before;
  if (missed !== share * BATCH) throw new Error(`Of ${BATCH} translations ${missed} miss the IOTLB; the row wants ${share * BATCH}.`);
  return run;
};
