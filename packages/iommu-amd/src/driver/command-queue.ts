import { NO_PASID, type PageResponse, type RequesterId } from "@iommu-lab/pci-bus";
import type { TableFrames } from "@iommu-lab/pci-bus/paging";
import { CMD_BASE, CMD_HEAD, CMD_TAIL, CommandCode, STATUS } from "../layouts/index.ts";
import type { UnitRegisters } from "./unit-registers.ts";

const COMMAND_WORDS = 4;
const COMMAND_BYTES = 16;
/** One page: 256 commands. AMD-Vi §3.4.2. */
const COMMANDS = 256;
const BASE_LENGTH = 8;

/** Opcodes, where they are in a command's second word. AMD-Vi §2.4. */
const WAIT = CommandCode.CompletionWait << 28;
const DEVICE_ENTRY = CommandCode.InvalidateDeviceEntry << 28;
const PAGES = CommandCode.InvalidatePages << 28;
const DEVICE_TLB = CommandCode.InvalidateIotlb << 28;
const INTERRUPT_TABLE = CommandCode.InvalidateInterruptTable << 28;
const PAGE_RESPONSE = CommandCode.CompletePpr << 28;
const ALL = CommandCode.InvalidateAll << 28;
/** In a wait's first word. */
const STORE = 1;
/** In the third word of commands with an address. */
const SIZED = 1;
const TABLES = 2;
const GUEST = 4;
/** MaxPend: device-TLB invalidations that a function takes at a time. */
const MAX_PENDING = 32 << 24;

/** Covers everything: address bits 62:12 all ones. AMD-Vi §2.4.3. */
export const EVERY_PAGE = 2 ** 51 - 1;

/** DeviceIDs and DomainIDs in use. */
export interface Known {
  readonly devices: Iterable<number>;
  readonly domains: Iterable<number>;
}

/**
 * Gives commands and waits for them. What is given is done when `finish` returns; while the IOMMU is off nothing is done,
 * since it starts with empty caches. AMD-Vi §2.4 "Commands".
 */
export class CommandQueue {
  running = false;
  readonly #registers: UnitRegisters;
  readonly #page: number;
  readonly #words: Uint32Array;
  readonly #statusPage: number;
  readonly #status: Uint32Array;
  readonly #problem: (text: string) => void;
  readonly #known: () => Known;
  #tail = 0;
  #serial = 0;
  #given = false;

  /**
   * @param problem told when commands were lost
   * @param known   what caches may know of, for hardware without INVALIDATE_IOMMU_ALL
   */
  constructor(registers: UnitRegisters, frames: TableFrames, problem: (text: string) => void, known: () => Known) {
    this.#known = known;
    this.#registers = registers;
    this.#page = frames.allocate();
    this.#words = frames.words(this.#page);
    this.#statusPage = frames.allocate();
    this.#status = frames.words(this.#statusPage);
    this.#problem = problem;
  }

