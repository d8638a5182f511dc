import type { RootComplex } from "@iommu-lab/pci-bus/model";

/** What stands for the code of a video BIOS: it reaches its card through the legacy ranges only, as real ones do. */
export type InitHook = (complex: RootComplex) => void;

const TEXT_BUFFER = 0xb_8000;
const PORT = { Attribute: 0x3c0, Misc: 0x3c2, Sequencer: 0x3c4, Graphics: 0x3ce, Crtc: 0x3d4, Status: 0x3da } as const;

const SEQUENCER = [0x03, 0x00, 0x03, 0x00, 0x02];
const GRAPHICS = [0x00, 0x00, 0x00, 0x00, 0x00, 0x10, 0x0e, 0x0f, 0xff];
/** 80 columns of 9 dots, 25 lines of 16, out of 449 lines: the timing of 720 by 400. */
const CRTC = [0x5f, 0x4f, 0x50, 0x82, 0x55, 0x81, 0xbf, 0x1f, 0x00, 0x4f, 0x0d, 0x0e, 0x00, 0x00, 0x00, 0x00, 0x9c, 0x8e, 0x8f, 0x28, 0x1f, 0x96, 0xb9, 0xa3, 0xff];

const setAll = (complex: RootComplex, port: number, values: readonly number[]): void => {
  for (const [index, value] of values.entries()) complex.ioWrite(port, 2, index | (value << 8));
};

/** Puts a text into the first line of the screen, light grey on black. */
export const showText = (complex: RootComplex, text: string): void => {
  const cells = new Uint8Array(2 * text.length);
  for (let i = 0; i < text.length; i++) cells.set([text.charCodeAt(i), 0x07], 2 * i);
  complex.memoryWrite(TEXT_BUFFER, cells);
};

/** Sets 80 by 25 characters in 16 colors (mode 3) through the legacy registers, and clears the screen. */
export const setTextMode: InitHook = (complex) => {
  complex.ioWrite(PORT.Misc, 1, 0x67);
  setAll(complex, PORT.Sequencer, SEQUENCER);
  complex.ioWrite(PORT.Crtc, 2, 0x0011);
  setAll(complex, PORT.Crtc, CRTC);
  setAll(complex, PORT.Graphics, GRAPHICS);
  complex.ioRead(PORT.Status, 1);
  for (let index = 0; index < 16; index++) for (const value of [index, index]) complex.ioWrite(PORT.Attribute, 1, value);
  complex.ioWrite(PORT.Attribute, 1, 0x20);
  showText(complex, " ".repeat(80));
};
