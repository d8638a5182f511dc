import { PAGE_SIZE } from "@iommu-lab/memory";
import { Completion, type Iommu } from "@iommu-lab/pci-bus";
import { Endpoint } from "@iommu-lab/pci-bus/model";
import type { Machine, MachineOptions } from "../machine/machine.ts";
import { bytesOf } from "./bytes.ts";
import { CARD, laboratory, slot } from "./laboratory.ts";
import type { Scenario } from "./scenario.ts";
import type { Stage } from "./stage.ts";

const CARD_ADDRESS = "0000:01:00.0";
const SECRET = 0x3c;
const ROUNDS = 8;
const ATS_CARD = { ...CARD, capabilities: { ...CARD.capabilities, ats: true } } as const;

/** A kernel that forgets the caches in its devices: what it invalidates there never arrives, and counts as done. */
const forgetful = ({ iommu }: { readonly iommu: Iommu }): Iommu =>
  new Proxy(iommu, {
    get: (target, name) => {
      if (name === "connect") return () => { target.connect({ invalidateDeviceTlb: (_requester, _invalidation, _timeout, complete) => { complete("completed"); }, respondToPage: () => undefined }); };
      const value: unknown = Reflect.get(target, name);
      return typeof value === "function" ? (value.bind(target) as unknown) : value;
    },
  });

/** Map, use, unmap, and the page is somebody else's: does the card still read it? @returns bytes it read */
const attack = (machine: Machine): { readonly stolen: number; readonly cached: number } => {
  const { fn, address } = machine.at(CARD_ADDRESS);
  if (!(fn instanceof Endpoint)) return { stolen: -1, cached: -1 };
  const dma = machine.kernel.dmaDevice(address);
  const page = new Uint8Array(PAGE_SIZE);
  let stolen = 0;
  let cached = 0;
  for (let i = 0; i < ROUNDS; i++) {
    const hpa = machine.frames.allocate() * PAGE_SIZE;
    const iova = dma.map(hpa, PAGE_SIZE, "to-device");
    fn.read(iova, page);
    cached += fn.atc?.entries.length ?? 0;
    dma.unmap(iova, PAGE_SIZE, "to-device");
    machine.memory.writeFrom(hpa, new Uint8Array(PAGE_SIZE).fill(SECRET));
    page.fill(0);
    if (fn.read(iova, page) === Completion.Successful) stolen += bytesOf(page, SECRET);
  }
  machine.advance(0);
  return { stolen, cached };
};

const run = (stage: Stage, name: string, functions: Parameters<typeof slot>[2], options: MachineOptions = {}): ReturnType<typeof attack> => attack(stage.machine(name, laboratory({ commandLine: "intel_iommu=on iommu.strict=1", functions: [slot("01.0", 1, functions)] }), options));

/** S8: a device that keeps what it was told. */
export const atsStale: Scenario = {
  name: "ats-stale",
  title: "A card with a memory of its own",
  about: "A card caches translations (ATS). Invalidating the IOMMU alone leaves them: the card goes on reading a page that is somebody else's. With the invalidation sent to the card too, nothing is left.",
  covers: ["R19"],
  protections: { "device-tlb-invalidation": ["invalidated-stolen"] },
  run: (stage) => {
    const forgotten = run(stage, "forgotten device-TLB", [ATS_CARD], { iommu: forgetful });
    stage.say(`${ROUNDS} times a page is mapped, read by the card, unmapped and given to somebody else. A kernel that invalidates only its IOMMU lets the card read ${forgotten.stolen} bytes that are no longer its own.`);
    stage.check("forgotten-stolen", { protected: false, expected: ROUNDS * PAGE_SIZE, actual: forgotten.stolen });
    const careful = run(stage, "device-TLB invalidated", [ATS_CARD], stage.has("device-tlb-invalidation") ? {} : { iommu: forgetful });
    stage.check("invalidated-stolen", { protected: true, expected: 0, actual: careful.stolen });
    stage.check("cached-while-mapped", { protected: true, expected: true, actual: careful.cached >= ROUNDS });
    stage.say(`With device-TLB invalidations: ${careful.stolen} bytes.`);
    const plain = run(stage, "card without ATS", [CARD], { iommu: forgetful });
    stage.check("without-ats-stolen", { protected: true, expected: 0, actual: plain.stolen });
    stage.say("A card without a cache of its own never could.");
    stage.count("bytes read after unmap", forgotten.stolen + careful.stolen);
  },
};
