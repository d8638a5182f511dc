import { PAGE_SIZE } from "@iommu-lab/memory";
import { Completion } from "@iommu-lab/pci-bus";
import type { Machine } from "../machine/machine.ts";
import { equalBytes } from "./bytes.ts";
import { laboratory } from "./laboratory.ts";
import type { Scenario } from "./scenario.ts";
import type { Stage } from "./stage.ts";

const FRAME = 2 ** 20;
const PAGES = FRAME / PAGE_SIZE;
/** A block of 2^8 pages is 1 MiB. */
const ORDER = 8;
const MEMORY = 2 ** 26;
const CARD_ADDRESS = "0000:01:00.0";
const CAPTURE = { maxSize: FRAME, boundary: 2 ** 32 } as const;

interface Piece {
  readonly address: number;
  readonly size: number;
}

/** The card writes a frame, one descriptor a piece. @returns how many descriptors it took */
const capture = (machine: Machine, frame: Uint8Array, pieces: readonly Piece[]): number => {
  const { port } = machine.at(CARD_ADDRESS);
  let done = 0;
  for (const { address, size } of pieces) {
    if (port.dmaWrite(address, frame.subarray(done, done + size)) !== Completion.Successful) return -1;
    done += size;
  }
  return pieces.length;
};

/** How much of a frame is where the processor looks for it. */
const arrived = (machine: Machine, frame: Uint8Array, pages: readonly number[]): number => {
  const bytes = new Uint8Array(PAGE_SIZE);
  return pages.reduce((sum, page, i) => {
    machine.memory.readInto(page, bytes);
    return sum + equalBytes(bytes, frame, i * PAGE_SIZE);
  }, 0);
};

const scattered = (machine: Machine): number[] => Array.from({ length: PAGES }, () => machine.frames.allocate() * PAGE_SIZE);

/** A machine with little memory, with an IOMMU or without. */
const smallMachine = (stage: Stage, name: string, translated: boolean): Machine => stage.machine(name, laboratory({ memory: MEMORY, ...(translated ? {} : { iommus: [], commandLine: "" }) }));

/** S4: one large buffer in memory that is in pieces. */
export const scatterToContiguous: Scenario = {
  name: "scatter-to-contiguous",
  title: "One megabyte in pieces",
  about: "A card wants a buffer of 1 MiB in one piece, and memory is fragmented. Allocation fails; reserving memory at boot, a scatter list of 256 entries or a table inside the card get around it; an IOMMU makes one range of the pieces.",
  covers: ["R11", "R12", "R14"],
  protections: { "contiguous-range": ["iommu-descriptors"] },
  run: (stage) => {
    const frame = stage.random.bytes(FRAME);
    const bare = smallMachine(stage, "no IOMMU", false);
    const reserved = bare.frames.allocate(ORDER);
    bare.frames.fragment(0.5, stage.seed);
    const large = bare.frames.allocate(ORDER);
    stage.say("Half of the memory is free, in single pages. The kernel is asked for 1 MiB in one piece, and has none.");
    stage.check("contiguous-allocation-fails", { protected: false, expected: true, actual: large < 0 });

    const pool = Array.from({ length: PAGES }, (_, i) => (reserved + i) * PAGE_SIZE);
    stage.check("reserved-descriptors", { protected: false, expected: 1, actual: capture(bare, frame, [{ address: reserved * PAGE_SIZE, size: FRAME }]) });
    stage.check("reserved-bytes", { protected: false, expected: FRAME, actual: arrived(bare, frame, pool) });
    const pages = scattered(bare);
    stage.check("scatter-descriptors", { protected: false, expected: PAGES, actual: capture(bare, frame, pages.map((address) => ({ address, size: PAGE_SIZE }))) });
    stage.check("scatter-bytes", { protected: false, expected: FRAME, actual: arrived(bare, frame, pages) });
    stage.say(`Memory set aside at boot works, and is lost to everything else. So does a list of ${PAGES} pieces, if the card takes lists.`);
    useGart(stage, bare, frame);
    useIommu(stage, frame);
  },
};

/** A table of pages inside the card: its driver writes an entry a page, and the card has an MMU of its own to pay for. */
const useGart = (stage: Stage, machine: Machine, frame: Uint8Array): void => {
  const pages = scattered(machine);
  const table = Float64Array.from(pages);
  const { port } = machine.at(CARD_ADDRESS);
  const walk = (address: number): number => (table[address / PAGE_SIZE] ?? 0) + (address % PAGE_SIZE);
  for (let address = 0; address < FRAME; address += PAGE_SIZE) port.dmaWrite(walk(address), frame.subarray(address, address + PAGE_SIZE));
  stage.check("gart-entries", { protected: false, expected: PAGES, actual: table.length });
  stage.check("gart-bytes", { protected: false, expected: FRAME, actual: arrived(machine, frame, pages) });
  stage.say(`A graphics card brings its own table: ${PAGES} entries, for this one device.`);
};

const useIommu = (stage: Stage, frame: Uint8Array): void => {
  const machine = smallMachine(stage, "IOMMU", true);
  machine.frames.fragment(0.5, stage.seed);
  const pages = scattered(machine);
  const one = stage.has("contiguous-range");
  const dma = machine.kernel.dmaDevice(machine.at(CARD_ADDRESS).address, { segments: CAPTURE });
  const entries = pages.map((hpa) => ({ hpa, size: PAGE_SIZE }));
  const mapping = one ? dma.mapScatter(entries, "from-device") : undefined;
  const segments = mapping?.segments ?? entries.map(({ hpa, size }) => ({ address: dma.map(hpa, size, "from-device"), size }));
  const descriptors = capture(machine, frame, segments);
  stage.check("iommu-descriptors", { protected: true, expected: 1, actual: descriptors });
  stage.check("iommu-bytes", { protected: true, expected: FRAME, actual: arrived(machine, frame, pages) });
  stage.say(`The IOMMU maps the same kind of pages into one range: the card gets ${descriptors === 1 ? "one descriptor" : `${descriptors} descriptors`}, and every byte is where it belongs.`);
  stage.count("pages mapped", dma.counters.mappedPages);
};
