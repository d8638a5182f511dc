import type { MmioHandler } from "@iommu-lab/memory";
import type { Attachment } from "@iommu-lab/pci-bus/model";
import type { VfioKernel } from "../vfio-kernel.ts";
import { VfioError } from "../vfio-error.ts";
import { baseOf, barOf, RegionIndex, type MsixTable, type RegionInfo } from "./regions.ts";

/** What an access to a region depends on. */
interface RegionAccess {
  readonly kernel: VfioKernel;
  readonly seat: Attachment;
  readonly table: MsixTable | undefined;
  /** The device is awake, and the user has switched memory on where that is virtual. */
  readonly memoryOn: boolean;
}

const COMMAND_MEMORY = 2;

/**
 * Reads or writes a BAR, the ROM or the VGA ranges, up to their end: aligned pieces.
 * Model: pieces have up to 4 bytes; Linux 6.11 and later make some of 8.
 * @returns bytes, at least one. @throws VfioError in the order of Linux vfio_pci_rw, vfio_pci_bar_rw and vfio_pci_vga_rw: EINVAL
 *   for writing the ROM and past the end, or where no VGA range is; EIO for memory that does not decode
 */
export const accessRegion = (access: RegionAccess, info: RegionInfo, offset: number, bytes: Uint8Array, write: boolean): number => {
  if (info.index === RegionIndex.Rom && write) throw new VfioError("EINVAL", "The expansion ROM cannot be written.");
  if (info.index === RegionIndex.Vga) return vga(access, offset, bytes, write);
  if (!(Number.isInteger(offset) && offset >= 0 && offset < info.size)) throw new VfioError("EINVAL", `Region ${info.index} has ${info.size} bytes; there is no offset ${offset}.`);
  const part = bytes.subarray(0, Math.min(bytes.length, info.size - offset));
  if (info.index === RegionIndex.Rom) rom(access, offset, part);
  else bar(access, info.index, offset, part, write);
  return part.length;
};

const refuseSleeping = ({ kernel, seat, memoryOn }: RegionAccess, index: number): void => {
  const on = memoryOn && (seat.virtualOf !== undefined || (kernel.complex.configRead(seat.address, 4, 2) & COMMAND_MEMORY) !== 0);
  if (!on) throw new VfioError("EIO", `Region ${index} does not decode: the command register has memory off, or the device sleeps.`);
};

const rom = (access: RegionAccess, offset: number, bytes: Uint8Array): void => {
  refuseSleeping(access, RegionIndex.Rom);
  const contents = access.seat.fn.rom;
  for (let at = 0; at < bytes.length; at++) bytes[at] = contents?.read(offset + at, 1) ?? 0xff;
};

const bar = (access: RegionAccess, index: number, offset: number, bytes: Uint8Array, write: boolean): void => {
  const { kernel, seat, table } = access;
  const register = barOf(seat, index);
  if (!register) return;
  const base = baseOf(seat, register);
  const window = register.kind === "io" ? undefined : kernel.complex.memoryWindow(base);
  const from = window ? offset : base + offset;
  const reach: Pick<MmioHandler, "read" | "write"> = window ?? { read: (port, width) => kernel.complex.ioRead(port, width), write: (port, width, value) => { kernel.complex.ioWrite(port, width, value); } };
  // Whether ports decode nobody asks: what does not answer reads as ones.
  const asks = register.kind !== "io";
  inPieces(offset, bytes.length, (at, size, done) => {
    // The table is the host's: what a user writes there goes nowhere, also while the device sleeps.
    if (table?.bar === index && at < table.offset + table.size && at + size > table.offset) {
      if (!write) spread(bytes, done, size, 0xffff_ffff);
      return;
    }
    if (asks) refuseSleeping(access, index);
    if (write) reach.write(from + done, size, join(bytes, done, size));
    else spread(bytes, done, size, reach.read(from + done, size));
  }, table?.bar === index ? table : undefined);
};

/** Of the legacy ranges, what a display answers to; offsets are addresses and ports themselves. The first is memory. */
const VGA_RANGES = [
  { start: 0xa_0000, end: 0xc_0000 },
  { start: 0x3b0, end: 0x3bc },
  { start: 0x3c0, end: 0x3e0 },
] as const;

const vga = ({ kernel }: RegionAccess, offset: number, bytes: Uint8Array, write: boolean): number => {
  const range = VGA_RANGES.find(({ start, end }) => Number.isInteger(offset) && offset >= start && offset < end);
  if (!range) throw new VfioError("EINVAL", "VGA has 0xa_0000 to 0xb_ffff, and ports 0x3b0 to 0x3bb and 0x3c0 to 0x3df.");
  const part = bytes.subarray(0, Math.min(bytes.length, range.end - offset));
  if (range === VGA_RANGES[0]) {
    if (write) kernel.complex.memoryWrite(offset, part);
    else kernel.complex.memoryRead(offset, part);
  } else
    inPieces(offset, part.length, (at, size, done) => {
      if (write) kernel.complex.ioWrite(at, size, join(part, done, size));
      else spread(part, done, size, kernel.complex.ioRead(at, size));
    }, undefined);
  return part.length;
};

/** Aligned pieces; none straddles the table's border. */
const inPieces = (offset: number, length: number, visit: (at: number, size: 1 | 2 | 4, done: number) => void, table: MsixTable | undefined): void => {
  for (let done = 0; done < length;) {
    const at = offset + done;
    const border = table ? [table.offset, table.offset + table.size].find((each) => each > at) : undefined;
    const left = Math.min(length - done, (border ?? Infinity) - at);
    const size = left >= 4 && at % 4 === 0 ? 4 : left >= 2 && at % 2 === 0 ? 2 : 1;
    visit(at, size, done);
    done += size;
  }
};

const join = (bytes: Uint8Array, at: number, size: number): number => {
  let value = 0;
  for (let byte = size - 1; byte >= 0; byte--) value = value * 256 + (bytes[at + byte] as number);
  return value;
};

const spread = (bytes: Uint8Array, at: number, size: number, value: number): void => {
  for (let byte = 0; byte < size; byte++) bytes[at + byte] = (value >>> (8 * byte)) & 0xff;
};
