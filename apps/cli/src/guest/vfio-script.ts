import { SyscallScript } from "./syscall-program.ts";

/** System calls of x86-64. */
const Call = { write: 1, open: 2, ioctl: 16, pwrite: 18, pread: 17, read: 0, eventfd: 290 } as const;
/** Of Linux's uapi/linux/vfio.h. */
const Vfio = { setIommu: 0x3b66, setContainer: 0x3b68, deviceFd: 0x3b6a, setIrqs: 0x3b6e, mapDma: 0x3b71, type1v2: 3 } as const;
const READ_WRITE = 2;
/** Regions of a vfio-pci device are 2^40 bytes apart: BAR 0 first, configuration space the eighth. */
const CONFIGURATION = 7n << 40n;
const COMMAND = 4n;
const MEMORY_AND_MASTER = 6;
/** Registers of edu. */
const Edu = { source: 0x80, destination: 0x88, count: 0x90, command: 0x98, buffer: 0x4_0000 } as const;
const START = 1;
const TO_MEMORY = 2;
const RAISE = 4;

/** Where the mapped page is for the device. */
const MAPPED = 0x1000_0000;
/** An address that nothing is mapped at. */
export const UNMAPPED = 0x1_2345_6000n;
/** What goes to the device and comes back. */
export const MESSAGE = "through the IOMMU and back again";
/** Paths that the guest's script makes before. */
export const GROUP_LINK = "/tmp/group";

const words = (...values: readonly number[]): Uint8Array => new Uint8Array(Uint32Array.from(values).buffer);
const quad = (value: bigint): [number, number] => [Number(value & 0xffff_ffffn), Number(value >> 32n)];

/**
 * What a virtual machine monitor does with an edu device through vfio-pci: opens it, maps a page for it, moves a message to it
 * and back by DMA, waits for its interrupt, and then lets it write to where nothing is mapped.
 * Standard output gets the message that came back, the interrupts counted (8 bytes), and the DMA command after the bad write (4 bytes).
 * @param address of the function, such as 0000:00:08.0
 */
export const vfioScript = (address: string): Uint8Array => {
  const script = new SyscallScript();
  const page = script.room(0x1000);
  const container = script.call(Call.open, script.text("/dev/vfio/vfio"), READ_WRITE);
  const group = script.call(Call.open, script.text(GROUP_LINK), READ_WRITE);
  script.call(Call.ioctl, group, Vfio.setContainer, container.at);
  script.call(Call.ioctl, container, Vfio.setIommu, Vfio.type1v2);
  const device = script.call(Call.ioctl, group, Vfio.deviceFd, script.text(address));
  script.call(Call.ioctl, container, Vfio.mapDma, script.data(words(32, 3, page, 0, MAPPED, 0, 0x1000, 0)));
  script.call(Call.pwrite, device, script.data(words(MEMORY_AND_MASTER)), 2, CONFIGURATION + COMMAND);

  const register = (offset: number, value: bigint): void => {
    const [low, high] = quad(value);
    // The low half of the command starts the transfer: last.
    script.call(Call.pwrite, device, script.data(words(high)), 4, offset + 4);
    script.call(Call.pwrite, device, script.data(words(low)), 4, offset);
  };
  const transfer = (from: bigint, to: bigint, length: number, command: number): void => {
    register(Edu.source, from);
    register(Edu.destination, to);
    register(Edu.count, BigInt(length));
    register(Edu.command, BigInt(command | START));
  };
  const message = Buffer.from(MESSAGE, "latin1");
  script.put(page, message);
  transfer(BigInt(MAPPED), BigInt(Edu.buffer), message.length, 0);
  transfer(BigInt(Edu.buffer), BigInt(MAPPED + 0x800), message.length, TO_MEMORY);
  script.call(Call.write, 1, page + 0x800, message.length);

  // The MSI as an eventfd, DATA_EVENTFD | ACTION_TRIGGER of index 1: its number is made in the place where the structure has it.
  const irqs = script.room(32);
  script.put(irqs, words(24, 0x24, 1, 0, 1));
  const event = script.callInto(irqs + 20, Call.eventfd, 0, 0);
  script.call(Call.ioctl, device, Vfio.setIrqs, irqs);
  const copy = script.room(8);
  transfer(BigInt(Edu.buffer), BigInt(MAPPED + 0x900), message.length, TO_MEMORY | RAISE);
  script.call(Call.read, event, copy, 8);
  script.call(Call.write, 1, copy, 8);

  transfer(BigInt(Edu.buffer), UNMAPPED, message.length, TO_MEMORY);
  const state = script.room(8);
  script.call(Call.pread, device, state, 4, Edu.command);
  script.call(Call.write, 1, state, 4);
  return script.bytes();
};
