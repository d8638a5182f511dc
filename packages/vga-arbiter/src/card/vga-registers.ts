/** Bits of the registers that decide about accesses. IBM PS/2 Hardware Interface Technical Reference, "Video Subsystem". */
export const Misc = { ColorAddresses: 1, RamEnable: 2 } as const;
/** Sequencer registers; from 0x10 on this card's own. */
export const Sequencer = { MapMask: 2, MemoryMode: 4, Bank: 0x10, BankControl: 0x11 } as const;
/** SR04. */
export const MemoryMode = { Sequential: 4, Chain4: 8 } as const;
/** SR11 of this card: the window shows 64 KiB of all memory, as chosen by SR10. */
export const BankControl = { Enable: 1 } as const;
/** Graphics controller registers GR00 to GR08. */
export const Graphics = { SetReset: 0, EnableSetReset: 1, ColorCompare: 2, DataRotate: 3, ReadMap: 4, Mode: 5, Miscellaneous: 6, ColorDontCare: 7, BitMask: 8 } as const;
/** GR05. */
export const GraphicsMode = { WriteMode: 3, ReadMode: 8, OddEven: 0x10 } as const;

const PALETTE_ENTRIES = 256;

/** A palette with its index counters: ports 3c6 to 3c9. Six bits a component. */
export class Palette {
  readonly colors = new Uint8Array(3 * PALETTE_ENTRIES);
  mask = 0xff;
  #at = 0;
  #reading = false;

  get state(): number {
    return this.#reading ? 3 : 0;
  }

  get writeIndex(): number {
    return Math.floor(this.#at / 3);
  }

  startRead(index: number): void {
    this.#at = 3 * index;
    this.#reading = true;
  }

  startWrite(index: number): void {
    this.#at = 3 * index;
    this.#reading = false;
  }

  /** The next component; the index moves on by itself. */
  read(): number {
    return this.colors[this.#advance()] as number;
  }

  write(value: number): void {
    this.colors[this.#advance()] = value & 0x3f;
  }

  #advance(): number {
    const at = this.#at;
    this.#at = (at + 1) % this.colors.length;
    return at;
  }
}

/** An index register and the data registers behind it; writes to registers that are not there are dropped. */
export class IndexedRegisters {
  readonly values: Uint8Array;
  index = 0;

  constructor(count: number) {
    this.values = new Uint8Array(count);
  }

  get(index: number): number {
    return this.values[index] ?? 0xff;
  }

  read(): number {
    return this.get(this.index);
  }

  write(value: number): void {
    if (this.index < this.values.length) this.values[this.index] = value;
  }
}

/** The registers of a VGA. */
export class VgaRegisters {
  misc = 0;
  feature = 0;
  /** Port 3c3. */
  enable = 0;
  readonly sequencer = new IndexedRegisters(0x12);
  readonly graphics = new IndexedRegisters(9);
  readonly crtc = new IndexedRegisters(0x19);
  readonly attribute = new IndexedRegisters(0x15);
  readonly palette = new Palette();
  /** The next write to port 3c0 is data. */
  attributeData = false;
  /** Display enable and vertical retrace: toggle with every read, so that whoever polls goes on. */
  status = 0;
}
