import { IRTE_POSTED, IRTE_REMAPPED, IRTE_REMAPPED_XAPIC } from "@iommu-lab/interrupt-remap/vtd";
import { hex, type Hpa } from "@iommu-lab/memory";
import { formatRequester, IommuDriverError, type Interrupt, type InterruptEntry, type InterruptMessage, type RequesterId } from "@iommu-lab/pci-bus";
import { IRTA_REG } from "../layouts/index.ts";
import type { InvalidationCommands } from "./invalidation-commands.ts";
import type { RegisterAccess } from "./register-access.ts";
import type { TableFrames } from "@iommu-lab/pci-bus/paging";

const ENTRY_WORDS = 4;
const ENTRIES_A_PAGE = 256;
/** SVT: the requester must be the one the entry names, in all 16 bits (SQ = 0). */
const VERIFY_REQUESTER = 1;

/** An interrupt remapping table: entries are taken, pointed and freed, and the interrupt entry cache told so. VT-d §5.1.4, §9.9. */
export class InterruptTable {
  readonly #registers: RegisterAccess;
  readonly #commands: InvalidationCommands;
  readonly #page: number;
  readonly #pages: readonly Uint32Array[];
  readonly #entries: number;
  readonly #extended: boolean;
  /** Indexes that were used and freed; those from `#next` on never were. */
  readonly #free: number[] = [];
  #next = 0;

  /** @param entries a power of two, 2 to 65536; @param extended 32-bit destinations (EIME) */
  constructor(registers: RegisterAccess, frames: TableFrames, commands: InvalidationCommands, entries: number, extended: boolean) {
    this.#registers = registers;
    this.#commands = commands;
    this.#entries = entries;
    this.#extended = extended;
    const order = Math.max(0, Math.log2(entries / ENTRIES_A_PAGE));
    this.#page = frames.allocate(order);
    this.#pages = Array.from({ length: 2 ** order }, (_, i) => frames.words(this.#page + i));
  }

  /** Gives the table to the hardware, and switches remapping on with compatibility format blocked. VT-d §5.1.3. */
  start(): void {
    const registers = this.#registers;
    registers.writePointer(IRTA_REG.offset, this.#page, Math.log2(this.#entries) - 1 + (this.#extended ? 1 << IRTA_REG.fields.EIME.lsb : 0));
    registers.command("SIRTP", true, "IRTPS");
    if (!registers.cap.ESIRTPS) {
      this.#commands.everyInterruptEntry();
      this.#commands.finish();
    }
    if (registers.status("CFIS")) registers.command("CFI", false, "CFIS");
    registers.command("IRE", true, "IRES");
  }

  stop(): void {
    this.#registers.command("IRE", false, "IRES");
  }

  /** @throws IommuDriverError ENOSPC when every entry is taken, EINVAL or ERANGE when the interrupt has no entry */
  allocate(requester: RequesterId, interrupt: Readonly<Interrupt>): InterruptEntry {
    const words = this.#encode(requester, interrupt);
    const index = this.#free.pop() ?? (this.#next < this.#entries ? this.#next++ : -1);
    if (index < 0) throw new IommuDriverError("ENOSPC", `All ${this.#entries} interrupt remapping entries are taken; free some, or give the driver more interruptEntries.`);
    this.#write(index, words);
    let freed = false;
    const use = (): void => {
      if (freed) throw new IommuDriverError("EINVAL", `Interrupt entry ${index} of ${formatRequester(requester)} was freed.`);
    };
    return {
      message: messageOf(requester, index),
      retarget: (to) => {
        use();
        this.#write(index, this.#encode(requester, to));
      },
      post: (structure, vector, urgent) => {
        use();
        this.#write(index, this.#encodePosted(requester, structure, vector, urgent));
      },
      free: () => {
        use();
        freed = true;
        this.#write(index, new Uint32Array(ENTRY_WORDS));
        this.#free.push(index);
      },
    };
  }

  #encode(requester: RequesterId, { vector, deliveryMode, destination, destinationMode, trigger, redirectionHint }: Readonly<Interrupt>): Uint32Array {
    checkVector(vector);
    const limit = this.#extended ? 0xffff_ffff : 0xff;
    if (!Number.isInteger(destination) || destination < 0 || destination > limit) throw new IommuDriverError("ERANGE", `APIC ID ${destination} does not fit an interrupt remapping entry; it is 0 to ${hex(limit)}${this.#extended ? "" : " without extended interrupt mode"}.`);
    const layout = this.#extended ? IRTE_REMAPPED : IRTE_REMAPPED_XAPIC;
    return layout.encode({
      P: 1,
      DM: destinationMode === "logical" ? 1 : 0,
      RH: redirectionHint ? 1 : 0,
      TM: trigger === "level" ? 1 : 0,
      DLM: deliveryMode,
      V: vector,
      DST: destination,
      SID: requester,
      SVT: VERIFY_REQUESTER,
    });
  }

  #encodePosted(requester: RequesterId, structure: Hpa, vector: number, urgent: boolean): Uint32Array {
    if (!this.#registers.cap.PI) throw new IommuDriverError("EOPNOTSUPP", "This remapping unit has no posted interrupts (CAP.PI = 0).");
    checkVector(vector);
    if (!Number.isInteger(structure) || structure < 0 || structure % 64 !== 0) throw new IommuDriverError("EINVAL", `A posted-interrupt descriptor at HPA ${hex(Math.max(0, Math.floor(structure)))} is impossible; it starts at a multiple of 64.`);
    return IRTE_POSTED.encode({
      P: 1,
      URG: urgent ? 1 : 0,
      IM: 1,
      VV: vector,
      PDAL: (structure % 0x1_0000_0000) / 64,
      SID: requester,
      SVT: VERIFY_REQUESTER,
      PDAH: Math.floor(structure / 0x1_0000_0000),
    });
  }

  /** 128 bits at once, then the cache is told: also of an entry that becomes present, which caching mode may know as missing. VT-d §6.5.2.7. */
  #write(index: number, entry: Uint32Array): void {
    const words = this.#pages[index >>> 8] as Uint32Array; // the index is below the entries
    const at = (index & 0xff) * ENTRY_WORDS;
    if ((entry[0] as number) === 0) words[at] = 0;
    for (let i = ENTRY_WORDS - 1; i >= 0; i--) words[at + i] = entry[i] as number; // P comes last
    this.#registers.flushWriteBuffer();
    this.#commands.interruptEntry(index);
    this.#commands.finish();
  }
}

const checkVector = (vector: number): void => {
  if (!Number.isInteger(vector) || vector < 0 || vector > 255) throw new IommuDriverError("EINVAL", `Interrupt vector ${vector} is impossible; vectors are 0 to 255.`);
};

/** Remappable format with a subhandle of 0. VT-d §5.1.2.2. */
const messageOf = (requester: RequesterId, index: number): InterruptMessage => ({ requester, address: 0xfee0_0000 + (index & 0x7fff) * 32 + 16 + 8 + (index >>> 15) * 4, data: 0 });
