/** Bytes of the header that every system description table starts with. ACPI §5.2.6 "System Description Table Header". */
export const SDT_HEADER_SIZE = 36;

/** The header of a system description table. ACPI §5.2.6. */
export interface SdtHeader {
  /** Four ASCII characters: "MCFG", "DMAR", "IVRS". */
  readonly signature: string;
  /** Bytes of the whole table as the header says. */
  readonly length: number;
  /** 8 bits. */
  readonly revision: number;
  /** 8 bits; all bytes of the table add up to zero modulo 256. */
  readonly checksum: number;
  /** Six characters, without trailing spaces and zeros. */
  readonly oemId: string;
  /** Eight characters, without trailing spaces and zeros. */
  readonly oemTableId: string;
  /** 32 bits. */
  readonly oemRevision: number;
  /** Four characters. */
  readonly creatorId: string;
  /** 32 bits. */
  readonly creatorRevision: number;
}

/** What the header of a new table says; length and checksum are computed. */
export type SdtIdentity = Partial<Omit<SdtHeader, "length" | "checksum" | "signature">>;

/** Something wrong with a table. Reading goes on: firmware ships such tables. */
export interface TableProblem {
  readonly kind: "length" | "checksum" | "signature" | "content";
  /** The field, by the specification's name. */
  readonly field: string;
  /** Byte offset in the table. */
  readonly offset: number;
  /** What is wrong, as a sentence. */
  readonly text: string;
}

const text = (bytes: Uint8Array, at: number, length: number): string =>
  [...bytes.subarray(at, at + length)].map((byte) => (byte >= 0x20 && byte < 0x7f ? String.fromCharCode(byte) : byte === 0 ? "\0" : "?")).join("");

const trimmed = (bytes: Uint8Array, at: number, length: number): string => text(bytes, at, length).replace(/[\0 ]+$/, "");

const dword = (bytes: Uint8Array, at: number): number => (((bytes[at] ?? 0) | ((bytes[at + 1] ?? 0) << 8) | ((bytes[at + 2] ?? 0) << 16) | ((bytes[at + 3] ?? 0) << 24)) >>> 0);

const putText = (into: Uint8Array, at: number, length: number, value: string): void => {
  for (let i = 0; i < length; i++) into[at + i] = i < value.length ? value.charCodeAt(i) & 0x7f : 0x20;
};

const putDword = (into: Uint8Array, at: number, value: number): void => {
  for (let i = 0; i < 4; i++) into[at + i] = (value >>> (8 * i)) & 0xff;
};

/** The byte that makes the first `length` bytes of a table add up to zero, whatever byte 9 holds now. ACPI §5.2.6. */
export const sdtChecksum = (table: Uint8Array, length: number = table.length): number => {
  let sum = 0;
  for (const byte of table.subarray(0, length)) sum += byte;
  return (256 - ((sum - (table[9] ?? 0)) & 0xff)) & 0xff;
};

/**
 * Puts the 36-byte header before a table's contents; length and checksum are right.
 * @throws RangeError when the signature is not four characters
 */
export const encodeSdt = (signature: string, body: Uint8Array, identity: SdtIdentity = {}): Uint8Array => {
  if (signature.length !== 4) throw new RangeError(`A table signature has four characters; "${signature}" has ${signature.length}.`);
  const table = new Uint8Array(SDT_HEADER_SIZE + body.length);
  putText(table, 0, 4, signature);
  putDword(table, 4, table.length);
  table[8] = identity.revision ?? 1;
  putText(table, 10, 6, identity.oemId ?? "IOMMU");
  putText(table, 16, 8, identity.oemTableId ?? "LAB");
  putDword(table, 24, identity.oemRevision ?? 1);
  putText(table, 28, 4, identity.creatorId ?? "LAB");
  putDword(table, 32, identity.creatorRevision ?? 1);
  table.set(body, SDT_HEADER_SIZE);
  table[9] = sdtChecksum(table);
  return table;
};

const lengthProblem = (table: Uint8Array, length: number): TableProblem | undefined => {
  if (length === table.length) return undefined;
  const relation = length > table.length ? "past the end of" : "before the end of";
  return { kind: "length", field: "Length", offset: 4, text: `Length says 0x${length.toString(16)} bytes, which is ${relation} the 0x${table.length.toString(16)} bytes at hand.` };
};

const checksumProblem = (table: Uint8Array, length: number): TableProblem | undefined => {
  const expected = sdtChecksum(table, Math.min(length, table.length));
  if (table[9] === expected) return undefined;
  return { kind: "checksum", field: "Checksum", offset: 9, text: `Checksum is 0x${(table[9] ?? 0).toString(16)}; the bytes need 0x${expected.toString(16)}.` };
};

/** A table split into header and contents, with what is wrong with it. */
export interface DecodedSdt {
  readonly header: SdtHeader;
  /** The bytes after the header, up to Length or to the end of what is there. A view, not a copy. */
  readonly body: Uint8Array;
  readonly problems: readonly TableProblem[];
}

/**
 * Reads a table's header. Never throws: a short table reads as if zeros followed, and everything wrong is in `problems`.
 * @param expected the signature this should be, when known
 */
export const decodeSdt = (table: Uint8Array, expected?: string): DecodedSdt => {
  const problems: TableProblem[] = [];
  const note = (problem: TableProblem | undefined): void => {
    if (problem) problems.push(problem);
  };
  const signature = text(table, 0, 4);
  const length = dword(table, 4);
  if (table.length < SDT_HEADER_SIZE) note({ kind: "length", field: "Header", offset: 0, text: `The table has 0x${table.length.toString(16)} bytes; its header alone has 0x24.` });
  if (expected !== undefined && signature !== expected) note({ kind: "signature", field: "Signature", offset: 0, text: `Signature is "${signature}"; this should be "${expected}".` });
  note(lengthProblem(table, length));
  note(checksumProblem(table, length));
  const header: SdtHeader = {
    signature,
    length,
    revision: table[8] ?? 0,
    checksum: table[9] ?? 0,
    oemId: trimmed(table, 10, 6),
    oemTableId: trimmed(table, 16, 8),
    oemRevision: dword(table, 24),
    creatorId: trimmed(table, 28, 4),
    creatorRevision: dword(table, 32),
  };
  return { header, body: table.subarray(SDT_HEADER_SIZE, Math.max(SDT_HEADER_SIZE, Math.min(length, table.length))), problems };
};
