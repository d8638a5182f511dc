/** A guest with an edu device, and faults that begin at a chosen occasion. */
import { EduFunction } from "../../src/devices/index.ts";
import { AMD_QUEUE, injectFault, tapQueue, VTD_QUEUE, type InjectedFault } from "../../src/faults/index.ts";
import type { BoardTaps } from "../../src/board/index.ts";
import type { ScriptedSession } from "../../src/engines/index.ts";
import { runGuest, type Guest, type GuestRun } from "../guest.ts";

export type Vendor = "intel" | "amd";
export const VENDORS = ["intel", "amd"] as const;
export const EDU = 0x30;

/** Occasions of each kind so far. */
export interface Occasions {
  invalidations: number;
  tails: number;
  fetches: number;
}

/** A guest of the faults' tests; `occasions` counts what passes without changing it. */
export type FaultScript = (guest: Guest, occasions: Readonly<Occasions>) => Iterable<void>;

const counting = (vendor: Vendor, session: ScriptedSession, occasions: Occasions): BoardTaps => ({
  registers: (handler) => {
    const kind = vendor === "intel" ? VTD_QUEUE : AMD_QUEUE;
    return tapQueue(handler, session.memory, session.clock, kind, {
      replace: (entry) => {
        if (kind.isInvalidation(entry)) occasions.invalidations++;
        return undefined;
      },
      delay: () => {
        occasions.tails++;
        return 0;
      },
    });
  },
  tableMemory: (memory) => ({
    wordsOf: (pfn) => {
      occasions.fetches++;
      return memory.wordsOf(pfn);
    },
    wordOf: (pfn) => memory.wordOf(pfn),
    write32: (at, value) => { memory.write32(at, value); },
  }),
});

/** Runs a script with a fault; what was told of it. */
export const runWithFault = async (vendor: Vendor, fault: InjectedFault | undefined, script: FaultScript): Promise<GuestRun & { readonly told: readonly string[] }> => {
  const told: string[] = [];
  const occasions: Occasions = { invalidations: 0, tails: 0, fetches: 0 };
  const run = await runGuest(
    {
      iommu: { vendor },
      devices: () => [{ devfn: EDU, fn: new EduFunction() }],
      // The second is farther from the IOMMU, on the registers' side: it sees what software wrote.
      taps: (session) => [...(fault ? [injectFault(fault, { vendor, memory: session.memory, clock: session.clock, happened: (text) => told.push(text) })] : []), counting(vendor, session, occasions)],
    },
    (guest) => script(guest, occasions),
  );
  return { ...run, told };
};

/** How many occasions a script lets pass before it says `mark`. */
export const occasionsBefore = async (vendor: Vendor, script: (mark: () => void) => FaultScript): Promise<Occasions> => {
  let at: Occasions = { invalidations: -1, tails: -1, fetches: -1 };
  await runWithFault(vendor, undefined, (guest, occasions) => script(() => { at = { ...occasions }; })(guest, occasions));
  return at;
};

/** Lets edu read 64 bytes; whether it could. */
export const eduReads = ({ cpu }: Guest, address: number): boolean => {
  const base = cpu.bar(EDU, 0);
  for (const [at, value] of [[0x80, address], [0x88, 0x4_0000], [0x90, 64]] as const) {
    cpu.write(base + at, 4, value % 2 ** 32);
    cpu.write(base + at + 4, 4, Math.floor(value / 2 ** 32));
  }
  cpu.write(base + 0x98, 4, 1);
  return (cpu.read(base + 0x98, 4) & 8) === 0;
};
