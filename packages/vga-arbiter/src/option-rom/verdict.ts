import { hex } from "@iommu-lab/memory";
import { CodeType, Machine, type CardIds, type OptionRom, type OptionRomImage } from "./image.ts";
import { parseOptionRom } from "./parse.ts";

/** Whether something works; "unknown" never counts as yes. */
export type Answer = "yes" | "no" | "unknown";

/** Which guest firmware can show a picture with a card's ROM. */
export interface RomVerdict {
  /** UEFI for x86-64 (OVMF): needs a UEFI image for that machine. */
  readonly ovmf: Answer;
  /** Legacy BIOS (SeaBIOS): needs a legacy image. */
  readonly seabios: Answer;
  /** Sentences. */
  readonly reasons: readonly string[];
}

const isForeign = (image: OptionRomImage, card: CardIds | undefined): boolean =>
  card !== undefined && (image.vendor !== card.vendor || (image.device !== card.device && !image.deviceList.includes(card.device)));

/** No image that would do: certain only when the whole chain was seen. */
const absent = (rom: OptionRom): Answer => (rom.complete ? "no" : "unknown");

const judgeUefi = (rom: OptionRom, card: CardIds | undefined): { readonly answer: Answer; readonly reasons: string[] } => {
  const images = rom.images.filter(({ codeType }) => codeType === CodeType.Uefi);
  const x64 = images.filter(({ efi }) => efi?.machine === Machine.X64);
  const outside = (image: OptionRomImage): boolean => !image.efi || image.efi.peOffset < 0x18 || image.efi.peOffset >= image.length;
  const sound = x64.filter((image) => image.efi?.signed && !image.truncated && !isForeign(image, card) && !outside(image));
  if (sound[0]) return { answer: "yes", reasons: [`The image at ${hex(sound[0].offset)} is a UEFI driver for x86-64.`] };
  const reasons = images.filter((image) => !x64.includes(image)).map(({ offset, efi }) => `The UEFI image at ${hex(offset)} is for machine ${hex(efi?.machine ?? 0)}, not for x86-64 (0x8664).`);
  if (x64[0]) return { answer: "unknown", reasons: [...reasons, `The UEFI image at ${hex(x64[0].offset)} is damaged, cut or for another card.`] };
  return { answer: absent(rom), reasons: images.length > 0 ? reasons : [rom.complete ? "No image is for UEFI (code type 3)." : "No UEFI image was found, but the dump is not complete."] };
};

const judgeLegacy = (rom: OptionRom, card: CardIds | undefined): { readonly answer: Answer; readonly reasons: string[] } => {
  const images = rom.images.filter(({ codeType }) => codeType === CodeType.LegacyBios);
  const sound = images.find((image) => !image.truncated && !isForeign(image, card) && image.headerLength > 0 && image.headerLength <= image.length);
  if (sound) return { answer: "yes", reasons: [`The image at ${hex(sound.offset)} is a legacy BIOS.${sound.checksum === "bad" ? " Its checksum is wrong, as in shadow copies; firmware may refuse it." : ""}`] };
  if (images[0]) return { answer: "unknown", reasons: [`The legacy image at ${hex(images[0].offset)} is damaged, cut or for another card.`] };
  return { answer: absent(rom), reasons: [rom.complete ? "No image is a legacy BIOS (code type 0)." : "No legacy image was found, but the dump is not complete."] };
};

/** Says which guest firmware a dump serves. */
export const romVerdict = (bytes: Uint8Array, card?: CardIds): RomVerdict => {
  const rom = parseOptionRom(bytes, card);
  const [uefi, legacy] = [judgeUefi(rom, card), judgeLegacy(rom, card)];
  return { ovmf: uefi.answer, seabios: legacy.answer, reasons: [...uefi.reasons, ...legacy.reasons] };
};