  start(): void {
    const registers = this.#registers;
    registers.write(CMD_BASE, { Base: this.#page, Len: BASE_LENGTH });
    registers.write(CMD_HEAD, { Ptr: 0 });
    registers.write(CMD_TAIL, { Ptr: 0 });
    this.#tail = 0;
    this.#given = false;
    registers.control({ CmdBufEn: 1 });
    this.running = true;
  }

  stop(): void {
    this.#registers.control({ CmdBufEn: 0 });
    this.running = false;
  }

  /** Every cache of the IOMMU; device-TLBs keep what they have. */
  everything(): void {
    if (this.#registers.efr.IASup) this.#give(0, ALL, 0, 0);
    else {
      const { devices, domains } = this.#known();
      for (const device of devices) {
        this.deviceEntry(device);
        this.interruptTable(device);
      }
      for (const domain of domains) this.pages(domain, undefined, EVERY_PAGE, 0, true);
    }
  }

  deviceEntry(device: RequesterId): void {
    this.#give(device, DEVICE_ENTRY, 0, 0);
  }

  interruptTable(device: RequesterId): void {
    this.#give(device, INTERRUPT_TABLE, 0, 0);
  }

  /** Host translations of a domain, or guest ones of a PASID. @param page `EVERY_PAGE` or an aligned one; @param tables page directory entries too */
  pages(domain: number, pasid: number | undefined, page: number, order: number, tables: boolean): void {
    const coded = codedPage(page, order);
    this.#give(pasid ?? 0, PAGES | domain, lowOf(coded) | sizeFlag(page, order) | (tables ? TABLES : 0) | (pasid === undefined ? 0 : GUEST), highOf(coded));
  }

  /** Device-TLB of a function; the command's QueueID is the function too. PASID bits 15:8, 7:0 and 19:16 stand where Linux puts them. */
  deviceTlb(device: RequesterId, pasid: number | undefined, page: number, order: number): void {
    const coded = codedPage(page, order);
    const number = pasid ?? 0;
    this.#give(device | (((number >>> 8) & 0xff) << 16) | MAX_PENDING, DEVICE_TLB | device | ((number & 0xff) << 16) | ((number >>> 16) << 24), lowOf(coded) | sizeFlag(page, order) | (pasid === undefined ? 0 : GUEST), highOf(coded));
  }

  pageResponse(device: RequesterId, { pasid, group, code }: PageResponse): void {
    const tagged = pasid !== NO_PASID;
    this.#give(device, PAGE_RESPONSE | (tagged ? pasid : 0), tagged ? GUEST : 0, group | (code << 12));
  }

  /** Waits until everything given is done: a COMPLETION_WAIT stores its number. @throws IommuDriverError EIO when it never does */
  finish(): void {
    if (!this.running || !this.#given) return;
    this.#given = false;
    this.#serial = (this.#serial % 0xffff_ffff) + 1;
    this.#put(((this.#statusPage % 0x10_0000) * 4096) | STORE, WAIT | Math.floor(this.#statusPage / 0x10_0000), this.#serial, 0);
    this.#ring();
    if (this.#status[0] !== this.#serial) this.#await();
  }

  /** A buffer that stopped answers never; starting it again drops what was in it, so everything is invalidated. */
  #await(): void {
    const serial = this.#serial;
    const done = (): boolean => this.#status[0] === serial;
    if (!this.#registers.poll(() => done() || this.#registers.read(STATUS).CmdBufRun === 0) || !done()) this.#restart(done);
  }

  #restart(done: () => boolean): void {
    this.#problem("The command buffer stopped at a command, or a device did not answer; it was started again.");
    this.stop();
    this.start();
    this.everything();
    if (this.#given) this.finish();
    else this.#registers.waitFor(done, "the end of a command");
  }

  #give(first: number, second: number, third: number, fourth: number): void {
    if (!this.running) return;
    this.#given = true;
    this.#put(first, second, third, fourth);
    // A full buffer would look empty: the commands so far go first. One that stopped shows when it is waited for.
    if (this.#tail % (COMMANDS / 2) !== 0) return;
    this.#ring();
    const registers = this.#registers;
    registers.poll(() => registers.read(CMD_HEAD).Ptr === this.#tail || registers.read(STATUS).CmdBufRun === 0);
  }

  #put(first: number, second: number, third: number, fourth: number): void {
    const words = this.#words;
    const at = this.#tail * COMMAND_WORDS;
    words[at] = first;
    words[at + 1] = second;
    words[at + 2] = third;
    words[at + 3] = fourth;
    this.#tail = (this.#tail + 1) % COMMANDS;
  }

  #ring(): void {
    this.#registers.writeWords(CMD_TAIL.offset, this.#tail * COMMAND_BYTES, 0);
  }
}

/** The page number that a command names: with S=1 its lowest clear bit gives the size. AMD-Vi §2.4.3. */
const codedPage = (page: number, order: number): number => (order === 0 || page === EVERY_PAGE ? page : page + 2 ** (order - 1) - 1);
const sizeFlag = (page: number, order: number): number => (order > 0 || page === EVERY_PAGE ? SIZED : 0);

/** Bits 63:12 of a quad that holds a page number: its two words. */
const lowOf = (page: number): number => (page % 0x10_0000) << 12;
const highOf = (page: number): number => Math.floor(page / 0x10_0000);
