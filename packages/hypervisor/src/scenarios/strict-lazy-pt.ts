import { PAGE_SIZE } from "@iommu-lab/memory";
import { Completion } from "@iommu-lab/pci-bus";
import type { Machine } from "../machine/machine.ts";
import { bytesOf } from "./bytes.ts";
import { laboratory } from "./laboratory.ts";
import type { Scenario } from "./scenario.ts";
import type { Stage } from "./stage.ts";

const CARD_ADDRESS = "0000:01:00.0";
const PACKETS = 512;
/** Linux's flush queue holds so many before it must flush. */
const QUEUE = 256;
/** Nanoseconds. Map and unmap of 4 KiB: Linux commit message of iommupt's VT-d second stage (2025); the wait is assumed. */
const COSTS = { map: 53, unmap: 67, invalidationWait: 1000, queueEntry: 10 } as const;
const SECRET = 0x77;

interface Traffic {
  /** Bytes of pages reused by somebody else that the device read after its unmap. */
  readonly stolen: number;
  readonly waits: number;
  readonly stalePeak: number;
  readonly time: number;
}

/** Packets: map, the card works, unmap, the page goes to somebody else; the card tries again. */
const traffic = (machine: Machine): Traffic => {
  const { port, address } = machine.at(CARD_ADDRESS);
  const dma = machine.kernel.dmaDevice(address);
  const page = new Uint8Array(PAGE_SIZE);
  let stolen = 0;
  for (let i = 0; i < PACKETS; i++) {
    const frame = machine.frames.allocate();
    const hpa = frame * PAGE_SIZE;
    const iova = dma.map(hpa, PAGE_SIZE, "to-device");
    port.dmaRead(iova, page);
    dma.unmap(iova, PAGE_SIZE, "to-device");
    machine.memory.writeFrom(hpa, new Uint8Array(PAGE_SIZE).fill(SECRET));
    page.fill(0);
    if (port.dmaRead(iova, page) === Completion.Successful) stolen += bytesOf(page, SECRET);
    machine.memory.writeFrom(hpa, new Uint8Array(PAGE_SIZE));
  }
  const { invalidationWaits: waits, stalePagesPeak: stalePeak, mode } = { ...dma.counters, mode: dma.mode };
  const per = mode === "identity" ? 0 : COSTS.map + COSTS.unmap + (mode === "lazy" ? COSTS.queueEntry : 0);
  return { stolen, waits, stalePeak, time: PACKETS * per + waits * COSTS.invalidationWait };
};

const run = (stage: Stage, name: string, commandLine: string): Traffic => traffic(stage.machine(name, laboratory({ commandLine })));

/** S7: when a mapping is really gone. */
export const strictLazyPt: Scenario = {
  name: "strict-lazy-pt",
  title: "When is a mapping really gone?",
  about: "A page is unmapped and given to somebody else, and the device looks once more. In strict mode it sees nothing; in lazy mode many unmaps share one invalidation, and until then it sees everything; with iommu=pt it always does.",
  covers: ["R15", "R19", "R59"],
  protections: { strict: ["strict-stolen", "strict-waits"] },
  run: (stage) => {
    const strict = run(stage, "strict", stage.has("strict") ? "intel_iommu=on iommu.strict=1" : "intel_iommu=on iommu.strict=0");
    stage.check("strict-stolen", { protected: true, expected: 0, actual: strict.stolen });
    stage.check("strict-waits", { protected: true, expected: PACKETS, actual: strict.waits });
    const lazy = run(stage, "lazy", "intel_iommu=on iommu.strict=0");
    // The unmap that fills the queue flushes it, its own page too.
    stage.check("lazy-stolen", { protected: false, expected: (PACKETS - Math.floor(PACKETS / QUEUE)) * PAGE_SIZE, actual: lazy.stolen });
    stage.check("lazy-waits", { protected: false, expected: Math.floor(PACKETS / QUEUE), actual: lazy.waits });
    stage.check("lazy-stale-pages", { protected: false, expected: QUEUE, actual: lazy.stalePeak });
    const pt = run(stage, "iommu=pt", "intel_iommu=on iommu=pt");
    stage.check("pt-stolen", { protected: false, expected: PACKETS * PAGE_SIZE, actual: pt.stolen });
    stage.check("pt-waits", { protected: false, expected: 0, actual: pt.waits });
    stage.say(`${PACKETS} packets, each in a page that belongs to somebody else afterwards, and a card that looks twice.`);
    stage.say(`Strict: ${strict.waits} waits for invalidations, ${strict.stolen} bytes seen. Lazy: ${lazy.waits} waits, ${lazy.stolen} bytes seen, up to ${lazy.stalePeak} pages at a time. iommu=pt: no waits, ${pt.stolen} bytes seen.`);
    stage.count("invalidation waits", strict.waits + lazy.waits);
    stage.model({ model: "map-unmap", parameters: COSTS, values: { strict: strict.time, lazy: lazy.time, pt: pt.time } });
  },
};
