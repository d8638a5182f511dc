import { hex, type MmioHandler } from "@iommu-lab/memory";
import { IommuDriverError } from "@iommu-lab/pci-bus";
import { CAP_REG, ECAP_REG, GCMD_REG, GSTS_REG } from "../layouts/index.ts";

type CommandBit = "TE" | "SRTP" | "WBF" | "QIE" | "IRE" | "SIRTP" | "CFI";
type StatusBit = "TES" | "RTPS" | "WBFS" | "QIES" | "IRES" | "IRTPS" | "CFIS";

/** GSTS bits of one-shot commands: writing them back into GCMD would repeat the command. VT-d §11.4.4. */
const ONE_SHOTS = ["RTPS", "FLS", "WBFS", "IRTPS"] as const;
const LEVELS = ~ONE_SHOTS.reduce((mask, name) => mask | (1 << GSTS_REG.fields[name].lsb), 0);

const DEFAULT_POLLS = 10_000;

/** A unit's registers as the driver uses them: commands with their status, and waiting with an end. */
export class RegisterAccess {
  readonly cap = CAP_REG.layout.decode(new Uint32Array(2));
  readonly ecap = ECAP_REG.layout.decode(new Uint32Array(2));
  /** VER_REG. */
  readonly version: number;
  readonly #mmio: MmioHandler;
  readonly #relax: () => void;
  readonly #polls: number;
  readonly #pair = new Uint32Array(2);

  constructor(mmio: MmioHandler, relax: () => void = () => undefined, polls = DEFAULT_POLLS) {
    this.#mmio = mmio;
    this.#relax = relax;
    this.#polls = polls;
    this.version = mmio.read(0, 4);
    this.cap = CAP_REG.layout.decode(this.read64(CAP_REG.offset));
    this.ecap = ECAP_REG.layout.decode(this.read64(ECAP_REG.offset));
  }

  read32(offset: number): number {
    return this.#mmio.read(offset, 4);
  }

  write32(offset: number, value: number): void {
    this.#mmio.write(offset, 4, value >>> 0);
  }

  /** One 8-byte read; the same array at every call. */
  read64(offset: number): Uint32Array {
    this.#mmio.read64(offset, this.#pair);
    return this.#pair;
  }

  write64(offset: number, low: number, high: number): void {
    this.#mmio.write64(offset, low >>> 0, high >>> 0);
  }

  /** Writes a register of an address in pages and flags below bit 12. */
  writePointer(offset: number, page: number, flags: number): void {
    this.write64(offset, (page % 0x10_0000) * 4096 + flags, Math.floor(page / 0x10_0000));
  }

  /** Whether a status bit is set. */
  status(bit: StatusBit): boolean {
    return ((this.read32(GSTS_REG.offset) >>> GSTS_REG.fields[bit].lsb) & 1) === 1;
  }

  /**
   * Gives one command: what is in force is kept, one bit changes, and the status is waited for.
   * @throws IommuDriverError EIO when the status does not come
   */
  command(bit: CommandBit, on: boolean, status: StatusBit, until = on): void {
    const mask = 1 << GCMD_REG.fields[bit].lsb;
    const kept = this.read32(GSTS_REG.offset) & LEVELS;
    this.write32(GCMD_REG.offset, on ? kept | mask : kept & ~mask);
    this.waitFor(() => this.status(status) === until, `GSTS.${status} = ${until ? 1 : 0}`);
  }

  /** Empties the chipset's write buffers, where there are such. VT-d §6.8 "Write Buffer Flushing". */
  flushWriteBuffer(): void {
    if (this.cap.RWBF) this.command("WBF", true, "WBFS", false);
  }

  /** @throws IommuDriverError EIO when `isDone` does not become true */
  waitFor(isDone: () => boolean, what: string): void {
    if (!this.poll(isDone)) throw new IommuDriverError("EIO", `The remapping unit (CAP ${this.#nameOf(CAP_REG.offset)}) did not come to ${what} in ${this.#polls} looks.`);
  }

  /** Waits for `isDone`; false when it does not come. */
  poll(isDone: () => boolean): boolean {
    for (let i = 0; i < this.#polls; i++) {
      if (isDone()) return true;
      this.#relax();
    }
    return isDone();
  }

  #nameOf(offset: number): string {
    const [low, high] = this.read64(offset);
    return hex((high as number) * 0x1_0000_0000 + (low as number));
  }
}
