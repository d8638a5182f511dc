import { blankImage, putRegister, type RegisterMap, type RegisterValues } from "../config/register.ts";

/** A capability as it goes into configuration space: its bytes, and for every bit what writes and resets do to it. */
export interface CapabilityImage {
  /** Capability ID: 8 bits, or 16 bits for an extended capability. */
  readonly id: number;
  /** Lives at 0x100 or above. */
  readonly extended: boolean;
  /** Capability version, 4 bits; extended capabilities only. */
  readonly version?: number;
  /** The whole capability with its header; the next pointer is filled in on placement. */
  readonly bytes: Uint8Array;
  /** Bits that take what is written. */
  readonly writable: Uint8Array;
  /** Bits that a written one clears. */
  readonly writeOneToClear: Uint8Array;
  /** Bits that survive hot reset and function-level reset. */
  readonly sticky?: Uint8Array;
  /** Bits that survive function-level reset only. PCIe §6.6.2 "Function Level Reset". */
  readonly keptByFunctionReset?: Uint8Array;
  /** Offset in configuration space, when it is not for the placement to choose. */
  readonly at?: number;
}

/** What a capability is made of. */
export interface CapabilityShape<R extends RegisterMap = RegisterMap> {
  readonly id: number;
  readonly extended: boolean;
  /** Of extended capabilities: 1 to 15. */
  readonly version?: number;
  /** Bytes with the header. */
  readonly length: number;
  readonly registers: R;
}

/** A choice of place that every builder takes. */
export interface Placement {
  /** Offset in configuration space, a multiple of 4; left out, the next free place is taken. */
  readonly at?: number;
}

/**
 * Builds the image of a capability from its registers and their initial values.
 * @throws RangeError when a value does not fit its field
 */
export const capabilityImage = <R extends RegisterMap>(shape: CapabilityShape<R>, values: RegisterValues<R> = {}, { at }: Placement = {}): CapabilityImage => {
  const image = blankImage(shape.length);
  for (const [name, register] of Object.entries(shape.registers)) putRegister(image, register, values[name]);
  image.bytes[0] = shape.id & 0xff;
  if (shape.extended) {
    image.bytes[1] = shape.id >> 8;
    image.bytes[2] = shape.version ?? 1;
  }
  return { id: shape.id, extended: shape.extended, ...(shape.extended ? { version: shape.version ?? 1 } : {}), ...image, ...(at === undefined ? {} : { at }) };
};
