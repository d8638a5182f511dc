import type { AccessSize } from "@iommu-lab/memory";
import type { CapabilityImage } from "../capabilities/image.ts";
import type { ConfigSpace } from "../config-space.ts";
import { barAddress, type BarDescription, type BarState } from "./bar.ts";
import { putHeader, type BridgeWindows } from "./header-image.ts";
import { CONVENTIONAL_SIZE, EXPRESS_SIZE, HeaderOffset } from "./offsets.ts";
import { placeCapabilities } from "./placement.ts";
import { blankImage, type RegisterImage } from "./register.ts";
import { resizableBarsOf, type ResizableBars } from "./resize.ts";

/** A function's configuration space as it comes out of a cold reset. */
export interface FunctionDescription {
  /** 16 bits. */
  readonly vendor: number;
  /** 16 bits. */
  readonly device: number;
  /** 24 bits: class, subclass, programming interface, from high to low. */
  readonly classCode: number;
  /** 8 bits; the default is 0. */
  readonly revision?: number;
  /** 16 bits, type 0 only; bridges have a capability for it. */
  readonly subsystemVendor?: number;
  /** 16 bits, type 0 only. */
  readonly subsystemDevice?: number;
  /** Header type: 0 for endpoints, 1 for bridges and ports. */
  readonly header: 0 | 1;
  /** The device may have further functions. */
  readonly multifunction?: boolean;
  readonly bars?: readonly BarDescription[];
  /** Bytes of the expansion ROM, a power of two from 2 KiB to 16 MiB; 0, the default, for none. */
  readonly romSize?: number;
  /** 0 none, 1 to 4 INTA to INTD. */
  readonly interruptPin?: number;
  /** In the order of their lists. */
  readonly capabilities?: readonly CapabilityImage[];
  /** 4096 bytes instead of 256; by default, whether a PCI Express capability is among `capabilities`. */
  readonly express?: boolean;
  /** Type 1 only. */
  readonly bridge?: BridgeWindows;
}

/** Told after a configuration write: the bytes already hold their new values; `value` is what was written, for bits that start something and read as zero. */
export type ConfigWriteListener = (offset: number, size: AccessSize, value: number) => void;

const PCI_EXPRESS = 0x10;
const PCI_EXPRESS_TO_PCI = 7;

const imageOf = (description: FunctionDescription): { image: RegisterImage; offsets: Map<number, number>; extended: Map<number, number> } => {
  const { header, capabilities = [] } = description;
  const pcie = capabilities.find((each) => !each.extended && each.id === PCI_EXPRESS);
  if (header === 1 && (description.subsystemVendor ?? description.subsystemDevice) !== undefined) throw new RangeError("A type 1 header has no subsystem registers; use the bridge subsystem capability (id 0x0d).");
  const image = blankImage((description.express ?? pcie !== undefined) ? EXPRESS_SIZE : CONVENTIONAL_SIZE);
  putHeader(image, {
    vendor: description.vendor,
    device: description.device,
    classCode: description.classCode,
    revision: description.revision ?? 0,
    subsystemVendor: description.subsystemVendor ?? 0,
    subsystemDevice: description.subsystemDevice ?? 0,
    header,
    multifunction: description.multifunction ?? false,
    bars: description.bars ?? [],
    romSize: description.romSize ?? 0,
    interruptPin: description.interruptPin ?? 0,
    bridge: description.bridge ?? {},
    conventional: pcie === undefined,
    conventionalSecondary: pcie === undefined || (pcie.bytes[2]! >> 4) === PCI_EXPRESS_TO_PCI,
  });
  const offsets = new Map<number, number>();
  const extended = new Map<number, number>();
  for (const placed of placeCapabilities(image, capabilities)) {
    const into = placed.image.extended ? extended : offsets;
    if (!into.has(placed.image.id)) into.set(placed.image.id, placed.at);
  }
  return { image, offsets, extended };
};

const NO_BAR: BarState = { address: undefined, enabled: false };

/**
 * A function's configuration space with the write behaviour of every register: read-only, read-write,
 * write-one-to-clear, sticky, BAR sizing and resizing. PCIe §7.5 "PCI-Compatible and PCIe Configuration Registers".
 * Bits that start something and read as zero (Initiate FLR, Retrain Link, …) are not stored: `onWrite` shows them.
 */
