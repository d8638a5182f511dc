import { AmdIommu } from "@iommu-lab/iommu-amd/hardware";
import { VtdUnit } from "@iommu-lab/iommu-intel/hardware";
import { encodeMessage } from "@iommu-lab/interrupt-remap";
import type { AccessSize, Hpa, MmioHandler } from "@iommu-lab/memory";
import type { Clock, Interrupt, InterruptSink, Iommu, PciFunction } from "@iommu-lab/pci-bus";
import { RootComplex, type InterruptWire } from "@iommu-lab/pci-bus/model";
import type { GuestBus, GuestRam, RegisterWindow } from "../engines/engine.ts";
import { TraceRecorder } from "../replay/trace-recorder.ts";
import { dmarTable, ivrsTable } from "./firmware-tables.ts";
import { AMD_WINDOW, amdCapabilities, VTD_WINDOW, vtdCapabilities, type IommuChoice } from "./iommu-choice.ts";
import { inSeries, type BoardTaps } from "./taps.ts";
import { watchUnknown } from "./unknown-accesses.ts";

/** A function and its place on bus 0. */
export interface Seat {
  /** Device number times 8 plus function. */
  readonly devfn: number;
  readonly fn: PciFunction;
}

/** What a board is made of. */
export interface BoardParts {
  readonly memory: GuestRam;
  /** Where interrupts leave the board, in compatibility format: the processor's local APIC. */
  readonly message: (address: number, data: number) => void;
  /** Where INTx wires lead; without it they lead nowhere. */
  readonly wire?: (wire: InterruptWire, asserted: boolean) => void;
  readonly clock: Clock;
  readonly iommu: IommuChoice;
  readonly devices: readonly Seat[];
  /** Where firmware put the IOMMU's registers. */
  readonly registerBase: Hpa;
  /** Of the machine's I/O APIC, as its MADT says; default 0. */
  readonly ioApicId?: number;
  readonly taps?: readonly BoardTaps[];
  /** Takes the lines of a machine trace; see `TraceRecorder`. */
  readonly trace?: (line: string) => void;
}

/** What an IOMMU has done since power-on. */
export interface BoardCounters {
  readonly translations: number;
  readonly hits: number;
  readonly misses: number;
  /** Faults (VT-d) and events (AMD), recorded or not. */
  readonly faults: number;
  /** Device interrupts that went through. */
  readonly interrupts: number;
}

/** Where AMD's IOMMU is on bus 0: 00:02.0. */
const AMD_DEVFN = 0x10;
const AMD_CAPABILITY = 0x40;
/** EFR and EFR2. AMD-Vi §3.4.1. */
const [EFR, EFR2] = [0x30, 0x1a0];
/** VT-d §11.4. */
const [VER, CAP, ECAP] = [0x00, 0x08, 0x10];
const SOURCE = "a guest on this project's models";
/** BARs are below the I/O APIC, above what RAM may take. */
const BARS = { base: 0x8000_0000, last: 0xfebf_ffff } as const;

/** A root complex with an IOMMU in front of memory and functions on bus 0, for an engine to run a guest on. */
export class Board implements GuestBus {
  readonly iommu: Iommu;
  readonly complex: RootComplex;
  readonly functions: readonly number[];
  readonly windows: readonly RegisterWindow[];
  readonly tables: readonly Uint8Array[];
  /** Accesses to registers that the IOMMU has not. */
  readonly unknownAccesses: string[] = [];
  readonly #counters: () => Omit<BoardCounters, "interrupts">;
  #interrupts = 0;

  /** @throws ImpossibleIommu when the IOMMU cannot be as chosen */
  constructor(parts: BoardParts) {
    const { devices } = parts;
    const taps = inSeries([...(parts.trace ? [recorderOf(parts, parts.trace)] : []), ...(parts.taps ?? [])]);
    const made = parts.iommu.vendor === "intel" ? intel(parts, taps) : amd(parts, taps);
    this.iommu = made.iommu;
    this.#counters = made.counters;
    // Before the registers: a recorder begins with both.
    const own = made.seats.map(({ devfn, fn }): Seat => ({ devfn, fn: taps.function(fn, devfn, true) }));
    this.windows = [{ size: made.window, handler: watchUnknown(taps.registers(made.iommu.registers), made.decodes, (text) => this.unknownAccesses.push(text)) }];
    this.tables = [made.table];
    this.complex = new RootComplex({ memory: taps.deviceMemory(parts.memory), clock: parts.clock, ...(parts.wire ? { interruptWire: parts.wire } : {}), interrupts: taps.interrupts(messagesTo((address, data) => {
      this.#interrupts++;
      parts.message(address, data);
    })) });
    const { bus } = this.complex.addHostBridge({ memory: [BARS] });
    this.complex.addIommu(this.iommu);
    for (const { devfn, fn } of own) bus.plug(fn, devfn);
    for (const { devfn, fn } of devices) bus.plug(taps.function(fn, devfn, false), devfn);
    this.functions = [...made.seats, ...devices].map(({ devfn }) => devfn).toSorted((a, b) => a - b);
  }

