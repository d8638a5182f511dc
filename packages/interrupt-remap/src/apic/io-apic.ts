import type { AccessSize, MmioHandler } from "@iommu-lab/memory";
import type { InterruptMessage, RequesterId } from "@iommu-lab/pci-bus";
import type { IoApic } from "../interfaces.ts";
import { isLevel, MASKED, messageAddress, messageData, PENDING, REMOTE_IRR, VECTOR, WRITABLE_HIGH, WRITABLE_LOW } from "./redirection-entry.ts";

/** What an I/O APIC is and where its messages go. */
export interface IoApicOptions {
  /** Requester ID of its messages: what the DMAR or IVRS table says of it. */
  readonly requester: RequesterId;
  /** Takes a message: a remapping unit, or `decodeMessage` and the local APICs. The record is reused. */
  readonly send: (message: Readonly<InterruptMessage>) => void;
  /** Inputs, 1 to 120. Default 24. */
  readonly pins?: number;
  /** APIC ID after reset, 4 bits. Default 0. */
  readonly id?: number;
  /** 11h as the 82093AA, or 20h, which has an EOI register. Default 20h. */
  readonly version?: 0x11 | 0x20;
}

/** Offsets in the register window. */
const SELECT = 0x00;
const WINDOW = 0x10;
const EOI = 0x40;
/** Registers behind the window. */
const ID = 0x00;
const VERSION = 0x01;
const ARBITRATION = 0x02;
const FIRST_ENTRY = 0x10;

/**
 * An I/O APIC as in the 82093AA and the ICH chipsets: redirection entries behind IOREGSEL (offset 0) and IOWIN (offset 10h),
 * and from version 20h on an EOI register (offset 40h). Intel 82093AA §3.
 * The window takes 32-bit accesses; offsets that nothing decodes read as 0.
 */
export class IoApicModel implements IoApic {
  readonly pins: number;
  readonly registers: MmioHandler;
  readonly #send: IoApicOptions["send"];
  readonly #version: number;
  readonly #resetId: number;
  readonly #message: InterruptMessage;
  /** Low and high word of every entry. */
  readonly #entries: Uint32Array;
  readonly #active: Uint8Array;
  #select = 0;
  #id: number;
  #arbitration: number;

  /** @throws RangeError when the number of pins or the ID is impossible */
  constructor(options: IoApicOptions) {
    const { pins = 24, id = 0, version = 0x20 } = options;
    if (!(Number.isInteger(pins) && pins >= 1 && pins <= 120)) throw new RangeError(`An I/O APIC of ${pins} pins is impossible; it has 1 to 120.`);
    if (!(Number.isInteger(id) && id >= 0 && id <= 15)) throw new RangeError(`An I/O APIC's ID is 0 to 15, not ${id}.`);
    this.pins = pins;
    this.#send = options.send;
    this.#version = version;
    this.#resetId = id;
    this.#id = id;
    this.#arbitration = id;
    this.#message = { requester: options.requester, address: 0, data: 0 };
    this.#entries = new Uint32Array(2 * pins);
    this.#active = new Uint8Array(pins);
    this.registers = {
      read: (offset, size) => this.#read(offset, size),
      write: (offset, size, value) => {
        this.#write(offset, size, value);
      },
      read64: (offset, into) => {
        into[0] = this.#read(offset, 4);
        into[1] = this.#read(offset + 4, 4);
      },
      write64: (offset, low, high) => {
        this.#write(offset, 4, low);
        this.#write(offset + 4, 4, high);
      },
    };
    this.reset();
  }

  /** Power-on: every entry masked and 0. The inputs stay as they are. */
  reset(): void {
    this.#select = 0;
    this.#id = this.#resetId;
    this.#arbitration = this.#resetId;
    for (let pin = 0; pin < this.pins; pin++) {
      this.#entries[2 * pin] = MASKED;
      this.#entries[2 * pin + 1] = 0;
    }
  }

