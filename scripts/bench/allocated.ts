/** Bytes that a million operations leave behind on the heap or make the collector take away. */
export const allocated = (run: () => number): number => {
  for (let i = 0; i < 64; i++) run();
  let least = Infinity;
  for (let attempt = 0; attempt < 3; attempt++) {
    globalThis.gc?.();
    let bytes = 0;
    for (let done = 0; done < 1_000_000; ) {
      const before = process.memoryUsage().heapUsed;
      for (let i = 0; i < 16; i++) done += run();
      // A collection in between hides what came before it; windows of 64k operations are too short for one unless they allocate.
      bytes += Math.abs(process.memoryUsage().heapUsed - before);
    }
    least = Math.min(least, bytes);
  }
  return least;
};
