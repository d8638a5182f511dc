import type { AccessSize } from "@iommu-lab/memory";

/**
 * The messages between QEMU's `x-pci-proxy-dev` and the process behind it: a header of 16 bytes (command, padding, size of
 * what follows), then the body, all little-endian. QEMU docs/system/multi-process.rst; layouts found by experiment with 7.2.
 */
const ProxyCommand = { SyncMemory: 0, Return: 1, ConfigWrite: 2, ConfigRead: 3, BarWrite: 4, BarRead: 5, SetInterrupt: 6, Reset: 7 } as const;

const HEADER = 16;
/** Larger than any message there is: more means that the stream is not what we think. */
const LIMIT = 4096;

/** An access to a function, as its message says it. */
export type ProxyRequest =
  | { readonly kind: "config-read" | "config-write"; readonly offset: number; readonly size: AccessSize; readonly value: number }
  /** `address` is guest-physical, not an offset into a BAR; `value` has 64 bits. */
  | { readonly kind: "bar-read" | "bar-write"; readonly address: number; readonly size: AccessSize | 8; readonly value: bigint }
  | { readonly kind: "reset" }
  /** Nothing to do, and nothing to answer. */
  | { readonly kind: "notice" };

const accessSize = (size: number): AccessSize => {
  if (size === 1 || size === 2 || size === 4) return size;
  throw new RangeError(`QEMU's proxy device asks for ${size} bytes; this QEMU speaks another version.`);
};
const wideSize = (size: number): AccessSize | 8 => (size === 8 ? size : accessSize(size));

const decodeBody = (command: number, body: DataView): ProxyRequest => {
  switch (command) {
    case ProxyCommand.ConfigRead:
    case ProxyCommand.ConfigWrite:
      return { kind: command === ProxyCommand.ConfigRead ? "config-read" : "config-write", offset: body.getUint32(0, true), value: body.getUint32(4, true), size: accessSize(body.getInt32(8, true)) };
    case ProxyCommand.BarRead:
    case ProxyCommand.BarWrite:
      return { kind: command === ProxyCommand.BarRead ? "bar-read" : "bar-write", address: Number(body.getBigUint64(0, true)), value: body.getBigUint64(8, true), size: wideSize(body.getUint32(16, true)) };
    case ProxyCommand.Reset:
      return { kind: "reset" };
    case ProxyCommand.SyncMemory:
    case ProxyCommand.SetInterrupt:
      return { kind: "notice" };
    default:
      throw new RangeError(`QEMU's proxy device sent command ${command}, which is not known; this QEMU speaks another version.`);
  }
};

/** Cuts a stream into requests. */
export class ProxyReader {
  #pending = Buffer.alloc(0);

  /** @throws RangeError when the stream is not one of proxy messages */
  push(chunk: Uint8Array): ProxyRequest[] {
    this.#pending = this.#pending.length === 0 ? Buffer.from(chunk) : Buffer.concat([this.#pending, chunk]);
    const requests: ProxyRequest[] = [];
    while (this.#pending.length >= HEADER) {
      const size = Number(this.#pending.readBigUInt64LE(8));
      if (size > LIMIT) throw new RangeError(`QEMU's proxy device announces a message of ${size} bytes; this QEMU speaks another version.`);
      if (this.#pending.length < HEADER + size) break;
      const body = this.#pending.subarray(HEADER, HEADER + size);
      requests.push(decodeBody(this.#pending.readInt32LE(0), new DataView(body.buffer, body.byteOffset, body.length)));
      this.#pending = this.#pending.subarray(HEADER + size);
    }
    return requests;
  }
}

/** The answer to every request but a notice. */
export const proxyReturn = (value: bigint): Uint8Array => {
  const message = Buffer.alloc(HEADER + 8);
  message.writeInt32LE(ProxyCommand.Return, 0);
  message.writeBigUInt64LE(8n, 8);
  message.writeBigUInt64LE(value, HEADER);
  return message;
};
