import { Access, NO_PASID, type IommuFault } from "@iommu-lab/pci-bus";
import { FAULT_REASONS, FAULT_RECORD, FECTL_REG, FEADDR_REG, FEDATA_REG, FEUADDR_REG, FSTS_REG } from "../layouts/index.ts";
import type { VtdEventMessage } from "./options.ts";
import type { RegisterAccess } from "./register-access.ts";

const OVERFLOW = 1 << FSTS_REG.fields.PFO.lsb;
const PENDING = 1 << FSTS_REG.fields.PPF.lsb;
const ADVANCED = (1 << FSTS_REG.fields.AFO.lsb) | (1 << FSTS_REG.fields.APF.lsb);
/** F, in a record's last word. */
const FAULT = 0x8000_0000;
const RECORD_BYTES = 16;
/** Reasons of blocked interrupts, whose record names an index. VT-d §7.1.3. */
const FIRST_INTERRUPT_REASON = 0x20;
const LAST_INTERRUPT_REASON = 0x28;

/** Reads and clears the fault recording registers. VT-d §7.2.1 "Primary Fault Logging". */
export class FaultService {
  readonly #registers: RegisterAccess;

  constructor(registers: RegisterAccess) {
    this.#registers = registers;
  }

  /** Drops what is left from before and unmasks the event if there is somewhere to send it. */
  start(event: VtdEventMessage | undefined): void {
    this.service(() => undefined);
    const registers = this.#registers;
    if (event === undefined) return;
    registers.write32(FEDATA_REG.offset, event.data);
    registers.write32(FEADDR_REG.offset, event.address);
    registers.write32(FEUADDR_REG.offset, event.upper);
    registers.write32(FECTL_REG.offset, 0);
  }

  stop(): void {
    this.#registers.write32(FECTL_REG.offset, 2 ** FECTL_REG.fields.IM.lsb);
  }

  /**
   * Reads the records in their order, from the first pending one round to it; each is free again once its F is cleared, and
   * an overflow is cleared last, after which hardware records again. Returns whether faults were lost.
   */
  service(report: (fault: IommuFault) => void): boolean {
    const registers = this.#registers;
    const status = registers.read32(FSTS_REG.offset);
    if ((status & PENDING) !== 0) {
      const records = registers.cap.NFR + 1;
      const first = FSTS_REG.layout.get.FRI(Uint32Array.of(status, 0));
      for (let i = 0; i < records; i++) {
        const at = registers.cap.FRO * 16 + ((first + i) % records) * RECORD_BYTES;
        if (registers.read32(at + 12) < FAULT) break;
        const record = new Uint32Array(4);
        record.set(registers.read64(at));
        record.set(registers.read64(at + 8), 2);
        registers.write32(at + 12, FAULT);
        report(decode(record));
      }
    }
    const overflow = status & (OVERFLOW | ADVANCED);
    if (overflow !== 0) registers.write32(FSTS_REG.offset, overflow);
    return (status & OVERFLOW) !== 0;
  }
}

const decode = (record: Uint32Array): IommuFault => {
  const { FI, SID, T1, T2, PRIV, EXE, PP, FR, PV } = FAULT_RECORD.decode(record);
  const text = FAULT_REASONS[FR]?.text ?? "Unknown fault reason";
  const isInterrupt = FR >= FIRST_INTERRUPT_REASON && FR <= LAST_INTERRUPT_REASON;
  // T1, T2: 00 write, 10 read, 01 page request, 11 atomic operation, which is both.
  const access = (T1 ? Access.Read : 0) | (T1 === T2 ? Access.Write : 0) | (PRIV ? Access.Privileged : 0) | (EXE ? Access.Execute : 0);
  return {
    requester: SID,
    pasid: PP ? PV : NO_PASID,
    address: isInterrupt ? 0n : BigInt(FI) << 12n,
    access,
    code: FR,
    text,
    ...(isInterrupt ? { interrupt: Math.floor(FI / 2 ** 36) } : {}),
  };
};
