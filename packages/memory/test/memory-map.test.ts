import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { FlatMemory, MemoryMap, type MmioHandler, type RegionSpec } from "../src/index.ts";
import { ByteModel, expected, operations, perform } from "./byte-model.ts";

/** A device that is plain bytes and writes down each access it gets. */
class LoggingDevice implements MmioHandler {
  readonly bytes = new Uint8Array(0x1000);
  readonly log: string[] = [];

  read(offset: number, size: 1 | 2 | 4): number {
    this.log.push(`read${8 * size} ${offset}`);
    let value = 0;
    for (let i = 0; i < size; i++) value += (this.bytes[offset + i] ?? 0) * 2 ** (8 * i);
    return value;
  }
  write(offset: number, size: 1 | 2 | 4, value: number): void {
    this.log.push(`write${8 * size} ${offset} ${value.toString(16)}`);
    for (let i = 0; i < size; i++) this.bytes[offset + i] = value >>> (8 * i);
  }
  read64(offset: number, into: Uint32Array): void {
    this.log.push(`read64 ${offset}`);
    const { length } = this.log;
    into[0] = this.read(offset, 4);
    into[1] = this.read(offset + 4, 4);
    this.log.length = length;
  }
  write64(offset: number, low: number, high: number): void {
    this.log.push(`write64 ${offset} ${low.toString(16)} ${high.toString(16)}`);
    const { length } = this.log;
    this.write(offset, 4, low);
    this.write(offset + 4, 4, high);
    this.log.length = length;
  }
}