  /** An edge that comes while the entry is masked is lost; a level is seen when the mask goes. @throws RangeError when there is no such pin */
  setPin(pin: number, asserted: boolean): void {
    if (!(Number.isInteger(pin) && pin >= 0 && pin < this.pins)) throw new RangeError(`This I/O APIC has no pin ${pin}; its pins are 0 to ${this.pins - 1}.`);
    const rises = asserted && this.#active[pin] === 0;
    this.#active[pin] = asserted ? 1 : 0;
    const low = this.#entries[2 * pin] as number; // pin < pins
    if (isLevel(low)) this.#service(pin);
    else if (rises && (low & MASKED) === 0) this.#sendOf(pin);
  }

  /** Ends every level-triggered interrupt of the vector; one whose input is still active is sent again. */
  endOfInterrupt(vector: number): void {
    for (let pin = 0; pin < this.pins; pin++) {
      const low = this.#entries[2 * pin] as number; // pin < pins
      if ((low & VECTOR) !== vector || !isLevel(low) || (low & REMOTE_IRR) === 0) continue;
      this.#entries[2 * pin] = low & ~REMOTE_IRR;
      this.#service(pin);
    }
  }

  /** Sends a level-triggered interrupt if its input is active, nothing masks it and none is in service. */
  #service(pin: number): void {
    const low = this.#entries[2 * pin] as number; // pin < pins
    if (this.#active[pin] === 0 || !isLevel(low) || (low & (MASKED | REMOTE_IRR)) !== 0) return;
    // Model: a message is accepted when it is sent, as posted writes are; one that a remapping unit blocks keeps Remote IRR set.
    this.#entries[2 * pin] = low | REMOTE_IRR;
    this.#sendOf(pin);
  }

  #sendOf(pin: number): void {
    const low = this.#entries[2 * pin] as number; // pin < pins
    this.#message.address = messageAddress(low, this.#entries[2 * pin + 1] as number);
    this.#message.data = messageData(low);
    this.#entries[2 * pin] = low | PENDING;
    this.#send(this.#message);
    this.#entries[2 * pin] = (this.#entries[2 * pin] as number) & ~PENDING;
  }

  #read(offset: number, size: AccessSize): number {
    const base = offset & ~3;
    const value = base === SELECT ? this.#select : base === WINDOW ? this.#readSelected() : 0;
    const shifted = value >>> ((offset & 3) * 8);
    return size === 4 ? shifted : shifted & (size === 1 ? 0xff : 0xffff);
  }

  #write(offset: number, size: AccessSize, value: number): void {
    if (offset === SELECT) this.#select = value & 0xff;
    else if (offset === WINDOW && size === 4) this.#writeSelected(value);
    else if (offset === EOI && this.#version >= 0x20) this.endOfInterrupt(value & 0xff);
  }

  #readSelected(): number {
    switch (this.#select) {
      case ID:
        return this.#id << 24;
      case VERSION:
        return this.#version | ((this.pins - 1) << 16);
      case ARBITRATION:
        return this.#arbitration << 24;
    }
    const word = this.#select - FIRST_ENTRY;
    return word >= 0 && word < 2 * this.pins ? (this.#entries[word] as number) : 0;
  }

  #writeSelected(value: number): void {
    const word = this.#select - FIRST_ENTRY;
    if (this.#select === ID) {
      this.#id = (value >>> 24) & 0xf;
      this.#arbitration = this.#id;
    } else if (word >= 0 && word < 2 * this.pins) this.#writeEntry(word, value);
  }

  #writeEntry(word: number, value: number): void {
    if ((word & 1) === 1) {
      this.#entries[word] = value & WRITABLE_HIGH;
      return;
    }
    const old = this.#entries[word] as number; // a word of an entry
    const written = (old & ~WRITABLE_LOW) | (value & WRITABLE_LOW);
    // Remote IRR means nothing for edges; software switches to edge and back to clear it where there is no EOI register.
    this.#entries[word] = isLevel(written) ? written : written & ~REMOTE_IRR;
    this.#service(word >>> 1);
  }
}
