import type { AccessSize } from "@iommu-lab/memory";

/** Registers next to each other, as accesses of any size meet them. */
export interface Fields {
  /** Bytes of each field, from offset 0 on. */
  readonly widths: readonly AccessSize[];
  get(at: number): number;
  set(at: number, value: number): void;
}

/**
 * Serves accesses that do not fit the fields they touch: drivers must access each field by its own size (virtio 1.2 §4.1.3.1), but
 * the bus carries any. Reads are put together, writes of a part leave the rest of the field as it is.
 */
export class FieldWindow {
  readonly #fields: Fields;
  readonly #places: readonly { readonly at: number; readonly width: AccessSize }[];

  constructor(fields: Fields) {
    this.#fields = fields;
    let at = 0;
    this.#places = fields.widths.map((width) => {
      at += width;
      return { at: at - width, width };
    });
  }

  /** Bytes past the last field read as zero. */
  read(offset: number, size: AccessSize): number {
    let value = 0;
    for (const { at, width } of this.#touched(offset, size)) {
      const field = this.#fields.get(at);
      for (let byte = Math.max(at, offset); byte < Math.min(at + width, offset + size); byte++) value += ((field >>> (8 * (byte - at))) & 0xff) * 2 ** (8 * (byte - offset));
    }
    return value;
  }

  write(offset: number, size: AccessSize, value: number): void {
    for (const { at, width } of this.#touched(offset, size)) {
      const whole = offset <= at && offset + size >= at + width;
      let field = whole ? 0 : this.#fields.get(at);
      for (let byte = Math.max(at, offset); byte < Math.min(at + width, offset + size); byte++) {
        const shift = 8 * (byte - at);
        field = (field & ~(0xff << shift)) | (((value >>> (8 * (byte - offset))) & 0xff) << shift);
      }
      this.#fields.set(at, field >>> 0);
    }
  }

  #touched(offset: number, size: number): readonly { readonly at: number; readonly width: AccessSize }[] {
    return this.#places.filter(({ at, width }) => at < offset + size && at + width > offset);
  }
}
