import { Graphics, BankControl, GraphicsMode, MemoryMode, Misc, Sequencer, type VgaRegisters } from "./vga-registers.ts";
import { PLANE_SIZE, PLANES, type VideoMemory } from "./video-memory.ts";

/** The four ranges that GR06 bits 3:2 choose from, counted from 0xa_0000. */
const RANGES = [
  { base: 0, size: 0x2_0000 },
  { base: 0, size: 0x1_0000 },
  { base: 0x1_0000, size: 0x8000 },
  { base: 0x1_8000, size: 0x8000 },
] as const;

/** Which bytes of the planes an access reaches. */
interface Target {
  /** Address in the planes, 16 bits. */
  readonly at: number;
  /** Bit set of planes. */
  readonly planes: number;
}

const ALL_PLANES = 0xf;
const FLOATING = 0xff;

const rotate = (value: number, by: number): number => ((value >>> by) | (value << (8 - by))) & 0xff;

/** VGA's window at 0xa_0000: how a byte of the processor becomes bytes of four planes, and back. Offsets count from 0xa_0000. */
export class VgaWindow {
  /** What the last read took from each plane. */
  readonly latches = new Uint8Array(PLANES);
  readonly #registers: VgaRegisters;
  readonly #memory: VideoMemory;

  constructor(registers: VgaRegisters, memory: VideoMemory) {
    this.#registers = registers;
    this.#memory = memory;
  }

  /** Whether the card answers there: its RAM is enabled, and the range chosen by GR06 holds the offset. */
  decodes(offset: number): boolean {
    return this.#place(offset) !== undefined;
  }

  read(offset: number): number {
    const place = this.#place(offset);
    if (place === undefined) return FLOATING;
    const banked = this.#banked(place);
    if (banked !== undefined) return this.#memory.bytes[banked] as number;
    const mode = this.#graphics(Graphics.Mode);
    const { at, planes } = this.#readTarget(place);
    for (let plane = 0; plane < PLANES; plane++) this.latches[plane] = this.#memory.readPlane(plane, at);
    if (mode & GraphicsMode.ReadMode) return this.#compare();
    return this.latches[Math.log2(planes)] as number;
  }

  write(offset: number, value: number): void {
    const place = this.#place(offset);
    if (place === undefined) return;
    const banked = this.#banked(place);
    if (banked !== undefined) {
      this.#memory.bytes[banked] = value;
      return;
    }
    const { at, planes } = this.#writeTarget(place);
    const selected = planes & this.#sequencer(Sequencer.MapMask);
    for (let plane = 0; plane < PLANES; plane++) if (selected & (1 << plane)) this.#memory.writePlane(plane, at, this.#produce(plane, value));
  }

  #graphics(index: number): number {
    return this.#registers.graphics.get(index);
  }

  #sequencer(index: number): number {
    return this.#registers.sequencer.get(index);
  }

  #place(offset: number): number | undefined {
    if (!(this.#registers.misc & Misc.RamEnable)) return undefined;
    const { base, size } = RANGES[(this.#graphics(Graphics.Miscellaneous) >>> 2) & 3] as (typeof RANGES)[number];
    return offset >= base && offset < base + size ? offset - base : undefined;
  }

  /** This card's own bank register shows 64 KiB of all video memory, without planes. */
  #banked(place: number): number | undefined {
    if (!(this.#sequencer(Sequencer.BankControl) & BankControl.Enable)) return undefined;
    return (this.#sequencer(Sequencer.Bank) * PLANE_SIZE + (place % PLANE_SIZE)) % this.#memory.bytes.length;
  }

  #readTarget(place: number): Target {
    const at = place % PLANE_SIZE;
    if (this.#sequencer(Sequencer.MemoryMode) & MemoryMode.Chain4) return { at: at & ~3, planes: 1 << (at & 3) };
    const map = this.#graphics(Graphics.ReadMap) & 3;
    if (this.#graphics(Graphics.Mode) & GraphicsMode.OddEven) return { at: at & ~1, planes: 1 << ((map & 2) | (at & 1)) };
    return { at, planes: 1 << map };
  }

  #writeTarget(place: number): Target {
    const at = place % PLANE_SIZE;
    const mode = this.#sequencer(Sequencer.MemoryMode);
    if (mode & MemoryMode.Chain4) return { at: at & ~3, planes: 1 << (at & 3) };
    if (!(mode & MemoryMode.Sequential)) return { at: at & ~1, planes: at & 1 ? 0xa : 0x5 };
    return { at, planes: ALL_PLANES };
  }

  /** Read mode 1: a bit is set where all planes that count have the color to compare with. */
  #compare(): number {
    const [color, care] = [this.#graphics(Graphics.ColorCompare), this.#graphics(Graphics.ColorDontCare)];
    let differs = 0;
    for (let plane = 0; plane < PLANES; plane++) if (care & (1 << plane)) differs |= (this.latches[plane] as number) ^ (color & (1 << plane) ? 0xff : 0);
    return ~differs & 0xff;
  }

  /** What one plane gets. */
  #produce(plane: number, value: number): number {
    const latch = this.latches[plane] as number;
    const rotated = rotate(value, this.#graphics(Graphics.DataRotate) & 7);
    const setReset = this.#graphics(Graphics.SetReset) & (1 << plane) ? 0xff : 0;
    const mask = this.#graphics(Graphics.BitMask);
    switch (this.#graphics(Graphics.Mode) & GraphicsMode.WriteMode) {
      case 0: return this.#merge(this.#graphics(Graphics.EnableSetReset) & (1 << plane) ? setReset : rotated, latch, mask);
      case 1: return latch;
      case 2: return this.#merge(value & (1 << plane) ? 0xff : 0, latch, mask);
      default: return this.#merge(setReset, latch, mask & rotated);
    }
  }

  /** GR03 combines with the latch; where the bit mask is 0, the latch stays. */
  #merge(data: number, latch: number, mask: number): number {
    const operation = (this.#graphics(Graphics.DataRotate) >>> 3) & 3;
    const combined = operation === 1 ? data & latch : operation === 2 ? data | latch : operation === 3 ? data ^ latch : data;
    return (combined & mask) | (latch & ~mask & 0xff);
  }
}
