import { NO_PASID, type PageResponse, type RequesterId } from "@iommu-lab/pci-bus";
import type { TableFrames } from "@iommu-lab/pci-bus/paging";
import {
  CMD_BASE,
  CMD_HEAD,
  CMD_TAIL,
  CommandCode,
  COMPLETE_PPR_REQUEST,
  COMPLETION_WAIT,
  INVALIDATE_DEVTAB_ENTRY,
  INVALIDATE_INTERRUPT_TABLE,
  INVALIDATE_IOMMU_ALL,
  INVALIDATE_IOMMU_PAGES,
  INVALIDATE_IOTLB_PAGES,
  STATUS,
} from "../layouts/index.ts";
import type { UnitRegisters } from "./unit-registers.ts";

const COMMAND_WORDS = 4;
/** One page: 256 commands. AMD-Vi §3.4.2. */
const COMMANDS = 256;
const BASE_LENGTH = 8;

/** Covers everything: address bits 62:12 all ones. AMD-Vi §2.4.3. */
export const EVERY_PAGE = 2 ** 51 - 1;

/** The page number that names 2^order pages at an aligned page; with S=1 its lowest clear bit gives the size. AMD-Vi §2.4.3. */
const sized = (page: number, order: number): number => (order === 0 ? page : page + 2 ** (order - 1) - 1);

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
    if (this.#registers.efr.IASup) this.#give(INVALIDATE_IOMMU_ALL.encode({ OpCode: CommandCode.InvalidateAll }));
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
    this.#give(INVALIDATE_DEVTAB_ENTRY.encode({ OpCode: CommandCode.InvalidateDeviceEntry, DeviceID: device }));
  }

  interruptTable(device: RequesterId): void {
    this.#give(INVALIDATE_INTERRUPT_TABLE.encode({ OpCode: CommandCode.InvalidateInterruptTable, DeviceID: device }));
  }

  /** Host translations of a domain, or guest ones of a PASID. @param page `EVERY_PAGE` or an aligned one; @param tables page directory entries too */
  pages(domain: number, pasid: number | undefined, page: number, order: number, tables: boolean): void {
    const every = page === EVERY_PAGE;
    this.#give(INVALIDATE_IOMMU_PAGES.encode({ OpCode: CommandCode.InvalidatePages, DomainID: domain, PASID: pasid ?? 0, GN: pasid === undefined ? 0 : 1, S: every || order > 0 ? 1 : 0, PDE: tables ? 1 : 0, Address: every ? page : sized(page, order) }));
  }

  /** Device-TLB of a function. */
  deviceTlb(device: RequesterId, pasid: number | undefined, page: number, order: number): void {
    const every = page === EVERY_PAGE;
    const number = pasid ?? 0;
    this.#give(
      INVALIDATE_IOTLB_PAGES.encode({
        OpCode: CommandCode.InvalidateIotlb,
        DeviceID: device,
        QueueID: device,
        MaxPend: 32,
        PASIDLow: number & 0xff,
        PASIDMid: (number >>> 8) & 0xff,
        PASIDHigh: number >>> 16,
        GN: pasid === undefined ? 0 : 1,
        S: every || order > 0 ? 1 : 0,
        Address: every ? page : sized(page, order),
      }),
    );
  }

  pageResponse(device: RequesterId, { pasid, group, code }: PageResponse): void {
    const tagged = pasid !== NO_PASID;
    this.#give(COMPLETE_PPR_REQUEST.encode({ OpCode: CommandCode.CompletePpr, DeviceID: device, PASID: tagged ? pasid : 0, GN: tagged ? 1 : 0, Tag: group, Status: code }));
  }

  /** Waits until everything given is done: a COMPLETION_WAIT stores its number. @throws IommuDriverError EIO when it never does */
  finish(): void {
    if (!this.running || !this.#given) return;
    this.#given = false;
    const serial = (this.#serial = (this.#serial + 1) % 0x1_0000_0000 || 1);
    const address = this.#statusPage * 4096;
    this.#put(COMPLETION_WAIT.encode({ OpCode: CommandCode.CompletionWait, s: 1, StoreLow: (address % 0x1_0000_0000) / 8, StoreHigh: Math.floor(address / 0x1_0000_0000), DataLow: serial }));
    this.#ring();
    const done = (): boolean => this.#status[0] === serial;
    // A buffer that stopped answers never; starting it again drops what was in it, so everything is invalidated.
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

  #give(command: Uint32Array): void {
    if (!this.running) return;
    this.#given = true;
    this.#put(command);
    // A full buffer would look empty: the commands so far go first. One that stopped shows when it is waited for.
    if (this.#tail % (COMMANDS / 2) !== 0) return;
    this.#ring();
    const registers = this.#registers;
    registers.poll(() => registers.read(CMD_HEAD).Ptr === this.#tail || registers.read(STATUS).CmdBufRun === 0);
  }

  #put(command: Uint32Array): void {
    for (let i = 0; i < COMMAND_WORDS; i++) this.#words[this.#tail * COMMAND_WORDS + i] = command[i] as number; // four words
    this.#tail = (this.#tail + 1) % COMMANDS;
  }

  #ring(): void {
    this.#registers.write(CMD_TAIL, { Ptr: this.#tail });
  }

}
