import { IoApicModel } from "@iommu-lab/interrupt-remap/apic";
import { decodeMessage, newInterrupt } from "@iommu-lab/interrupt-remap";
import { FrameAllocator, MemoryMap, PAGE_SIZE, SparseMemory, type RamRange } from "@iommu-lab/memory";
import { compareAddresses, formatAddress, parseAddress, type FunctionAddress, type InterruptMessage, type Iommu, type IommuDriver, type RequesterId } from "@iommu-lab/pci-bus";
import type { MachineDescription, MachineIommu } from "@iommu-lab/pci-bus/machine";
import { RootComplex, VGA_MEMORY, type Attachment, type BusTraceSink, type EnumerationReport, type InterruptWire } from "@iommu-lab/pci-bus/model";
import { EventClock } from "../engines/scripted/event-clock.ts";
import { acpiTables } from "./acpi-tables.ts";
import { addressMap, FIXED, type AddressMap } from "./address-map.ts";
import { HostKernel } from "./host-kernel.ts";
import { HostProcessors } from "./host-processors.ts";
import { watchDriver, type MachineWatch } from "./machine-watch.ts";
import { makeDriver, makeUnits, type MachineUnit } from "./machine-units.ts";
import type { UnitTaps } from "./unit-taps.ts";
import { bridgesAbove, plugFunctions, runFirmware, type FunctionMaker, type PlacedFunction } from "./topology.ts";

/** What may stand between the parts of a machine. */
export interface MachineOptions {
  /** Sees every hop of every request. */
  readonly trace?: BusTraceSink;
  /** Takes the place of an IOMMU towards the bus, to watch or to disturb. */
  readonly iommu?: (unit: MachineUnit) => Iommu;
  /** Stands between each IOMMU and the rest; `memory` is the machine's, past every tap. */
  readonly taps?: (iommu: MachineIommu, memory: SparseMemory, ram: readonly RamRange[]) => UnitTaps;
  /** Told what software does. */
  readonly watch?: MachineWatch;
  /** Makes functions that a test brings along. */
  readonly make?: FunctionMaker;
}

/** Requester IDs of the I/O APIC, as firmware's tables give them. */
const IO_APIC_REQUESTER = { intel: 0xf0f8, amd: 0x00a0 } as const;
const IO_APIC_SIZE = 0x1000;
/** Wires arrive at these inputs, as on most boards. */
const FIRST_WIRE_PIN = 16;
const WIRE_PINS = 4;
/** Frames below the first MiB belong to firmware, and to VGA. */
const FIRST_FRAME = 0x100;
const MOST_HIGH_FRAMES = 2 ** 22;

/** A machine that runs: firmware, memory, a PCI topology, IOMMUs, interrupt controllers, and a kernel. */
export class Machine {
  readonly description: MachineDescription;
  readonly clock = new EventClock();
  readonly addresses: AddressMap;
  readonly memory: SparseMemory;
  /** Frames below 4 GiB, from 1 MiB on. */
  readonly frames: FrameAllocator;
  readonly complex: RootComplex;
  readonly units: readonly MachineUnit[];
  readonly processors: HostProcessors;
  readonly ioApic: IoApicModel;
  /** Every function of the description where it is plugged in. */
  readonly placed: readonly PlacedFunction[];
  /** What firmware found and placed. */
  readonly firmware: EnumerationReport;
  /** What a processor reaches by address: RAM, BARs, register windows. */
  readonly map: MemoryMap;
  /** Firmware's tables of the IOMMUs, by signature: DMAR or IVRS. */
  readonly tables: ReadonlyMap<string, Uint8Array>;
  readonly kernel: HostKernel;
  readonly watch: MachineWatch | undefined;
  readonly #covers: (ReadonlySet<string> | undefined)[];
  readonly #unitOf = new Map<number, MachineUnit | undefined>();
  readonly #interrupt = newInterrupt();
  #highFrames: FrameAllocator | undefined;

