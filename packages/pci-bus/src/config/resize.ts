import { putBarMask } from "./bar.ts";
import { HeaderOffset } from "./offsets.ts";
import type { RegisterImage } from "./register.ts";

/** BARs whose size a (VF) Resizable BAR capability controls. PCIe §7.8.6 "Resizable BAR Extended Capability". */
export interface ResizableBars {
  /** Whether an access touches the capability. */
  covers(offset: number, size: number): boolean;
  /** Gives the BARs the sizes that the control registers say; address bits that the new size does not have become zero. */
  apply(image: RegisterImage): void;
}

const RESIZABLE_BAR = 0x15;
const VF_RESIZABLE_BAR = 0x24;
const SR_IOV = 0x10;
const SR_IOV_BARS = 0x24;
/** log2 of 1 MiB, the size that BAR Size 0 stands for. */
const MEBIBYTE = 20;

const dword = (bytes: Uint8Array, at: number): number => ((bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24)) >>> 0);

/** Indices of the memory BARs that exist: those with address bits, without upper halves. */
const memoryBars = ({ bytes, writable }: RegisterImage, at: number): number[] => {
  const found: number[] = [];
  for (let index = 0; index < 6; index++) {
    const low = bytes[at + 4 * index]!;
    const wide = (low & 7) === 4;
    if ((low & 1) === 0 && (dword(writable, at + 4 * index) !== 0 || (wide && dword(writable, at + 4 * index + 4) !== 0))) found.push(index);
    if (wide) index++;
  }
  return found;
};

const resizer = (capability: number, bars: number, existing: readonly number[]): ResizableBars => ({
  // Six entries at most.
  covers: (offset, size) => offset + size > capability && offset < capability + 4 + 6 * 8,
  apply: ({ bytes, writable }) => {
    const count = Math.min(6, bytes[capability + 8]! >> 5);
    for (let entry = 0; entry < count; entry++) {
      const control = capability + 8 + 8 * entry;
      const index = bytes[control]! & 7;
      if (!existing.includes(index)) continue;
      const at = bars + 4 * index;
      const wide = (bytes[at]! & 6) === 4;
      const shift = Math.min(MEBIBYTE + (bytes[control + 1]! & 0x3f), wide ? 51 : 31);
      putBarMask(writable, at, wide ? "memory64" : "memory32", 2 ** shift);
      for (let i = 0; i < (wide ? 8 : 4); i++) bytes[at + i] = bytes[at + i]! & (writable[at + i]! | (i === 0 ? 0x0f : 0));
    }
  },
});

/** The resizable BARs of a function as built, from the offsets of its extended capabilities by id. */
export const resizableBarsOf = (image: RegisterImage, extended: ReadonlyMap<number, number>): ResizableBars[] => {
  const found: ResizableBars[] = [];
  const own = extended.get(RESIZABLE_BAR);
  const virtual = extended.get(VF_RESIZABLE_BAR);
  const sriov = extended.get(SR_IOV);
  if (own !== undefined) found.push(resizer(own, HeaderOffset.Bar0, memoryBars(image, HeaderOffset.Bar0)));
  if (virtual !== undefined && sriov !== undefined) found.push(resizer(virtual, sriov + SR_IOV_BARS, memoryBars(image, sriov + SR_IOV_BARS)));
  return found;
};
