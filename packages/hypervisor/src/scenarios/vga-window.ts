import { VGA_MEMORY } from "@iommu-lab/pci-bus/model";
import { bootBios, initHookOf, parseOptionRom, SHADOW_BASE, type VgaCard } from "@iommu-lab/vga-arbiter";
import type { Machine } from "../machine/machine.ts";
import { bytesOf, equalBytes } from "./bytes.ts";
import { cardAt, GRAPHICS_SCREEN, SIXTEEN_COLORS } from "./graphics-cards.ts";
import type { Stage } from "./stage.ts";

/** Bytes of a legacy image. */
const IMAGE = 1024;
/** 640 by 480 points, one bit of each in a plane. */
const PLANE_BYTES = (640 * 480) / 8;
const PLANES = 4;
const KIB = 1024;
const WINDOW = VGA_MEMORY.last + 1 - VGA_MEMORY.base;

/** The video BIOS in RAM: R62. */
const compareShadow = (stage: Stage, machine: Machine, card: VgaCard): void => {
  const shadow = new Uint8Array(IMAGE);
  machine.memory.readInto(SHADOW_BASE, shadow);
  const [image] = parseOptionRom(shadow).images;
  stage.say("The video BIOS of the first card stands in RAM at 0xc0000, byte for byte, and the ROM itself is switched off.");
  stage.check("shadow-bytes", { protected: true, expected: IMAGE, actual: equalBytes(shadow, card.romBytes ?? new Uint8Array(0)) });
  stage.check("shadow-header", { protected: true, expected: { signature: 0xaa55, length: IMAGE, checksum: "good", start: 1 }, actual: { signature: machine.memory.read16(SHADOW_BASE), length: image?.headerLength ?? 0, checksum: image?.checksum ?? "none", start: initHookOf(shadow) ?? 0 } });
  stage.check("rom-bar-off", { protected: true, expected: 0, actual: card.config.read(0x30, 4) & 1 });
};

/** A picture of 640 by 480 points in 16 colors, plane by plane through a window that is too small for it. */
const drawPlanes = (stage: Stage, machine: Machine, card: VgaCard): void => {
  const { complex, map, memory } = machine;
  for (const { port, size, value } of SIXTEEN_COLORS) complex.ioWrite(port, size, value);
  let arrived = 0;
  for (let plane = 0; plane < PLANES; plane++) {
    const bits = stage.random.bytes(PLANE_BYTES);
    complex.ioWrite(0x3c4, 2, 0x02 | (1 << (8 + plane)));
    map.writeFrom(GRAPHICS_SCREEN, bits);
    for (let at = 0; at < PLANE_BYTES; at++) if (card.memory.readPlane(plane, at) === bits[at]) arrived++;
  }
  const ram = new Uint8Array(WINDOW);
  memory.readInto(VGA_MEMORY.base, ram);
  stage.say(`A picture of 640 by 480 points in 16 colors has ${(PLANES * PLANE_BYTES) / KIB} KiB. The window has ${WINDOW / KIB} KiB, so the processor stores it plane by plane, ${PLANE_BYTES} bytes each: all of it is in video memory, nothing in RAM.`);
  stage.check("window-in-video-memory", { protected: true, expected: PLANES * PLANE_BYTES, actual: arrived });
  stage.check("window-in-ram", { protected: true, expected: 0, actual: WINDOW - bytesOf(ram, 0) });
};

/** Which quarters of the window answer for each value of GR06's memory map. */
const MEMORY_MAPS = ["a0000 a8000 b0000 b8000", "a0000 a8000", "b0000", "b8000"];

const memoryMaps = ({ complex, map }: Machine): string[] =>
  MEMORY_MAPS.map((_, choice) => {
    complex.ioWrite(0x3c4, 2, 0x0f02);
    complex.ioWrite(0x3ce, 2, 0x06 | (((choice << 2) | 1) << 8));
    const quarters = Array.from({ length: 4 }, (_unused, i) => VGA_MEMORY.base + 0x8000 * i);
    return quarters.filter((at) => {
      map.write8(at, 0x5a);
      return map.read8(at) === 0x5a;
    }).map((at) => at.toString(16)).join(" ");
  });

/** After the boot: the shadow of the ROM, and where stores in the window go. */
export const shadowAndWindow = (stage: Stage, machine: Machine, address: string): void => {
  bootBios(machine.complex);
  const card = cardAt(machine, address);
  compareShadow(stage, machine, card);
  drawPlanes(stage, machine, card);
  stage.check("window-ranges", { protected: true, expected: MEMORY_MAPS, actual: memoryMaps(machine) });
  stage.say("A register of the card, GR06, says which part of the window it answers to: all, the half for graphics, or one of two quarters for text.");
};
