import type { AccessSize } from "@iommu-lab/memory";
import type { FunctionAddress } from "../requester-id.ts";
import type { RootComplex } from "./root-complex.ts";
import { liveBytes } from "./status-bits.ts";
import type { Attachment, Bus } from "./fabric.ts";

/** What an operating system can read about a function of the model. */
export interface ModelFunctionFacts {
  readonly address: FunctionAddress;
  /** A copy of all 256 or 4096 bytes. */
  readonly config: Uint8Array;
  /** The bridge above; undefined on a root bus. */
  readonly parent: FunctionAddress | undefined;
  /** The root bus at the top. */
  readonly rootBus: number;
  /** Of a virtual function. */
  readonly physicalFunction?: FunctionAddress;
}

const WORD: AccessSize = 4;

const bytesOf = ({ fn }: Attachment): Uint8Array => {
  const live = liveBytes(fn.config);
  if (live) return live.slice();
  const bytes = new Uint8Array(fn.config.size);
  const view = new DataView(bytes.buffer);
  for (let at = 0; at < bytes.length; at += WORD) view.setUint32(at, fn.config.read(at, WORD), true);
  return bytes;
};

const factsOf = (seat: Attachment, parent: FunctionAddress | undefined, rootBus: number): ModelFunctionFacts => ({
  address: seat.address,
  config: bytesOf(seat),
  parent,
  rootBus,
  ...(seat.virtualOf ? { physicalFunction: seat.virtualOf.physical.address } : {}),
});

const describeBus = (bus: Bus, rootBus: number): ModelFunctionFacts[] => {
  const parent = bus.bridge?.address;
  const reachable = bus.held ? [] : bus.everything();
  const own = [...reachable].sort((a, b) => a.requester - b.requester).map((seat) => factsOf(seat, parent, rootBus));
  return [...own, ...bus.functions().flatMap(({ fn }) => (fn.secondary && !bus.held ? describeBus(fn.secondary, rootBus) : []))];
};

/**
 * All functions in the order an operating system creates them: per root bus the functions of a bus by requester ID,
 * then, bridge by bridge, those below. Bus numbers must have been assigned.
 */
export const describeFunctions = (complex: RootComplex): ModelFunctionFacts[] => complex.hostBridges.flatMap((host) => describeBus(host.bus, host.firstBus));
