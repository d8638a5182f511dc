import { parseAddress, type RequesterId } from "@iommu-lab/pci-bus";

/** A line of a trace that is no step: says which, and what is wrong with it. */
export class TraceError extends Error {
  override readonly name = "TraceError";
  /** Counted from 1; the machine is line 1. */
  readonly line: number;
  constructor(line: number, message: string) {
    super(message);
    this.line = line;
  }
}

/** A 64-bit number as two words. */
export interface Word64 {
  /** Bits 31:0. */
  readonly low: number;
  /** Bits 63:32. */
  readonly high: number;
}

/** A value that JSON can hold. */
export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json };

/** `0x…` in lower case without separators: how traces write numbers. */
export const hex64 = ({ low, high }: Word64): string => `0x${high === 0 ? low.toString(16) : high.toString(16) + low.toString(16).padStart(8, "0")}`;

/** Bytes as a trace writes them: lower-case hexadecimal, in memory order. */
export const hexBytes = (bytes: Uint8Array): string => {
  let text = "";
  for (const byte of bytes) text += byte.toString(16).padStart(2, "0");
  return text;
};

const digitOf = (code: number): number => (code >= 0x30 && code <= 0x39 ? code - 0x30 : code >= 0x61 && code <= 0x66 ? code - 0x57 : code >= 0x41 && code <= 0x46 ? code - 0x37 : -1);

const bytesOf = (text: string): Uint8Array | undefined => {
  if (text.length % 2 !== 0) return undefined;
  const bytes = new Uint8Array(text.length / 2);
  for (let i = 0; i < bytes.length; i++) {
    const high = digitOf(text.charCodeAt(2 * i));
    const low = digitOf(text.charCodeAt(2 * i + 1));
    if (high < 0 || low < 0) return undefined;
    bytes[i] = (high << 4) | low;
  }
  return bytes;
};

const word64Of = (value: unknown): Word64 | undefined => {
  if (typeof value === "number") return Number.isSafeInteger(value) && value >= 0 ? { low: value >>> 0, high: Math.floor(value / 2 ** 32) } : undefined;
  if (typeof value !== "string" || !/^0x[0-9a-f]{1,16}$/i.test(value)) return undefined;
  const digits = value.slice(2).padStart(16, "0");
  return { low: Number.parseInt(digits.slice(8), 16), high: Number.parseInt(digits.slice(0, 8), 16) };
};

const shown = (value: unknown): string => {
  const text = JSON.stringify(value) as string | undefined;
  return text === undefined ? "missing" : text.length > 60 ? `${text.slice(0, 60)}…` : text;
};

const isRecord = (value: unknown): value is Readonly<Record<string, unknown>> => typeof value === "object" && value !== null && !Array.isArray(value);

/** Reads the fields of one JSON object of a trace, each with its own complaint. */
export class TraceFields {
  readonly line: number;
  /** What the object is, for messages: "dma_read". */
  readonly what: string;
  readonly #values: Readonly<Record<string, unknown>>;

  constructor(line: number, what: string, values: Readonly<Record<string, unknown>>) {
    this.line = line;
    this.what = what;
    this.#values = values;
  }

  /** @throws TraceError when the line is no JSON object with an `op` */
  static ofLine(text: string, line: number): TraceFields {
    let value: unknown;
    try {
      value = JSON.parse(text);
    } catch (error) {
      throw new TraceError(line, `not JSON (${error instanceof Error ? error.message : String(error)})`);
    }
    if (!isRecord(value)) throw new TraceError(line, `${shown(value)} is no JSON object`);
    const op = Object.hasOwn(value, "op") ? value.op : undefined;
    if (typeof op !== "string") throw new TraceError(line, `the object has no "op"`);
    return new TraceFields(line, op, value);
  }

  /** @throws TraceError always */
  fail(message: string): never {
    throw new TraceError(this.line, `${this.what}: ${message}`);
  }

  has(key: string): boolean {
    return Object.hasOwn(this.#values, key) && this.#values[key] !== undefined;
  }

  raw(key: string): unknown {
    return this.has(key) ? this.#values[key] : undefined;
  }

  keys(): string[] {
    return Object.keys(this.#values);
  }

  /** A number of 64 bits: "0x…" or a JSON integer. */
  word64(key: string): Word64 {
    return word64Of(this.raw(key)) ?? this.#wrong(key, `a number of at most 64 bits as "0x…"`);
  }

  /** An integer from 0 to `limit`. */
  integer(key: string, limit: number): number {
    const word = word64Of(this.raw(key));
    const value = word === undefined ? -1 : word.high * 2 ** 32 + word.low;
    return value >= 0 && value <= limit ? value : this.#wrong(key, `an integer from 0 to 0x${limit.toString(16)}`);
  }

  boolean(key: string): boolean {
    const value = this.raw(key);
    return typeof value === "boolean" ? value : this.#wrong(key, "true or false");
  }

  /** A boolean that may be left out. */
  flag(key: string): boolean | undefined {
    return this.has(key) ? this.boolean(key) : undefined;
  }

  text(key: string): string {
    const value = this.raw(key);
    return typeof value === "string" ? value : this.#wrong(key, "a text");
  }

  bytes(key: string): Uint8Array {
    const value = this.raw(key);
    return (typeof value === "string" ? bytesOf(value) : undefined) ?? this.#wrong(key, "bytes as pairs of hexadecimal digits");
  }

  requester(key: string): RequesterId {
    const address = parseAddress(this.text(key));
    return address === undefined ? this.#wrong(key, `a function's address such as "00:04.0"`) : address.requester;
  }

  record(key: string): TraceFields {
    const value = this.raw(key);
    return isRecord(value) ? new TraceFields(this.line, `${this.what}.${key}`, value) : this.#wrong(key, "an object");
  }

  records(key: string): TraceFields[] {
    const value = this.raw(key);
    if (!Array.isArray(value)) return this.#wrong(key, "a list");
    return value.map((item: unknown, i) => (isRecord(item) ? new TraceFields(this.line, `${this.what}.${key}[${i}]`, item) : this.fail(`"${key}" has ${shown(item)} where an object must be`)));
  }

  #wrong(key: string, wanted: string): never {
    return this.fail(this.has(key) ? `"${key}" is ${shown(this.raw(key))}; it must be ${wanted}` : `"${key}" is missing; it must be ${wanted}`);
  }
}
