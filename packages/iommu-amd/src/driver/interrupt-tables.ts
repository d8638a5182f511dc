import { IRTE_128, IRTE_128_GUEST, IRTE_32 } from "@iommu-lab/interrupt-remap/amd";
import { hex, type Hpa } from "@iommu-lab/memory";
import { DeliveryMode, formatRequester, IommuDriverError, type Interrupt, type InterruptEntry, type InterruptMessage, type RequesterId } from "@iommu-lab/pci-bus";
import type { TableFrames } from "@iommu-lab/pci-bus/paging";
import type { CommandQueue } from "./command-queue.ts";
import type { Interrupts } from "./device-table.ts";

/** Indexes of fixed messages: data bits 10:8 are 0. AMD-Vi §2.2.5. */
const LENGTH = 8;
const ENTRIES = 2 ** LENGTH;
const MESSAGE_BASE = 0xfee0_0000;
const HINT = 1 << 3;
const LEVEL_ASSERTED = (1 << 15) | (1 << 14);

/** What the units' interrupt remapping can do. */
export interface InterruptFormat {
  /** GAEn: entries have 128 bits. */
  readonly wide: boolean;
  /** XTEn: destinations have 32 bits. */
  readonly extended: boolean;
  /** GAMEn: entries for guests. */
  readonly guests: boolean;
}

interface Table {
  readonly page: number;
  readonly words: Uint32Array;
  readonly free: number[];
  next: number;
}

/** One interrupt remapping table for each function that has interrupts. AMD-Vi §2.2.5. */
export class InterruptTables {
  /** A table whose only entry is not valid. */
  readonly empty: Interrupts;
  readonly #frames: TableFrames;
  readonly #format: InterruptFormat;
  readonly #tables = new Map<RequesterId, Table>();
  readonly #commandsOf: (requester: RequesterId) => CommandQueue;
  readonly #installed: (requester: RequesterId) => void;

  /** @param installed told when a function got its table */
  constructor(frames: TableFrames, format: InterruptFormat, commandsOf: (requester: RequesterId) => CommandQueue, installed: (requester: RequesterId) => void) {
    this.#frames = frames;
    this.#format = format;
    this.#commandsOf = commandsOf;
    this.#installed = installed;
    this.empty = fieldsOf(frames.allocate(), 0);
  }

  of(requester: RequesterId): Interrupts {
    const table = this.#tables.get(requester);
    return table === undefined ? this.empty : fieldsOf(table.page, LENGTH);
  }

  /** @throws IommuDriverError ENOSPC when every entry of the function is taken, EINVAL or ERANGE when the interrupt has no entry */
  allocate(requester: RequesterId, interrupt: Readonly<Interrupt>): InterruptEntry {
    const words = this.#encode(interrupt);
    const table = this.#tableOf(requester);
    const index = table.free.pop() ?? (table.next < ENTRIES ? table.next++ : -1);
    if (index < 0) throw new IommuDriverError("ENOSPC", `All ${ENTRIES} interrupt remapping entries of ${formatRequester(requester)} are taken; free some.`);
    this.#write(requester, table, index, words);
    let freed = false;
    const use = (): void => {
      if (freed) throw new IommuDriverError("EINVAL", `Interrupt entry ${index} of ${formatRequester(requester)} was freed.`);
    };
    return {
      message: messageOf(requester, index, interrupt),
      retarget: (to) => {
        use();
        this.#write(requester, table, index, this.#encode(to));
      },
      post: (structure, vector, _urgent, running) => {
        use();
        this.#write(requester, table, index, this.#encodeGuest(structure, vector, running));
      },
      free: () => {
        use();
        freed = true;
        this.#write(requester, table, index, new Uint32Array(this.#format.wide ? 4 : 1));
        table.free.push(index);
      },
    };
  }

  #tableOf(requester: RequesterId): Table {
    const known = this.#tables.get(requester);
    if (known !== undefined) return known;
    const page = this.#frames.allocate();
    const table: Table = { page, words: this.#frames.words(page), free: [], next: 0 };
    this.#tables.set(requester, table);
    this.#installed(requester);
    return table;
  }

  #encode({ vector, deliveryMode, destination, destinationMode }: Readonly<Interrupt>): Uint32Array {
    checkVector(vector);
    const { wide, extended } = this.#format;
    const limit = extended ? 0xffff_ffff : 0xff;
    if (!Number.isInteger(destination) || destination < 0 || destination > limit) throw new IommuDriverError("ERANGE", `APIC ID ${destination} does not fit an interrupt remapping entry; it is 0 to ${hex(limit)}${extended ? "" : " without x2APIC mode"}.`);
    if (deliveryMode !== DeliveryMode.Fixed && deliveryMode !== DeliveryMode.LowestPriority) throw new IommuDriverError("EINVAL", `Delivery mode ${deliveryMode} cannot be remapped; an entry has fixed and arbitrated interrupts.`);
    const common = { RemapEn: 1, IntType: deliveryMode, DM: destinationMode === "logical" ? 1 : 0, Vector: vector };
    return wide ? IRTE_128.encode({ ...common, Destination: destination % 2 ** 24, DestinationHigh: Math.floor(destination / 2 ** 24) }) : IRTE_32.encode({ ...common, Destination: destination });
  }

  #encodeGuest(structure: Hpa, vector: number, running: number | undefined): Uint32Array {
    if (!this.#format.guests) throw new IommuDriverError("EOPNOTSUPP", "These IOMMUs have no guest virtual APIC mode (EFR.GAMSup = 0).");
    checkVector(vector);
    if (!Number.isInteger(structure) || structure < 0 || structure % 4096 !== 0) throw new IommuDriverError("EINVAL", `A virtual APIC backing page at HPA ${hex(Math.max(0, Math.floor(structure)))} is impossible; it is a page.`);
    const place = running === undefined ? {} : { IsRun: 1, Destination: running % 2 ** 24, DestinationHigh: Math.floor(running / 2 ** 24) };
    return IRTE_128_GUEST.encode({ RemapEn: 1, GuestMode: 1, Vector: vector, VApicPage: structure / 4096, ...place });
  }

  /** At once for the hardware: what makes an entry valid is cleared first and set last; then its table is invalidated. AMD-Vi §2.4.5. */
  #write(requester: RequesterId, table: Table, index: number, entry: Uint32Array): void {
    const at = index * entry.length;
    table.words[at] = 0;
    for (let i = entry.length - 1; i >= 0; i--) table.words[at + i] = entry[i] as number;
    const commands = this.#commandsOf(requester);
    commands.interruptTable(requester);
    commands.finish();
  }
}

/** Trigger mode and redirection hint are not in entries: they come with the message. AMD-Vi §2.2.5; Intel SDM vol. 3 "Message Address Register Format". */
const messageOf = (requester: RequesterId, index: number, { trigger, redirectionHint }: Readonly<Interrupt>): InterruptMessage => ({ requester, address: MESSAGE_BASE + (redirectionHint ? HINT : 0), data: index + (trigger === "level" ? LEVEL_ASSERTED : 0) });

/** A page is 32 times 128 bytes. */
const fieldsOf = (page: number, length: number): Interrupts => ({ IntTabRoot: page * 32, IntTabLen: length });

const checkVector = (vector: number): void => {
  if (!Number.isInteger(vector) || vector < 0 || vector > 255) throw new IommuDriverError("EINVAL", `Interrupt vector ${vector} is impossible; vectors are 0 to 255.`);
};
