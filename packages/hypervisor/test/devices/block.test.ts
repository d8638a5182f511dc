import { describe, expect, test } from "vitest";
import { DiskError, SECTOR, virtioBlock, type BlockBackend } from "../../src/devices/index.ts";
import { Place, Status } from "../virtio-driver.ts";
import { BUFFERS, plugged, running, type VirtioRig } from "./virtio-rig.ts";

const SECTORS = 16;
const [IN, OUT, FLUSH, GET_ID] = [0, 1, 4, 8];
const [OK, IO_ERROR, UNSUPPORTED] = [0, 1, 2];
const HEADER = BUFFERS;
const STATUS = BUFFERS + 0x100;
const DATA = BUFFERS + 0x1000;

/** A disk in memory; what was asked of it. */
const makeDisk = (changes: Partial<BlockBackend> = {}): BlockBackend & { readonly bytes: Uint8Array; readonly calls: string[] } => {
  const bytes = Uint8Array.from({ length: SECTORS * SECTOR }, (_, i) => (i * 7 + (i >> 9)) & 0xff);
  const calls: string[] = [];
  return {
    bytes,
    calls,
    sectors: SECTORS,
    readOnly: false,
    serial: "disk-1",
    read: (sector, into) => { calls.push(`read ${sector}`); into.set(bytes.subarray(sector * SECTOR, sector * SECTOR + into.length)); },
    write: (sector, from) => { calls.push(`write ${sector}`); bytes.set(from, sector * SECTOR); },
    flush: () => { calls.push("flush"); },
    ...changes,
  };
};

/** Writes a header and sends it with a status byte and data between; what came back. */
const request = ({ bench, driver, queues: [queue] }: VirtioRig, type: number, sector: number | bigint, data: readonly { readonly address: number; readonly length: number; readonly write: boolean }[] = []): { readonly status: number; readonly length: number | undefined } => {
  bench.memory.write32(HEADER, type);
  bench.memory.write32(HEADER + 4, 0);
  bench.memory.write64(HEADER + 8, Number(BigInt(sector) & 0xffff_ffffn), Number(BigInt(sector) >> 32n));
  bench.memory.write8(STATUS, 0xaa);
  queue?.add([{ address: HEADER, length: 16 }, ...data, { address: STATUS, length: 1, write: true }]);
  driver.notify(0);
  return { status: bench.memory.read8(STATUS), length: queue?.taken()[0]?.length };
};

const bytesAt = ({ bench }: VirtioRig, at: number, length: number): Uint8Array => {
  const bytes = new Uint8Array(length);
  bench.memory.readInto(at, bytes);
  return bytes;
};

describe("the configuration (§5.2.4)", () => {
  test("capacity, segments and block size", () => {
    const { bar } = plugged(virtioBlock(makeDisk({ sectors: 2 ** 33 + 5 }))).driver;
    expect([0, 4, 8, 12, 20].map((at) => bar.read(Place.Device + at, 4))).toEqual([5, 2, 2 ** 17, 126, 512]);
  });

  test.each([[false, 0x246n], [true, 0x266n]])("features; read-only: %s", (readOnly, bits) => {
    expect(plugged(virtioBlock(makeDisk({ readOnly }))).driver.offered & 0xffffn).toBe(bits);
  });
});

