/** The byte accesses that unaligned and border-crossing accesses are made of. */
export interface ByteAccess {
  read8(at: number): number;
  write8(at: number, value: number): void;
}

/** A 2-byte little-endian read as two byte reads, lowest address first. */
export const read16Bytewise = (memory: ByteAccess, at: number): number => memory.read8(at) | (memory.read8(at + 1) << 8);

/** A 4-byte little-endian read as four byte reads, lowest address first. */
export const read32Bytewise = (memory: ByteAccess, at: number): number => (read16Bytewise(memory, at) | (read16Bytewise(memory, at + 2) << 16)) >>> 0;

/** A 2-byte little-endian write as two byte writes, lowest address first. */
export const write16Bytewise = (memory: ByteAccess, at: number, value: number): void => {
  memory.write8(at, value & 0xff);
  memory.write8(at + 1, (value >>> 8) & 0xff);
};

/** A 4-byte little-endian write as four byte writes, lowest address first. */
export const write32Bytewise = (memory: ByteAccess, at: number, value: number): void => {
  write16Bytewise(memory, at, value & 0xffff);
  write16Bytewise(memory, at + 2, value >>> 16);
};
