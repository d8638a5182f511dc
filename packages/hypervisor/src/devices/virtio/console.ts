import { gather, scatter } from "./virtqueue.ts";
import type { QueueAccess, VirtioDevice } from "./virtio-function.ts";

const RECEIVE = 0;
const TRANSMIT = 1;
const LIMIT = 2 ** 20;

/** A console of one port. Virtio 1.2 §5.3. */
export class VirtioConsole implements VirtioDevice {
  readonly type = 3;
  readonly classCode = 0x07_8000;
  readonly features = [];
  readonly queues = [64, 64];
  readonly config = new Uint8Array(12);
  readonly #output: (bytes: Uint8Array) => void;
  #io: QueueAccess | undefined;
  #waiting: Uint8Array[] = [];

  /** @param output takes what the guest writes */
  constructor(output: (bytes: Uint8Array) => void) {
    this.#output = output;
  }

  notified(queue: number, io: QueueAccess): void {
    this.#io = io;
    if (queue === RECEIVE) {
      this.#deliver(io);
      return;
    }
    for (let chain = io.take(TRANSMIT); chain !== undefined; chain = io.take(TRANSMIT)) {
      this.#output(gather(io.memory, chain.readable, LIMIT));
      io.give(TRANSMIT, chain.head, 0);
    }
    io.flush(TRANSMIT);
  }

  /** What somebody types; kept until the guest has room for it. */
  input(bytes: Uint8Array): void {
    if (bytes.length === 0) return;
    this.#waiting.push(bytes);
    const io = this.#io;
    io?.attempt(() => {
      this.#deliver(io);
    });
  }

  reset(): void {
    this.#io = undefined;
  }

  #deliver(io: QueueAccess): void {
    for (let bytes = this.#waiting[0]; bytes !== undefined; bytes = this.#waiting[0]) {
      const chain = io.take(RECEIVE);
      if (chain === undefined) break;
      const written = scatter(io.memory, chain.writable, bytes);
      io.give(RECEIVE, chain.head, written);
      if (written < bytes.length) this.#waiting[0] = bytes.subarray(written);
      else this.#waiting.shift();
    }
    io.flush(RECEIVE);
  }
}