export class FunctionConfig implements ConfigSpace {
  /** Bytes that exist: 256 or 4096. */
  readonly size: number;
  /** The live image. Writing to it is the hardware's way (status bits, completion of work): no mask applies and nobody is told. */
  readonly bytes: Uint8Array;
  readonly #description: FunctionDescription;
  readonly #image: RegisterImage;
  readonly #initial: Uint8Array;
  readonly #offsets: Map<number, number>;
  readonly #extended: Map<number, number>;
  readonly #resizable: readonly ResizableBars[];
  #listeners: readonly ConfigWriteListener[] = [];

  /** @throws RangeError when a value does not fit its register, a BAR is impossible, or a capability finds no room */
  constructor(description: FunctionDescription) {
    const { image, offsets, extended } = imageOf(description);
    this.#description = description;
    this.#image = image;
    this.#offsets = offsets;
    this.#extended = extended;
    this.#initial = image.bytes.slice();
    this.bytes = image.bytes;
    this.size = image.bytes.length;
    this.#resizable = resizableBarsOf(image, extended);
    for (const bars of this.#resizable) bars.apply(image);
  }

  /** Little-endian; past the end every bit reads as one. */
  read(offset: number, size: AccessSize): number {
    let value = 0;
    for (let i = size - 1; i >= 0; i--) value = value * 256 + (this.bytes[offset + i] ?? 0xff);
    return value;
  }

  /** Changes what the masks let software change, then tells the listeners. Writes past the end are dropped. */
  write(offset: number, size: AccessSize, value: number): void {
    const { bytes, writable, writeOneToClear } = this.#image;
    if (offset < 0 || offset + size > this.size) return;
    for (let i = 0; i < size; i++) {
      const at = offset + i;
      const written = (value >>> (8 * i)) & 0xff;
      const old = bytes[at]!;
      const mask = writable[at]!;
      bytes[at] = ((old & ~mask) | (written & mask)) & ~(written & writeOneToClear[at]!);
    }
    for (const bars of this.#resizable) if (bars.covers(offset, size)) bars.apply(this.#image);
    for (const listener of this.#listeners) listener(offset, size, value);
  }

  /** Calls `listener` after every write, also of read-only registers. Returns what undoes it. */
  onWrite(listener: ConfigWriteListener): () => void {
    this.#listeners = [...this.#listeners, listener];
    return () => {
      this.#listeners = this.#listeners.filter((each) => each !== listener);
    };
  }

  /** Where BAR `index` (0 to 5) stands now; of a BAR that does not exist, or an upper half: no address and not enabled. */
  bar(index: number): BarState {
    const bar = this.#description.bars?.find((each) => each.index === index);
    if (!bar) return NO_BAR;
    const enabled = (this.bytes[HeaderOffset.Command]! & (bar.kind === "io" ? 1 : 2)) !== 0;
    const address = enabled ? barAddress(this.bytes, this.#image.writable, HeaderOffset.Bar0 + 4 * index, bar.kind === "memory64") : undefined;
    return { address, enabled };
  }

  /** Where the expansion ROM stands now; it needs memory decoding and its own enable bit. PCIe §7.5.1.2.4. */
  rom(): BarState {
    if (!this.#description.romSize) return NO_BAR;
    const at = this.#description.header === 1 ? HeaderOffset.BridgeRom : HeaderOffset.Rom;
    const enabled = (this.bytes[HeaderOffset.Command]! & 2) !== 0 && (this.bytes[at]! & 1) !== 0;
    const value = this.read(at, 4);
    const address = value - (value % this.#description.romSize);
    return { address: enabled && address !== 2 ** 32 - this.#description.romSize ? address : undefined, enabled };
  }

  /** Offset of the first capability with this id, 0 when there is none. */
  capability(id: number): number {
    return this.#offsets.get(id) ?? 0;
  }

  /** Offset of the first extended capability with this id, 0 when there is none. */
  extendedCapability(id: number): number {
    return this.#extended.get(id) ?? 0;
  }

  /**
   * Sets what software or the hardware changed back to its initial value. Sticky bits survive function-level and bus resets,
   * the exceptions of PCIe §6.6.2 also function-level reset; a cold reset sets everything back. Nobody is told.
   */
  reset(kind: "function" | "bus" | "cold"): void {
    const { bytes, writable, writeOneToClear, sticky, keptByFunctionReset } = this.#image;
    if (kind === "cold") bytes.set(this.#initial);
    else
      for (let at = 0; at < this.size; at++) {
        const kept = sticky[at]! | (kind === "function" ? keptByFunctionReset[at]! : 0);
        const changed = (writable[at]! | writeOneToClear[at]!) & ~kept;
        bytes[at] = (bytes[at]! & ~changed) | (this.#initial[at]! & changed);
      }
    for (const bars of this.#resizable) bars.apply(this.#image);
  }
}
