import type { AccessSize } from "@iommu-lab/memory";
import { Misc, type IndexedRegisters, type VgaRegisters } from "./vga-registers.ts";

const MONOCHROME = 0x3b0;
const COLOR = 0x3d0;
const FLOATING = 0xff;
const RETRACE = 0x09;

const indexed = (registers: VgaRegisters, port: number): IndexedRegisters | undefined => {
  if (port === 0x3c4 || port === 0x3c5) return registers.sequencer;
  if (port === 0x3ce || port === 0x3cf) return registers.graphics;
  const base = registers.misc & Misc.ColorAddresses ? COLOR : MONOCHROME;
  return port === base + 4 || port === base + 5 ? registers.crtc : undefined;
};

/** Input status 1; the read makes port 3c0 expect an index. */
const readStatus = (registers: VgaRegisters): number => {
  registers.attributeData = false;
  registers.status ^= RETRACE;
  return registers.status;
};

const isStatus = (registers: VgaRegisters, port: number): boolean => port === (registers.misc & Misc.ColorAddresses ? COLOR : MONOCHROME) + 0xa;

const readByte = (registers: VgaRegisters, port: number): number => {
  const bank = indexed(registers, port);
  if (bank) return port & 1 ? bank.read() : bank.index;
  if (isStatus(registers, port)) return readStatus(registers);
  switch (port) {
    case 0x3c0: return registers.attribute.index;
    case 0x3c1: return registers.attribute.get(registers.attribute.index & 0x1f);
    case 0x3c2: return 0;
    case 0x3c3: return registers.enable;
    case 0x3c6: return registers.palette.mask;
    case 0x3c7: return registers.palette.state;
    case 0x3c8: return registers.palette.writeIndex;
    case 0x3c9: return registers.palette.read();
    case 0x3ca: return registers.feature;
    case 0x3cc: return registers.misc;
    default: return FLOATING;
  }
};

/** Port 3c0 takes index and data in turn; index bit 5 gives the palette back to the display. */
const writeAttribute = (registers: VgaRegisters, value: number): void => {
  const { attribute } = registers;
  if (!registers.attributeData) attribute.index = value & 0x3f;
  else if ((attribute.index & 0x1f) < attribute.values.length) attribute.values[attribute.index & 0x1f] = value;
  registers.attributeData = !registers.attributeData;
};

const CRTC_PROTECT = 0x11;

/** CR11 bit 7 protects CR00 to CR07, except the line compare bit of CR07. */
const writeCrtc = ({ crtc }: VgaRegisters, value: number): void => {
  const isProtected = (crtc.get(CRTC_PROTECT) & 0x80) !== 0 && crtc.index <= 7;
  if (!isProtected) crtc.write(value);
  else if (crtc.index === 7) crtc.write((crtc.read() & ~0x10) | (value & 0x10));
};

const writeByte = (registers: VgaRegisters, port: number, value: number): void => {
  const bank = indexed(registers, port);
  if (bank) {
    if (!(port & 1)) bank.index = value;
    else if (bank === registers.crtc) writeCrtc(registers, value);
    else bank.write(value);
    return;
  }
  if (isStatus(registers, port)) {
    registers.feature = value;
    return;
  }
  switch (port) {
    case 0x3c0: writeAttribute(registers, value); break;
    case 0x3c2: registers.misc = value; break;
    case 0x3c3: registers.enable = value & 1; break;
    case 0x3c6: registers.palette.mask = value; break;
    case 0x3c7: registers.palette.startRead(value); break;
    case 0x3c8: registers.palette.startWrite(value); break;
    case 0x3c9: registers.palette.write(value); break;
    default: break;
  }
};

/** IN from the VGA ports; a wide access is one of each byte, the lowest port first. All ones where no register is. */
export const readPort = (registers: VgaRegisters, port: number, size: AccessSize): number => {
  let value = 0;
  for (let i = 0; i < size; i++) value += readByte(registers, port + i) * 2 ** (8 * i);
  return value;
};

/** OUT to the VGA ports: a word to an index port sets index and data at once. */
export const writePort = (registers: VgaRegisters, port: number, size: AccessSize, value: number): void => {
  for (let i = 0; i < size; i++) writeByte(registers, port + i, (value >>> (8 * i)) & 0xff);
};
