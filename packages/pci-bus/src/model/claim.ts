import type { AccessSize, MmioHandler } from "@iommu-lab/memory";
import { HeaderOffset } from "../config/offsets.ts";
import { Command, forwardsDown, isVga, VGA_MEMORY, type Space } from "./bridge-windows.ts";
import { setSecondaryStatus, StatusBit } from "./status-bits.ts";
import type { Attachment, Bus, Claim } from "./fabric.ts";

const ABORTED = { handler: undefined, offset: 0, room: Infinity, aborted: true } as const;

const claimBar = (seat: Attachment, space: Space, address: number): Claim | undefined => {
  for (const { bar, base, handler } of seat.decoded()) {
    if ((bar.kind === "io") !== (space === "io") || address < base || address >= base + bar.size) continue;
    return { seat, handler, offset: address - base, room: base + bar.size - address, aborted: false };
  }
  return undefined;
};

const claimVga = (seat: Attachment, space: Space, address: number): Claim | undefined => {
  const { legacyVga } = seat.fn;
  if (!legacyVga || !isVga(space, address, false)) return undefined;
  if (!(seat.fn.config.read(HeaderOffset.Command, 2) & (space === "io" ? Command.IoSpace : Command.MemorySpace))) return undefined;
  if (space === "io") return { seat, handler: legacyVga.io, offset: address, room: 4, aborted: false };
  return { seat, handler: legacyVga.memory, offset: address - VGA_MEMORY.base, room: VGA_MEMORY.last + 1 - address, aborted: false };
};

/** What one function (a bridge: with everything below it) does with an address that comes from above or beside it. */
export const claimBy = (seat: Attachment, space: Space, address: number): Claim | undefined => {
  const own = claimBar(seat, space, address) ?? claimVga(seat, space, address);
  if (own) return own;
  const { secondary, config } = seat.fn;
  if (!secondary || !forwardsDown(config, space, address)) return undefined;
  return (secondary.held ? undefined : claimOn(secondary, space, address)) ?? { seat, ...ABORTED };
};

/** The first function of a bus, by device and function number, that decodes an address; a second one is a conflict, which the trace shows. */
export const claimOn = (bus: Bus, space: Space, address: number): Claim | undefined => {
  let first: Claim | undefined;
  for (const seat of bus.everything()) {
    const claim = claimBy(seat, space, address);
    if (!claim) continue;
    if (first) seat.hop("conflict", "PCI §3.6: two functions of one bus decode the same address; the first one answers here");
    first ??= claim;
    if (!bus.host?.complex.trace) break;
  }
  return first;
};

/** Notes in the bridge above the bus that an access from the processor found nobody: Received Master Abort. PCIe §7.5.1.3.7. */
export const noteAbort = ({ seat, aborted }: Claim): void => {
  if (!aborted) return;
  setSecondaryStatus(seat.fn.config, StatusBit.ReceivedMasterAbort);
  seat.hop("aborted", "PCIe §2.3.2: nobody below decodes the address; reads give all ones");
};

const naturalSize = (offset: number, left: number): 8 | AccessSize => {
  if (offset % 8 === 0 && left >= 8) return 8;
  if (offset % 4 === 0 && left >= 4) return 4;
  return offset % 2 === 0 && left >= 2 ? 2 : 1;
};

const words = new Uint32Array(2);

/** Reads bytes from a BAR in naturally aligned accesses of up to 8 bytes. */
export const readBytes = (handler: MmioHandler | undefined, offset: number, into: Uint8Array): void => {
  if (!handler) {
    into.fill(0xff);
    return;
  }
  for (let done = 0; done < into.length; ) {
    const size = naturalSize(offset + done, into.length - done);
    if (size === 8) handler.read64(offset + done, words);
    else words[0] = handler.read(offset + done, size);
    for (let i = 0; i < size; i++) into[done + i] = ((words[i >> 2] as number) >>> (8 * (i & 3))) & 0xff;
    done += size;
  }
};

/** Writes bytes to a BAR in naturally aligned accesses of up to 8 bytes. */
export const writeBytes = (handler: MmioHandler | undefined, offset: number, from: Uint8Array): void => {
  if (!handler) return;
  for (let done = 0; done < from.length; ) {
    const size = naturalSize(offset + done, from.length - done);
    words.fill(0);
    for (let i = 0; i < size; i++) words[i >> 2] = (words[i >> 2] as number) | ((from[done + i] as number) << (8 * (i & 3)));
    if (size === 8) handler.write64(offset + done, words[0] as number, words[1] as number);
    else handler.write(offset + done, size, words[0] as number);
    done += size;
  }
};
