/** A scripted guest on a board, with our own driver of its IOMMU in it: all DMA and all messages of its devices go through tables. */
import { AmdDriver } from "@iommu-lab/iommu-amd/driver";
import { VtdDriver } from "@iommu-lab/iommu-intel/driver";
import { FrameAllocator, type Hpa } from "@iommu-lab/memory";
import type { IommuDomain, IommuDriver, IommuFault } from "@iommu-lab/pci-bus";
import { Board, type BoardTaps, type IommuChoice, type Seat } from "../src/board/index.ts";
import { ScriptedEngine, type EngineEnd, type ScriptedProcessor, type ScriptedSession } from "../src/engines/index.ts";
import type { Bar } from "./virtio-driver.ts";

const RAM = 64 * 2 ** 20;
const FIRST_TABLE_FRAME = 0x1000;
/** Pages from here on are the guest's own: buffers and queues. */
export const OWN: Hpa = 0x20_0000;
export const OWN_SIZE = 0x10_0000;
/** What is added to an address of the guest's own memory where it is mapped for devices. */
export const SHIFT = 0x12_3400_0000;
const READ_WRITE = 3;
/** Nanoseconds between two looks at a register. */
const LOOK = 10_000;
/** Where the IOMMU's own events go. */
const EVENT = { address: 0xfee0_0000, upper: 0, data: 0x31 } as const;

export interface GuestParts {
  readonly iommu: IommuChoice;
  /** Made anew for each board. */
  readonly devices: () => readonly Seat[];
  /** Functions with a device-TLB in use; `enableAts` switches it on. */
  readonly ats?: readonly number[];
  readonly taps?: (session: ScriptedSession) => readonly BoardTaps[];
}

/** What a script has at hand. */
export interface Guest {
  readonly cpu: ScriptedProcessor;
  readonly board: Board;
  readonly session: ScriptedSession;
  readonly iommu: IommuDriver;
  readonly faults: IommuFault[];
  readonly problems: string[];
  /** A domain with the guest's own memory in it, moved by `SHIFT`. */
  readonly ownDomain: () => IommuDomain;
  readonly bar: (devfn: number) => Bar;
  /** Programs a vector of an MSI-X table in BAR 0 with an interrupt of this vector, through remapping. */
  readonly vector: (devfn: number, tableAt: number, index: number, vector: number) => void;
  /** Switches MSI-X on. */
  readonly enableMsix: (devfn: number) => void;
  /** Switches ATS on. PCIe §10.5.1.3. */
  readonly enableAts: (devfn: number) => void;
}

export interface GuestRun {
  readonly end: EngineEnd;
  readonly board: Board;
  /** The machine trace, a line each. */
  readonly trace: readonly string[];
  readonly console: string;
}

const driverOf = ({ memory, bus, clock }: ScriptedProcessor, session: ScriptedSession, { iommu: { vendor }, ats = [] }: GuestParts): IommuDriver => {
  const frames = new FrameAllocator({ start: FIRST_TABLE_FRAME, count: memory.size / 4096 - FIRST_TABLE_FRAME });
  const registers = bus.windows[0]?.handler;
  if (registers === undefined) throw new RangeError("A board without an IOMMU's registers.");
  const common = { memory: session.memory, frames, relax: () => { clock.advance(LOOK); }, deviceTlb: (requester: number) => ats.includes(requester) };
  return vendor === "intel" ? new VtdDriver({ ...common, hostAddressWidth: 46, units: [{ registers, event: EVENT }], interruptEntries: 256 }) : new AmdDriver({ ...common, physicalAddressWidth: 48, units: [{ registers }] });
};

const capabilityOf = ({ bus }: ScriptedProcessor, devfn: number, id: number): number => {
  let at = bus.configRead(devfn, 0x34, 1);
  while (at !== 0 && bus.configRead(devfn, at, 1) !== id) at = bus.configRead(devfn, at + 1, 1);
  return at;
};

/** Runs a script to its end. What it throws is the end's text. */
export const runGuest = async (parts: GuestParts, script: (guest: Guest) => Iterable<void>): Promise<GuestRun> => {
  const { iommu: choice, devices, taps } = parts;
  let console = "";
  const session = new ScriptedEngine().open({ ram: RAM, console: (bytes) => { console += Buffer.from(bytes).toString("latin1"); } });
  const trace: string[] = [];
  let board: Board | undefined;
  const make = (windows: readonly Hpa[]): Board => {
    trace.length = 0;
    board = new Board({
      memory: session.memory,
      message: (address, data) => { session.message(address, data); },
      wire: (wire, asserted) => { session.wire(wire, asserted); },
      clock: session.clock,
      iommu: choice,
      devices: devices(),
      registerBase: windows[0] ?? 0,
      taps: taps?.(session) ?? [],
      trace: (line) => trace.push(line),
    });
    return board;
  };
  await session.start((cpu) => {
    const made = board ?? make(cpu.windows);
    const iommu = driverOf(cpu, session, parts);
    const faults: IommuFault[] = [];
    const problems: string[] = [];
    iommu.start({ fault: (fault) => faults.push(fault), problem: (text) => problems.push(text) });
    return script({
      cpu,
      board: made,
      session,
      iommu,
      faults,
      problems,
      ownDomain: () => {
        const domain = iommu.createDomain({ kind: "paging" });
        domain.map(OWN + SHIFT, OWN, OWN_SIZE, READ_WRITE);
        return domain;
      },
      bar: (devfn) => {
        const base = cpu.bar(devfn, 0);
        return { read: (offset, size) => cpu.read(base + offset, size), write: (offset, size, value) => { cpu.write(base + offset, size, value); } };
      },
      vector: (devfn, tableAt, index, vector) => {
        const { message } = iommu.allocateInterrupt(devfn, { vector, deliveryMode: 0, destination: 0, destinationMode: "physical", trigger: "edge", redirectionHint: false });
        const base = cpu.bar(devfn, 0) + tableAt + 16 * index;
        for (const [word, value] of [message.address, 0, message.data, 0].entries()) cpu.write(base + 4 * word, 4, value);
      },
      enableAts: (devfn) => {
        let at = 0x100;
        while (at !== 0 && cpu.bus.configRead(devfn, at, 2) !== 0x0f) at = cpu.bus.configRead(devfn, at + 2, 2) >> 4;
        cpu.bus.configWrite(devfn, at + 6, 2, 0x8000);
      },
      enableMsix: (devfn) => { cpu.bus.configWrite(devfn, capabilityOf(cpu, devfn, 0x11) + 2, 2, 0x8000); },
    });
  }, make);
  const end = await session.ended;
  return { end, board: board ?? make([]), trace, console };
};
