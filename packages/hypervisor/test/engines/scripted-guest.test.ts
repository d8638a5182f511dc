import { describe, expect, test } from "vitest";
import type { IommuChoice } from "../../src/board/index.ts";
import type { ArrivedInterrupt } from "../../src/engines/index.ts";
import { OWN, OWN_SIZE, runGuest, SHIFT, type Guest } from "../guest.ts";
import { CONFIG_VECTOR, DATA, DISK, diskSeat, openDisk, QUEUE_VECTOR } from "../scripted-disk.ts";
import { Place, Status } from "../virtio-driver.ts";

const CHOICES: readonly IommuChoice[] = [
  { vendor: "intel" },
  { vendor: "intel", cachingMode: true, caches: "adversarial" },
  { vendor: "intel", scalable: true },
  { vendor: "intel", levels: 5, superpages: false },
  { vendor: "intel", scalable: true, levels: 5, cachingMode: true },
  { vendor: "amd" },
  { vendor: "amd", cachingMode: true, caches: "adversarial" },
  { vendor: "amd", scalable: true, levels: 5 },
];
const VENDORS = ["intel", "amd"] as const;
/** As local APICs take it; bit 14 asserts. Intel SDM vol. 3 §11.11. */
const message = (vector: number): ArrivedInterrupt => ({ kind: "message", address: 0xfee0_0000, data: 0x4000 | vector });
const BYTES = 3 * 4096;

/** Writes to the disk and reads back, two requests at different places in memory. */
function* roundTrip(guest: Guest): Generator<void> {
  const { cpu, iommu } = guest;
  iommu.attach(DISK, guest.ownDomain());
  const disk = openDisk(guest);
  const sent = Uint8Array.from({ length: BYTES }, (_, i) => (i * 31) & 0xff);
  cpu.memory.writeFrom(DATA + 0x80, sent);
  expect(disk.request(1, 5, BYTES, DATA + 0x80)).toBe(0);
  yield;
  expect(disk.request(0, 5, BYTES, DATA + 0x8e00)).toBe(0);
  const back = new Uint8Array(BYTES);
  cpu.memory.readInto(DATA + 0x8e00, back);
  expect(back).toEqual(sent);
  expect(cpu.interrupts()).toEqual([message(QUEUE_VECTOR), message(QUEUE_VECTOR)]);
  cpu.print("done");
}

describe.each(CHOICES)("a scripted guest with %o", (iommu) => {
  test("uses a disk through translation and interrupt remapping", async () => {
    const { end, board, console, trace } = await runGuest({ iommu, devices: () => [diskSeat()] }, roundTrip);
    expect([end, console]).toEqual([{ reason: "powered-off" }, "done"]);
    expect([board.counters.faults, board.counters.interrupts, board.unknownAccesses]).toEqual([0, 2, []]);
    const { translations, hits, misses } = board.counters;
    expect([translations > 20, hits > 0, misses > 0, hits + misses <= translations]).toEqual([true, true, true, true]);
    // Addresses of devices are not those of memory.
    const dma = trace.map((line) => JSON.parse(line) as { readonly op: string; readonly iova?: string }).filter(({ op }) => op.startsWith("dma_"));
    expect(dma.every(({ iova }) => Number(iova) >= OWN + SHIFT && Number(iova) < OWN + SHIFT + OWN_SIZE)).toBe(true);
  });

  test("a buffer that is not mapped: a fault that the IOMMU records, and a device that needs a reset", async () => {
    const unmapped = OWN + OWN_SIZE + 0x5000;
    const { end, board } = await runGuest({ iommu, devices: () => [diskSeat()] }, function* (guest) {
      const { cpu, faults, iommu: driver } = guest;
      driver.attach(DISK, guest.ownDomain());
      const disk = openDisk(guest);
      expect(disk.request(0, 0, 512, unmapped)).toBe(0xff);
      yield;
      expect(disk.virtio.status & Status.NeedsReset).toBe(Status.NeedsReset);
      driver.service();
      expect(faults).toMatchObject([{ requester: DISK, address: BigInt(unmapped + SHIFT) }]);
      expect(cpu.interrupts()).toContainEqual(message(CONFIG_VECTOR));
      // After a reset it works again.
      cpu.memory.write16(OWN + 0x2002, 0);
      cpu.memory.write16(OWN + 0x1002, 0);
      expect(openDisk(guest).request(0, 0, 512)).toBe(0);
    });
    expect([end, board.counters.faults]).toEqual([{ reason: "powered-off" }, 1]);
  });
});

describe.each(VENDORS)("on %s", (vendor) => {
  test("a function that nothing is attached to reaches nothing", async () => {
    const { end, board } = await runGuest({ iommu: { vendor }, devices: () => [diskSeat()] }, function* (guest) {
      const disk = openDisk(guest);
      expect(disk.request(0, 0, 512)).toBe(0xff);
      yield;
    });
    expect([end, board.counters.faults > 0]).toEqual([{ reason: "powered-off" }, true]);
  });

  test("INTx reaches the processor by a wire, up and down", async () => {
    const { end } = await runGuest({ iommu: { vendor }, devices: () => [diskSeat()] }, function* (guest) {
      guest.iommu.attach(DISK, guest.ownDomain());
      const disk = openDisk(guest, false);
      expect(disk.request(0, 0, 512)).toBe(0);
      yield;
      const wire = { domain: 0, bus: 0, device: DISK >> 3, pin: 0 };
      expect(guest.cpu.interrupts()).toEqual([{ kind: "wire", wire, asserted: true }]);
      expect([guest.cpu.bus.configRead(DISK, 6, 2) & 8, disk.virtio.bar.read(Place.Isr, 1)]).toEqual([8, 1]);
      expect([guest.cpu.interrupts(), guest.cpu.bus.configRead(DISK, 6, 2) & 8]).toEqual([[{ kind: "wire", wire, asserted: false }], 0]);
    });
    expect(end).toEqual({ reason: "powered-off" });
  });

  test("a message that no entry allows does not arrive", async () => {
    const { end, board } = await runGuest({ iommu: { vendor }, devices: () => [diskSeat()] }, function* (guest) {
      guest.iommu.attach(DISK, guest.ownDomain());
      const disk = openDisk(guest);
      const table = guest.cpu.bar(DISK, 0) + Place.MsixTable + 16;
      // In compatibility format: past remapping, if it could.
      for (const [word, value] of [0xfee0_0000, 0, 0x66].entries()) guest.cpu.write(table + 4 * word, 4, value);
      expect([disk.request(0, 0, 512), guest.cpu.interrupts().filter((arrived) => arrived.kind === "message" && (arrived.data & 0xff) === 0x66)]).toEqual([0, []]);
      yield;
    });
    expect([end, board.counters.interrupts]).toEqual([{ reason: "powered-off" }, 0]);
  });

  test("the same run twice is the same trace", async () => {
    const run = async (): Promise<readonly string[]> => (await runGuest({ iommu: { vendor }, devices: () => [diskSeat()] }, roundTrip)).trace;
    expect(await run()).toEqual(await run());
  });
});
