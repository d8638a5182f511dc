import { CodeType, parseOptionRom, romVerdict } from "@iommu-lab/vga-arbiter";
import { bitsAt, bytesNode, headingNode, type FieldNode } from "./fields.ts";
import type { Noticed } from "./table-nodes.ts";

const CODE_TYPES: Readonly<Record<number, string>> = { [CodeType.LegacyBios]: "legacy BIOS", [CodeType.OpenFirmware]: "Open Firmware", [CodeType.PaRisc]: "PA-RISC", [CodeType.Uefi]: "UEFI" };

const imageNodes = (bytes: Uint8Array, { offset, length, codeType }: ReturnType<typeof parseOptionRom>["images"][number]): FieldNode[] => {
  const data = offset + Number(bitsAt(bytes, 8 * (offset + 0x18), 8 * (offset + 0x1a) - 1));
  const meaning = CODE_TYPES[codeType];
  return [
    headingNode("Image", offset, length, meaning ?? `code type 0x${codeType.toString(16)}`, 0),
    bytesNode("ROM Signature", offset, 2, "55h AAh.", 1),
    bytesNode("Size", offset + 2, 1, "Units of 512 bytes that stay in memory.", 1),
    ...(codeType === CodeType.Uefi
      ? [bytesNode("EFI Signature", offset + 4, 4, "0x0ef1.", 1), bytesNode("EFI Subsystem", offset + 8, 2, "0xb boot service driver, 0xc runtime driver.", 1), bytesNode("EFI Machine", offset + 10, 2, "0x8664: x86-64.", 1), bytesNode("Compression", offset + 12, 2, "1: the driver is compressed.", 1), bytesNode("PE Offset", offset + 0x16, 2, "Where the driver begins.", 1)]
      : []),
    bytesNode("PCIR Pointer", offset + 0x18, 2, "Where the PCI data structure is.", 1),
    headingNode("PCI Data Structure", data, 24, "PCI Firmware §5.1.2.", 1),
    bytesNode("PCIR Signature", data, 4, "\"PCIR\".", 2, { ascii: true }),
    bytesNode("Vendor ID", data + 4, 2, "Whose card it is for.", 2),
    bytesNode("Device ID", data + 6, 2, "Which card it is for.", 2),
    bytesNode("Device List", data + 8, 2, "Further device IDs, from revision 3 on.", 2),
    bytesNode("Data Length", data + 10, 2, "Bytes of this structure.", 2),
    bytesNode("Data Revision", data + 12, 1, "Revision of this structure.", 2),
    bytesNode("Class Code", data + 13, 3, "What the card is.", 2),
    bytesNode("Image Length", data + 16, 2, "Units of 512 bytes.", 2),
    bytesNode("Image Revision", data + 18, 2, "The vendor's revision.", 2),
    bytesNode("Code Type", data + 20, 1, "What the code is for.", 2, { meaning }),
    bytesNode("Indicator", data + 21, 1, "Bit 7: the last image.", 2),
  ].filter(({ msb }) => msb < 8 * bytes.length);
};

/** Fields of an option ROM, what is wrong with it, and which guest firmware it serves. Never throws. */
export const romFields = (bytes: Uint8Array): { readonly nodes: readonly FieldNode[]; readonly noticed: readonly Noticed[]; readonly sentences: readonly string[] } => {
  const { images, problems } = parseOptionRom(bytes);
  const { ovmf, seabios, reasons } = romVerdict(bytes);
  return { nodes: images.flatMap((image) => imageNodes(bytes, image)), noticed: problems.map(({ rule, text }) => ({ id: `rom-${rule}`, offset: 0, text })), sentences: [`OVMF: ${ovmf}. SeaBIOS: ${seabios}.`, ...reasons] };
};
