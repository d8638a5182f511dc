import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { addressOf, DeviceMemory, DmaRefused } from "../../src/devices/index.ts";
import { plus } from "../../src/devices/virtio/dma.ts";
import { Bench } from "./bench.ts";

const word = fc.oneof(fc.nat(0xffff_ffff), fc.constantFrom(0, 0x1f_ffff, 0x20_0000, 0xffff_ffff, 0xffff_f000));

describe("addresses of 64 bits", () => {
  test("come of two halves; numbers where they are exact", () => {
    fc.assert(
      fc.property(word, word, (low, high) => {
        const address = addressOf(low, high);
        expect(BigInt(address)).toBe((BigInt(high) << 32n) | BigInt(low));
        expect(typeof address).toBe(high < 2 ** 21 ? "number" : "bigint");
      }),
    );
  });

  test("go on after 2^53, and from their end to 0", () => {
    fc.assert(
      fc.property(word, word, word, (low, high, bytes) => {
        expect(BigInt(plus(addressOf(low, high), bytes))).toBe(BigInt.asUintN(64, ((BigInt(high) << 32n) | BigInt(low)) + BigInt(bytes)));
      }),
    );
  });
});

describe("a device's memory", () => {
  test("is little-endian", () => {
    const bench = new Bench();
    const memory = new DeviceMemory(() => bench);
    memory.write16(0x1000, 0x1234);
    memory.write32Pair(0x1002, 0x5566_7788, 0x99aa_bbcc);
    const bytes = new Uint8Array(10);
    memory.read(0x1000, bytes);
    expect(Buffer.from(bytes).toString("hex")).toBe("341288776655ccbbaa99");
    expect([memory.read16(0x1000), memory.view(0x1000, 4).getUint32(0, true)]).toEqual([0x1234, 0x7788_1234]);
  });

  test("says what was refused", () => {
    const bench = new Bench();
    const memory = new DeviceMemory(() => bench);
    bench.refuses = () => true;
    expect(() => { memory.write(0x1000, new Uint8Array(3)); }).toThrow(new DmaRefused("DMA write of 3 bytes at 0x1000 was refused."));
    expect(() => memory.read16(2n ** 63n)).toThrow(/read of 2 bytes at 0x8000000000000000/);
  });
});
