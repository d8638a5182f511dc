import { Access, AddressType, newTranslation, NO_PASID, type ExplanationStep } from "@iommu-lab/pci-bus";
import { amdMachine } from "./amd-machine.ts";
import { DEVICE, DOMAINS, type CacheMachine, type Invalidation, type Queued } from "./machine.ts";
import { PAGES, type CacheSettings, type Operation } from "./settings.ts";
import { vtdMachine } from "./vtd-machine.ts";

/** What an operation came to. */
export type Outcome =
  | { readonly kind: "mapped"; readonly page: number; readonly frame: number }
  | { readonly kind: "unmapped"; readonly page: number }
  | { readonly kind: "moved"; readonly domain: number }
  | { readonly kind: "queued"; readonly name: string; readonly index: number }
  | { readonly kind: "rung" }
  /** `frame`: where the access ended, undefined for a refusal; `memory`: where the tables in memory lead. */
  | { readonly kind: "access"; readonly page: number; readonly write: boolean; readonly by: "device-TLB" | "IOTLB" | "walk"; readonly reads: number; readonly frame: number | undefined; readonly memory: number | undefined };

/** Whether an access ended elsewhere than the tables say: it used a translation that is gone, or was refused for a page that is there. */
export const isStale = (outcome: Outcome): boolean => outcome.kind === "access" && outcome.frame !== outcome.memory && (outcome.frame !== undefined || outcome.by === "IOTLB");

/** The machine after everything that was done. */
export interface CacheLab {
  readonly outcomes: readonly Outcome[];
  /** Frame of each page by the tables in memory now. */
  readonly memory: readonly (number | undefined)[];
  readonly contents: ReturnType<CacheMachine["contents"]>;
  readonly hasPasidCache: boolean;
  readonly deviceTlb: CacheMachine["deviceTlb"]["entries"];
  readonly queue: { readonly size: number; readonly head: number; readonly tail: number; readonly written: number; readonly status: number; readonly entries: readonly Queued[] };
  readonly domain: number;
  readonly firstPage: number;
  readonly hits: number;
  readonly misses: number;
  /** Accesses that ended elsewhere than the tables say. */
  readonly stale: number;
  /** Pages unmapped and not flushed yet. */
  readonly window: readonly number[];
}

/** Frames that pages are given, one after the other: no frame is used twice. */
const FIRST_FRAME = 0x14_0000;

/** Does everything from the beginning: the same settings give the same machine. */
export const runCaches = ({ vendor, policy, discipline, hold, absent, done }: CacheSettings): CacheLab => {
  const machine = vendor === "amd" ? amdMachine(policy, absent) : vtdMachine(policy, absent, vendor === "intel-scalable");
  const memory: (number | undefined)[] = Array.from({ length: PAGES }, () => undefined);
  const outcomes: Outcome[] = [];
  const entries: Queued[] = [];
  const out = newTranslation();
  let [frames, hits, misses, moved] = [FIRST_FRAME, 0, 0, false];
  const flushed = new Set<number>();
  const put = (...invalidations: readonly Invalidation[]): void => {
    for (const invalidation of invalidations) {
      const queued = machine.put(invalidation);
      entries.push(queued);
      outcomes.push({ kind: "queued", name: queued.name, index: queued.index });
    }
    if (!hold) machine.bell();
  };
  /** Where the tables in memory lead: the second domain's are empty. */
  const truth = (page: number): number | undefined => (moved ? undefined : memory[page]);
  const access = (page: number, write: boolean, ats: boolean): void => {
    const wanted = write ? Access.Write : Access.Read;
    const known = ats ? machine.deviceTlb.find(NO_PASID, machine.firstPage + page, wanted) : undefined;
    if (known) {
      hits++;
      outcomes.push({ kind: "access", page, write, by: "device-TLB", reads: 0, frame: known.hostPage + machine.firstPage + page - known.page, memory: truth(page) });
      return;
    }
    const steps: ExplanationStep[] = [];
    machine.translate({ requester: DEVICE, pasid: NO_PASID, addressType: ats ? AddressType.TranslationRequest : AddressType.Untranslated, page: machine.firstPage + page, access: wanted }, out, { step: (step) => { steps.push(step); } });
    const hit = steps.some(({ structure }) => structure === "IOTLB");
    if (hit) hits++;
    else misses++;
    const granted = out.fault === 0 && out.completion === 0 && (out.permissions & wanted) !== 0;
    if (granted && ats) machine.deviceTlb.insert(NO_PASID, machine.firstPage + page, out);
    outcomes.push({ kind: "access", page, write, by: hit ? "IOTLB" : "walk", reads: steps.filter(({ raw }) => raw !== undefined).length, frame: granted ? out.page : undefined, memory: truth(page) });
  };
  const unmap = (page: number): void => {
    memory[page] = undefined;
    machine.setPage(page, undefined);
    outcomes.push({ kind: "unmapped", page });
    if (discipline === "strict") put({ what: "page", page }, { what: "device", page }, { what: "wait" });
    else flushed.add(page);
  };
  const act = (operation: Operation): void => {
    switch (operation.do) {
      case "map": {
        const frame = frames++;
        memory[operation.page] = frame;
        machine.setPage(operation.page, frame);
        outcomes.push({ kind: "mapped", page: operation.page, frame });
        // What was kept as not present must go, however lazy software is with what it unmaps.
        if (absent && discipline !== "hand") put({ what: "page", page: operation.page }, { what: "wait" });
        return;
      }
      case "unmap": unmap(operation.page); return;
      case "read":
      case "write": access(operation.page, operation.do === "write", false); return;
      case "ats": access(operation.page, false, true); return;
      case "move":
        machine.move();
        moved = machine.domain() !== DOMAINS[0];
        outcomes.push({ kind: "moved", domain: machine.domain() });
        return;
      case "bell":
        machine.bell();
        outcomes.push({ kind: "rung" });
        return;
      case "invalidate-page":
        flushed.delete(operation.page);
        put({ what: "page", page: operation.page });
        return;
      case "invalidate-device": put({ what: "device", page: operation.page }); return;
      case "invalidate-domain":
      case "invalidate-global":
        flushed.clear();
        put({ what: operation.do === "invalidate-domain" ? "domain" : "global" });
        return;
      case "invalidate-source": put({ what: "source" }); return;
      case "invalidate-pasid": put({ what: "pasid" }); return;
      case "wait": put({ what: "wait" }); return;
      case "flush": {
        const late = [...flushed].map((page): Invalidation => ({ what: "device", page }));
        flushed.clear();
        put({ what: "domain" }, ...late, { what: "wait" });
      }
    }
  };
  for (const operation of done) act(operation);
  const { head, tail } = machine.pointers();
  return {
    outcomes,
    memory: memory.map((_, page) => truth(page)),
    contents: machine.contents(),
    hasPasidCache: machine.hasPasidCache,
    deviceTlb: machine.deviceTlb.entries,
    queue: { size: machine.size, head, tail, written: entries.length % machine.size, status: machine.status(), entries },
    domain: machine.domain(),
    firstPage: machine.firstPage,
    hits,
    misses,
    stale: outcomes.filter(isStale).length,
    window: [...flushed],
  };
};
