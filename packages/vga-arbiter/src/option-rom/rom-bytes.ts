const IMAGE_UNIT = 512;

/** Little-endian reads from a dump; what is past its end reads as undefined. */
export class RomBytes {
  readonly bytes: Uint8Array;
  readonly #view: DataView;

  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  get length(): number {
    return this.bytes.length;
  }

  has(at: number, size: number): boolean {
    return at >= 0 && at + size <= this.length;
  }

  byte(at: number): number | undefined {
    return this.has(at, 1) ? this.#view.getUint8(at) : undefined;
  }

  word(at: number): number | undefined {
    return this.has(at, 2) ? this.#view.getUint16(at, true) : undefined;
  }

  dword(at: number): number | undefined {
    return this.has(at, 4) ? this.#view.getUint32(at, true) : undefined;
  }

  /** A word that counts 512-byte units, in bytes. */
  units(at: number): number | undefined {
    const units = this.word(at);
    return units === undefined ? undefined : units * IMAGE_UNIT;
  }

  isText(at: number, text: string): boolean {
    for (let i = 0; i < text.length; i++) if (this.byte(at + i) !== text.charCodeAt(i)) return false;
    return true;
  }

  /** 55 AA, with which every image begins. */
  isImage(at: number): boolean {
    return this.word(at) === 0xaa55;
  }
}
