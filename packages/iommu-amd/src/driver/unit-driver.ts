import { IommuDriverError, type IommuDriverCallbacks, type RequesterId } from "@iommu-lab/pci-bus";
import type { TableFrames } from "@iommu-lab/pci-bus/paging";
import { DEV_TAB_BASE } from "../layouts/index.ts";
import { CommandQueue } from "./command-queue.ts";
import { DeviceTable } from "./device-table.ts";
import type { InterruptFormat, InterruptTables } from "./interrupt-tables.ts";
import { LogService } from "./log-service.ts";
import type { AmdDriverOptions, AmdUnitWindow } from "./options.ts";
import { Sources } from "./sources.ts";
import type { UnitRegisters } from "./unit-registers.ts";

/** Size of DEV_TAB_BASE: 2 MiB, an entry for every DeviceID. */
const WHOLE_TABLE = 511;

/** What the units of one driver share. */
export interface SharedResources {
  readonly frames: TableFrames;
  readonly format: InterruptFormat;
  readonly interrupts: () => InterruptTables | undefined;
  readonly emptyInterrupts: () => InterruptTables["empty"];
  readonly allocateDomainId: () => number;
  readonly freeDomainId: (id: number) => void;
  readonly domainIds: () => Iterable<number>;
}

/** One IOMMU as the driver runs it. */
export class AmdUnitDriver {
  readonly registers: UnitRegisters;
  readonly commands: CommandQueue;
  readonly sources: Sources;
  readonly npCache: boolean;
  /** Levels of GCR3 tables, less one. */
  readonly guestDepth: number;
  readonly #window: AmdUnitWindow;
  readonly #shared: SharedResources;
  readonly #table: DeviceTable;
  readonly #logs: LogService;
  #callbacks: IommuDriverCallbacks = {};

  constructor(window: AmdUnitWindow, options: AmdDriverOptions, registers: UnitRegisters, shared: SharedResources) {
    this.#window = window;
    this.#shared = shared;
    this.registers = registers;
    this.npCache = window.npCache ?? false;
    const { frames } = shared;
    const { efr } = registers;
    this.guestDepth = Math.min(efr.GLXSup, efr.PASMax < 9 ? 0 : efr.PASMax < 18 ? 1 : 2);
    this.commands = new CommandQueue(registers, frames, (text) => this.#callbacks.problem?.(text), () => ({ devices: this.sources.attached, domains: shared.domainIds() }));
    const hasDeviceTlb = options.deviceTlb ?? ((): boolean => false);
    const asksForPages = options.pageRequests ?? ((): boolean => false);
    this.#table = new DeviceTable(frames, shared.emptyInterrupts(), (requester) => ({ I: hasDeviceTlb(requester) ? 1 : 0, PPR: efr.PPRSup && asksForPages(requester) ? 1 : 0, IV: options.interruptRemapping === false ? 0 : 1 }));
    this.#logs = new LogService(registers, frames, this.commands, efr.PPRSup === 1);
    this.sources = new Sources({
      frames,
      table: this.#table,
      interrupts: shared.interrupts,
      commands: this.commands,
      hasDeviceTlb,
      guestDepth: this.guestDepth,
      allocateDomainId: shared.allocateDomainId,
      freeDomainId: shared.freeDomainId,
    });
  }

  covers(requester: RequesterId): boolean {
    return this.#window.covers?.(requester) ?? true;
  }

  /** Bits of a PASID that GCR3 tables cover; 0 without guest translation. */
  get pasidBits(): number {
    const { efr } = this.registers;
    return efr.GTSup && efr.GIoSup ? Math.min(efr.PASMax + 1, 9 * (this.guestDepth + 1), 20) : 0;
  }

  /** Everything is in place before IommuEn: no moment is without protection. AMD-Vi §2.2.7 "Initialization". */
  start(callbacks: IommuDriverCallbacks): void {
    const { registers, commands } = this;
    this.#callbacks = callbacks;
    registers.control({ IommuEn: 0, CmdBufEn: 0, EventLogEn: 0, PprLogEn: 0 });
    registers.write(DEV_TAB_BASE, { DevTabBase: this.#table.page, Size: WHOLE_TABLE });
    const { wide, extended, guests } = this.#shared.format;
    // Two milliseconds a device-TLB has at least; 1 s is what Linux allows.
    registers.control({ GAEn: wide ? 1 : 0, XTEn: extended ? 1 : 0, GAMEn: guests ? 1 : 0, GTEn: registers.efr.GTSup, InvTimeOut: 4, Coherent: 1 });
    this.#logs.start();
    commands.start();
    registers.control({ IommuEn: 1 });
    commands.everything();
    commands.finish();
  }

  stop(): void {
    this.registers.control({ IommuEn: 0 });
    this.#logs.stop();
    this.commands.stop();
    this.#callbacks = {};
  }

  service(): void {
    this.#logs.service(this.#callbacks);
  }

  abandonPageRequests(requester: RequesterId, pasid: number | undefined): void {
    this.#logs.abandon(requester, pasid);
  }

  /** @throws IommuDriverError EINVAL or EOPNOTSUPP */
  checkPasid(pasid: number): void {
    const bits = this.pasidBits;
    if (bits === 0) throw new IommuDriverError("EOPNOTSUPP", "The IOMMU does not translate requests with PASID.");
    if (!Number.isInteger(pasid) || pasid < 1 || pasid >= 2 ** bits) throw new IommuDriverError("EINVAL", `PASID ${pasid} is impossible; it is 1 to ${2 ** bits - 1}, since 0 stands for requests without.`);
  }
}
