import { expect, test } from "vitest";
import { virtioEntropy } from "../../src/devices/index.ts";
import { BUFFERS, running } from "./virtio-rig.ts";

test("fills what it is given, up to a page at a time (§5.4)", () => {
  let next = 0;
  const rig = running(virtioEntropy((into) => { for (let i = 0; i < into.length; i++) into[i] = ++next & 0xff; }));
  rig.queues[0]?.add([{ address: BUFFERS, length: 3, write: true }, { address: BUFFERS + 16, length: 2, write: true }]);
  rig.queues[0]?.add([{ address: BUFFERS + 32, length: 100_000, write: true }]);
  rig.queues[0]?.add([{ address: BUFFERS, length: 4 }]);
  rig.driver.notify(0);
  expect(rig.queues[0]?.taken()).toEqual([{ id: 0, length: 5 }, { id: 2, length: 4096 }, { id: 3, length: 0 }]);
  expect([0, 1, 2, 3, 16, 17, 32].map((at) => rig.bench.memory.read8(BUFFERS + at))).toEqual([1, 2, 3, 0, 4, 5, 6]);
  expect(rig.bench.pin).toBe(true);
});
