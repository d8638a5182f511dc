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

/** Reads or writes a BAR, the ROM or the VGA ranges: aligned pieces of up to 4 bytes, as the kernel makes them. */
export const accessRegion = (access: RegionAccess, info: RegionInfo, offset: number, bytes: Uint8Array, write: boolean): number => {
  if (!(Number.isInteger(offset) && offset >= 0 && offset < info.size)) throw new VfioError("EINVAL", `Region ${info.index} has ${info.size} bytes; there is no offset ${offset}.`);
  const part = bytes.subarray(0, Math.min(bytes.length, info.size - offset));
  if (info.index === RegionIndex.Vga) return vga(access, offset, part, write);
  if (info.index === RegionIndex.Rom) {
    if (write) throw new VfioError("EINVAL", "The expansion ROM cannot be written.");
    const { rom } = access.seat.fn;
    for (let at = 0; at < part.length; at++) part[at] = rom?.read(offset + at, 1) ?? 0xff;
    return part.length;
  }
  bar(access, info.index, offset, part, write);
  return part.length;
};

const COMMAND_IO = 1;
const COMMAND_MEMORY = 2;

const bar = ({ kernel, seat, table, memoryOn }: RegionAccess, index: number, offset: number, bytes: Uint8Array, write: boolean): void => {
  const register = barOf(seat, index);
  if (!register) return;
  const command = kernel.complex.configRead(seat.address, 4, 2);
  const io = register.kind === "io";
  const on = io ? command & COMMAND_IO : memoryOn && (seat.virtualOf !== undefined || (command & COMMAND_MEMORY) !== 0);
  if (!on) throw new VfioError("EIO", `BAR ${index} does not decode: the command register has it off, or the device sleeps.`);
  const base = baseOf(seat, register);
  const window = io ? undefined : kernel.complex.memoryWindow(base);
  inPieces(offset, bytes.length, (at, size, done) => {
    const inTable = table?.bar === index && at < table.offset + table.size && at + size > table.offset;
    const from = window ? at : base + at;
    const reach: Pick<MmioHandler, "read" | "write"> = window ?? { read: (port, width) => kernel.complex.ioRead(port, width), write: (port, width, value) => { kernel.complex.ioWrite(port, width, value); } };
    if (write) {
      // The table is the host's: what a user writes there goes nowhere.
      if (!inTable) reach.write(from, size, join(bytes, done, size));
    } else spread(bytes, done, size, inTable ? 0xffff_ffff : reach.read(from, size));
  }, table?.bar === index ? table : undefined);
};

/** The legacy ranges: offsets are addresses and ports themselves. */
const vga = ({ kernel }: RegionAccess, offset: number, bytes: Uint8Array, write: boolean): number => {
  const memory = offset >= 0xa_0000 && offset + bytes.length <= 0xc_0000;
  const ports = (offset >= 0x3b0 && offset + bytes.length <= 0x3bc) || (offset >= 0x3c0 && offset + bytes.length <= 0x3e0);
  if (!memory && !ports) throw new VfioError("EINVAL", "VGA has 0xa_0000 to 0xb_ffff, and ports 0x3b0 to 0x3bb and 0x3c0 to 0x3df.");
  if (memory) {
    if (write) kernel.complex.memoryWrite(offset, bytes);
    else kernel.complex.memoryRead(offset, bytes);
  } else
    inPieces(offset, bytes.length, (at, size, done) => {
      if (write) kernel.complex.ioWrite(at, size, join(bytes, done, size));
      else spread(bytes, done, size, kernel.complex.ioRead(at, size));
    }, undefined);
  return bytes.length;
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
