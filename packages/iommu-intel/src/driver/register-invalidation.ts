import { IommuDriverError, type RequesterId } from "@iommu-lab/pci-bus";
import { CCMD_REG, IOTLB_REG, IVA_REG } from "../layouts/index.ts";
import type { InvalidationCommands } from "./invalidation-commands.ts";
import type { RegisterAccess } from "./register-access.ts";

const GLOBAL = 1;
const DOMAIN = 2;
const SELECTIVE = 3;

/** Bits of the high words of CCMD_REG and IOTLB_REG. */
const BUSY = 2 ** 31;
const CIRG_SHIFT = CCMD_REG.fields.CIRG.lsb - 32;
const CAIG_SHIFT = CCMD_REG.fields.CAIG.lsb - 32;
const IIRG_SHIFT = IOTLB_REG.fields.IIRG.lsb - 32;
const IAIG_SHIFT = IOTLB_REG.fields.IAIG.lsb - 32;
const DRAIN_READS = 1 << (IOTLB_REG.fields.DR.lsb - 32);
const DRAIN_WRITES = 1 << (IOTLB_REG.fields.DW.lsb - 32);

/** Invalidation by registers, one command at a time: legacy mode only, and no device-TLBs nor interrupt entries. VT-d §6.5.1. */
export class RegisterInvalidation implements InvalidationCommands {
  /** The unit is on. */
  running = false;
  readonly maximumMask: number;
  readonly #registers: RegisterAccess;
  readonly #iva: number;
  readonly #drains: number;

  constructor(registers: RegisterAccess) {
    const { cap, ecap } = registers;
    this.#registers = registers;
    this.#iva = ecap.IRO * 16 + IVA_REG.offset;
    this.#drains = (cap.DRD ? DRAIN_READS : 0) | (cap.DWD ? DRAIN_WRITES : 0);
    this.maximumMask = cap.PSI ? cap.MAMV : -1;
  }

  everyContext(): void {
    this.#context(GLOBAL, 0, 0);
  }

  context(requester: RequesterId, domain: number): void {
    this.#context(SELECTIVE, requester, domain);
  }

  everyPasid(): void {
    refuse();
  }

  pasid(): void {
    refuse();
  }

  everyTranslation(): void {
    this.#iotlb(GLOBAL, 0, 0, 0, false);
  }

  domain(domain: number): void {
    this.#iotlb(DOMAIN, domain, 0, 0, false);
  }

  pages(domain: number, page: number, mask: number, leafOnly: boolean): void {
    this.#iotlb(SELECTIVE, domain, page, mask, leafOnly);
  }

  domainPasid(): void {
    refuse();
  }

  domainPasidPages(): void {
    refuse();
  }

  deviceTlb(): void {
    refuse();
  }

  everyInterruptEntry(): void {
    refuse();
  }

  interruptEntry(): void {
    refuse();
  }

  pageResponse(): void {
    refuse();
  }

  finish(): void {
    // Every command was waited for.
  }

  #context(granularity: number, requester: RequesterId, domain: number): void {
    if (!this.running) return;
    const registers = this.#registers;
    registers.write64(CCMD_REG.offset, requester * 0x1_0000 + domain, BUSY + granularity * 2 ** CIRG_SHIFT);
    this.#done(CCMD_REG.offset, CAIG_SHIFT, "context-cache");
  }

  /** Hardware may do more than it was asked for. What it refuses to do by pages, it does for the domain. VT-d §11.4.6.3. */
  #iotlb(granularity: number, domain: number, page: number, mask: number, leafOnly: boolean): void {
    if (!this.running) return;
    const registers = this.#registers;
    if (granularity === SELECTIVE) registers.writePointer(this.#iva, page, mask | (leafOnly ? 1 << IVA_REG.fields.IH.lsb : 0));
    registers.write64(this.#iva + IOTLB_REG.offset, 0, BUSY + granularity * 2 ** IIRG_SHIFT + (this.#drains | domain));
    this.#done(this.#iva + IOTLB_REG.offset, IAIG_SHIFT, "IOTLB");
  }

  #done(offset: number, shift: number, what: string): void {
    const registers = this.#registers;
    registers.waitFor(() => (registers.read64(offset)[1] as number) < BUSY, `the end of an ${what} invalidation`);
    const actual = ((registers.read64(offset)[1] as number) >>> shift) & 3;
    if (actual === 0) throw new IommuDriverError("EIO", `The remapping unit refused an ${what} invalidation.`);
  }
}

const refuse = (): never => {
  throw new IommuDriverError("EOPNOTSUPP", "Without queued invalidation there are no PASIDs, device-TLBs, page requests and interrupt entries.");
};
