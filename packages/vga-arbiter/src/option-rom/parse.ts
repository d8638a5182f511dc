import { hex } from "@iommu-lab/memory";
import { readDataStructure, type DataStructure } from "./data-structure.ts";
import { CodeType, type CardIds, type EfiHeader, type OptionRom, type OptionRomImage, type RomProblem } from "./image.ts";
import { RomBytes } from "./rom-bytes.ts";

const EFI_SIGNATURE = 0x0ef1;
const BYTES_PER_UNIT = 512;
/** A video ROM has a handful of images; a dump that claims more is damaged. */
const MOST_IMAGES = 64;

/** Where the chain begins: at once, or behind what a tool or the vendor put before it ("NVGI" and others). */
const findStart = (rom: RomBytes, card: CardIds | undefined): number | undefined => {
  let first: number | undefined;
  for (let at = 0; at + 1 < rom.length; at++) {
    if (!rom.isImage(at)) continue;
    const data = readDataStructure(rom, at);
    if (!data) continue;
    if (!card || data.vendor === card.vendor) return at;
    first ??= at;
  }
  return first;
};

const readEfi = (rom: RomBytes, at: number): EfiHeader => ({
  initSize: rom.units(at + 2) ?? 0,
  signed: rom.dword(at + 4) === EFI_SIGNATURE,
  subsystem: rom.word(at + 8) ?? 0,
  machine: rom.word(at + 0x0a) ?? 0,
  compressed: rom.word(at + 0x0c) === 1,
  peOffset: rom.word(at + 0x16) ?? 0,
});

const sum = (bytes: Uint8Array): number => bytes.reduce((total, byte) => (total + byte) & 0xff, 0);

/** PCI gives the length by the data structure; the header of a legacy image names what stays in memory, which is not longer. */
const lengthOf = ({ extension, imageLength }: DataStructure): number => (extension && extension.imageLength > 0 ? extension.imageLength : imageLength);

const headerLengthOf = (rom: RomBytes, at: number, { codeType }: DataStructure): number => (codeType === CodeType.LegacyBios ? (rom.byte(at + 2) ?? 0) * BYTES_PER_UNIT : 0);

const checksumOf = (rom: RomBytes, at: number, header: number, end: number): OptionRomImage["checksum"] => {
  if (header === 0 || at + header > rom.length) return undefined;
  return sum(rom.bytes.subarray(at, Math.min(at + header, end))) === 0 ? "good" : "bad";
};

const readImage = (rom: RomBytes, at: number, data: DataStructure): OptionRomImage => {
  const end = at + lengthOf(data);
  const headerLength = headerLengthOf(rom, at, data);
  return {
    offset: at,
    length: Math.min(end, rom.length) - at,
    headerLength,
    codeType: data.codeType,
    vendor: data.vendor,
    device: data.device,
    deviceList: data.deviceList,
    classCode: data.classCode,
    dataRevision: data.revision,
    imageRevision: data.imageRevision,
    marksEnd: data.marksEnd,
    efi: data.codeType === CodeType.Uefi ? readEfi(rom, at) : undefined,
    checksum: end > rom.length ? undefined : checksumOf(rom, at, headerLength, end),
    truncated: end > rom.length,
  };
};

const problemsOf = (image: OptionRomImage, data: DataStructure, card: CardIds | undefined): RomProblem[] => {
  const at = `The image at ${hex(image.offset)}`;
  const found: RomProblem[] = [];
  if (image.truncated) found.push({ rule: "truncated", text: `${at} has ${hex(lengthOf(data))} bytes; the dump ends after ${hex(image.length)} of them.` });
  if (image.headerLength > lengthOf(data)) found.push({ rule: "header-length", text: `${at} claims ${hex(image.headerLength)} bytes in its header, and ${hex(lengthOf(data))} in its data structure.` });
  if (image.checksum === "bad") found.push({ rule: "checksum", text: `The bytes of the legacy image at ${hex(image.offset)} do not add up to 0; in a shadow copy that is usual.` });
  if (card && image.vendor !== card.vendor) found.push({ rule: "vendor", text: `${at} is for vendor ${hex(image.vendor)}, the card's is ${hex(card.vendor)}.` });
  else if (card && image.device !== card.device && !image.deviceList.includes(card.device)) found.push({ rule: "device", text: `${at} is for device ${hex(image.device)}, the card's is ${hex(card.device)}.` });
  if (image.efi && !image.efi.signed) found.push({ rule: "efi-signature", text: `${at} is of code type 3 but lacks the UEFI signature 0xef1.` });
  if (image.efi?.signed && (image.efi.peOffset < 0x18 || image.efi.peOffset >= lengthOf(data))) found.push({ rule: "pe-offset", text: `${at} names ${hex(image.efi.peOffset)} as the place of its driver, which is outside of it.` });
  return found;
};

/** Follows the chain from a place on. */
const readChain = (rom: RomBytes, start: number, card: CardIds | undefined): OptionRom => {
  const images: OptionRomImage[] = [];
  const problems: RomProblem[] = [];
  let complete = false;
  for (let at = start; images.length < MOST_IMAGES; ) {
    const data = rom.isImage(at) ? readDataStructure(rom, at) : undefined;
    if (!data) {
      const past = at >= rom.length;
      problems.push(past ? { rule: "no-end", text: "The last image of the dump is not marked as the last one." } : { rule: "broken-chain", text: `At ${hex(at)}, where the next image should begin, none is.` });
      break;
    }
    const image = readImage(rom, at, data);
    images.push(image);
    problems.push(...problemsOf(image, data, card));
    complete = data.extension ? data.extension.marksEnd : data.marksEnd;
    if (image.truncated) complete = false;
    if (complete || image.truncated) break;
    if (lengthOf(data) === 0) {
      problems.push({ rule: "zero-length", text: `The image at ${hex(at)} has length 0, so the next one cannot be found.` });
      break;
    }
    at += lengthOf(data);
  }
  return { images, problems, complete };
};

/**
 * Takes a dump of an option ROM apart: its images and what is wrong with them. Any bytes are let in. PCI Firmware §5.1 "PCI
 * Expansion ROM Contents".
 * @param card the function it was read from: the chain begins at the first image of its vendor, and foreign IDs are told
 */
export const parseOptionRom = (bytes: Uint8Array, card?: CardIds): OptionRom => {
  const rom = new RomBytes(bytes);
  const start = findStart(rom, card);
  if (start === undefined) return { images: [], problems: [{ rule: "no-image", text: "Nothing in the dump is an option ROM image (55 AA with a PCI data structure)." }], complete: false };
  const chain = readChain(rom, start, card);
  if (start === 0) return chain;
  return { ...chain, problems: [{ rule: "leading-bytes", text: `The first image begins at ${hex(start)}; what is before it is not the card's.` }, ...chain.problems] };
};
