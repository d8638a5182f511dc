import { roomOf, scatter } from "./virtqueue.ts";
import type { VirtioDevice } from "./virtio-function.ts";

/** Most bytes given at a time. */
const AT_ONCE = 4096;

/** An entropy device: fills what the driver offers. Virtio 1.2 §5.4. @param fill puts random bytes into an array */
export const virtioEntropy = (fill: (into: Uint8Array) => void): VirtioDevice => ({
  type: 4,
  classCode: 0xff_0000,
  features: [],
  queues: [256],
  config: new Uint8Array(0),
  notified(queue, io) {
    for (let chain = io.take(queue); chain !== undefined; chain = io.take(queue)) {
      const bytes = new Uint8Array(Math.min(roomOf(chain.writable), AT_ONCE));
      fill(bytes);
      io.give(queue, chain.head, scatter(io.memory, chain.writable, bytes));
    }
    io.flush(queue);
  },
});
