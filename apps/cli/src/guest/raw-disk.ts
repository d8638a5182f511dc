import { closeSync, fstatSync, fsyncSync, openSync, readSync, writeSync } from "node:fs";
import { DiskError, SECTOR, type BlockBackend } from "@iommu-lab/hypervisor/devices";
import { GuestFailure } from "./failure.ts";

/** A disk in a file, sector by sector as it is. */
export class RawDisk implements BlockBackend {
  readonly sectors: number;
  readonly readOnly: boolean;
  readonly serial = "raw-disk";
  readonly #fd: number;

  /** @throws GuestFailure when the file cannot be opened or has no whole sectors */
  constructor(path: string) {
    const writable = tryOpen(path, "r+");
    this.readOnly = writable === undefined;
    const fd = writable ?? tryOpen(path, "r");
    if (fd === undefined) throw new GuestFailure(`${path} cannot be opened as a disk. Make one with: truncate -s 1G ${path}`);
    this.#fd = fd;
    const { size } = fstatSync(fd);
    this.sectors = size / SECTOR;
    if (size === 0 || !Number.isInteger(this.sectors)) throw new GuestFailure(`${path} has ${size} bytes; a disk has whole sectors of ${SECTOR}.`);
  }

  read(sector: number, into: Uint8Array): void {
    if (readSync(this.#fd, into, 0, into.length, sector * SECTOR) !== into.length) throw new DiskError("The file ended.");
  }

  write(sector: number, from: Uint8Array): void {
    try {
      writeSync(this.#fd, from, 0, from.length, sector * SECTOR);
    } catch (error) {
      throw new DiskError(String(error));
    }
  }

  flush(): void {
    fsyncSync(this.#fd);
  }

  close(): void {
    closeSync(this.#fd);
  }
}

const tryOpen = (path: string, flags: string): number | undefined => {
  try {
    return openSync(path, flags);
  } catch {
    return undefined;
  }
};

/** A disk in memory, zero at first. */
export const memoryDisk = (bytes: number): BlockBackend => {
  const contents = new Uint8Array(bytes);
  return {
    sectors: bytes / SECTOR,
    readOnly: false,
    serial: "memory-disk",
    read: (sector, into) => {
      into.set(contents.subarray(sector * SECTOR, sector * SECTOR + into.length));
    },
    write: (sector, from) => {
      contents.set(from, sector * SECTOR);
    },
    flush: () => undefined,
  };
};