describe("requests (§5.2.6)", () => {
  test("a read into several buffers", () => {
    const disk = makeDisk();
    const rig = running(virtioBlock(disk));
    expect(request(rig, IN, 3, [{ address: DATA, length: 100, write: true }, { address: DATA + 0x1000, length: 924, write: true }])).toEqual({ status: OK, length: 1025 });
    expect(bytesAt(rig, DATA, 100)).toEqual(disk.bytes.slice(3 * SECTOR, 3 * SECTOR + 100));
    expect(bytesAt(rig, DATA + 0x1000, 924)).toEqual(disk.bytes.slice(3 * SECTOR + 100, 5 * SECTOR));
  });

  test("a write from several buffers: one byte is written, the status", () => {
    const disk = makeDisk();
    const rig = running(virtioBlock(disk));
    const data = Uint8Array.from({ length: 2 * SECTOR }, (_, i) => i & 0xff);
    rig.bench.memory.writeFrom(DATA, data);
    expect(request(rig, OUT, 14, [{ address: DATA, length: 500, write: false }, { address: DATA + 500, length: 524, write: false }])).toEqual({ status: OK, length: 1 });
    expect(disk.bytes.slice(14 * SECTOR)).toEqual(data);
  });

  test("flush", () => {
    const disk = makeDisk();
    expect([request(running(virtioBlock(disk)), FLUSH, 0), disk.calls]).toEqual([{ status: OK, length: 1 }, ["flush"]]);
  });

  test.each([["disk-1", "disk-1"], ["x".repeat(20), "x".repeat(20)], ["y".repeat(30), "y".repeat(20)], ["", ""]])("get-id of %j: 20 bytes, filled with zeros", (serial, text) => {
    const rig = running(virtioBlock(makeDisk({ serial })));
    expect(request(rig, GET_ID, 0, [{ address: DATA, length: 20, write: true }])).toEqual({ status: OK, length: 21 });
    expect(Buffer.from(bytesAt(rig, DATA, 20)).toString("latin1")).toBe(text.padEnd(20, "\0"));
  });

  test.each([2, 5, 11, 13, 0xffff_ffff])("type %i is unsupported, whatever the sector", (type) => {
    expect(request(running(virtioBlock(makeDisk())), type, 2n ** 64n - 1n)).toEqual({ status: UNSUPPORTED, length: 1 });
  });

  test.each<[string, number, number | bigint, number]>([
    ["a read past the end", IN, 15, 1024],
    ["a read at the end", IN, 16, 512],
    ["a read of a part of a sector", IN, 0, 100],
    ["a read of sector 2^64 - 1", IN, 2n ** 64n - 1n, 512],
    ["a read of sector 2^53 + 1", IN, 2n ** 53n + 1n, 512],
    ["a write past the end", OUT, 15, 1024],
    ["a write of a part of a sector", OUT, 0, 513],
  ])("%s is an I/O error, and the disk is not asked", (_what, type, sector, length) => {
    const disk = makeDisk();
    expect(request(running(virtioBlock(disk)), type, sector, [{ address: DATA, length, write: type === IN }])).toEqual({ status: IO_ERROR, length: 1 });
    expect(disk.calls).toEqual([]);
  });

  test("the last sector can be read", () => {
    expect(request(running(virtioBlock(makeDisk())), IN, 15, [{ address: DATA, length: 512, write: true }])).toEqual({ status: OK, length: 513 });
  });

  test("a write to a read-only disk is an I/O error (§5.2.6.2)", () => {
    const disk = makeDisk({ readOnly: true });
    expect([request(running(virtioBlock(disk)), OUT, 0, [{ address: DATA, length: 512, write: false }]), disk.calls]).toEqual([{ status: IO_ERROR, length: 1 }, []]);
  });

  test("more than any disk request can be", () => {
    const disk = makeDisk({ sectors: 2 ** 40 });
    const segments = Array.from({ length: 5 }, () => ({ address: DATA, length: 0xffff_fe00, write: true }));
    expect([request(running(virtioBlock(disk)), IN, 0, segments), disk.calls]).toEqual([{ status: IO_ERROR, length: 1 }, []]);
  });

  test.each(["read", "write", "flush"] as const)("a medium that fails to %s", (what) => {
    const fail = (): never => { throw new DiskError("worn out"); };
    const types = { read: IN, write: OUT, flush: FLUSH };
    expect(request(running(virtioBlock(makeDisk({ [what]: fail }))), types[what], 0, what === "flush" ? [] : [{ address: DATA, length: 512, write: what === "read" }])).toEqual({ status: IO_ERROR, length: 1 });
  });

  test("any other exception of a backend is not hidden", () => {
    const rig = running(virtioBlock(makeDisk({ flush: () => { throw new TypeError("a mistake"); } })));
    expect(() => request(rig, FLUSH, 0)).toThrow(TypeError);
  });
});

describe("framing is the driver's choice (§2.7.4.1)", () => {
  test("a header in pieces with data behind it, and the status in the data's buffer", () => {
    const disk = makeDisk();
    const rig = running(virtioBlock(disk));
    rig.bench.memory.write32(HEADER, IN);
    rig.bench.memory.write64(HEADER + 8, 1, 0);
    rig.queues[0]?.add([{ address: HEADER, length: 3 }, { address: HEADER + 3, length: 13 }, { address: DATA, length: 513, write: true }]);
    rig.driver.notify(0);
    expect([bytesAt(rig, DATA, 512), rig.bench.memory.read8(DATA + 512), rig.queues[0]?.taken()]).toEqual([disk.bytes.slice(SECTOR, 2 * SECTOR), OK, [{ id: 0, length: 513 }]]);
  });

  test("a header that is too short is an I/O error", () => {
    const rig = running(virtioBlock(makeDisk()));
    rig.queues[0]?.add([{ address: HEADER, length: 15 }, { address: STATUS, length: 1, write: true }]);
    rig.driver.notify(0);
    expect([rig.bench.memory.read8(STATUS), rig.queues[0]?.taken()]).toEqual([IO_ERROR, [{ id: 0, length: 1 }]]);
  });

  test.each([["nothing to write to", []], ["an empty buffer for the status", [{ address: STATUS, length: 0, write: true }]]])("%s: the device needs a reset", (_what, tail) => {
    const rig = running(virtioBlock(makeDisk()));
    rig.queues[0]?.add([{ address: HEADER, length: 16 }, ...tail]);
    rig.driver.notify(0);
    expect(rig.driver.status & Status.NeedsReset).toBe(Status.NeedsReset);
  });

  test("several requests by one notification, one interrupt", () => {
    const rig = running(virtioBlock(makeDisk()), { msix: true });
    for (let i = 0; i < 2; i++) {
      rig.bench.memory.write32(HEADER, FLUSH);
      rig.queues[0]?.add([{ address: HEADER, length: 16 }, { address: STATUS, length: 1, write: true }]);
    }
    rig.driver.notify(0);
    expect([rig.queues[0]?.taken(), rig.bench.messages.length]).toEqual([[{ id: 0, length: 1 }, { id: 2, length: 1 }], 1]);
  });
});
