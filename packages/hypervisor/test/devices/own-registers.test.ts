/** Devices whose DMA and messages a driver has pointed at their own registers. */
import { describe, expect, test } from "vitest";
import { EduFunction, SECTOR, virtioBlock, VirtioFunction } from "../../src/devices/index.ts";
import { OWN, runGuest, SHIFT, type Guest } from "../guest.ts";
import { Place, REQUIRED, SplitQueue, VirtioDriver } from "../virtio-driver.ts";

const DEVFN = 0x30;
const VENDORS = ["intel", "amd"] as const;
/** Where the device's own BAR is mapped for it. */
const SELF = 0x4000_0000;
const READ_WRITE = 3;

const mapSelf = (guest: Guest, size: number): void => {
  const domain = guest.ownDomain();
  domain.map(SELF, guest.cpu.bar(DEVFN, 0), size, READ_WRITE);
  guest.iommu.attach(DEVFN, domain);
};

describe.each(VENDORS)("on %s", (vendor) => {
  test("an edu transfer that starts itself ends", async () => {
    const { end } = await runGuest({ iommu: { vendor }, devices: () => [{ devfn: DEVFN, fn: new EduFunction() }] }, function* (guest) {
      const { cpu, bar } = guest;
      mapSelf(guest, 0x10_0000);
      const edu = bar(DEVFN);
      const move = (source: number, destination: number, command: number): void => {
        for (const [at, value] of [[0x80, source], [0x88, destination], [0x90, 4], [0x98, command]] as const) edu.write(at, 4, value);
      };
      cpu.memory.write32(OWN, 3);
      edu.write(0x84, 4, Math.floor((OWN + SHIFT) / 2 ** 32));
      move((OWN + SHIFT) % 2 ** 32, 0x4_0000, 1);
      edu.write(0x84, 4, 0);
      move(0x4_0000, SELF + 0x98, 3);
      expect(edu.read(0x98, 4)).toBe(2);
      // And reading itself finds nobody.
      move(SELF, 0x4_0000, 1);
      expect(edu.read(0x98, 4)).toBe(0);
      yield;
    });
    expect(end).toEqual({ reason: "powered-off" });
  });

  test("a message that raises the interrupt it is of is sent once", async () => {
    const { end } = await runGuest({ iommu: { vendor }, devices: () => [{ devfn: DEVFN, fn: new EduFunction({ interrupts: "msix" }) }] }, function* (guest) {
      mapSelf(guest, 0x10_0000);
      const edu = guest.bar(DEVFN);
      for (const [word, value] of [SELF + 0x60, 0, 2, 0].entries()) edu.write(0x8_0000 + 4 * word, 4, value);
      guest.enableMsix(DEVFN);
      edu.write(0x60, 4, 1);
      expect(edu.read(0x24, 4)).toBe(1);
      yield;
    });
    expect(end).toEqual({ reason: "powered-off" });
  });

  test("a disk that notifies and resets itself goes on", async () => {
    const disk = (): VirtioFunction => new VirtioFunction(virtioBlock({ sectors: 64, readOnly: false, serial: "", read: (_sector, into) => { into.fill(0); }, write: () => undefined, flush: () => undefined }));
    const { end } = await runGuest({ iommu: { vendor }, devices: () => [{ devfn: DEVFN, fn: disk() }] }, function* (guest) {
      const { cpu, bar } = guest;
      mapSelf(guest, 0x8000);
      const virtio = new VirtioDriver(bar(DEVFN));
      const queue = new SplitQueue(cpu.memory, OWN, 8, SHIFT);
      virtio.negotiate(REQUIRED);
      virtio.enable(0, queue);
      virtio.go();
      const status = virtio.status;
      for (const at of [Place.Notify, Place.Common]) {
        queue.describe(0, OWN + SHIFT + 0x8000, 16, 1, 1);
        queue.describe(1, SELF + at, SECTOR, 3, 2);
        queue.describe(2, OWN + SHIFT + 0x8010, 1, 2);
        queue.offer(0);
        virtio.notify(0);
      }
      yield;
      expect([virtio.status, queue.taken()]).toEqual([status, [{ id: 0, length: SECTOR + 1 }, { id: 0, length: SECTOR + 1 }]]);
    });
    expect(end).toEqual({ reason: "powered-off" });
  });
});