  /**
   * Builds the machine, lets firmware run and starts the kernel.
   * @throws RangeError, ImpossibleIommu when the description asks for hardware that cannot be
   */
  constructor(description: MachineDescription, options: MachineOptions = {}) {
    this.description = description;
    this.watch = options.watch;
    this.addresses = addressMap(description.memory);
    this.memory = new SparseMemory({ ranges: this.addresses.ram });
    const [low] = this.addresses.ram;
    this.frames = new FrameAllocator({ start: FIRST_FRAME, count: Math.floor((low?.size ?? 0) / PAGE_SIZE) - FIRST_FRAME });
    this.processors = new HostProcessors(description.processors.count, description.processors.apic ?? "x2apic", (vector) => { this.ioApic.endOfInterrupt(vector); });
    this.ioApic = new IoApicModel({ requester: IO_APIC_REQUESTER[description.iommus[0]?.vendor ?? "intel"], send: (message) => { this.#fromIoApic(message); } });
    const switchedOn = description.firmware.iommu === false ? [] : description.iommus;
    const taps = switchedOn.map((each) => options.taps?.(each, this.memory, this.addresses.ram) ?? {});
    const memory = taps.reduce<SparseMemory>((inner, tap) => tap.deviceMemory?.(inner) ?? inner, this.memory);
    this.complex = new RootComplex({ memory, clock: this.clock, interrupts: this.processors, interruptWire: (wire, asserted) => { this.#wire(wire, asserted); }, ...(options.trace ? { trace: options.trace } : {}) });
    this.units = makeUnits({ iommus: switchedOn }, this.memory, (address, data) => { this.#ownMessage(address, data); }, taps);
    this.placed = plugFunctions(this.complex, description, this.addresses, options.make ?? (() => undefined));
    for (const { own } of this.units) if (own) this.complex.hostBridges.find(({ domain }) => domain === own.address.domain)?.bus.plug(own.fn, own.address.requester & 0xff);
    this.firmware = runFirmware(this.complex, this.placed, { vga: bootDisplayOf(description) });
    this.#covers = this.units.map(({ description: { covers } }) => covers && new Set(covers.map(canonical)));
    for (const unit of this.units) this.complex.addIommu(options.iommu?.(unit) ?? unit.iommu, unit.segment, (requester) => this.#unitFor(unit.segment, requester) === unit);
    this.map = this.#memoryMap();
    this.tables = acpiTables(this, IO_APIC_REQUESTER[description.iommus[0]?.vendor ?? "intel"]);
    this.kernel = new HostKernel(this);
  }

  /** Frames above 4 GiB, at most 16 GiB of them; undefined where there is no memory. */
  get highFrames(): FrameAllocator | undefined {
    const [, high] = this.addresses.ram;
    return (this.#highFrames ??= high && new FrameAllocator({ start: high.start / PAGE_SIZE, count: Math.min(MOST_HIGH_FRAMES, high.size / PAGE_SIZE) }));
  }

  /** The IOMMU in front of memory for a function; undefined where none is. */
  unitOf({ domain, requester }: FunctionAddress): MachineUnit | undefined {
    return this.#unitFor(domain, requester);
  }

  /** The function at an address. @throws RangeError when none is there */
  at(text: string): Attachment {
    const address = parseAddress(text);
    const seat = address && this.complex.find(address);
    if (!seat) throw new RangeError(`This machine has no function ${text}.`);
    return seat;
  }

  /** Makes the IOMMU drivers, one for each segment that has units. For the kernel. */
  makeDrivers(interruptRemapping: boolean): ReadonlyMap<number, IommuDriver> {
    const segments = [...new Set(this.units.map(({ segment }) => segment))];
    const { apic = "x2apic" } = this.description.processors;
    return new Map(
      segments.flatMap((segment) => {
        const driver = makeDriver(this.units.filter((unit) => unit.segment === segment), {
          memory: this.memory,
          frames: this.frames,
          ram: this.addresses.ram,
          covers: (unit, requester) => this.#unitFor(segment, requester) === unit,
          deviceTlb: (requester) => this.#hasDeviceTlb({ domain: segment, requester }),
          x2apic: apic === "x2apic",
          interruptRemapping,
          relax: () => void this.clock.skip(),
        });
        return driver ? [[segment, this.watch ? watchDriver(driver, this.watch) : driver] as const] : [];
      }),
    );
  }

  /** Runs everything that is due within so many nanoseconds, and has the kernel read what the IOMMUs logged. */
  advance(nanoseconds: number): void {
    this.clock.advance(nanoseconds);
    this.kernel.service();
  }

  /** Runs until nothing is due any more. */
  settle(): void {
    while (this.clock.skip());
    this.kernel.service();
  }

  #hasDeviceTlb(address: FunctionAddress): boolean {
    const seat = this.complex.find(address);
    return seat !== undefined && seat.places.ats !== 0 && (seat.fn.config.read(seat.places.ats + 6, 2) & 0x8000) !== 0;
  }

  #unitFor(domain: number, requester: RequesterId): MachineUnit | undefined {
    const key = domain * 0x1_0000 + requester;
    if (!this.#unitOf.has(key)) this.#unitOf.set(key, this.#findUnit({ domain, requester }));
    return this.#unitOf.get(key);
  }

  #findUnit(address: FunctionAddress): MachineUnit | undefined {
    const own = this.units.find((unit) => unit.own && compareAddresses(unit.own.address, address) === 0);
    if (own) return undefined;
    // What a bridge to conventional PCI sends for those behind it is nobody's address, but the bridge's.
    const seat = this.complex.find(address) ?? this.placed.find(({ seat: { fn, address: own } }) => own.domain === address.domain && fn.secondary?.number === address.requester >> 8)?.seat;
    const line = seat ? [seat, ...(seat.virtualOf ? [seat.virtualOf.physical] : []), ...bridgesAbove(seat)].map((each) => formatAddress(each.address)) : [formatAddress(address)];
    const named = this.units.find(({ segment }, i) => segment === address.domain && line.some((text) => this.#covers[i]?.has(text)));
    return named ?? this.units.find(({ segment }, i) => segment === address.domain && this.#covers[i] === undefined);
  }

  /** RAM, with VGA's window over it, and devices' addresses, with fixed registers over them. */
  #memoryMap(): MemoryMap {
    const map = new MemoryMap("host-physical memory");
    for (const { start, size } of this.addresses.ram) map.add({ kind: "ram", name: "RAM", start, size, memory: this.memory, offset: start });
    const window = (name: string, base: number, size: number, priority: number): void => void map.add({ kind: "mmio", name, start: base, size, handler: this.complex.memoryWindow(base), priority });
    window("VGA window", VGA_MEMORY.base, VGA_MEMORY.last + 1 - VGA_MEMORY.base, 1);
    for (const { base, last } of this.addresses.devices) window("PCI devices", base, last + 1 - base, 0);
    map.add({ kind: "mmio", name: "I/O APIC", start: FIXED.ioApic, size: IO_APIC_SIZE, handler: this.ioApic.registers, priority: 1 });
    for (const { registerBase, windowSize, iommu } of this.units) map.add({ kind: "mmio", name: "IOMMU", start: registerBase, size: windowSize, handler: iommu.registers, priority: 1 });
    return map;
  }

  #fromIoApic(message: Readonly<InterruptMessage>): void {
    const unit = this.units[0];
    if (unit && this.kernel.remapsInterruptsOf({ domain: 0, requester: message.requester })) unit.iommu.remapInterrupt(message, this.processors, { fault: 0, recorded: false });
    else if (decodeMessage(message, this.#interrupt)) this.processors.deliver(this.#interrupt);
  }

  /** The IOMMUs' own messages are not remapped. VT-d §5.1.6. */
  #ownMessage(address: number, data: number): void {
    if (decodeMessage({ address, data }, this.#interrupt)) this.processors.deliver(this.#interrupt);
  }

  #wire(wire: InterruptWire, asserted: boolean): void {
    this.ioApic.setPin(FIRST_WIRE_PIN + ((wire.device + wire.pin) % WIRE_PINS), asserted);
    // Wires move while functions are plugged in, before there is a kernel.
    (this.kernel as HostKernel | undefined)?.interruptWire();
  }
}

const canonical = (text: string): string => {
  const address = parseAddress(text);
  return address ? formatAddress(address) : text;
};

const bootDisplayOf = ({ firmware }: MachineDescription): FunctionAddress | "first" => (firmware.bootDisplay === undefined ? undefined : parseAddress(firmware.bootDisplay)) ?? "first";
