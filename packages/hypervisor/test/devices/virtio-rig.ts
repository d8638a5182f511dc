/** A virtio function on a bench, with a driver of it. */
import { VirtioFunction, type QueueAccess, type VirtioDevice } from "../../src/devices/index.ts";
import { Place, REQUIRED, SplitQueue, VirtioDriver } from "../virtio-driver.ts";
import { Bench, programMsix } from "./bench.ts";

export interface VirtioRig {
  readonly bench: Bench;
  readonly fn: VirtioFunction;
  readonly driver: VirtioDriver;
  readonly queues: readonly SplitQueue[];
}

/** Memory that no queue is in. */
export const BUFFERS = 0x10_0000;

const barOf = (fn: VirtioFunction): NonNullable<VirtioFunction["bars"][number]> => {
  const [bar] = fn.bars;
  if (bar === undefined) throw new RangeError("A virtio function without BAR 0.");
  return bar;
};

/** A function as after power-on. */
export const plugged = (device: VirtioDevice): Pick<VirtioRig, "bench" | "fn" | "driver"> => {
  const bench = new Bench();
  const fn = new VirtioFunction(device);
  fn.connect(bench);
  return { bench, fn, driver: new VirtioDriver(barOf(fn)) };
};

/** A function in use, with queues of 8. */
export const running = (device: VirtioDevice, { features = REQUIRED, msix = false }: { readonly features?: bigint; readonly msix?: boolean } = {}): VirtioRig => {
  const { bench, fn, driver } = plugged(device);
  if (msix) programMsix(fn, Place.MsixTable, device.queues.length + 1);
  driver.negotiate(features);
  const queues = device.queues.map((_size, i) => new SplitQueue(bench.memory, 0x1_0000 + 0x4000 * i, 8));
  if (msix) driver.bar.write(0x10, 2, 0);
  for (const [i, queue] of queues.entries()) driver.enable(i, queue, msix ? i + 1 : 0xffff);
  driver.go();
  return { bench, fn, driver, queues };
};

/** A device of two queues that gives every request back with as many bytes as it may write, and counts its notifications. */
export class EchoDevice implements VirtioDevice {
  readonly type = 0x20;
  readonly classCode = 0xff_0000;
  readonly features = [3, 40];
  readonly queues = [16, 8];
  readonly config = Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8, 9);
  readonly notifications: number[] = [];
  resets = 0;

  notified(queue: number, io: QueueAccess): void {
    this.notifications.push(queue);
    for (let chain = io.take(queue); chain !== undefined; chain = io.take(queue)) {
      for (const { address, length } of chain.writable) io.memory.write(address, new Uint8Array(length).fill(0xee));
      io.give(queue, chain.head, chain.writable.reduce((sum, { length }) => sum + length, 0));
    }
    io.flush(queue);
  }

  reset(): void {
    this.resets++;
  }
}
