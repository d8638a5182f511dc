import type { MmioHandler } from "@iommu-lab/memory";
import type { ExplanationSink, Interrupt, InterruptMessage, InterruptSink, InterruptVerdict } from "@iommu-lab/pci-bus";

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
  /** Level of an input, active high after polarity. */
  setPin(pin: number, asserted: boolean): void;
  /** A local APIC ended a level-triggered interrupt of this vector. */
  endOfInterrupt(vector: number): void;
}

/** The local APICs of a machine: where interrupts arrive. Intel SDM vol. 3 "Advanced Programmable Interrupt Controller". */
export interface LocalApics extends InterruptSink {
  /** APIC IDs, 8 bits in xAPIC and 32 bits in x2APIC mode. */
  readonly ids: readonly number[];
  /** Takes the highest pending vector of one processor; -1 when nothing is pending. */
  acknowledge(apicId: number): number;
  /** Everything accepted and not yet acknowledged by one processor, in order of arrival. */
  pending(apicId: number): readonly Readonly<Interrupt>[];
}
