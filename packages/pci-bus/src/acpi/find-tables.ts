/** A system description table found in an input. */
export interface FoundTable {
  /** Four characters. */
  readonly signature: string;
  readonly bytes: Uint8Array;
}

/** Tables this long are no tables; firmware's have some kilobytes. */
const LARGEST_TABLE = 16 * 1024 * 1024;

const signatureOf = (bytes: Uint8Array): string | undefined => {
  const text = String.fromCharCode(...bytes.subarray(0, 4));
  return bytes.length >= 8 && /^[A-Z][0-9A-Z!]{3}$/.test(text) ? text : undefined;
};

const SPACE = 0x20;

/** Bytes of one dump line: up to 16, in groups of one or two; the column of characters after them is left out. */
const lineBytes = (line: string): { readonly offset: number; readonly bytes: readonly number[] } | undefined => {
  const head = /^[ \t]{0,16}([0-9a-f]{4,16}):?(?=[ \t])/i.exec(line);
  if (!head) return undefined;
  const bytes: number[] = [];
  const group = /[ \t]{1,2}([0-9a-f]{2})([0-9a-f]{2})?(?=\s|$)/iy;
  group.lastIndex = head[0].length;
  for (let match = group.exec(line); match && bytes.length < 16; match = group.exec(line)) for (const pair of [match[1], match[2]]) if (pair !== undefined) bytes.push(Number.parseInt(pair, 16));
  return bytes.length > 0 ? { offset: Number.parseInt(head[1] as string, 16), bytes } : undefined;
};

/** Why a dump cannot be used. */
export class DumpError extends Error {
  override readonly name = "DumpError";
}

/**
 * Tables in a hex dump with offsets: acpidump, iasl's raw data, hexdump -C, xxd.
 * @throws DumpError when lines are missing
 */
const tablesOfDump = (text: string): FoundTable[] => {
  const tables: FoundTable[] = [];
  let bytes: number[] = [];
  const flush = (): void => {
    const table = Uint8Array.from(bytes);
    const signature = signatureOf(table);
    if (signature !== undefined) tables.push({ signature, bytes: table });
    bytes = [];
  };
  for (const line of text.split("\n")) {
    const found = line.length < 512 ? lineBytes(line) : undefined;
    if (!found) continue;
    if (found.offset === 0) flush();
    else if (bytes.length > 0 && found.offset !== bytes.length) {
      if (signatureOf(Uint8Array.from(bytes.slice(0, 8))) !== undefined) throw new DumpError(`in the hex dump, offset 0x${found.offset.toString(16)} follows byte 0x${(bytes.length - 1).toString(16)}: lines are missing or damaged`);
      bytes = [];
    }
    if (found.offset === bytes.length && bytes.length < LARGEST_TABLE) bytes.push(...found.bytes);
  }
  flush();
  return tables;
};

/** A text of nothing but hexadecimal bytes: 44 4d 41 52, 0x44, 0x4d, or 444d4152. */
const tableOfHex = (text: string): FoundTable | undefined => {
  if (text.length > 4 * LARGEST_TABLE || !/^[\s0-9a-fx,;]*$/i.test(text)) return undefined;
  const digits = text.replace(/0x/gi, "").replace(/[\s,;]/g, "");
  if (digits.length < 16 || digits.length % 2 !== 0 || /x/i.test(digits)) return undefined;
  const bytes = Uint8Array.from({ length: digits.length / 2 }, (_, i) => Number.parseInt(digits.slice(2 * i, 2 * i + 2), 16));
  const signature = signatureOf(bytes);
  return signature === undefined ? undefined : { signature, bytes };
};

/** Whether bytes are text: no zero, and hardly any other control characters, at their beginning. */
export const isText = (bytes: Uint8Array): boolean => {
  const start = bytes.subarray(0, 4096);
  let odd = 0;
  for (const byte of start) {
    if (byte === 0) return false;
    if (byte < SPACE && byte !== 9 && byte !== 10 && byte !== 13 && byte !== 27) odd++;
  }
  return odd * 20 <= start.length;
};

/**
 * Tables of an input: raw bytes, acpidump's text (any number of tables), hex dumps, plain hexadecimal.
 * @throws DumpError when a dump has a table, but not all of it
 */
export const findTables = (bytes: Uint8Array, text: string | undefined): FoundTable[] => {
  if (text === undefined) {
    const signature = signatureOf(bytes);
    return signature === undefined ? [] : [{ signature, bytes }];
  }
  const plain = tableOfHex(text);
  return plain ? [plain] : tablesOfDump(text);
};
