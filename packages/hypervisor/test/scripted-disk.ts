/** A disk of a scripted guest, and the guest's way of using it. */
import { SECTOR, virtioBlock, VirtioFunction } from "../src/devices/index.ts";
import type { Seat } from "../src/board/index.ts";
import { OWN, SHIFT, type Guest } from "./guest.ts";
import { Place, REQUIRED, SplitQueue, VirtioDriver } from "./virtio-driver.ts";

export const DISK = 0x28;
const SECTORS = 64;

/** A disk in memory at 00:05.0. */
export const diskSeat = (): Seat => {
  const bytes = Uint8Array.from({ length: SECTORS * SECTOR }, (_, i) => (i ^ (i >> 8)) & 0xff);
  return {
    devfn: DISK,
    fn: new VirtioFunction(
      virtioBlock({ sectors: SECTORS, readOnly: false, serial: "scripted", read: (sector, into) => { into.set(bytes.subarray(sector * SECTOR, sector * SECTOR + into.length)); }, write: (sector, from) => { bytes.set(from, sector * SECTOR); }, flush: () => undefined }),
    ),
  };
};

const HEADER = OWN + 0x8000;
const STATUS = HEADER + 16;
export const DATA = OWN + 0x1_0000;
/** Vectors of the configuration and the queue. */
export const [CONFIG_VECTOR, QUEUE_VECTOR] = [0x50, 0x51];

export interface ScriptedDisk {
  readonly virtio: VirtioDriver;
  readonly queue: SplitQueue;
  /** Does a request with data at `data`; the status byte, 0xff where none came. */
  request(type: 0 | 1, sector: number, length: number, data?: number): number;
}

/** Sets the disk up, with MSI-X through interrupt remapping or without. */
export const openDisk = ({ cpu, bar, vector, enableMsix }: Guest, msix = true): ScriptedDisk => {
  const virtio = new VirtioDriver(bar(DISK));
  const queue = new SplitQueue(cpu.memory, OWN, 16, SHIFT);
  if (!virtio.negotiate(REQUIRED)) throw new Error("The disk refuses its features.");
  if (msix) {
    vector(DISK, Place.MsixTable, 0, CONFIG_VECTOR);
    vector(DISK, Place.MsixTable, 1, QUEUE_VECTOR);
    enableMsix(DISK);
    virtio.bar.write(0x10, 2, 0);
  }
  virtio.enable(0, queue, msix ? 1 : 0xffff);
  virtio.go();
  return {
    virtio,
    queue,
    request: (type, sector, length, data = DATA) => {
      cpu.memory.write32(HEADER, type);
      cpu.memory.write32(HEADER + 4, 0);
      cpu.memory.write64(HEADER + 8, sector, 0);
      cpu.memory.write8(STATUS, 0xff);
      queue.add([{ address: HEADER, length: 16 }, { address: data, length, write: type === 0 }, { address: STATUS, length: 1, write: true }]);
      virtio.notify(0);
      queue.taken();
      return cpu.memory.read8(STATUS);
    },
  };
};
