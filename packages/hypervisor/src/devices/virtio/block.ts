import { plus } from "./dma.ts";
import { gather, LARGEST_REQUEST, QueueBroken, roomOf, scatter, type Buffer, type Chain } from "./virtqueue.ts";
import type { QueueAccess, VirtioDevice } from "./virtio-function.ts";

export const SECTOR = 512;

/** Where a disk's sectors are. A call that fails throws a `DiskError`: the request then ends with an error. */
export interface BlockBackend {
  /** Sectors of 512 bytes. */
  readonly sectors: number;
  readonly readOnly: boolean;
  /** Up to 20 characters. */
  readonly serial: string;
  read(sector: number, into: Uint8Array): void;
  write(sector: number, from: Uint8Array): void;
  flush(): void;
}

/** Feature bits. Virtio 1.2 §5.2.3. */
const Feature = { SizeMax: 1, SegMax: 2, ReadOnly: 5, BlockSize: 6, Flush: 9 } as const;
const Type = { In: 0, Out: 1, Flush: 4, GetId: 8 } as const;
const Status = { Ok: 0, IoError: 1, Unsupported: 2 } as const;
const HEADER_BYTES = 16;
const ID_BYTES = 20;
const QUEUE_SIZE = 128;
/** Bytes of a segment: as many as all segments together may have without passing the largest request. */
const SEGMENT = 2 ** 17;

const configOf = ({ sectors }: BlockBackend): Uint8Array => {
  const config = new Uint8Array(24);
  const view = new DataView(config.buffer);
  view.setBigUint64(0, BigInt(sectors), true);
  view.setUint32(8, SEGMENT, true);
  view.setUint32(12, QUEUE_SIZE - 2, true); // seg_max: a header and a status byte beside
  view.setUint32(20, SECTOR, true);
  return config;
};

/** Buffers without their last byte, and that byte: the status. */
const withoutStatus = (writable: readonly Buffer[]): { readonly data: readonly Buffer[]; readonly status: Buffer } | undefined => {
  const last = writable.at(-1);
  if (last === undefined || last.length === 0) return undefined;
  const rest = last.length - 1;
  const status = { address: plus(last.address, rest), length: 1 };
  return { data: rest === 0 ? writable.slice(0, -1) : [...writable.slice(0, -1), { ...last, length: rest }], status };
};

/** A disk. Virtio 1.2 §5.2. */
export const virtioBlock = (disk: BlockBackend): VirtioDevice => {
  const inside = (sector: number, bytes: number): boolean => bytes % SECTOR === 0 && sector + bytes / SECTOR <= disk.sectors;

  /** Does one request; the status, and the bytes written before it. */
  const run = (type: number, sector: number, out: Uint8Array, data: readonly Buffer[], io: QueueAccess): readonly [status: number, written: number] => {
    switch (type) {
      case Type.In: {
        const room = roomOf(data);
        if (room > LARGEST_REQUEST || !inside(sector, room)) return [Status.IoError, 0];
        const bytes = new Uint8Array(room);
        disk.read(sector, bytes);
        return [Status.Ok, scatter(io.memory, data, bytes)];
      }
      case Type.Out:
        if (disk.readOnly || !inside(sector, out.length)) return [Status.IoError, 0];
        disk.write(sector, out);
        return [Status.Ok, 0];
      case Type.Flush:
        disk.flush();
        return [Status.Ok, 0];
      case Type.GetId: {
        const id = new Uint8Array(ID_BYTES);
        for (let i = 0; i < Math.min(ID_BYTES, disk.serial.length); i++) id[i] = disk.serial.charCodeAt(i) & 0x7f;
        return [Status.Ok, scatter(io.memory, data, id)];
      }
      default:
        return [Status.Unsupported, 0];
    }
  };

  const serve = (queue: number, chain: Chain, io: QueueAccess): void => {
    const parts = withoutStatus(chain.writable);
    if (parts === undefined) throw new QueueBroken("A request for a disk has no room for its status.");
    const bytes = gather(io.memory, chain.readable);
    let result: readonly [number, number] = [Status.IoError, 0];
    if (bytes.length >= HEADER_BYTES) {
      const view = new DataView(bytes.buffer);
      try {
        // No disk is so large that a sector of it is no exact number.
        result = run(view.getUint32(0, true), Number(view.getBigUint64(8, true)), bytes.subarray(HEADER_BYTES), parts.data, io);
      } catch (error) {
        if (!(error instanceof DiskError)) throw error;
      }
    }
    scatter(io.memory, [parts.status], Uint8Array.of(result[0]));
    io.give(queue, chain.head, result[1] + 1);
  };

  return {
    type: 2,
    classCode: 0x01_0000,
    features: [Feature.SizeMax, Feature.SegMax, Feature.BlockSize, Feature.Flush, ...(disk.readOnly ? [Feature.ReadOnly] : [])],
    queues: [QUEUE_SIZE],
    config: configOf(disk),
    notified(queue, io) {
      for (let chain = io.take(queue); chain !== undefined; chain = io.take(queue)) serve(queue, chain, io);
      io.flush(queue);
    },
  };
};

/** What a backend throws when its medium fails. */
export class DiskError extends Error {
  override readonly name = "DiskError";
}
