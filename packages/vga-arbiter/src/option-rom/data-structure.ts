import type { RomBytes } from "./rom-bytes.ts";

/** The PCI data structure ("PCIR") of an image. PCI Firmware §5.1.2 "PCI Data Structure". */
export interface DataStructure {
  readonly vendor: number;
  readonly device: number;
  readonly deviceList: readonly number[];
  readonly revision: number;
  readonly classCode: number;
  /** Bytes. */
  readonly imageLength: number;
  readonly imageRevision: number;
  readonly codeType: number;
  readonly marksEnd: boolean;
  /** NVIDIA's extension: its own length and end mark, which count instead. */
  readonly extension: { readonly imageLength: number; readonly marksEnd: boolean } | undefined;
}

const SMALLEST = 0x18;
const LAST = 0x80;
const MOST_DEVICES = 256;

const readDeviceList = (rom: RomBytes, at: number, pointer: number): number[] => {
  const devices: number[] = [];
  for (let next = at + pointer; pointer !== 0 && devices.length < MOST_DEVICES; next += 2) {
    const device = rom.word(next);
    if (!device) break;
    devices.push(device);
  }
  return devices;
};

/** "NPDE" stands at the next 16-byte boundary after the structure. */
const readExtension = (rom: RomBytes, image: number, at: number, length: number): DataStructure["extension"] => {
  const extension = image + Math.ceil((at - image + length) / 16) * 16;
  if (!rom.isText(extension, "NPDE")) return undefined;
  const imageLength = rom.units(extension + 8);
  const indicator = rom.byte(extension + 0x0a);
  return imageLength === undefined || indicator === undefined ? undefined : { imageLength, marksEnd: (indicator & LAST) !== 0 };
};

/** The structure of the image at a place, or undefined where its pointer leads to none, or past the end. */
export const readDataStructure = (rom: RomBytes, image: number): DataStructure | undefined => {
  const pointer = rom.word(image + 0x18);
  if (!pointer) return undefined;
  const at = image + pointer;
  if (!rom.isText(at, "PCIR") || !rom.has(at, SMALLEST)) return undefined;
  const word = (offset: number): number => rom.word(at + offset) ?? 0;
  const byte = (offset: number): number => rom.byte(at + offset) ?? 0;
  return {
    vendor: word(4),
    device: word(6),
    deviceList: byte(0x0c) >= 3 ? readDeviceList(rom, at, word(8)) : [],
    revision: byte(0x0c),
    classCode: (byte(0x0f) << 16) | (byte(0x0e) << 8) | byte(0x0d),
    imageLength: rom.units(at + 0x10) ?? 0,
    imageRevision: word(0x12),
    codeType: byte(0x14),
    marksEnd: (byte(0x15) & LAST) !== 0,
    extension: readExtension(rom, image, at, word(0x0a)),
  };
};
