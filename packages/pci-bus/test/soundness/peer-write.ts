import type { RequesterId } from "@iommu-lab/pci-bus";
import type { Attachment, ForgedDmaOptions } from "@iommu-lab/pci-bus/model";
import type { RunningMachine } from "./planned-machine.ts";

/** How one function's write to another's BAR address ended. */
export interface PeerWrite {
  readonly from: Attachment;
  readonly to: Attachment;
  /** The bytes are in the target's BAR. */
  readonly arrived: boolean;
  /** Under which requester IDs the IOMMU heard of it. */
  readonly heard: readonly RequesterId[];
  /** Where the request turned to its target instead of going up, and the neighbour there through which it went down. */
  readonly turn: { readonly at: Attachment; readonly to: Attachment } | undefined;
}

/** `seat` and the bridges above it, from below. */
export const pathUp = (seat: Attachment): Attachment[] => [seat, ...(seat.bus.bridge ? pathUp(seat.bus.bridge) : [])];

/** Arbitrary; told apart from the zero that every BAR holds at first. */
const MARK = 0x5a;

/** Lets a function write to the first BAR of another and looks what came of it; the BAR is zero again afterwards. */
export const writeToPeer = ({ bench, iommu }: RunningMachine, from: Attachment, to: Attachment, options: ForgedDmaOptions = {}): PeerWrite => {
  const bar = to.decoded()[0];
  if (!bar?.handler) throw new RangeError("The target decodes no BAR.");
  bench.hops.length = 0;
  iommu.requests.length = 0;
  from.port.dmaWrite(bar.base, Uint8Array.of(MARK), options);
  const arrived = bar.handler.read(0, 1) === MARK;
  bar.handler.write(0, 1, 0);
  const direct = bench.hops.find(({ decision }) => decision === "direct");
  const at = direct && pathUp(from).find(({ requester }) => requester === direct.at);
  const neighbour = at && pathUp(to).find(({ bus }) => bus === at.bus);
  return { from, to, arrived, heard: iommu.requests.map(({ requester }) => requester), turn: at && neighbour ? { at, to: neighbour } : undefined };
};

/** Every ordered pair of endpoint functions. */
export const everyPair = ({ endpoints }: RunningMachine): (readonly [Attachment, Attachment])[] => endpoints.flatMap((from) => endpoints.filter((to) => to !== from).map((to) => [from, to] as const));
