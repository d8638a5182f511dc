import { describe, expect, test } from "vitest";
import fc from "fast-check";
import { buildEfiImage, buildLegacyImage, buildOptionRom, CodeType, initHookOf, Machine, parseOptionRom, romVerdict, type OptionRom } from "../../src/index.ts";

const card = { vendor: 0x10de, device: 0x1402 };
const legacy = buildLegacyImage({ ...card, initHook: 7 });
const efi = buildEfiImage(card);
const both = buildOptionRom([legacy, efi]);

const rules = ({ problems }: OptionRom): string[] => problems.map(({ rule }) => rule);
const changed = (rom: Uint8Array, changes: Readonly<Record<number, number>>): Uint8Array => {
  const copy = rom.slice();
  for (const [at, value] of Object.entries(changes)) copy[Number(at)] = value;
  return copy;
};
const after = (prefix: string, rom: Uint8Array): Uint8Array => Uint8Array.from([...new TextEncoder().encode(prefix), ...rom]);
const [VENDOR, LENGTH, CODE_TYPE, INDICATOR] = [0x1c + 4, 0x1c + 0x10, 0x1c + 0x14, 0x1c + 0x15];

describe("the chain of images (PCI Firmware §5.1)", () => {
  test("a legacy and a UEFI image are found with their fields", () => {
    const rom = parseOptionRom(both, card);
    expect(rom).toMatchObject({ complete: true, problems: [] });
    expect(rom.images).toMatchObject([
      { offset: 0, length: 1024, codeType: CodeType.LegacyBios, ...card, classCode: 0x03_0000, checksum: "good", marksEnd: false, efi: undefined },
      { offset: 1024, length: 1024, codeType: CodeType.Uefi, ...card, marksEnd: true, checksum: undefined, efi: { initSize: 1024, signed: true, subsystem: 0x0b, machine: Machine.X64, compressed: false, peOffset: 0x80 } },
    ]);
  });
  test("the last mark ends it, whatever follows", () => {
    expect(parseOptionRom(Uint8Array.from([...buildOptionRom([legacy]), ...efi]), card).images).toHaveLength(1);
  });
  test("bytes before the first image are passed over, another vendor's image among them", () => {
    const rom = parseOptionRom(after("NVGI header", both), card);
    expect(rom.images.map(({ offset }) => offset)).toEqual([11, 1035]);
    expect(rules(rom)).toEqual(["leading-bytes"]);
    const foreign = buildLegacyImage({ vendor: 0x1002, device: 1 });
    expect(parseOptionRom(Uint8Array.from([...foreign, ...both]), card).images[0]?.offset).toBe(1024);
    expect(parseOptionRom(Uint8Array.from([0x55, 0xaa, 0, 0, ...both]), card).images[0]?.offset).toBe(4);
  });
  test("NVIDIA's extension says whether more follows, against the data structure", () => {
    const rom = buildOptionRom([buildLegacyImage({ ...card, extension: true }), buildEfiImage({ ...card, extension: true })]);
    expect(rom[INDICATOR]).toBe(0x80);
    expect(parseOptionRom(rom, card)).toMatchObject({ complete: true, problems: [], images: [{ marksEnd: true }, { codeType: CodeType.Uefi }] });
    expect(romVerdict(rom, card).ovmf).toBe("yes");
  });
  test("the extension's length counts", () => {
    const rom = changed(buildOptionRom([buildLegacyImage({ ...card, extension: true }), buildEfiImage({ ...card, extension: true })]), { [LENGTH]: 9 });
    expect(parseOptionRom(rom, card).images.map(({ offset }) => offset)).toEqual([0, 1024]);
  });
  test.each([
    ["an empty dump", new Uint8Array(), ["no-image"]],
    ["no signature", changed(buildOptionRom([legacy]), { 0: 0 }), ["no-image"]],
    ["no data structure", changed(buildOptionRom([legacy]), { 0x1c: 0 }), ["no-image"]],
    ["a pointer of 0", changed(buildOptionRom([legacy]), { 0x18: 0 }), ["no-image"]],
    ["a pointer past the end", changed(buildOptionRom([legacy]), { 0x19: 0xff }), ["no-image"]],
    ["a cut image", both.subarray(0, 1500), ["truncated"]],
    ["a missing second image", both.subarray(0, 1024), ["no-end"]],
    ["a broken second image", changed(both, { 1024: 0 }), ["broken-chain"]],
    ["a length of 0", changed(both, { [LENGTH]: 0 }), ["header-length", "zero-length"]],
    ["a header that is longer than the image", changed(both, { 2: 3 }), ["header-length", "checksum"]],
    ["a wrong checksum", changed(both, { 0x100: 1 }), ["checksum"]],
    ["another vendor", changed(buildOptionRom([efi]), { [VENDOR]: 0x02 }), ["vendor"]],
    ["another device", changed(buildOptionRom([efi]), { [VENDOR + 2]: 0x03 }), ["device"]],
    ["no UEFI signature", changed(buildOptionRom([efi]), { 4: 0 }), ["efi-signature"]],
    ["a driver outside of the image", changed(buildOptionRom([efi]), { 0x17: 0x40 }), ["pe-offset"]],
  ])("%s is told", (_, rom, expected) => {
    expect(rules(parseOptionRom(rom, card))).toEqual(expected);
  });
  test("a device of the list of a revision 3 structure is the card's", () => {
    const rom = changed(buildOptionRom([buildEfiImage({ vendor: card.vendor, device: 1 })]), { [0x1c + 8]: 0x60 - 0x1c, [0x1c + 0x0c]: 3, 0x60: 0x02, 0x61: 0x14 });
    expect(parseOptionRom(rom, card)).toMatchObject({ problems: [], images: [{ deviceList: [card.device] }] });
    expect(romVerdict(rom, card).ovmf).toBe("yes");
    expect(parseOptionRom(changed(rom, { [0x1c + 0x0c]: 2 }), card).images[0]?.deviceList).toEqual([]);
  });
});

