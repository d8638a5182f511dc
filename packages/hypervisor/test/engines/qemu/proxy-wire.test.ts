/** The messages of QEMU's multi-process device, as bytes on a stream. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { ProxyReader, proxyReturn, type ProxyRequest } from "../../../src/engines/qemu/proxy-wire.ts";

const message = (command: number, body: Uint8Array): Uint8Array => {
  const bytes = Buffer.alloc(16 + body.length);
  bytes.writeInt32LE(command, 0);
  bytes.writeBigUInt64LE(BigInt(body.length), 8);
  bytes.set(body, 16);
  return bytes;
};
const config = (command: 2 | 3, offset: number, size: number, value: number): Uint8Array => {
  const body = Buffer.alloc(12);
  body.writeUInt32LE(offset, 0);
  body.writeUInt32LE(value, 4);
  body.writeInt32LE(size, 8);
  return message(command, body);
};
const bar = (command: 4 | 5, address: number, size: number, value: bigint): Uint8Array => {
  const body = Buffer.alloc(24);
  body.writeBigUInt64LE(BigInt(address), 0);
  body.writeBigUInt64LE(value, 8);
  body.writeUInt32LE(size, 16);
  body.writeUInt8(1, 20);
  return message(command, body);
};

const SAMPLES: readonly { readonly bytes: Uint8Array; readonly request: ProxyRequest }[] = [
  { bytes: config(3, 0x10, 4, 0), request: { kind: "config-read", offset: 0x10, size: 4, value: 0 } },
  { bytes: config(2, 0x04, 2, 0x107), request: { kind: "config-write", offset: 4, size: 2, value: 0x107 } },
  { bytes: bar(5, 0xfebf_8034, 4, 0n), request: { kind: "bar-read", address: 0xfebf_8034, size: 4, value: 0n } },
  { bytes: bar(4, 0xfebf_8020, 8, 0x1234_5678_9abc_def0n), request: { kind: "bar-write", address: 0xfebf_8020, size: 8, value: 0x1234_5678_9abc_def0n } },
  { bytes: message(7, new Uint8Array(0)), request: { kind: "reset" } },
  { bytes: message(0, new Uint8Array(192)), request: { kind: "notice" } },
  { bytes: message(6, new Uint8Array(0)), request: { kind: "notice" } },
];

describe("messages of the proxy device", () => {
  test("any cutting of the stream gives the same requests", () => {
    fc.assert(
      fc.property(fc.array(fc.constantFrom(...SAMPLES), { maxLength: 8 }), fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1 }), (samples, cuts) => {
        const stream = Buffer.concat(samples.map(({ bytes }) => bytes));
        const reader = new ProxyReader();
        const seen: ProxyRequest[] = [];
        for (let at = 0, i = 0; at < stream.length; i++) {
          const next = at + (cuts[i % cuts.length] as number);
          seen.push(...reader.push(stream.subarray(at, next)));
          at = next;
        }
        expect(seen).toEqual(samples.map(({ request }) => request));
      }),
    );
  });
  test.each([
    ["an unknown command", message(99, new Uint8Array(0)), "command 99"],
    ["a length that lies", Buffer.concat([config(3, 0, 4, 0).subarray(0, 8), Buffer.from([0, 0, 0, 0, 1, 0, 0, 0])]), "bytes"],
    ["three bytes of configuration", config(3, 0, 3, 0), "3 bytes"],
    ["sixteen bytes of a BAR", bar(5, 0, 16, 0n), "16 bytes"],
  ])("%s is said to be another version's", (_what, bytes, text) => {
    expect(() => new ProxyReader().push(bytes)).toThrow(RangeError);
    expect(() => new ProxyReader().push(bytes)).toThrow(text);
  });
  test("garbage ends in a RangeError or in nothing", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
        try {
          new ProxyReader().push(bytes);
        } catch (error) {
          expect(error).toBeInstanceOf(RangeError);
        }
      }),
    );
  });
  test("an answer is a message with 64 bits", () => {
    expect(Buffer.from(proxyReturn(0xfee0_0000_dead_beefn)).toString("hex")).toBe("01000000000000000800000000000000efbeadde0000e0fe");
  });
});