describe("MemoryMap", () => {
  test("any regions and any accesses do what painting the regions byte by byte does", () => {
    const kinds = ["ram", "rom", "mmio", "alias"] as const;
    const shapes = fc.array(fc.record({ kind: fc.constantFrom(...kinds), start: fc.integer({ min: 0, max: 60 }), size: fc.integer({ min: 1, max: 40 }), enabled: fc.boolean() }), { maxLength: 8 });
    fc.assert(
      fc.property(shapes, operations([0, 10, 20, 30, 40, 50, 60], 100), (regions, sequence) => {
        const map = new MemoryMap("painted");
        // Region n has priority n, so that the last that covers an address paints over all others.
        const winner = (at: number): number => regions.findLastIndex(({ start, size, enabled }) => enabled && at >= start && at < start + size);
        const model = new ByteModel((at) => winner(at) >= 0);
        const write = model.write.bind(model);
        model.write = (at, size, value) => {
          for (let i = 0; i < size; i++) if (regions[winner(at + i)]?.kind !== "rom") write(at + i, 1, (value >> BigInt(8 * i)) & 0xffn);
        };
        const romByte = (region: number, offset: number): number => (region * 31 + offset * 7) & 0xff;
        for (let at = 0; at < 100; at++) {
          const region = winner(at);
          const shape = regions[region];
          if (shape?.kind === "rom") model.bytes.set(at, romByte(region, at - shape.start));
        }
        for (const [priority, { kind, start, size, enabled }] of regions.entries()) {
          const common = { name: `region ${priority}`, start, size, priority, enabled };
          const spec: Record<typeof kind, () => RegionSpec<number>> = {
            ram: () => ({ ...common, kind: "ram", memory: new FlatMemory(0x1000), offset: 0x123 }),
            rom: () => ({ ...common, kind: "rom", bytes: Uint8Array.from({ length: size }, (_, i) => romByte(priority, i)) }),
            mmio: () => ({ ...common, kind: "mmio", handler: new LoggingDevice() }),
            alias: () => {
              const target = new MemoryMap("target");
              target.add({ kind: "ram", name: "behind", start: 0x100, size: 0x1000, memory: new FlatMemory(0x1000) });
              return { ...common, kind: "alias", target, offset: 0x200 };
            },
          };
          map.add(spec[kind]());
        }
        for (const operation of sequence) expect(perform(map, operation)).toEqual(expected(model, operation));
        for (const { start, last, name, offset } of map.describe()) {
          expect(name).toBe(`region ${winner(start)}`);
          expect(offset).toBe(start - (regions[winner(start)]?.start ?? -1));
          expect(winner(last)).toBe(winner(start));
          expect(winner(last + 1)).not.toBe(winner(start));
        }
      }),
      { numRuns: 300 },
    );
  });

  test("an access inside a device goes out whole, 8 bytes and unaligned included, even across the border of a hidden region", () => {
    const device = new LoggingDevice();
    const map = new MemoryMap("bus");
    map.add({ kind: "mmio", name: "registers", start: 0x1000, size: 0x100, priority: 1, handler: device });
    map.add({ kind: "ram", name: "hidden", start: 0x1014, size: 8, memory: new FlatMemory(0x1000) });
    map.write64(0x1010, 0x89ab_cdef, 0xffff_ffff);
    map.read64(0x1010, new Uint32Array(2));
    map.read32(0x1012);
    map.write16(0x1013, 0xabcd);
    expect(device.log).toEqual(["write64 16 89abcdef ffffffff", "read64 16", "read32 18", "write16 19 abcd"]);
  });

  test("an access that crosses into a device is cut at the border, lowest address first, naturally aligned", () => {
    const device = new LoggingDevice();
    const memory = new FlatMemory(0x1000);
    const map = new MemoryMap("bus");
    map.add({ kind: "ram", name: "RAM", start: 0, size: 0x1000, memory });
    map.add({ kind: "mmio", name: "registers", start: 0x1000, size: 0x100, handler: device });
    map.write32(0xfff, 0x4433_2211);
    map.write64(0xffc, 0x1111_1111, 0x2222_2222);
    map.read32(0x10fe);
    expect(device.log).toEqual(["write16 0 3322", "write8 2 44", "write32 0 22222222", "read16 254"]);
    expect(memory.read32(0xffc)).toBe(0x1111_1111);
    expect(map.read32(0x10fe)).toBe(0xffff_0000);
  });

  test("bulk copies reach a device in aligned accesses of at most 4 bytes", () => {
    const device = new LoggingDevice();
    const map = new MemoryMap("bus");
    map.add({ kind: "mmio", name: "registers", start: 0x1000, size: 0x100, handler: device });
    map.writeFrom(0x1001, Uint8Array.from([1, 2, 3, 4, 5, 6, 7, 8]));
    const bytes = new Uint8Array(8);
    map.readInto(0x1001, bytes);
    expect([...bytes]).toEqual([1, 2, 3, 4, 5, 6, 7, 8]);
    expect(device.log).toEqual(["write8 1 1", "write16 2 302", "write32 4 7060504", "write8 8 8", "read8 1", "read16 2", "read32 4", "read8 8"]);
  });

  test("regions can be removed, disabled and moved while in use", () => {
    const memory = new FlatMemory(0x2000);
    const map = new MemoryMap("bus");
    const ram = map.add({ kind: "ram", name: "RAM", start: 0, size: 0x2000, memory });
    const vga = map.add({ kind: "mmio", name: "VGA", start: 0x800, size: 0x100, priority: 1, handler: new LoggingDevice() });
    memory.write32(0x800, 7);
    expect(map.read32(0x800)).toBe(0);
    map.enable(vga, false);
    expect(map.read32(0x800)).toBe(7);
    map.enable(vga);
    expect(map.read32(0x800)).toBe(0);
    map.move(vga, 0x900);
    expect(map.read32(0x800)).toBe(7);
    expect(map.read32(0x900)).toBe(0);
    map.remove(ram);
    expect(map.read32(0x800)).toBe(0xffff_ffff);
    expect(() => {
      map.remove(ram);
    }).toThrow('Region "RAM" (0x0–0x1fff) is not in the map "bus".');
    expect(map.describe()).toEqual([{ start: 0x900, last: 0x9ff, name: "VGA", kind: "mmio", priority: 1, offset: 0 }]);
  });

  test("an overlap within a priority is refused and names both regions; a disabled region may lie anywhere", () => {
    const map = new MemoryMap("bus");
    const handler = new LoggingDevice();
    map.add({ kind: "mmio", name: "BAR 0", start: 0xfe00_0000, size: 0x1000, handler });
    const message = 'Region "BAR 1" (0xfe00_0800–0xfe00_17ff) overlaps region "BAR 0" (0xfe00_0000–0xfe00_0fff) of the map "bus" at the same priority 0; give one of them a higher priority, or disable one.';
    const spec = { kind: "mmio", name: "BAR 1", start: 0xfe00_0800, size: 0x1000, handler } as const;
    expect(() => map.add(spec)).toThrow(message);
    const second = map.add({ ...spec, enabled: false });
    expect(() => {
      map.enable(second);
    }).toThrow(message);
    map.move(second, 0xfe00_1000);
    map.enable(second);
    expect(() => {
      map.move(second, 0xfe00_0800);
    }).toThrow(message);
    expect(second.start).toBe(0xfe00_1000);
  });

  test("impossible regions are refused", () => {
    const map = new MemoryMap("bus");
    const bytes = new Uint8Array(16);
    expect(() => map.add({ kind: "rom", name: "ROM", start: 0, bytes: new Uint8Array(0) })).toThrow('Region "ROM" of 0 bytes at 0 is impossible');
    expect(() => map.add({ kind: "rom", name: "ROM", start: 0, size: 17, bytes })).toThrow('Region "ROM" is 0x11 bytes long but its ROM has 0x10');
    expect(() => map.add({ kind: "rom", name: "ROM", start: 2 ** 52 - 8, bytes })).toThrow("ends at or below 0x10_0000_0000_0000");
    expect(() => map.add({ kind: "rom", name: "ROM", start: 0, priority: 0.5, bytes })).toThrow("priorities are integers");
  });

  test("an alias may show another range of its own map, but not itself", () => {
    const map = new MemoryMap("bus");
    map.add({ kind: "ram", name: "RAM", start: 0, size: 0x1000, memory: new FlatMemory(0x1000) });
    map.add({ kind: "alias", name: "high window", start: 0x10_0000, size: 0x1000, target: map });
    map.add({ kind: "alias", name: "loop", start: 0x20_0000, size: 0x1000, target: map, offset: 0x20_0000 });
    map.write32(0x10_0ffc, 5);
    expect(map.read32(0xffc)).toBe(5);
    expect(() => map.read8(0x20_0010)).toThrow('The alias region "loop" leads back to itself: offset 0x10 is its own window.');
    expect(map.read32(0x10_0ffc)).toBe(5);
  });
});
