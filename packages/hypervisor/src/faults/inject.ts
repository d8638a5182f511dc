import { AddressType, newTranslation, NO_PASID, type Clock, type Iommu } from "@iommu-lab/pci-bus";
import type { BoardTaps } from "../board/taps.ts";
import type { GuestRam } from "../engines/engine.ts";
import { failingFetches } from "./fail-fetch.ts";
import { AMD_QUEUE, tapQueue, VTD_QUEUE, type QueueEntry, type QueueKind, type QueueRule } from "./queue-tap.ts";

/** What can be made to go wrong, for those who write drivers. */
export const INJECTIONS = {
  "drop-invalidation": "an invalidation is taken from the queue and never done",
  "delay-invalidation": "the queue's tail reaches the hardware late",
  "corrupt-descriptor": "an invalidation in the queue turns into something no hardware knows",
  "device-tlb-timeout": "an invalidation turns into one for a device that never answers",
  "fail-fetch": "the hardware cannot read a page of tables",
  "overflow-log": "so many requests of nobody fault that the fault record or event log overflows",
} as const;
export type Injection = keyof typeof INJECTIONS;

/** One thing to go wrong. */
export interface InjectedFault {
  readonly kind: Injection;
  /** Occasions that go well before it; default 0. An occasion is an invalidation, a tail, or a page that is fetched. */
  readonly after?: number;
  /** Occasions that go wrong; default 1. Of overflow-log: the requests, default 1024. */
  readonly count?: number;
  /** Of delay-invalidation: milliseconds, default 50. */
  readonly delay?: number;
}

/** What faults are injected into. */
export interface InjectionSite {
  readonly vendor: "intel" | "amd";
  readonly memory: GuestRam;
  readonly clock: Clock;
  /** Told of each fault when it happens. */
  readonly happened?: (text: string) => void;
}

const DELAY = 50;
const OVERFLOW = 1024;
/** A function that is nobody's: 00:1c.7. */
const NOBODY = 0x00e7;

/** Counts occasions: true for those that shall go wrong. */
const turns = ({ after = 0, count = 1 }: InjectedFault): (() => boolean) => {
  let seen = 0;
  return () => {
    const turn = seen++;
    return turn >= after && turn < after + count;
  };
};

const entryText = (entry: QueueEntry): string => entry.map((word) => (word >>> 0).toString(16).padStart(8, "0")).join(" ");

/** A rule that puts something in the place of some invalidations. */
const replacing = (fault: InjectedFault, what: (kind: QueueKind) => QueueEntry, { happened }: InjectionSite): QueueRule => {
  const turn = turns(fault);
  return {
    replace: (entry, kind) => {
      if (!kind.isInvalidation(entry) || !turn()) return undefined;
      happened?.(`${fault.kind}: ${entryText(entry)} became ${entryText(what(kind))}`);
      return what(kind);
    },
  };
};

const queueRule = (fault: InjectedFault, site: InjectionSite): QueueRule | undefined => {
  switch (fault.kind) {
    case "drop-invalidation":
      return replacing(fault, ({ nothing }) => nothing, site);
    case "corrupt-descriptor":
      return replacing(fault, ({ unlawful }) => unlawful, site);
    case "device-tlb-timeout":
      return replacing(fault, ({ toNobody }) => toNobody, site);
    case "delay-invalidation": {
      const turn = turns(fault);
      const delay = fault.delay ?? DELAY;
      return {
        delay: () => {
          if (!turn()) return 0;
          site.happened?.(`delay-invalidation: a tail waits ${delay} ms`);
          return delay * 1e6;
        },
      };
    }
    default:
      return undefined;
  }
};

/** The taps that make a fault happen on a board. */
export const injectFault = (fault: InjectedFault, site: InjectionSite): BoardTaps => {
  const rule = queueRule(fault, site);
  if (rule) return { registers: (handler) => tapQueue(handler, site.memory, site.clock, site.vendor === "intel" ? VTD_QUEUE : AMD_QUEUE, rule) };
  if (fault.kind !== "fail-fetch") return {};
  const turn = turns(fault);
  return failingFetches((pfn) => {
    const fails = turn();
    if (fails) site.happened?.(`fail-fetch: page 0x${pfn.toString(16)} cannot be read`);
    return fails;
  });
};

/** Lets requests fault until the log is full, for overflow-log: at once, past the bus. */
export const overflowLog = (iommu: Iommu, count = OVERFLOW): void => {
  const out = newTranslation();
  for (let page = 0; page < count; page++) iommu.translate({ requester: NOBODY, pasid: NO_PASID, addressType: AddressType.Untranslated, page: page + 1, access: 1 }, out);
};
