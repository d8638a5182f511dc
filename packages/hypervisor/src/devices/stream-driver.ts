import { STREAM_DESCRIPTOR, StreamControl, StreamFlag, StreamRegister } from "./stream.ts";

/** How a driver reaches its device and its ring: the host's kernel by addresses, a guest through its processor. */
export interface StreamAccess {
  /** Registers of BAR 0, by offset. */
  readonly readRegister: (offset: number) => number;
  readonly writeRegister: (offset: number, value: number) => void;
  /** Memory of the ring, from its first byte on. */
  readonly writeRing: (offset: number, bytes: Uint8Array) => void;
  readonly readRing: (offset: number, bytes: Uint8Array) => void;
}

/** A driver for stream devices. The same code drives one from a host's kernel and from a guest. */
export class StreamDriver {
  readonly #access: StreamAccess;
  readonly #entries: number;
  #tail = 0;

  /** @param ring the ring's address for the device; `entries` descriptors of 16 bytes */
  constructor(access: StreamAccess, ring: number, entries: number) {
    this.#access = access;
    this.#entries = entries;
    access.writeRegister(StreamRegister.RingLow, ring % 2 ** 32);
    access.writeRegister(StreamRegister.RingHigh, Math.floor(ring / 2 ** 32));
    access.writeRegister(StreamRegister.Entries, entries);
    access.writeRegister(StreamRegister.Control, StreamControl.Enable);
  }

  /** Descriptors that the device has refused. */
  get errors(): number {
    return this.#access.readRegister(StreamRegister.Errors);
  }

  /** Gives the device a buffer without telling it. @returns the descriptor's index */
  queue(address: number, length: number, fromMemory = false): number {
    const index = this.#tail;
    const bytes = new Uint8Array(STREAM_DESCRIPTOR);
    const view = new DataView(bytes.buffer);
    view.setUint32(0, address % 2 ** 32, true);
    view.setUint32(4, Math.floor(address / 2 ** 32), true);
    view.setUint32(8, length, true);
    view.setUint32(12, fromMemory ? StreamFlag.FromMemory : 0, true);
    this.#access.writeRing(index * STREAM_DESCRIPTOR, bytes);
    this.#tail = (index + 1) % this.#entries;
    return index;
  }

  /** Rings the doorbell for all that is queued. */
  kick(): void {
    this.#access.writeRegister(StreamRegister.Tail, this.#tail);
  }

  /** Flags of a descriptor: a sum of `StreamFlag` bits. */
  flags(index: number): number {
    const bytes = new Uint8Array(4);
    this.#access.readRing(index * STREAM_DESCRIPTOR + 12, bytes);
    return new DataView(bytes.buffer).getUint32(0, true);
  }

  /** Takes the device's interrupt back. @returns a sum of `StreamInterrupt` bits */
  acknowledge(): number {
    const status = this.#access.readRegister(StreamRegister.InterruptStatus);
    this.#access.writeRegister(StreamRegister.InterruptStatus, status);
    return status;
  }
}
