import { SparseMemory, type AccessSize, type Hpa } from "@iommu-lab/memory";
import { barBase, sizeBars, type BarRegister, type ConfigAccess, type InterruptWire } from "@iommu-lab/pci-bus/model";
import type { Engine, EngineEnd, EngineOptions, EngineSession, GuestBus, GuestRam } from "../engine.ts";
import { EventClock } from "./event-clock.ts";

/** A message or a wire that reached the processor. */
export type ArrivedInterrupt = { readonly kind: "message"; readonly address: number; readonly data: number } | { readonly kind: "wire"; readonly wire: InterruptWire; readonly asserted: boolean };

/** The processor as a script uses it. */
export interface ScriptedProcessor {
  readonly memory: GuestRam;
  readonly bus: GuestBus;
  readonly clock: EventClock;
  /** Where register windows are, in the order of the board's. */
  readonly windows: readonly Hpa[];
  /** Where firmware put a function's memory BAR. @throws RangeError when it has none */
  readonly bar: (devfn: number, index: number) => Hpa;
  readonly read: (address: Hpa, size: AccessSize) => number;
  readonly write: (address: Hpa, size: AccessSize, value: number) => void;
  /** Text on the serial line. */
  readonly print: (text: string) => void;
  /** Interrupts that have arrived since the last call, in order. */
  readonly interrupts: () => readonly ArrivedInterrupt[];
}

/** What a scripted guest does; every `yield` lets time pass until the next thing that is due, if there is one. */
export type ScriptedProgram = (processor: ScriptedProcessor) => Iterable<void>;

const FIRST_WINDOW = 0xfed9_0000;
const FIRST_BAR = 0xc000_0000;
const BARS = { at: 0x10, count: 6 } as const;
const COMMAND = 0x04;
const MEMORY_AND_MASTER = 6;

/** Guests that are generators, in this process: no wall clock, the same result each time. */
export class ScriptedEngine implements Engine<ScriptedProgram> {
  readonly name = "scripted";

  unavailable(): undefined {
    return undefined;
  }

  open(options: EngineOptions): ScriptedSession {
    return new ScriptedSession(options);
  }
}

/** A session whose clock the board uses too. */
export class ScriptedSession implements EngineSession<ScriptedProgram> {
  readonly memory: SparseMemory;
  readonly clock = new EventClock();
  readonly ended: Promise<EngineEnd>;
  readonly #console: (bytes: Uint8Array) => void;
  #arrived: ArrivedInterrupt[] = [];
  #stopped = false;
  #end: (end: EngineEnd) => void = () => undefined;

  constructor({ ram, console }: EngineOptions) {
    this.memory = new SparseMemory({ size: ram });
    this.#console = console;
    this.ended = new Promise((resolve) => (this.#end = resolve));
  }

  message(address: number, data: number): void {
    this.#arrived.push({ kind: "message", address, data });
  }

  /** INTx: a wire at the root bus changes its level. */
  wire(wire: InterruptWire, asserted: boolean): void {
    this.#arrived.push({ kind: "wire", wire, asserted });
  }

  /** Scripts read no serial line. */
  type(): void {
    // nobody listens
  }

  start(program: ScriptedProgram, make: (windows: readonly Hpa[]) => GuestBus): Promise<void> {
    // What throws before the guest runs is the promise's, as with every engine.
    return new Promise((resolve) => {
      // Firmware: windows one after the other, then BARs by size.
      const sizes = make([]).windows.map(({ size }) => size);
      const windows = placed(FIRST_WINDOW, sizes);
      const bus = make(windows);
      const bars = placeBars(bus);
      if (!this.#stopped) this.#run(() => program(this.#processor(bus, windows, bars)));
      resolve();
    });
  }

  stop(): Promise<EngineEnd> {
    this.#stopped = true;
    this.#end({ reason: "stopped" });
    return this.ended;
  }

  #run(guest: () => Iterable<void>): void {
    try {
      const steps = guest()[Symbol.iterator]();
      while (steps.next().done !== true) {
        if (this.#stopped) return;
        this.clock.skip();
      }
      this.#end({ reason: "powered-off" });
    } catch (error) {
      this.#end({ reason: "failed", text: error instanceof Error ? error.message : String(error) });
    }
  }

  #processor(bus: GuestBus, windows: readonly Hpa[], bars: ReadonlyMap<string, Hpa>): ScriptedProcessor {
    const bytes = new Uint8Array(4);
    const view = new DataView(bytes.buffer);
    const windowAt = (address: Hpa): { readonly index: number; readonly offset: number } | undefined => {
      const index = windows.findIndex((base, i) => address >= base && address < base + (bus.windows[i]?.size ?? 0));
      return index < 0 ? undefined : { index, offset: address - (windows[index] as number) }; // found
    };
    return {
      memory: this.memory,
      bus,
      clock: this.clock,
      windows,
      bar: (devfn, index) => {
        const base = bars.get(`${devfn}.${index}`);
        if (base === undefined) throw new RangeError(`Function 0x${devfn.toString(16)} has no memory BAR ${index}.`);
        return base;
      },
      read: (address, size) => {
        const window = windowAt(address);
        if (window) return (bus.windows[window.index]?.handler.read(window.offset, size) ?? 0) >>> 0;
        bytes.fill(0);
        if (address < this.memory.size) this.memory.readInto(address, bytes.subarray(0, size));
        else bus.memoryRead(address, bytes.subarray(0, size));
        return view.getUint32(0, true);
      },
      write: (address, size, value) => {
        const window = windowAt(address);
        if (window) {
          bus.windows[window.index]?.handler.write(window.offset, size, value);
          return;
        }
        view.setUint32(0, value, true);
        if (address < this.memory.size) this.memory.writeFrom(address, bytes.subarray(0, size));
        else bus.memoryWrite(address, bytes.subarray(0, size));
      },
      print: (text) => {
        this.#console(Uint8Array.from(text, (character) => character.charCodeAt(0) & 0xff));
      },
      interrupts: () => {
        const arrived = this.#arrived;
        this.#arrived = [];
        return arrived;
      },
    };
  }
}

const align = (address: number, size: number): number => Math.ceil(address / size) * size;

const placed = (start: Hpa, sizes: readonly number[]): Hpa[] => {
  let at = start;
  return sizes.map((size) => {
    const base = align(at, size);
    at = base + size;
    return base;
  });
};

/** Gives every memory BAR a place and switches functions on, as firmware does. */
const placeBars = (bus: GuestBus): ReadonlyMap<string, Hpa> => {
  const found: { readonly devfn: number; readonly bar: BarRegister; readonly config: ConfigAccess }[] = [];
  for (const devfn of bus.functions) {
    const config: ConfigAccess = {
      read: (offset, size) => bus.configRead(devfn, offset, size),
      write: (offset, size, value) => {
        bus.configWrite(devfn, offset, size, value);
      },
    };
    for (const bar of sizeBars(config, BARS.at, BARS.count)) if (bar.kind !== "io") found.push({ devfn, bar, config });
  }
  found.sort((a, b) => b.bar.size - a.bar.size);
  const bases = placed(FIRST_BAR, found.map(({ bar }) => bar.size));
  const places = new Map<string, Hpa>();
  for (const [i, { devfn, bar, config }] of found.entries()) {
    config.write(bar.at, 4, bases[i] as number); // one for each
    if (bar.kind === "memory64") config.write(bar.at + 4, 4, 0);
    places.set(`${devfn}.${bar.index}`, barBase(config, bar));
  }
  for (const devfn of bus.functions) bus.configWrite(devfn, COMMAND, 2, MEMORY_AND_MASTER);
  return places;
};
