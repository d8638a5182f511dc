/** What of a function's configuration space is its own, and what software or errors left there: found by writing. */
import type { FunctionConfig } from "../../src/capabilities/index.ts";

/** For each byte the bits that a write changes: read-write ones, and write-one-to-clear ones that are set. */
export const changeable = (make: () => FunctionConfig): Uint8Array => {
  const [before, ones, zeros] = [make(), make(), make()];
  const masks = new Uint8Array(before.size);
  for (let at = 0; at < before.size; at++) {
    ones.write(at, 1, 0xff);
    zeros.write(at, 1, 0);
    const was = before.read(at, 1);
    masks[at] = (ones.read(at, 1) ^ was) | (zeros.read(at, 1) ^ was);
  }
  return masks;
};
