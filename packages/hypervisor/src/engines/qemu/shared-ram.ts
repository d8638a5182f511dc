import { closeSync, ftruncateSync, openSync, readSync, unlinkSync, writeSync } from "node:fs";
import { join } from "node:path";
import type { AddressSpace, Hpa, Pfn } from "@iommu-lab/memory";

const PAGE = 4096;
/** Pages that are kept apart at a time: whoever reads words of one may still hold those of a few before. */
const VIEWS = 8;

/**
 * Guest memory that QEMU has mapped, reached by reading and writing the file behind it. The file has no name any more when
 * the constructor returns: nothing is left behind, whatever ends this process.
 */
export class SharedRam implements AddressSpace<Hpa> {
  /** Bytes, from address 0 on. */
  readonly size: number;
  /** For the process that maps it. */
  readonly fd: number;
  readonly #views = Array.from({ length: VIEWS }, () => new Uint32Array(PAGE / 4));
  #next = 0;
  readonly #bytes = new Uint8Array(8);
  readonly #view = new DataView(this.#bytes.buffer);

  /** @param folder of a file system in memory */
  constructor(size: number, folder = "/dev/shm") {
    this.size = size;
    const path = join(folder, `iommu-lab-${process.pid}-${Math.random().toString(36).slice(2)}`);
    this.fd = openSync(path, "wx+", 0o600);
    unlinkSync(path);
    ftruncateSync(this.fd, size);
  }

  close(): void {
    closeSync(this.fd);
  }

  /** A copy of page `pfn`, good until a few pages more are asked for: the guest's processor writes to the page itself. */
  wordsOf(pfn: Pfn<"HPA">): Uint32Array | undefined {
    if (pfn < 0 || pfn >= this.size / PAGE) return undefined;
    const words = this.#views[(this.#next = (this.#next + 1) % VIEWS)] as Uint32Array; // below the number of views
    readSync(this.fd, words, 0, PAGE, pfn * PAGE);
    return words;
  }

  wordOf(): number {
    return 0;
  }

  readInto(at: Hpa, bytes: Uint8Array): void {
    const inside = Math.max(0, Math.min(bytes.length, this.size - at));
    if (inside > 0) readSync(this.fd, bytes, 0, inside, at);
    bytes.fill(0xff, inside);
  }

  writeFrom(at: Hpa, bytes: Uint8Array): void {
    const inside = Math.max(0, Math.min(bytes.length, this.size - at));
    if (inside > 0) writeSync(this.fd, bytes, 0, inside, at);
  }

  read8(at: Hpa): number {
    this.readInto(at, this.#bytes.subarray(0, 1));
    return this.#view.getUint8(0);
  }

  read16(at: Hpa): number {
    this.readInto(at, this.#bytes.subarray(0, 2));
    return this.#view.getUint16(0, true);
  }

  read32(at: Hpa): number {
    this.readInto(at, this.#bytes.subarray(0, 4));
    return this.#view.getUint32(0, true);
  }

  read64(at: Hpa, into: Uint32Array): void {
    this.readInto(at, this.#bytes);
    into[0] = this.#view.getUint32(0, true);
    into[1] = this.#view.getUint32(4, true);
  }

  write8(at: Hpa, value: number): void {
    this.#view.setUint8(0, value);
    this.writeFrom(at, this.#bytes.subarray(0, 1));
  }

  write16(at: Hpa, value: number): void {
    this.#view.setUint16(0, value, true);
    this.writeFrom(at, this.#bytes.subarray(0, 2));
  }

  write32(at: Hpa, value: number): void {
    this.#view.setUint32(0, value, true);
    this.writeFrom(at, this.#bytes.subarray(0, 4));
  }

  write64(at: Hpa, low: number, high: number): void {
    this.#view.setUint32(0, low, true);
    this.#view.setUint32(4, high, true);
    this.writeFrom(at, this.#bytes);
  }
}