describe("fields of an image", () => {
  test.each([
    ["UEFI compressed", buildOptionRom([buildEfiImage({ ...card, compressed: true })]), { efi: { compressed: true } }],
    ["UEFI for Arm", buildOptionRom([buildEfiImage({ ...card, machine: Machine.Arm64 })]), { efi: { machine: 0xaa64 } }],
    ["a class", buildOptionRom([buildLegacyImage({ ...card, classCode: 0x12_3456 })]), { classCode: 0x12_3456, headerLength: 1024 }],
    ["revisions", changed(buildOptionRom([efi]), { [0x1c + 0x0c]: 3, [0x1c + 0x12]: 0x34, [0x1c + 0x13]: 0x12 }), { dataRevision: 3, imageRevision: 0x1234, headerLength: 0 }],
  ])("%s", (_, rom, expected) => {
    expect(parseOptionRom(rom).images[0]).toMatchObject(expected);
  });
  test.each([
    [0x17, true],
    [0x18, false],
    [0x3ff, false],
    [0x400, true],
  ])("a driver at %i of an image of 1024 bytes is outside: %s", (peOffset, outside) => {
    const rom = changed(buildOptionRom([efi]), { 0x16: peOffset & 0xff, 0x17: peOffset >> 8 });
    expect([rules(parseOptionRom(rom, card)).includes("pe-offset"), romVerdict(rom, card).ovmf]).toEqual([outside, outside ? "unknown" : "yes"]);
  });
  test("a chain of 64 images is followed, one that claims more is cut", () => {
    const chain = (count: number): OptionRom => parseOptionRom(buildOptionRom(Array.from({ length: count }, () => buildEfiImage({ ...card, length: 512 }))));
    expect([chain(64).complete, chain(64).images.length, chain(65).complete, chain(65).images.length]).toEqual([true, 64, false, 64]);
  });
  test("NVIDIA's extension is looked for behind a longer data structure, at the next 16 bytes", () => {
    const rom = changed(buildOptionRom([buildLegacyImage({ ...card, extension: true }), efi]), { [0x1c + 0x0a]: 0x25 });
    expect(parseOptionRom(rom, card).images).toHaveLength(1);
    rom.copyWithin(0x50, 0x40, 0x50);
    expect(parseOptionRom(rom, card).images).toHaveLength(2);
  });
  test("the reasons say what was looked for and not found", () => {
    expect(romVerdict(buildOptionRom([efi]), card).reasons[1]).toBe("No image is a legacy BIOS (code type 0).");
    expect(romVerdict(buildOptionRom([legacy]), card).reasons[0]).toBe("No image is for UEFI (code type 3).");
    expect(romVerdict(new Uint8Array(4), card).reasons).toEqual(["No UEFI image was found, but the dump is not complete.", "No legacy image was found, but the dump is not complete."]);
  });
});

