/** Tar archives written byte by byte for tests, also wrong ones. POSIX.1-1988 ustar header, 512 bytes. */

export interface TarPart {
  readonly name: string;
  readonly body?: string | Uint8Array;
  /** "0" file, "2" symbolic link, "5" folder, "x" pax header, "L" GNU long name, … */
  readonly type?: string;
  readonly link?: string;
  /** The size field's 12 bytes, when they are not to state the body's length. */
  readonly size?: string | Uint8Array;
  readonly prefix?: string;
}

const encoder = new TextEncoder();
const bytesOf = (value: string | Uint8Array): Uint8Array => (typeof value === "string" ? encoder.encode(value) : value);

const header = (part: TarPart, length: number): Uint8Array => {
  const block = new Uint8Array(512);
  const put = (at: number, value: string | Uint8Array): void => {
    block.set(bytesOf(value), at);
  };
  put(0, part.name);
  put(100, "0000644\0");
  put(108, "0000000\0");
  put(116, "0000000\0");
  put(124, part.size ?? `${length.toString(8).padStart(11, "0")}\0`);
  put(136, "00000000000\0");
  put(148, "        ");
  put(156, part.type ?? "0");
  put(157, part.link ?? "");
  put(257, "ustar\x0000");
  put(345, part.prefix ?? "");
  put(148, `${block.reduce((sum, byte) => sum + byte, 0).toString(8).padStart(6, "0")}\0 `);
  return block;
};

/** One entry: header and padded body. */
export const tarPart = (part: TarPart): Uint8Array => {
  const body = bytesOf(part.body ?? "");
  const whole = new Uint8Array(512 + Math.ceil(body.length / 512) * 512);
  whole.set(header(part, body.length));
  whole.set(body, 512);
  return whole;
};

export const concat = (parts: readonly Uint8Array[]): Uint8Array => {
  const whole = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
};

/** An archive with its two closing blocks. */
export const tarOf = (...parts: readonly TarPart[]): Uint8Array => concat([...parts.map(tarPart), new Uint8Array(1024)]);

/** A pax record: its own length, a space, key=value, a line end. */
export const paxRecord = (key: string, value: string): string => {
  const rest = ` ${key}=${value}\n`;
  let length = rest.length;
  while (String(length).length + rest.length !== length) length = String(length).length + rest.length;
  return `${length}${rest}`;
};
