import type { MmioHandler } from "@iommu-lab/memory";
import type { ExplanationSink, InterruptMessage, InterruptSink, InterruptVerdict } from "@iommu-lab/pci-bus";

/** The interrupt half of an IOMMU: looks an entry up, checks it, delivers, posts or blocks. */
export interface InterruptRemapper {
  /** What passes goes to `sink`; `out` is filled in and owned by the caller. */
  remap(message: Readonly<InterruptMessage>, sink: InterruptSink, out: InterruptVerdict, explain?: ExplanationSink): void;
}

/** An I/O APIC: redirection entries behind two registers, one input per pin. Intel 82093AA §3. */
export interface IoApic {
  readonly registers: MmioHandler;
  /** Number of inputs; 24 on PCs. */
  readonly pins: number;
  /** Whether an input is active; its electrical level is the caller's matter. */
  setPin(pin: number, asserted: boolean): void;
  /** A local APIC ended a level-triggered interrupt of this vector. */
  endOfInterrupt(vector: number): void;
}

/** What reaches a processor without a vector of its own. An ExtINT asks it to fetch one from the 8259. */
export type ProcessorEvent = "init" | "smi" | "nmi" | "extint" | "doorbell";

/** The local APICs of a machine: where interrupts arrive. Intel SDM vol. 3 "Advanced Programmable Interrupt Controller (APIC)". */
export interface LocalApics extends InterruptSink {
  /** APIC IDs, 8 bits in xAPIC and 32 bits in x2APIC mode. */
  readonly ids: readonly number[];
  /** Vectors requested of one processor and not yet acknowledged (IRR), highest first. */
  requested(apicId: number): readonly number[];
  /** Takes the highest requested vector whose class is above the processor's priority into service; -1 when there is none. */
  acknowledge(apicId: number): number;
  /** The processor ends the interrupt in service with the highest vector. */
  endOfInterrupt(apicId: number): void;
  /** Takes the most urgent pending event of one processor; undefined when there is none. */
  takeEvent(apicId: number): ProcessorEvent | undefined;
}
