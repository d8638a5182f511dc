/** Bytes of one plane: what a 16-bit address of the display can reach. */
export const PLANE_SIZE = 0x1_0000;
/** Planes of a VGA. */
export const PLANES = 4;

/**
 * A card's video memory. VGA sees the first 256 KiB as four planes of 64 KiB; the linear frame buffer sees all of it, with the
 * four planes' bytes of one address beside each other, plane 0 first.
 */
export class VideoMemory {
  readonly bytes: Uint8Array;

  /** @param size bytes, a power of two from 256 KiB on */
  constructor(size: number) {
    if (!Number.isInteger(Math.log2(size)) || size < PLANES * PLANE_SIZE || size > 2 ** 31) throw new RangeError(`Video memory of 0x${size.toString(16)} bytes is impossible; allowed are powers of two from 0x4_0000 to 0x8000_0000.`);
    this.bytes = new Uint8Array(size);
  }

  readPlane(plane: number, at: number): number {
    return this.bytes[PLANES * at + plane] as number;
  }

  writePlane(plane: number, at: number, value: number): void {
    this.bytes[PLANES * at + plane] = value;
  }
}