describe("which guest firmware a ROM serves", () => {
  const arm = buildEfiImage({ ...card, machine: Machine.Arm64 });
  test.each([
    ["legacy and UEFI", both, "yes", "yes"],
    ["legacy alone (GTX 560 Ti)", buildOptionRom([legacy]), "no", "yes"],
    ["UEFI alone", buildOptionRom([efi]), "yes", "no"],
    ["UEFI compressed", buildOptionRom([buildEfiImage({ ...card, compressed: true })]), "yes", "no"],
    ["UEFI for Arm alone", buildOptionRom([arm]), "no", "no"],
    ["UEFI for Arm and x86-64", buildOptionRom([arm, efi]), "yes", "no"],
    ["Open Firmware", changed(buildOptionRom([efi]), { [CODE_TYPE]: 1 }), "no", "no"],
    ["nothing at all", new Uint8Array(512), "unknown", "unknown"],
    ["a chain that breaks behind the legacy image", changed(both, { 1024: 0 }), "unknown", "yes"],
    ["a cut UEFI image", both.subarray(0, 1500), "unknown", "yes"],
    ["a cut legacy image", both.subarray(0, 1000), "unknown", "unknown"],
    ["a shadow copy with another checksum", changed(both, { 0x100: 1 }), "yes", "yes"],
    ["a legacy image of length 0", changed(buildOptionRom([legacy]), { [LENGTH]: 0 }), "no", "unknown"],
    ["a legacy image whose header claims more than there is", changed(buildOptionRom([legacy]), { 2: 3 }), "no", "unknown"],
    ["a legacy image whose header claims nothing", changed(buildOptionRom([legacy]), { 2: 0 }), "no", "unknown"],
    ["another vendor's", changed(changed(both, { [VENDOR]: 2 }), { [1024 + VENDOR]: 2 }), "unknown", "unknown"],
    ["an unsigned UEFI image", changed(buildOptionRom([efi]), { 4: 0 }), "unknown", "no"],
    ["a UEFI image whose driver is outside", changed(buildOptionRom([efi]), { 0x17: 0x40 }), "unknown", "no"],
  ] as const)("%s: OVMF %s, SeaBIOS %s", (_, rom, ovmf, seabios) => {
    const verdict = romVerdict(rom, card);
    expect([verdict.ovmf, verdict.seabios]).toEqual([ovmf, seabios]);
    expect(verdict.reasons.length).toBeGreaterThanOrEqual(2);
  });
});

describe("building images", () => {
  test("what is built is read back, whatever the chain", () => {
    const image = fc.record({ efi: fc.boolean(), units: fc.integer({ min: 1, max: 8 }), extension: fc.boolean(), device: fc.integer({ min: 1, max: 0xffff }) });
    fc.assert(
      fc.property(fc.array(image, { minLength: 1, maxLength: 6 }), (list) => {
        const rom = buildOptionRom(list.map(({ efi: isEfi, units, extension, device }) => (isEfi ? buildEfiImage : buildLegacyImage)({ vendor: 0x1002, device, extension, length: 512 * units })));
        const { images, complete, problems } = parseOptionRom(rom);
        expect(images.map(({ codeType, length, device }) => ({ efi: codeType === CodeType.Uefi, length, device }))).toEqual(list.map(({ efi: isEfi, units, device }) => ({ efi: isEfi, length: 512 * units, device })));
        expect({ complete, problems }).toEqual({ complete: true, problems: [] });
      }),
    );
  });
  test("the init hook is found in the image that has one", () => {
    expect([initHookOf(legacy), initHookOf(buildLegacyImage(card)), initHookOf(efi), initHookOf(new Uint8Array(4))]).toEqual([7, undefined, undefined, undefined]);
  });
  test.each([0, 100, 512 * 256])("a length of %i bytes is refused", (length) => {
    expect(() => buildLegacyImage({ ...card, length })).toThrow(RangeError);
  });
});

describe("hostile dumps", () => {
  const noise = fc.uint8Array({ maxLength: 4096 });
  const damaged = fc.tuple(fc.array(fc.tuple(fc.nat({ max: 2047 }), fc.nat({ max: 255 })), { maxLength: 12 }), fc.nat({ max: 2048 })).map(([changes, end]) => changed(both, Object.fromEntries(changes)).subarray(0, end));
  test("any bytes are read, images lie inside of the dump and behind each other, and a verdict of yes has a sound image", () => {
    fc.assert(
      fc.property(fc.oneof(noise, damaged), (bytes) => {
        const { images } = parseOptionRom(bytes, card);
        let end = 0;
        for (const { offset, length } of images) {
          expect(offset).toBeGreaterThanOrEqual(end);
          end = offset + length;
          expect(end).toBeLessThanOrEqual(bytes.length);
        }
        const { ovmf, seabios } = romVerdict(bytes, card);
        if (ovmf === "yes") expect(images.some(({ efi: header, truncated }) => header?.signed && header.machine === Machine.X64 && !truncated)).toBe(true);
        if (seabios === "yes") expect(images.some(({ codeType, truncated }) => codeType === CodeType.LegacyBios && !truncated)).toBe(true);
      }),
      { numRuns: 500 },
    );
  });
  test("every cut of a good dump is read, and none that lacks the UEFI image's end says yes to OVMF", () => {
    for (let end = 0; end < both.length; end += 7) expect(romVerdict(both.subarray(0, end), card).ovmf).toBe("unknown");
  });
  test("a dump full of image starts takes no longer than its length allows", () => {
    const bytes = new Uint8Array(2 ** 20);
    for (let at = 0; at < bytes.length; at += 2) bytes.set([0x55, 0xaa], at);
    expect(parseOptionRom(bytes, card).images).toEqual([]);
  });
});