  get counters(): BoardCounters {
    return { ...this.#counters(), interrupts: this.#interrupts };
  }

  configRead(devfn: number, offset: number, size: AccessSize): number {
    return this.complex.configRead({ domain: 0, requester: devfn }, offset, size);
  }

  configWrite(devfn: number, offset: number, size: AccessSize, value: number): void {
    this.complex.configWrite({ domain: 0, requester: devfn }, offset, size, value);
  }

  memoryRead(address: Hpa, into: Uint8Array): void {
    this.complex.memoryRead(address, into);
  }

  memoryWrite(address: Hpa, from: Uint8Array): void {
    this.complex.memoryWrite(address, from);
  }
}

interface MadeIommu {
  readonly iommu: Iommu;
  readonly window: number;
  readonly decodes: (offset: number) => boolean;
  readonly counters: () => Omit<BoardCounters, "interrupts">;
  readonly table: Uint8Array;
  /** The IOMMU's own function. */
  readonly seats: readonly Seat[];
}

const factsOf = ({ registerBase, iommu, ioApicId }: BoardParts): { readonly registerBase: Hpa; readonly interruptRemapping: boolean; readonly ioApicId: number } => ({ registerBase, interruptRemapping: iommu.interruptRemapping ?? true, ioApicId: ioApicId ?? 0 });

/** The IOMMU's own interrupt goes past remapping; wider APIC IDs than a message holds are no use to anybody here. */
const ownMessages = ({ message }: BoardParts, taps: Required<BoardTaps>) => (address: number, upper: number, data: number): void => {
  taps.ownMessage(address, upper, data);
  message(address, data);
};

const intel = (parts: BoardParts, taps: Required<BoardTaps>): MadeIommu => {
  const capabilities = vtdCapabilities(parts.iommu);
  const unit = new VtdUnit({ memory: taps.tableMemory(parts.memory), capabilities, caches: parts.iommu.caches ?? "realistic", sendMessage: ownMessages(parts, taps) });
  return {
    iommu: unit,
    window: VTD_WINDOW,
    decodes: (offset) => unit.decodes(offset),
    counters: () => {
      const { requests, iotlbLookups, iotlbMisses, faults } = unit.totals;
      return { translations: requests, hits: iotlbLookups - iotlbMisses, misses: iotlbMisses, faults };
    },
    table: dmarTable(factsOf(parts), capabilities.hostAddressWidth, true),
    seats: [],
  };
};

const amd = (parts: BoardParts, taps: Required<BoardTaps>): MadeIommu => {
  const capabilities = amdCapabilities(parts.iommu);
  const iommu = new AmdIommu({ memory: taps.tableMemory(parts.memory), capabilities, caches: parts.iommu.caches ?? "realistic", deviceId: AMD_DEVFN, registerBase: parts.registerBase, sendMessage: ownMessages(parts, taps) });
  return {
    iommu,
    window: AMD_WINDOW,
    decodes: (offset) => iommu.registers.decodes(offset),
    counters: () => {
      const { requests, iotlbHits, iotlbMisses, events } = iommu.totals;
      return { translations: requests, hits: iotlbHits, misses: iotlbMisses, faults: events };
    },
    table: ivrsTable(factsOf(parts), { deviceId: AMD_DEVFN, capabilityOffset: AMD_CAPABILITY, extendedFeatures: wide(iommu.registers, EFR), extendedFeatures2: wide(iommu.registers, EFR2), physicalAddressWidth: capabilities.physicalAddressWidth }),
    seats: [{ devfn: AMD_DEVFN, fn: iommu.function }],
  };
};

const wide = (registers: MmioHandler, offset: number): bigint => {
  const words = new Uint32Array(2);
  registers.read64(offset, words);
  return BigInt(words[0] as number) | (BigInt(words[1] as number) << 32n); // two words
};

const recorderOf = ({ iommu, memory, registerBase }: BoardParts, write: (line: string) => void): TraceRecorder =>
  new TraceRecorder(
    memory,
    iommu.vendor === "intel"
      ? { vendor: "intel", ram: memory.size, registerBase, registerSize: VTD_WINDOW, reset: [VER, CAP, ECAP], hostAddressWidth: vtdCapabilities(iommu).hostAddressWidth, source: SOURCE }
      : { vendor: "amd", ram: memory.size, registerBase, registerSize: AMD_WINDOW, reset: [EFR, EFR2], source: SOURCE },
    write,
  );

const BROADCAST = 0xffff_ffff;

/** Local APICs behind a bus that carries messages only: their IDs have 8 bits, and what goes to a wider one reaches nobody but by broadcast. */
const messagesTo = (message: (address: number, data: number) => void): InterruptSink => {
  const out = { address: 0, data: 0 };
  const send = (interrupt: Readonly<Interrupt>): void => {
    const destination = interrupt.destination === BROADCAST ? 0xff : interrupt.destination;
    if (destination > 0xff) return;
    encodeMessage({ ...interrupt, destination }, out);
    message(out.address, out.data);
  };
  return {
    deliver: send,
    post: ({ notification }) => {
      if (notification.kind === "interrupt") send(notification.interrupt);
    },
  };
};
