import { CodeType, Machine, type CardIds } from "./image.ts";

/** What both kinds of images are made from. */
export interface ImageOptions extends CardIds {
  /** 24 bits; VGA by default. */
  readonly classCode?: number;
  /** Bytes, a multiple of 512; 1 KiB by default. */
  readonly length?: number;
  /** NVIDIA's extension ("NPDE") stands behind the data structure and carries the end mark; the structure itself claims to be the last. */
  readonly extension?: boolean;
}

/** A legacy image. */
export interface LegacyImageOptions extends ImageOptions {
  /** The number that `initHookOf` gives back: which initialisation stands for the code of a real video BIOS. */
  readonly initHook?: number;
}

/** A UEFI image. */
export interface EfiImageOptions extends ImageOptions {
  /** A `Machine` value; x86-64 by default. */
  readonly machine?: number;
  readonly compressed?: boolean;
}

const DATA_STRUCTURE = 0x1c;
const DATA_LENGTH = 0x18;
const EXTENSION = 0x40;
const HOOK = 0x60;
const HOOK_TEXT = "IOMMU LAB INIT";
/** RETF: entered by mistake, the image returns at once. */
const RETURN = 0xcb;
const DEFAULT_LENGTH = 1024;

const putText = (bytes: Uint8Array, at: number, text: string): void => {
  for (let i = 0; i < text.length; i++) bytes[at + i] = text.charCodeAt(i);
};
const putWord = (bytes: Uint8Array, at: number, value: number): void => {
  bytes[at] = value & 0xff;
  bytes[at + 1] = value >>> 8;
};

const newImage = (codeType: number, { vendor, device, classCode = 0x03_0000, length = DEFAULT_LENGTH, extension }: ImageOptions): Uint8Array => {
  if (length % 512 !== 0 || length < 512 || length > 0xff * 512) throw new RangeError(`An image has a multiple of 512 bytes from 512 to ${0xff * 512}; ${length} is none.`);
  const bytes = new Uint8Array(length);
  putWord(bytes, 0, 0xaa55);
  putWord(bytes, 0x18, DATA_STRUCTURE);
  const at = DATA_STRUCTURE;
  putText(bytes, at, "PCIR");
  for (const [offset, value] of [[4, vendor], [6, device], [0x0a, DATA_LENGTH], [0x0d, classCode & 0xffff], [0x10, length / 512]] as const) putWord(bytes, at + offset, value);
  bytes[at + 0x0f] = classCode >>> 16;
  bytes[at + 0x14] = codeType;
  if (extension) {
    putText(bytes, EXTENSION, "NPDE");
    putWord(bytes, EXTENSION + 4, 0x0100);
    putWord(bytes, EXTENSION + 6, 0x0b);
    putWord(bytes, EXTENSION + 8, length / 512);
    bytes[at + 0x15] = 0x80;
  }
  return bytes;
};

/** Sets the last byte so that all bytes add up to 0 modulo 256. */
const fixChecksum = (bytes: Uint8Array): void => {
  bytes[bytes.length - 1] = 0;
  bytes[bytes.length - 1] = -bytes.reduce((total, byte) => total + byte, 0) & 0xff;
};

/**
 * A legacy BIOS image without code: its entry returns at once, and a number in it says which initialisation it stands for.
 * @throws RangeError when the length is no multiple of 512, or too large
 */
export const buildLegacyImage = (options: LegacyImageOptions): Uint8Array => {
  const bytes = newImage(CodeType.LegacyBios, options);
  bytes[2] = bytes.length / 512;
  bytes[3] = RETURN;
  if (options.initHook !== undefined) {
    putText(bytes, HOOK, HOOK_TEXT);
    bytes[HOOK + HOOK_TEXT.length] = options.initHook;
  }
  fixChecksum(bytes);
  return bytes;
};

/** A UEFI image: the header of a driver, with nothing behind it. @throws RangeError as for legacy images */
export const buildEfiImage = (options: EfiImageOptions): Uint8Array => {
  const bytes = newImage(CodeType.Uefi, options);
  for (const [at, value] of [[2, bytes.length / 512], [4, 0x0ef1], [8, 0x0b], [0x0a, options.machine ?? Machine.X64], [0x0c, options.compressed ? 1 : 0], [0x16, 0x80]] as const) putWord(bytes, at, value);
  return bytes;
};

/** Chains images: marks the last one, clears the mark of the others, and makes legacy checksums right again. */
export const buildOptionRom = (images: readonly Uint8Array[]): Uint8Array => {
  const rom = new Uint8Array(images.reduce((total, { length }) => total + length, 0));
  let at = 0;
  for (const [i, source] of images.entries()) {
    const image = rom.subarray(at, at + source.length);
    image.set(source);
    const extended = image[EXTENSION] === 0x4e && image[EXTENSION + 1] === 0x50;
    const indicator = extended ? EXTENSION + 0x0a : DATA_STRUCTURE + 0x15;
    image[indicator] = i === images.length - 1 ? 0x80 : 0;
    if (image[DATA_STRUCTURE + 0x14] === CodeType.LegacyBios) fixChecksum(image);
    at += source.length;
  }
  return rom;
};

/** The number of the initialisation that a legacy image made by `buildLegacyImage` stands for; undefined for any other. */
export const initHookOf = (image: Uint8Array): number | undefined => {
  for (let i = 0; i < HOOK_TEXT.length; i++) if (image[HOOK + i] !== HOOK_TEXT.charCodeAt(i)) return undefined;
  return image[HOOK + HOOK_TEXT.length];
};
