import { IommuDriverError, type IommuDriverCallbacks, type RequesterId } from "@iommu-lab/pci-bus";
import { PMEN_REG, RTADDR_REG } from "../layouts/index.ts";
import { FaultService } from "./fault-service.ts";
import { InterruptTable } from "./interrupt-table.ts";
import type { InvalidationCommands } from "./invalidation-commands.ts";
import { LegacySources } from "./legacy-sources.ts";
import type { VtdDriverOptions, VtdUnitWindow } from "./options.ts";
import { PageRequestService } from "./page-request-service.ts";
import { QueuedInvalidation } from "./queued-invalidation.ts";
import type { RegisterAccess } from "./register-access.ts";
import { RegisterInvalidation } from "./register-invalidation.ts";
import { ScalableSources } from "./scalable-sources.ts";
import { TableFrames } from "@iommu-lab/pci-bus/paging";
import type { UnitSources } from "./unit-sources.ts";

const DEFAULT_INTERRUPT_ENTRIES = 4096;
const DEFAULT_PASID_BITS = 16;

/** Whether a unit can run in scalable mode at all: some stage must be there for paging domains. */
export const canBeScalable = ({ ecap }: Pick<RegisterAccess, "ecap">): boolean => ecap.SMTS === 1 && (ecap.SSTS === 1 || ecap.FSTS === 1);

/** The kernel's side of one remapping unit: it knows the hardware only by its registers and by memory. */
export class VtdUnitDriver {
  readonly registers: RegisterAccess;
  readonly commands: InvalidationCommands;
  readonly sources: UnitSources;
  readonly scalable: boolean;
  readonly firstStage: boolean;
  readonly secondStage: boolean;
  readonly nesting: boolean;
  /** Levels of its largest second-stage table: what a pass-through entry names. VT-d §9.3 (AW). */
  readonly largestLevels: number;
  /** Caching mode: what is not present may be cached too, and mapping needs an invalidation. VT-d §6.1. */
  readonly cachingMode: boolean;
  /** Bits of the largest PASID; 0 without PASIDs. */
  readonly pasidBits: number;
  readonly interrupts: InterruptTable | undefined;
  readonly #window: VtdUnitWindow;
  readonly #hasDeviceTlb: (requester: RequesterId) => boolean;
  readonly #queue: QueuedInvalidation | undefined;
  readonly #plain: RegisterInvalidation | undefined;
  readonly #faults: FaultService;
  readonly #pageRequests: PageRequestService | undefined;
  #callbacks: IommuDriverCallbacks = {};
  readonly #freeDomains: number[] = [];
  /** Domain 0 is never given out: caching mode tags what is not present with it. VT-d §6.1. */
  #nextDomain = 1;

  constructor(window: VtdUnitWindow, options: VtdDriverOptions, registers: RegisterAccess, scalable: boolean) {
    const frames = new TableFrames(options.memory, options.frames);
    const { cap, ecap } = registers;
    this.registers = registers;
    this.scalable = scalable;
    this.#window = window;
    this.largestLevels = [5, 4, 3].find((levels) => ((cap.SAGAW >>> (levels - 2)) & 1) === 1) ?? 4;
    this.firstStage = scalable && ecap.FSTS === 1;
    this.secondStage = !scalable || ecap.SSTS === 1;
    this.nesting = scalable && ecap.NEST === 1;
    const queued = ecap.QI === 1 && options.invalidation !== "registers";
    if (scalable && !queued) throw new IommuDriverError("EINVAL", "Scalable mode needs queued invalidation.");
    if (queued) this.commands = this.#queue = new QueuedInvalidation(registers, frames, options.queueOrder ?? 0, scalable, (problem) => this.#callbacks.problem?.(problem));
    else this.commands = this.#plain = new RegisterInvalidation(registers);
    const hasDeviceTlb = (requester: RequesterId): boolean => ecap.DT === 1 && queued && options.deviceTlb?.(requester) === true;
    const hasPageRequests = (requester: RequesterId): boolean => ecap.PRS === 1 && hasDeviceTlb(requester) && options.pageRequests?.(requester) === true;
    this.#hasDeviceTlb = hasDeviceTlb;
    this.pasidBits = scalable && ecap.PASID ? Math.min(options.pasidBits ?? DEFAULT_PASID_BITS, ecap.PSS + 1) : 0;
    this.sources = scalable
      ? new ScalableSources(registers, frames, this.commands, { pasidBits: this.pasidBits, deviceTlb: hasDeviceTlb, pageRequests: hasPageRequests })
      : new LegacySources(registers, frames, this.commands, hasDeviceTlb);
    if (ecap.IR && queued && options.interruptRemapping !== false) this.interrupts = new InterruptTable(registers, frames, this.commands, options.interruptEntries ?? DEFAULT_INTERRUPT_ENTRIES, ecap.EIM === 1 && options.x2apic !== false);
    this.#faults = new FaultService(registers);
    if (scalable && ecap.PRS) this.#pageRequests = new PageRequestService(registers, frames, this.commands);
    this.cachingMode = cap.CM === 1;
  }

