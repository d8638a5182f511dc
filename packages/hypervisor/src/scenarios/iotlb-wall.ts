import { PAGE_SIZE } from "@iommu-lab/memory";
import { Access } from "@iommu-lab/pci-bus";
import type { Machine } from "../machine/machine.ts";
import { laboratory } from "./laboratory.ts";
import type { Scenario } from "./scenario.ts";
import type { Stage } from "./stage.ts";

const CARD_ADDRESS = "0000:01:00.0";
const WAYS = 4;
/** Entries of the IOTLBs that are tried, and pages of the rings. */
const SIZES = [64, 256] as const;
const RINGS = [16, 64, 128, 256, 512] as const;
const LARGE_PAGE = 2 ** 21;
const ROUNDS = 4;
/** Cost model: PCIe latency is hidden, a miss is not. performance.md gives 330 ns for a miss of real hardware. */
const COSTS = { hit: 20, miss: 330 } as const;
const BASE = 0x4000_0000;

/** A domain of the card with a ring of so many pages behind small or large pages. */
const ringOf = (machine: Machine, pages: number, large: boolean): void => {
  const { address } = machine.at(CARD_ADDRESS);
  const driver = machine.kernel.driverOf(address);
  if (!driver) return;
  const domain = driver.createDomain({ kind: "paging" });
  driver.attach(address.requester, domain);
  const block = machine.frames.allocate(9) * PAGE_SIZE;
  for (let page = 0; page < pages; page += large ? LARGE_PAGE / PAGE_SIZE : 1) {
    if (large) domain.map(BASE + page * PAGE_SIZE, block, LARGE_PAGE, Access.Read | Access.Write);
    // In reverse, so that no two pages make a larger one.
    else domain.map(BASE + page * PAGE_SIZE, block + (LARGE_PAGE / PAGE_SIZE - 1 - page) * PAGE_SIZE, PAGE_SIZE, Access.Read | Access.Write);
  }
};

/** The card goes round its ring: misses of the rounds after the first. */
const missesOf = (machine: Machine, pages: number): number => {
  const { port } = machine.at(CARD_ADDRESS);
  const counts = machine.units[0]?.counts;
  if (!counts) return -1;
  const byte = new Uint8Array(64);
  const round = (): void => {
    for (let page = 0; page < pages; page++) port.dmaRead(BASE + page * PAGE_SIZE, byte);
  };
  round();
  const before = counts().misses;
  for (let i = 1; i < ROUNDS; i++) round();
  return counts().misses - before;
};

const tryRing = (stage: Stage, entries: number, pages: number, large: boolean): number => {
  const machine = stage.machine(`${entries} entries, ${pages} pages${large ? ", large" : ""}`, laboratory({ iommus: [{ iotlb: { sets: entries / WAYS, ways: WAYS } }] }));
  ringOf(machine, pages, large);
  return missesOf(machine, pages);
};

/** S6: the IOTLB is a wall. */
export const iotlbWall: Scenario = {
  name: "iotlb-wall",
  title: "Where the IOTLB ends",
  about: "A card goes round a ring of buffers. While the ring fits the IOTLB nothing is walked; one page more than fits, used in turn, and everything is. Pages of 2 MiB move the wall; Sandy Bridge's second stage has none.",
  covers: ["R15", "R72", "R83"],
  protections: { "large-pages": ["large-pages-misses"] },
  run: (stage) => {
    let hits = 0;
    let misses = 0;
    for (const entries of SIZES)
      for (const pages of RINGS) {
        const missed = tryRing(stage, entries, pages, false);
        // Pages used in turn, and the least recently used one replaced: all stay, or none does.
        const expected = pages <= entries ? 0 : pages * (ROUNDS - 1);
        stage.check(`misses-${entries}-entries-${pages}-pages`, { protected: pages <= entries, expected, actual: missed });
        misses += missed;
        hits += pages * (ROUNDS - 1) - missed;
        stage.progress(SIZES.indexOf(entries) * RINGS.length + RINGS.indexOf(pages) + 1, SIZES.length * RINGS.length + 1);
      }
    stage.say(`IOTLBs of ${SIZES.join(" and ")} entries, rings of ${RINGS.join(", ")} pages: the wall stands exactly where the ring no longer fits.`);
    const most = RINGS[RINGS.length - 1] as number; // not empty
    const large = tryRing(stage, SIZES[0], most, stage.has("large-pages"));
    stage.check("large-pages-misses", { protected: true, expected: 0, actual: large });
    stage.say(`With one page of 2 MiB the ring of ${most} pages needs one entry. Sandy Bridge's units have no large pages in their second stage: there it stays at the wall.`);
    stage.count("hits", hits);
    stage.count("misses", misses);
    stage.model({ model: "walk-latency", parameters: COSTS, values: { "all accesses": hits * COSTS.hit + misses * COSTS.miss, "if all hit": (hits + misses) * COSTS.hit } });
  },
};