  covers(requester: RequesterId): boolean {
    return this.#window.covers?.(requester) ?? true;
  }

  hasDeviceTlb(requester: RequesterId): boolean {
    return this.#hasDeviceTlb(requester);
  }

  /**
   * Switches everything on in an order that leaves no moment without protection: the queue, the root table with empty caches,
   * interrupt remapping, translation, and last the protected memory regions off, which firmware may have left on.
   * @throws IommuDriverError EIO when the hardware does not follow
   */
  start(callbacks: IommuDriverCallbacks): void {
    const { registers } = this;
    this.#callbacks = callbacks;
    if (registers.status("TES")) registers.command("TE", false, "TES");
    if (registers.status("IRES")) registers.command("IRE", false, "IRES");
    const { event } = this.#window;
    this.#faults.start(event);
    this.#queue?.start();
    if (this.#plain) this.#plain.running = true;
    this.#setRootTable();
    this.interrupts?.start();
    this.#pageRequests?.start(event);
    registers.command("TE", true, "TES");
    this.#releaseProtectedMemory();
  }

  stop(): void {
    const { registers } = this;
    registers.command("TE", false, "TES");
    this.#pageRequests?.stop();
    this.interrupts?.stop();
    this.#faults.stop();
    if (this.#plain) this.#plain.running = false;
    this.#queue?.stop();
    this.#callbacks = {};
  }

  /** A domain identifier of this unit. @throws IommuDriverError ENOSPC when all are in use */
  allocateDomain(): number {
    const domain = this.#freeDomains.pop() ?? this.#nextDomain;
    if (domain >= 2 ** (4 + 2 * this.registers.cap.ND)) throw new IommuDriverError("ENOSPC", `All ${2 ** (4 + 2 * this.registers.cap.ND)} domain identifiers of the remapping unit are in use.`);
    if (domain === this.#nextDomain) this.#nextDomain++;
    return domain;
  }

  /** Gives an identifier back that no cache knows any more. */
  freeDomain(domain: number): void {
    this.#freeDomains.push(domain);
  }

  abandonPageRequests(requester: RequesterId, pasid: number): void {
    this.#pageRequests?.abandon(requester, pasid);
  }

  /** Reads faults, page requests and the queue's errors. */
  service(): void {
    const callbacks = this.#callbacks;
    this.#pageRequests?.service(callbacks);
    const lost = this.#faults.service((fault) => callbacks.fault?.(fault));
    if (lost) callbacks.problem?.("Faults were lost: all fault recording registers were in use.");
    this.#queue?.recover();
  }

  /** VT-d §11.4.5, §6.6: without ESRTPS the old tables' entries may still be cached. */
  #setRootTable(): void {
    const { registers, commands } = this;
    registers.writePointer(RTADDR_REG.offset, this.sources.rootTable, this.sources.mode << RTADDR_REG.fields.TTM.lsb);
    registers.flushWriteBuffer();
    registers.command("SRTP", true, "RTPS");
    if (registers.cap.ESRTPS) return;
    commands.everyContext();
    if (this.scalable) commands.everyPasid();
    commands.everyTranslation();
    commands.finish();
  }

  #releaseProtectedMemory(): void {
    const { registers } = this;
    if (!registers.cap.PLMR && !registers.cap.PHMR) return;
    registers.write32(PMEN_REG.offset, 0);
    registers.waitFor(() => (registers.read32(PMEN_REG.offset) & 1) === 0, "PMEN.PRS = 0");
  }
}

